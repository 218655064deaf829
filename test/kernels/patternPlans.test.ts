import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { rowsOf } from "../../ir/types.ts";
import { visibleKeys, type VisibleKeys } from "../../ir/visibleKeys.ts";
import { pairTest } from "./attentionCase.ts";
import { drawnKernel, patternKinds } from "./patternKinds.ts";
import { seenPairs } from "./patternOracle.ts";
import { checkPlan } from "./planCheck.ts";

/** One byte for each pair of rows: 1 where it is listed. */
const rowSets = (groups: readonly VisibleKeys[], queries: number, keys: number): Uint8Array => {
  const listed = new Uint8Array(queries * keys);
  for (const group of groups) for (const q of group.queries) for (const k of group.keys) listed[q * keys + k] = 1;
  return listed;
};

const runs = Number(process.env["FOVEA_PATTERN_PLANS"] ?? 300);

describe.each(Object.entries(patternKinds))("%s", (_kind, draws) => {
  it("is what it is said to be: as a predicate, as lists, and as any plan", () => {
    fc.assert(
      fc.property(draws, (drawn) => {
        const { pattern, query, key } = drawn;
        const seen = seenPairs(pattern, query, key);
        const kernel = drawnKernel(drawn);
        const sees = pairTest(kernel);
        const keys = rowsOf(key);
        const listed = rowSets(visibleKeys(pattern, query, key), rowsOf(query), keys);
        for (let q = 0; q < rowsOf(query); q++)
          for (let k = 0; k < keys; k++) {
            const expected = seen(q, k);
            if (sees(q, k) !== expected) expect.fail(`the predicate of query ${q} and key ${k} is ${!expected}`);
            if ((listed[q * keys + k] === 1) !== expected)
              expect.fail(`the list of query ${q} is wrong about key ${k}`);
          }
        checkPlan(kernel, seen);
      }),
      { numRuns: runs },
    );
  });
});
