import { describe, expect, it } from "vitest";
import { parseScalar } from "../../ir/scalarText.ts";
import type { Precision } from "../../ir/types.ts";
import { grid, runCase, toleranceOf, type AttentionCase } from "./attentionCase.ts";
import { along } from "./attentionPatterns.ts";

const terms = ["query", "key", "value"] as const;
type Case = Omit<AttentionCase, "precision">;

const check = async (test: Case, precision: Precision, seed = 0): Promise<void> => {
  const { worst } = await runCase({ ...test, precision }, { seed });
  expect(worst).toBeLessThan(toleranceOf(precision, test.headDim));
};

/** Lines of a map, along one axis or the other. */
const line = (axis: "h" | "w", size: number, more: Partial<Case> = {}): Case => ({
  pattern: along(axis),
  query: grid(axis === "h" ? { h: size, w: 3 } : { h: 3, w: size }),
  headDim: 4,
  valueDim: 8,
  positions: { axis, terms },
  ...more,
});

const shapes = {
  "a single position": [1, 4, 8],
  "half a tile, wide heads": [7, 32, 64],
  "two tiles": [28, 16, 32],
  "four tiles, narrow heads": [56, 4, 8],
  "a tile that is nearly empty": [65, 8, 16],
  streamed: [129, 32, 64],
} as const;
type Shape = keyof typeof shapes;

describe.each<readonly [Precision, readonly Shape[]]>([
  ["bf16", ["a single position", "half a tile, wide heads", "four tiles, narrow heads", "streamed"]],
  ["f16", ["two tiles", "a tile that is nearly empty"]],
  ["f32", ["half a tile, wide heads", "four tiles, narrow heads", "streamed"]],
])("terms of relative positions in %s", (precision, names) => {
  it.each(names)("%s", (name) => {
    const [size, headDim, valueDim] = shapes[name];
    return check(line(size % 2 === 0 ? "h" : "w", size, { headDim, valueDim }), precision);
  });
});

describe("terms of relative positions", () => {
  it("scale the product alone by a factor of the head", () =>
    check(line("w", 20, { score: parseScalar("s * table0[head]"), tables: [[2]], batch: 2 }), "bf16"));
  it("and a function of the result", () => check(line("w", 20, { epilogue: parseScalar("max($0, 0)") }), "f16"));
  it.each(terms)("of the %s alone", (term) =>
    check(line("h", 20, { headDim: 8, positions: { axis: "h", terms: [term] } }), "bf16"),
  );
  it("hold where a score hides keys", () =>
    check(line("w", 20, { score: parseScalar("k.w > q.w ? -inf : s") }), "bf16"));
  it.each([1, 2])("in any order of threads and copies, %i", (seed) =>
    check(line("w", 50, { headDim: 8, valueDim: 16 }), seed === 1 ? "bf16" : "f32", seed),
  );
});
