import { describe, expect, it } from "vitest";
import { emitMap } from "../../compiler/emit/map.ts";
import { planMap } from "../../compiler/schedule/mapPlan.ts";
import type { MapKernel } from "../../compiler/schedule/kernels.ts";
import { elementsOf, launch } from "./harness.ts";
import { cases, header, kernelOf, type Case } from "./mapCases.ts";
import { outputs } from "./reference.ts";
import { normal, rounding, stored, worstError } from "./testData.ts";

const one = { f32: 1, f16: 1, bf16: 1 };

/** Values of the operands that are read; null for results. */
function valuesOf(test: Case, kernel: MapKernel): readonly (Float64Array | null)[] {
  const batch = test.batch ?? 1;
  return kernel.operands.map((operand, index) => {
    if (test.stores.some((store) => store.operand === index)) return null;
    const count = elementsOf(operand, batch);
    const drawn = normal(index + 1, count, test.operands[index]?.mean ?? 0, 1);
    const integral = operand.storage === "i32" || operand.storage === "u8";
    return integral
      ? drawn.map((value) => Math.round(operand.storage === "u8" ? Math.abs(value * 5) : value))
      : stored(drawn, operand.storage);
  });
}

describe.each(["f32", "f16", "bf16"] as const)("map kernels in %s", (precision) => {
  it.each(Object.entries(cases))("%s", async (_, test) => {
    const kernel = kernelOf(test, precision);
    const plan = planMap(kernel);
    expect({ along: plan.along, width: plan.width, slices: plan.slices }).toEqual({
      along: test.along ?? "n",
      width: (test.width ?? one)[precision],
      slices: test.slices ?? 1,
    });
    const [batch, values] = [test.batch ?? 1, valuesOf(test, kernel)];
    const emitted = emitMap(kernel, header);
    const actual = await launch({ name: "map_test", kernel: emitted, operands: kernel.operands, values, batch });
    for (const [index, expected] of outputs(kernel, values, batch).entries()) {
      // One rounding to storage, and sums in float32 of up to 200 terms.
      const storage = kernel.operands[index]?.storage ?? "f32";
      const tolerance = storage === "i32" || storage === "u8" ? 0 : 1.01 * rounding[storage] + 2e-6;
      expect(worstError(actual.values[index] ?? new Float64Array(), expected).error).toBeLessThanOrEqual(tolerance);
    }
  });
});

describe("threads that share a fold", () => {
  it.each([1, 2, 3])("agree in any order of threads (seed %i)", async (seed) => {
    const test = cases["a mean over tokens, far from zero"] ?? expect.fail("no case");
    const [kernel, batch] = [kernelOf(test, "f32"), test.batch ?? 1];
    const run = {
      name: header.name,
      kernel: emitMap(kernel, header),
      operands: kernel.operands,
      values: valuesOf(test, kernel),
      batch,
    };
    const [inOrder, shuffled] = [await launch(run), await launch(run, { seed })];
    expect(shuffled.values).toEqual(inOrder.values);
  });
});
