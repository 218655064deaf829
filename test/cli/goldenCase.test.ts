import { describe, expect, it } from "vitest";
import { modelFileOf, type GoldenCase } from "../../compiler/cli/golden/case.ts";
import { boundOf, compare, type Expected } from "../../compiler/cli/golden/compare.ts";
import { seededRule, seededValues } from "../../compiler/cli/golden/seeded.ts";

const full = (values: readonly number[], integer = false): Expected => ({ kind: "full", integer, values });
const bound = { relL2: 1e-3, maxAbs: 0.5 };

/** The mix of 32 bits, worked out with integers of any size. */
const mix = (start: bigint): number => {
  const mask = 0xffffffffn;
  let x = start & mask;
  x ^= x >> 16n;
  x = (x * 0x7feb352dn) & mask;
  x ^= x >> 15n;
  x = (x * 0x846ca68bn) & mask;
  x ^= x >> 16n;
  return Number(x) / 2 ** 32;
};

describe("seeded tensors", () => {
  it("are drawn with the mean and standard deviation asked for", () => {
    const values = seededValues({ name: "input.video", mean: 0.5, deviation: 2 }, 20_000);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    expect(mean).toBeCloseTo(0.5, 1);
    expect(Math.sqrt(variance)).toBeCloseTo(2, 1);
    expect(Math.max(...values)).toBeLessThanOrEqual(0.5 + 2 * Math.sqrt(3));
  });

  it("follow the definition to the last bit", () => {
    // fnv1a32("a") = 0xe40c292c
    const expected = [0n, 1n, 2n, 70_000n].map((index) =>
      Math.fround(Math.sqrt(3) * (2 * mix(0xe40c292cn + index * 0x9e3779b9n) - 1)),
    );
    const values = seededValues({ name: "a", mean: 0, deviation: 1 }, 70_001);
    expect([values[0], values[1], values[2], values[70_000]]).toEqual(expected);
  });

  it("take the first rule that matches, gains divided by the root of the fan-in", () => {
    const rules = [
      { match: "norm\\.weight$", mean: 1, scale: 0.1 },
      { match: "\\.weight$", gain: 2 },
    ];
    expect(seededRule("blocks.0.norm.weight", [16], rules)).toEqual({
      name: "blocks.0.norm.weight",
      mean: 1,
      deviation: 0.1,
    });
    expect(seededRule("conv.weight", [8, 4, 2, 2], rules)).toEqual({ name: "conv.weight", mean: 0, deviation: 0.5 });
    expect(seededRule("conv.bias", [8], rules)).toBeNull();
  });
});

describe("comparing with published numbers", () => {
  it("measures the relative L2 error and the largest one", () => {
    const result = compare("x", [2], { shape: [2], values: [3, 4.001] }, full([3, 4]), bound);
    expect(result).toMatchObject({ ok: true, note: "", tolerance: 1e-3 });
    expect(result.relL2).toBeCloseTo(0.0002, 8);
    expect(result.maxAbs).toBeCloseTo(0.001, 8);
    expect(compare("x", [2], { shape: [2], values: [3, 4.1] }, full([3, 4]), bound).ok).toBe(false);
  });

  it("misses on NaN, on a shape of its own and on what is not there", () => {
    expect(compare("x", [2], { shape: [2], values: [NaN, 4] }, full([3, 4]), bound).ok).toBe(false);
    expect(compare("x", [2], { shape: [1, 2], values: [3, 4] }, full([3, 4]), bound)).toMatchObject({
      ok: false,
      note: "has the shape [1, 2]",
    });
    expect(compare("x", [2], undefined, full([3, 4]), bound)).toMatchObject({ ok: false, relL2: null });
    expect(compare("x", [2], { shape: [2], values: [3] }, full([3, 4]), bound).ok).toBe(false);
  });

  it("misses when one element is far off, whatever the others say", () => {
    const values = Array.from({ length: 10_000 }, () => 100);
    const off = values.with(17, 101);
    expect(compare("x", [10_000], { shape: [10_000], values: off }, full(values), bound)).toMatchObject({
      ok: false,
      note: "largest error above 0.5",
    });
  });

  it("compares infinities as equal, and skips what the published code leaves open", () => {
    expect(compare("x", [3], { shape: [3], values: [-Infinity, 0, 2] }, full([-Infinity, NaN, 2]), bound).ok).toBe(
      true,
    );
    expect(compare("x", [3], { shape: [3], values: [0, 0, 2] }, full([-Infinity, NaN, 2]), bound).ok).toBe(false);
  });

  it("holds a large tensor to its first elements and its norm", () => {
    const values = [3, 4, 12];
    const expected: Expected = { kind: "head", head: [3, 4], norm: 13 };
    expect(compare("x", [3], { shape: [3], values }, expected, bound).ok).toBe(true);
    expect(compare("x", [3], { shape: [3], values: [3, 4, 11] }, expected, bound).ok).toBe(false);
    expect(compare("x", [3], { shape: [3], values: [4, 3, 12] }, expected, bound).ok).toBe(false);
  });

  it("holds integers exactly in float32, and narrower precisions to what the case lists", () => {
    const tolerance = { f32: { rel_l2: 1e-5, max_abs: 1e-4 }, bf16: { rel_l2: 0.02, on: ["logits"] } };
    const golden = { outputs: { logits: { shape: [1] }, indices: { shape: [1] } }, tolerance } as unknown as GoldenCase;
    expect(boundOf(golden, "indices", "f32", true)).toEqual({ relL2: 0, maxAbs: 0 });
    expect(boundOf(golden, "logits", "f32", false)).toEqual({ relL2: 1e-5, maxAbs: 1e-4 });
    expect(boundOf(golden, "blocks.0", "f32", false)).toEqual({ relL2: 1e-5, maxAbs: Infinity });
    expect(boundOf(golden, "logits", "f16", false)).toEqual({ relL2: 0.02, maxAbs: Infinity });
    expect(boundOf(golden, "indices", "bf16", true)).toBeNull();
    expect(boundOf(golden, "blocks.0", "bf16", false)).toBeNull();
    expect(compare("indices", [1], { shape: [1], values: [4] }, full([5], true), null)).toMatchObject({
      ok: true,
      tolerance: null,
    });
  });
});

it("finds the model file of a system", () => {
  expect(modelFileOf("timesformer")).toBe("timesformer.ts");
  expect(modelFileOf("video-swin")).toBe("videoSwin.ts");
});
