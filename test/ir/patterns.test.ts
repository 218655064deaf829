import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Pattern } from "../../ir/patterns.ts";
import { predicate, windowOn } from "../../ir/predicate.ts";
import { evaluateScalar } from "../../ir/scalarEvaluate.ts";
import { parseScalar, printScalar } from "../../ir/scalarText.ts";
import { tokensOf } from "../../ir/tokens.ts";
import type { TensorType } from "../../ir/types.ts";
import { parseType } from "../../ir/typeText.ts";
import { visibleKeys } from "../../ir/visibleKeys.ts";

/** Rows of keys for each row of queries, pair by pair. */
const seenByPredicate = (pattern: Pattern, query: TensorType, key: TensorType): readonly (readonly number[])[] => {
  const condition = predicate(pattern, query, key);
  const [queries, keys] = [fields(query, "q"), fields(key, "k")];
  return queries.map((q) =>
    [...keys.keys()].filter((row) => evaluateScalar(condition, { variables: { ...q, ...keys[row] } }) !== 0),
  );
};

const fields = (type: TensorType, side: string): readonly Record<string, number>[] => {
  const tokens = tokensOf(type);
  return Array.from({ length: tokens.rows }, (_, row) => ({
    ...Object.fromEntries([...tokens.coordinates].map(([axis, values]) => [`${side}.${axis}`, values[row] ?? 0])),
    [`${side}.isPrefix`]: row < tokens.prefixRows ? 1 : 0,
    [`${side}.prefix`]: tokens.prefixIndex[row] ?? 0,
  }));
};

const seenByLists = (pattern: Pattern, query: TensorType, key: TensorType): readonly (readonly number[])[] => {
  const seen: number[][] = Array.from({ length: tokensOf(query).rows }, () => []);
  for (const { queries, keys } of visibleKeys(pattern, query, key)) for (const row of queries) seen[row] = [...keys];
  return seen;
};

const line = (size: number): TensorType => parseType(`[b, t ${size}; 4]`);
const onLine = (pattern: Pattern, size: number): readonly (readonly number[])[] =>
  seenByPredicate(pattern, line(size), line(size));

