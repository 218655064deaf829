import { describe, expect, it } from "vitest";
import { erf } from "../../ir/erf.ts";
import { launch } from "../kernels/harness.ts";

const count = 4001;
/** -20 to 20, thickest round zero. */
const points = Float64Array.from({ length: count }, (_, i) => Math.fround(20 * ((2 * i) / (count - 1) - 1) ** 3));

/** The values of a function of templates/lib/math.cuh, as the emulated device computes them. */
async function values(body: string, x: Float64Array = points): Promise<Float64Array> {
  const source = `#include "lib/math.cuh"
extern "C" __global__ void math_test(const float* x, float* y, int n) {
  const int i = blockIdx.x * 256 + threadIdx.x;
  if (i < n) st(y + i, (float)(${body}));
}
DEV_EXPORT(math_test)
`;
  const operand = { storage: "f32", exampleStride: 1, exampleSize: 1 } as const;
  const one = { factor: 1, fixed: 1, perExample: 0, divisor: 1 };
  const kernel = {
    source,
    threads: 256,
    sharedBytes: 0,
    grid: [{ factor: 1, fixed: 0, perExample: 1, divisor: 256 }, one, one] as const,
    parameters: [{ kind: "operand", operand: 0 }, { kind: "operand", operand: 1 }, { kind: "batch" }] as const,
    notes: [],
  };
  const run = await launch({
    name: "math_test",
    kernel,
    operands: [operand, operand],
    values: [x, null],
    batch: x.length,
  });
  return run.values[1] ?? new Float64Array();
}

/** The greatest |actual - expected|, of numbers above 1 in proportion. */
const worst = (actual: Float64Array, expected: (x: number) => number): number =>
  points.reduce((most, x, i) => {
    const wanted = expected(x);
    return Math.max(most, Math.abs((actual[i] ?? NaN) - wanted) / Math.max(1, Math.abs(wanted)));
  }, 0);

const gelu = (x: number): number => 0.5 * x * (1 + erf(x * Math.SQRT1_2));
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

describe("functions for float32", () => {
  it.each([
    ["erff(x[i])", erf],
    ["gelu(x[i])", gelu],
    ["sigmoid(x[i])", sigmoid],
    ["tanhf(x[i])", Math.tanh],
  ] as const)("%s is within 2e-7", async (body, expected) => {
    expect(worst(await values(body), expected)).toBeLessThan(2e-7);
  });
});

describe("fast functions", () => {
  it.each([
    ["fast_gelu(x[i])", gelu],
    ["fast_sigmoid(x[i])", sigmoid],
    ["fast_exp(fminf(x[i], 0.0f))", (x: number) => Math.exp(Math.min(x, 0))],
  ] as const)("%s is within 1.5e-6", async (body, expected) => {
    expect(worst(await values(body), expected)).toBeLessThan(1.5e-6);
  });

  it("go to their limits far out", async () => {
    const far = Float64Array.of(-1e4, 1e4, -100, 100);
    expect([...(await values("fast_gelu(x[i])", far))].map(Math.abs)).toEqual([0, 1e4, 0, 100]);
    expect([...(await values("fast_sigmoid(x[i])", far))]).toEqual([0, 1, expect.closeTo(0, 30), 1]);
  });
});

describe("integers", () => {
  it("divide towards minus infinity", async () => {
    const x = Float64Array.from({ length: 21 }, (_, i) => i - 10);
    for (const divisor of [3, -3]) {
      expect(await values(`floor_div((int)x[i], ${divisor})`, x)).toEqual(
        x.map((a) => Math.floor(a / divisor)).map((a) => a || 0),
      );
      const modulo = x.map((a) => a - divisor * Math.floor(a / divisor)).map((a) => a || 0);
      expect(await values(`floor_mod((int)x[i], ${divisor})`, x)).toEqual(modulo);
      expect(await values(`floor_mod((int64_t)x[i], (int64_t)${divisor})`, x)).toEqual(modulo);
    }
  });

  it("round halves up, as JavaScript does", async () => {
    const x = Float64Array.of(-2.5, -1.5, -0.5, 0.5, 1.5, 0.49999997, 2 ** 23 + 1, -7.3);
    expect((await values("round_half_up(x[i])", x)).map((a) => a || 0)).toEqual(x.map((a) => Math.round(a) || 0));
  });
});
