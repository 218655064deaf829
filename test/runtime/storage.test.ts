import { f16round } from "@petamoriken/float16";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromStorage, toStorage } from "../../runtime/storage.ts";

const rounded = (value: number, storage: "f16" | "bf16" | "f32"): number =>
  fromStorage(toStorage(Float64Array.of(value), storage, "x"), storage)[0] ?? Number.NaN;

/** Nearest bfloat16 of a float64, by trying its neighbours: ties go to the even one. */
const nearestBfloat16 = (value: number): number => {
  if (!Number.isFinite(value) || value === 0) return value;
  const words = new Uint32Array(1);
  const single = new Float32Array(words.buffer);
  single[0] = value;
  const upper = (words[0] ?? 0) >>> 16;
  const below = (upper & 0x7fff) === 0 ? [] : [upper - 1];
  const candidates = [...below, upper, upper + 1].map((bits) => {
    words[0] = bits << 16;
    return { bits, value: single[0] ?? Number.NaN };
  });
  const best = candidates.reduce((a, b) => {
    const [near, far] = [Math.abs(a.value - value), Math.abs(b.value - value)];
    return far < near || (far === near && b.bits % 2 === 0) ? b : a;
  });
  return best.value;
};

/** Numbers of ordinary size whose rounding is hard: near halfway between two bfloat16 or float16. */
const hard = fc
  .tuple(
    fc.double({ min: 2 ** -12, max: 2 ** 12, noNaN: true }),
    fc.constantFrom(2 ** -8, 2 ** -11, 2 ** -24),
    fc.constantFrom(-1, 0, 1),
    fc.constantFrom(1, -1),
  )
  .map(([value, half, side, sign]) => {
    const scale = 2 ** Math.floor(Math.log2(value));
    const halfway = (Math.floor(value / scale / half / 2) * 2 + 1) * half * scale;
    return sign * (halfway + side * scale * 2 ** -45);
  });

describe("rounding to a storage type", () => {
  test("is to the nearest, ties to even, once", () => {
    fc.assert(
      fc.property(fc.oneof(hard, fc.float({ noNaN: true, max: 2 ** 100, min: -(2 ** 100) })), (value) => {
        expect(rounded(value, "bf16")).toBe(nearestBfloat16(value));
        expect(rounded(value, "f32")).toBe(Math.fround(value));
        if (Math.abs(value) < 65000) expect(rounded(value, "f16")).toBe(f16round(value));
      }),
      { numRuns: 3000 },
    );
  });

  test("does not go through float32 on the way", () => {
    // A float64 just above halfway, whose float32 is halfway: the second rounding would go to even, down.
    expect(rounded(1 + 2 ** -8 + 2 ** -40, "bf16")).toBe(1 + 2 ** -7);
    expect(rounded(1 + 2 ** -8 - 2 ** -40, "bf16")).toBe(1);
    expect(rounded(1 + 2 ** -8, "bf16")).toBe(1);
    expect(rounded(-(1 + 3 * 2 ** -8), "bf16")).toBe(-(1 + 2 ** -6));
    expect(rounded(1 + 2 ** -11 + 2 ** -40, "f16")).toBe(1 + 2 ** -10);
  });

  test("keeps NaN, infinities and signs of zero", () => {
    const words = new Uint32Array([0x7f800001, 0xffffffff, 0x7fc00000, 0xff800001]);
    for (const storage of ["bf16", "f16"] as const) {
      for (const value of fromStorage(toStorage(new Float32Array(words.buffer), storage, "x"), storage))
        expect(value).toBeNaN();
      expect(rounded(Infinity, storage)).toBe(Infinity);
      expect(rounded(-Infinity, storage)).toBe(-Infinity);
      expect(rounded(-0, storage)).toBe(-0);
    }
  });

  test("refuses to make infinities, and says which element", () => {
    expect(() => toStorage(Float64Array.of(1, -65520), "f16", 'weight "w"')).toThrow(
      /^weight "w": element 1 is -65520, beyond what f16 can hold \(65504\)/,
    );
    expect(rounded(65519.9, "f16")).toBe(65504);
    expect(() => toStorage(Float64Array.of(3.4e38, 3.3999e38), "bf16", "w")).toThrow(
      /element 0 is 3.4e\+38, beyond what bf16/,
    );
    expect(() => toStorage(Float64Array.of(0, 1e39), "f32", "w")).toThrow(/element 1 is 1e\+39, beyond what f32/);
  });

  test("takes whole numbers in range for integers, and nothing else", () => {
    expect(fromStorage(toStorage(Float64Array.of(-7, 2 ** 31 - 1), "i32", "w"), "i32")).toEqual(
      Int32Array.of(-7, 2 ** 31 - 1),
    );
    expect(fromStorage(toStorage(Float64Array.of(0, 255), "u8", "w"), "u8")).toEqual(Uint8Array.of(0, 255));
    expect(() => toStorage(Float64Array.of(0, 0.5), "i32", "w")).toThrow(/w: element 1 is 0.5, not an i32/);
    expect(() => toStorage(Float64Array.of(2 ** 31), "i32", "w")).toThrow(/not an i32/);
    expect(() => toStorage(Float64Array.of(-1), "u8", "w")).toThrow(/not an u8/);
  });

  test("reads bytes at any address", () => {
    const bytes = toStorage(Float64Array.of(1.5, -2), "f32", "w");
    const odd = new Uint8Array(9);
    odd.set(bytes, 1);
    expect(fromStorage(odd.subarray(1), "f32")).toEqual(Float32Array.of(1.5, -2));
  });
});