test("rows are prefix tokens by the axes they repeat over, then the grid, the last axis fastest", () => {
  const tokens = tokensOf(parseType("[b, prefix 2 over t, t 2, h 3; 4]"));
  expect([...tokens.prefixIndex]).toEqual([0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
  expect([...(tokens.coordinates.get("t") ?? [])]).toEqual([0, 0, 1, 1, 0, 0, 0, 1, 1, 1]);
  expect([...(tokens.coordinates.get("h") ?? [])]).toEqual([0, 0, 0, 0, 0, 1, 2, 0, 1, 2]);
});

describe("windows", () => {
  /** Rolls the axis, cuts windows, labels regions as the mask of shifted windows does, and rolls back. */
  const byRolling = (extent: number, size: number, shift: number): readonly (readonly number[])[] => {
    const place = (p: number): number => (((p - shift) % extent) + extent) % extent;
    const region = (p: number): number => (place(p) >= extent - shift ? 1 : 0);
    return Array.from({ length: extent }, (_, q) =>
      Array.from({ length: extent }, (__, k) => k).filter(
        (k) => Math.floor(place(q) / size) === Math.floor(place(k) / size) && region(q) === region(k),
      ),
    );
  };

  test("shifted windows are those of an explicit roll with its mask", () => {
    for (let extent = 1; extent <= 13; extent++)
      for (let size = 1; size < extent; size++)
        for (let shift = 0; shift < extent; shift++) {
          const pattern: Pattern = { kind: "window", size: { t: size }, shift: { t: shift } };
          expect(onLine(pattern, extent), `${extent} ${size} ${shift}`).toEqual(byRolling(extent, size, shift));
        }
  });

  test("a window that holds the axis is not shifted", () => {
    const pattern: Pattern = { kind: "window", size: { t: 8 }, shift: { t: 3 } };
    expect(onLine(pattern, 4)).toEqual([
      [0, 1, 2, 3],
      [0, 1, 2, 3],
      [0, 1, 2, 3],
      [0, 1, 2, 3],
    ]);
    expect(windowOn({ kind: "window", size: { t: 8 }, shift: { t: 3 } }, "t", 4)).toEqual({ size: 4, shift: 0 });
  });

  test("windows that tile the axis need no roll", () => {
    const pattern: Pattern = { kind: "window", size: { t: 4 }, shift: { t: 1 } };
    expect(printScalar(predicate(pattern, line(8), line(8)))).toBe("floorDiv(q.t + 3, 4) == floorDiv(k.t + 3, 4)");
  });
});

describe("neighbourhoods", () => {
  test("are cut at the border", () => {
    expect(onLine({ kind: "near", radius: { t: 1 }, dilation: 2, border: "cut" }, 5)).toEqual([
      [0, 2],
      [1, 3],
      [0, 2, 4],
      [1, 3],
      [2, 4],
    ]);
  });

  test("or move inwards whole, on the positions congruent to the query's", () => {
    const inwards = (radius: number, dilation: number, extent: number): readonly (readonly number[])[] =>
      onLine({ kind: "near", radius: { t: radius }, dilation, border: "inwards" }, extent);
    expect(inwards(1, 1, 4)).toEqual([
      [0, 1, 2],
      [0, 1, 2],
      [1, 2, 3],
      [1, 2, 3],
    ]);
    expect(inwards(1, 2, 7)).toEqual([
      [0, 2, 4],
      [1, 3, 5],
      [0, 2, 4],
      [1, 3, 5],
      [2, 4, 6],
      [1, 3, 5],
      [2, 4, 6],
    ]);
    expect(inwards(3, 1, 4)).toEqual([
      [0, 1, 2, 3],
      [0, 1, 2, 3],
      [0, 1, 2, 3],
      [0, 1, 2, 3],
    ]);
  });
});

test("every, along, same and causal relate the axes they name", () => {
  expect(onLine({ kind: "every", stride: { t: 2 }, phase: "query" }, 4)).toEqual([
    [0, 2],
    [1, 3],
    [0, 2],
    [1, 3],
  ]);
  expect(onLine({ kind: "every", stride: { t: 3 }, phase: 4 }, 5)[0]).toEqual([1, 4]);
  expect(onLine({ kind: "causal", axis: "t" }, 3)).toEqual([[0], [0, 1], [0, 1, 2]]);
  const grid = parseType("[b, t 2, h 2; 4]");
  expect(seenByPredicate({ kind: "along", axes: ["t"] }, grid, grid)).toEqual([
    [0, 2],
    [1, 3],
    [0, 2],
    [1, 3],
  ]);
  expect(seenByPredicate({ kind: "same", axes: ["t"] }, grid, grid)).toEqual([
    [0, 1],
    [0, 1],
    [2, 3],
    [2, 3],
  ]);
  // Queries on another grid are related by the axes that both have.
  expect(seenByPredicate({ kind: "along", axes: ["h"] }, parseType("[t 2, m 2; 4]"), grid)).toEqual([
    [0, 1],
    [0, 1],
    [2, 3],
    [2, 3],
  ]);
});

describe("prefix tokens", () => {
  const video = parseType("[b, prefix 1 over t, t 2, h 2; 4]");

  test("repeated over an axis meet the tokens at their own coordinate", () => {
    expect(seenByPredicate({ kind: "prefix" }, video, video)).toEqual([[0, 2, 3], [1, 4, 5], [0], [0], [1], [1]]);
  });

  test("are keys of every query and see every key", () => {
    const image = parseType("[b, prefix 2, h 2; 4]");
    expect(seenByPredicate({ kind: "prefix" }, image, image)).toEqual([
      [0, 1, 2, 3],
      [0, 1, 2, 3],
      [0, 1],
      [0, 1],
    ]);
    expect(seenByPredicate({ kind: "same", axes: ["h"] }, image, image)).toEqual([[], [], [2], [3]]);
  });

  test("are asked about by a where that reads isPrefix", () => {
    const image = parseType("[b, prefix 2, h 2; 4]");
    const where = (text: string): Pattern => ({ kind: "where", predicate: parseScalar(text) });
    expect(seenByPredicate(where("k.h == 0"), image, image)).toEqual([[], [], [2], [2]]);
    expect(seenByPredicate(where("q.isPrefix && k.prefix == 1"), image, image)).toEqual([[1], [1], [], []]);
  });
});

test("an axis that is not there is named with the type that lacks it", () => {
  expect(() => predicate({ kind: "same", axes: ["w"] }, line(3), line(3))).toThrow(
    'the pattern "same" names the axis "w", which the keys [b, t 3; 4] lack',
  );
  expect(() => predicate({ kind: "window", size: { t: 2 }, shift: {} }, line(3), line(4))).toThrow(
    "relates equal extents",
  );
});

const grids = fc
  .record({
    t: fc.integer({ min: 1, max: 4 }),
    h: fc.integer({ min: 1, max: 5 }),
    count: fc.nat(2),
    over: fc.boolean(),
  })
  .map(({ t, h, count, over }) =>
    parseType(`[b, ${count > 0 ? `prefix ${count}${over ? " over t" : ""}, ` : ""}t ${t}, h ${h}; 4]`),
  );
const axes = fc.subarray(["t", "h"]);
const numbers = (min: number, max: number): fc.Arbitrary<Record<string, number>> =>
  fc.record({ t: fc.integer({ min, max }), h: fc.integer({ min, max }) }, { requiredKeys: [] });
const { pattern: patterns } = fc.letrec<{ pattern: Pattern }>((tie) => ({
  pattern: fc.oneof(
    { maxDepth: 3, depthIdentifier: "pattern" },
    fc.constant<Pattern>({ kind: "all" }),
    fc.constant<Pattern>({ kind: "prefix" }),
    axes.map((named): Pattern => ({ kind: "along", axes: named })),
    axes.map((named): Pattern => ({ kind: "same", axes: named })),
    fc.tuple(numbers(1, 5), numbers(0, 4)).map(([size, shift]): Pattern => ({ kind: "window", size, shift })),
    fc
      .tuple(numbers(0, 2), fc.integer({ min: 1, max: 2 }), fc.constantFrom("cut" as const, "inwards" as const))
      .map(([radius, dilation, border]): Pattern => ({ kind: "near", radius, dilation, border })),
    fc
      .tuple(numbers(1, 3), fc.oneof(fc.constant("query" as const), fc.integer({ min: -3, max: 3 })))
      .map(([stride, phase]): Pattern => ({ kind: "every", stride, phase })),
    fc.constantFrom("t", "h").map((axis): Pattern => ({ kind: "causal", axis })),
    fc
      .constantFrom("q.t + k.h > 2", "k.isPrefix || q.h < k.h", "q.isPrefix && k.prefix == 1")
      .map((text): Pattern => ({ kind: "where", predicate: parseScalar(text) })),
    fc.array(tie("pattern"), { maxLength: 3 }).map((all): Pattern => ({ kind: "union", patterns: all })),
    fc.array(tie("pattern"), { maxLength: 3 }).map((all): Pattern => ({ kind: "intersect", patterns: all })),
  ),
}));

test("the lists of visible keys are what the predicate says", () => {
  fc.assert(
    fc.property(patterns, grids, (pattern, grid) => {
      expect(seenByLists(pattern, grid, grid)).toEqual(seenByPredicate(pattern, grid, grid));
    }),
    { numRuns: 300 },
  );
});
