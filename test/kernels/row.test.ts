import { describe, expect, it } from "vitest";
import type { Precision } from "../../ir/types.ts";
import { emitRow } from "../../compiler/emit/row.ts";
import { planRow } from "../../compiler/schedule/rowPlan.ts";
import { elementsOf, launch } from "./harness.ts";
import { cases, header, kernelOf } from "./rowCases.ts";
import { outputs } from "./reference.ts";
import { normal, rounding, stored, worstError } from "./testData.ts";

describe.each(["f32", "f16", "bf16"] as const)("row kernels in %s", (precision) => {
  it.each(Object.entries(cases))("%s", async (_, test) => {
    const kernel = kernelOf(test, precision);
    const plan = planRow(kernel);
    if (precision === "f32")
      expect({ rowThreads: plan.rowThreads, held: plan.held }).toEqual({
        rowThreads: test.rowThreads,
        held: test.held ?? true,
      });
    const batch = test.batch ?? 1;
    const values = kernel.operands.map((operand, index) => {
      const { mean, deviation } = test.operands[index] ?? {};
      const isResult = test.stores.some((store) => store.operand === index);
      return isResult ? null : stored(normal(index + 1, elementsOf(operand, batch), mean, deviation), operand.storage);
    });
    const emitted = emitRow(kernel, header);
    const actual = await launch({ name: "row_test", kernel: emitted, operands: kernel.operands, values, batch });
    for (const [index, expected] of outputs(kernel, values, batch).entries()) {
      const tolerance = 1.01 * rounding[kernel.operands[index]?.storage as Precision] + 4e-6;
      expect(worstError(actual.values[index] ?? new Float64Array(), expected).error).toBeLessThanOrEqual(tolerance);
    }
  });
});

describe("threads of a block that share a row", () => {
  it.each([1, 2, 3])("agree in any order of threads (seed %i)", async (seed) => {
    for (const name of ["rows of odd length that a block holds", "short rows, several to a warp"]) {
      const test = cases[name] ?? expect.fail(`no case "${name}"`);
      const [kernel, batch] = [kernelOf(test, "f32"), test.batch ?? 1];
      const values = kernel.operands.map((operand, index) =>
        index === 0 ? normal(seed, elementsOf(operand, batch), 7) : null,
      );
      const run = { name: header.name, kernel: emitRow(kernel, header), operands: kernel.operands, values, batch };
      const [inOrder, shuffled] = [await launch(run), await launch(run, { seed })];
      expect(shuffled.values).toEqual(inOrder.values);
    }
  });
});
