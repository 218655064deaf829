import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planAttention, type Job, type Side } from "../../compiler/schedule/attention/plan.ts";
import { partName } from "../../compiler/schedule/attention/groups.ts";
import type { AttentionKernel } from "../../compiler/schedule/kernels.ts";
import { evaluateScalar } from "../../ir/scalarEvaluate.ts";
import type { Pattern } from "../../ir/patterns.ts";
import { rowsOf, sizeOf, type TensorType } from "../../ir/types.ts";
import { attentionKernel, pairTest, type AttentionCase } from "./attentionCase.ts";
import {
  all,
  along,
  causal,
  every,
  near,
  patternCases,
  prefix,
  same,
  union,
  intersect,
  where,
  window,
} from "./attentionPatterns.ts";

/** A token of a thread block's slot: its row in the type, or null where there is none. */
type Slot = {
  readonly row: number;
  readonly group: number;
  readonly variables: { readonly [name: string]: number };
} | null;

const slotsOf = (
  side: Side,
  name: "q" | "k",
  type: TensorType,
  parts: { readonly [name: string]: number },
  first: number,
): readonly Slot[] => {
  const { slot, layout, tokens } = side;
  return Array.from({ length: layout.units * layout.unitSlots }, (_, index): Slot => {
    const own = { ...parts, slot: index, first };
    const variables = { ...own, place: evaluateScalar(slot.place, { variables: own }) };
    const value = (expr: Parameters<typeof evaluateScalar>[0]): number => evaluateScalar(expr, { variables });
    if (value(slot.exists) === 0) return null;
    const isPrefix = value(slot.isPrefix);
    const at = Object.fromEntries(
      tokens.axes.map(({ axis }) => [axis, value(slot.at[axis] ?? { kind: "number", value: 0 })]),
    );
    const flat = (axes: readonly string[]): number =>
      axes.reduce((sum, axis) => sum * (sizeOf(type, axis) ?? 1) + (at[axis] ?? 0), 0);
    const prefixRows = rowsOf(type) - type.axes.reduce((rows, { size }) => rows * size, 1);
    const row =
      isPrefix === 1
        ? flat(type.prefix.over) * type.prefix.count + value(slot.prefix)
        : prefixRows + flat(type.axes.map(({ axis }) => axis));
    const coordinates = Object.fromEntries(Object.entries(at).map(([axis, x]) => [`${name}.${axis}`, x]));
    return { row, group: value(slot.group), variables: { ...coordinates, [`${name}.isPrefix`]: isPrefix } };
  });
};

/** The blocks that a tile meets, and whether it sees them whole. */
const blocksOf = (job: Job, tile: number, irregular: boolean): ReadonlyMap<number, boolean> => {
  const { schedule } = job;
  const found = new Map<number, boolean>();
  if (schedule.kind === "dense")
    for (let block = 0; block < schedule.blocks; block++)
      found.set(block, block < schedule.blocks - 1 || !schedule.partialTail);
  else if (schedule.kind === "table")
    for (let i = schedule.starts[tile] ?? 0; i < (schedule.starts[tile + 1] ?? 0); i++) {
      const entry = schedule.entries[i] ?? 0;
      found.set(entry >> 1, (entry & 1) === 1);
    }
  else {
    const count = evaluateScalar(schedule.count, { variables: { tile } });
    for (let i = 0; i < count; i++) {
      const block = evaluateScalar(schedule.block, { variables: { tile, i } });
      expect(found.has(block)).toBe(false);
      found.set(block, evaluateScalar(schedule.full, { variables: { tile, i, block } }) !== 0);
    }
  }
  return irregular ? new Map([...found.keys()].map((block) => [block, false])) : found;
};

/** Checks a plan token by token: every query in one place, exactly its keys met, none twice, none hidden that a step takes for seen. */
const checkPlan = (kernel: AttentionKernel): void => {
  const plan = planAttention(kernel);
  const sees = pairTest(kernel);
  const queryRows = new Map<number, number>();
  for (const job of plan.jobs) {
    const tileSlots = job.tiles.kind === "resident" ? 16 : 16 * job.tiles.warps;
    for (let blockIndex = 0; blockIndex < job.groupBlocks; blockIndex++) {
      const first = blockIndex * job.groupsPerBlock;
      const parts: { [name: string]: number } = {};
      let rest = first;
      for (const { axis, count } of job.groups.axes.toReversed()) {
        parts[partName(axis)] = rest % count;
        rest = Math.floor(rest / count);
      }
      const irregular = evaluateScalar(job.irregular, { variables: parts }) !== 0;
      const queries = slotsOf(job.query, "q", kernel.query, parts, first);
      const keys = slotsOf(job.key, "k", kernel.key, parts, first);
      const used = queries.flatMap((query) => (query === null ? [] : [query.row]));
      for (const row of used) queryRows.set(row, (queryRows.get(row) ?? 0) + 1);
      for (const [slot, query] of queries.entries()) {
        if (query === null) continue;
        const blocks = blocksOf(job, Math.floor(slot / tileSlots), irregular);
        const met = new Set<number>();
        for (const [block, whole] of blocks)
          for (let at = block * job.tiles.span; at < Math.min((block + 1) * job.tiles.span, keys.length); at++) {
            const key = keys[at] ?? null;
            const kept =
              key !== null &&
              key.group === query.group &&
              evaluateScalar(job.keep, { variables: { ...query.variables, ...key.variables } }) !== 0;
            if (whole) expect(kept).toBe(true);
            if (!kept) continue;
            expect(met.has(key.row)).toBe(false);
            met.add(key.row);
          }
        for (let key = 0; key < rowsOf(kernel.key); key++)
          if (sees(query.row, key) !== met.has(key))
            expect.fail(
              `query ${query.row} ${met.has(key) ? "meets" : "misses"} key ${key} of ${JSON.stringify(kernel.pattern)}`,
            );
      }
    }
  }
  for (let row = 0; row < rowsOf(kernel.query); row++) expect(queryRows.get(row)).toBe(1);
};

