import * as fc from "fast-check";
import { describe, it } from "vitest";
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
  type PatternCase,
} from "./attentionPatterns.ts";
import { checkPlan } from "./planCheck.ts";

/** A kernel and what its plan is held to. */
const planned = (test: PatternCase): Parameters<typeof checkPlan> => {
  const kernel = attentionKernel({ ...test, precision: "bf16" });
  return [kernel, pairTest(kernel)];
};

const small = ({ query, key }: Pick<AttentionCase, "query" | "key">): boolean =>
  rowsOf(query) * rowsOf(key ?? query) < 40_000;

describe("plans", () => {
  it.each(Object.entries(patternCases).filter(([, test]) => small(test)))("cover %s", (_name, test) => {
    checkPlan(...planned(test));
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
      fc.property(test, (found) => void checkPlan(...planned(found))),
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
