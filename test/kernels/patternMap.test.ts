import { describe, expect, it } from "vitest";
import { patternMap } from "../../compiler/schedule/attention/patternMap.ts";
import { attentionKernel, grid, pairTest, runCase, toleranceOf } from "./attentionCase.ts";
import { near, patternCases, prefix, union } from "./attentionPatterns.ts";
import { rowsOf } from "../../ir/types.ts";

/** A neighbourhood of height and width over all frames, as the first half of a sparse block sees it. */
const clip = (t: number, h: number, w: number, radius: number): Parameters<typeof attentionKernel>[0] => ({
  precision: "bf16",
  pattern: union(prefix, near({ h: radius, w: radius }, 1, "inwards")),
  query: grid({ t, h, w }, { count: 1, over: [] }),
  headDim: 16,
  heads: 1,
});

describe("maps of patterns", () => {
  const names = ["windows on two axes, cut", "neighbours and global tokens", "causal", "every third, which does not"];
  it.each(names)("count what %s see and compute", (name) => {
    const test = patternCases[name];
    if (test === undefined) throw new Error(`there is no case "${name}"`);
    const kernel = attentionKernel({ ...test, precision: "bf16" });
    const { pairs, allPairs, jobs } = patternMap(kernel);
    const sees = pairTest(kernel);
    const rows = rowsOf(kernel.query);
    let expected = 0;
    for (let q = 0; q < rows; q++) for (let k = 0; k < rows; k++) expected += sees(q, k) ? 1 : 0;
    expect(pairs).toBe(expected);
    expect(allPairs).toBe(rows * rows);
    expect(jobs.reduce((sum, { computed }) => sum + computed, 0)).toBeGreaterThanOrEqual(pairs);
  });

  it("tell padding from tokens that do not see each other", () => {
    const test = patternCases["time of 5, which fills no tile"];
    if (test === undefined) throw new Error("there is no such case");
    // 15 groups of 5, three to 16 slots, in tiles of their own.
    const { pairs, jobs } = patternMap(attentionKernel({ ...test, precision: "bf16" }));
    expect(pairs).toBe(15 * 5 * 5);
    expect(jobs.map(({ tokenPairs }) => tokenPairs)).toEqual([5 * 15 * 15]);
    for (const each of Object.values(patternCases)) {
      const map = patternMap(attentionKernel({ ...each, precision: "bf16" }));
      const sum = (field: "computed" | "tokenPairs"): number => map.jobs.reduce((all, job) => all + job[field], 0);
      expect(sum("tokenPairs")).toBeGreaterThanOrEqual(map.pairs);
      expect(sum("computed")).toBeGreaterThanOrEqual(sum("tokenPairs"));
    }
  });

  it("put axes that a pattern leaves free inside the others, so that tiles of neighbours meet fewer", () => {
    const { allPairs, jobs } = patternMap(attentionKernel(clip(8, 14, 14, 3)));
    expect(jobs.reduce((sum, { computed }) => sum + computed, 0)).toBeLessThan(0.7 * allPairs);
  });

  it("do not change what is computed", async () => {
    const { worst } = await runCase(clip(5, 11, 6, 1));
    expect(worst).toBeLessThan(toleranceOf("bf16", 16));
  });
});