const small = ({ query, key }: Pick<AttentionCase, "query" | "key">): boolean =>
  rowsOf(query) * rowsOf(key ?? query) < 40_000;

describe("plans", () => {
  it.each(Object.entries(patternCases).filter(([, test]) => small(test)))("cover %s", (_name, test) => {
    checkPlan(attentionKernel({ ...test, precision: "bf16" }));
  });

  it("cover any pattern on any grid", () => {
    const axes = ["t", "h", "w"] as const;
    const size = fc.integer({ min: 1, max: 7 });
    const type = fc
      .record({
        sizes: fc.array(size, { minLength: 1, maxLength: 3 }),
        count: fc.integer({ min: 0, max: 2 }),
        over: fc.subarray([...axes]),
      })
      .map(({ sizes, count, over }): TensorType => {
        const extents = sizes.map((each, i) => ({ axis: axes[i] ?? "t", size: each }));
        const known = over.filter((axis) => extents.some((extent) => extent.axis === axis));
        return {
          element: "float",
          batch: true,
          prefix: { count, over: count === 0 ? [] : known },
          axes: extents,
          channels: 1,
        };
      });
    // Wide heads stream even few keys.
    const headDim = fc.constantFrom(8, 512);
    const test = fc.tuple(type, type, fc.boolean(), headDim).chain(([query, other, own, width]) =>
      fc.record({
        query: fc.constant(query),
        key: fc.constant(own ? query : withExtentsOf(other, query)),
        headDim: fc.constant(width),
        pattern: patternOn(
          query.axes.map(({ axis }) => axis).filter((axis) => own || sizeOf(other, axis) !== undefined),
        ),
      }),
    );
    fc.assert(
      fc.property(test, (found) => checkPlan(attentionKernel({ ...found, precision: "bf16" }))),
      { numRuns: 100 },
    );
  });
});

/** Windows and neighbourhoods ask for equal extents of the axes that both have. */
const withExtentsOf = (type: TensorType, query: TensorType): TensorType => ({
  ...type,
  axes: type.axes.map(({ axis, size }) => ({ axis, size: sizeOf(query, axis) ?? size })),
});

const patternOn = (axes: readonly string[]): fc.Arbitrary<Pattern> => {
  const some = fc.subarray([...axes], { minLength: 1 });
  const numbers = (
    names: readonly string[],
    min: number,
    max: number,
  ): fc.Arbitrary<{ readonly [axis: string]: number }> =>
    fc
      .tuple(...names.map(() => fc.integer({ min, max })))
      .map((values) => Object.fromEntries(names.map((name, i) => [name, values[i] ?? min])));
  const leaf = fc.oneof(
    fc.constant(all),
    fc.constant(prefix),
    some.map((names) => along(...names)),
    some.map((names) => same(...names)),
    some.map(([axis = "t"]) => causal(axis)),
    some.chain((names) =>
      fc.tuple(numbers(names, 1, 5), numbers(names, -3, 6)).map(([sizes, shifts]) => window(sizes, shifts)),
    ),
    some.chain((names) =>
      fc
        .tuple(
          numbers(names, 0, 3),
          fc.integer({ min: 1, max: 3 }),
          fc.constantFrom("cut" as const, "inwards" as const),
        )
        .map(([radius, dilation, border]) => near(radius, dilation, border)),
    ),
    some.chain((names) =>
      fc
        .tuple(numbers(names, 1, 4), fc.constantFrom("query" as const, 0, 1))
        .map(([stride, phase]) => every(stride, phase)),
    ),
    some.map(([axis = "t"]) => where(`(q.${axis} - k.${axis}) * (q.${axis} - k.${axis}) <= 4`)),
    some.map(([axis = "t"]) => where(`k.isPrefix || q.${axis} != k.${axis}`)),
  );
  const pair = fc.tuple(leaf, leaf);
  return fc.oneof(
    leaf,
    pair.map((patterns) => union(...patterns)),
    pair.map((patterns) => intersect(...patterns)),
    leaf.map((pattern) => union(prefix, pattern)),
    fc.tuple(pair, leaf).map(([patterns, other]) => union(intersect(...patterns), other)),
  );
};
