import { describe, expect, it } from "vitest";
import { emitKernel } from "../../compiler/emit/emitKernel.ts";
import { lower } from "../../compiler/schedule/lower/lower.ts";
import { evaluate } from "../../ir/evaluate.ts";
import { parseGraph } from "../../ir/parse.ts";
import { elementsOf, launch } from "./harness.ts";
import { cases, graphOf, header, kernelOf } from "./selectCases.ts";

const batch = 2;

/** Numbers of a few values, zeros of both signs and infinities among them. */
const drawn = (count: number, seed: number, integer: boolean): Float64Array => {
  const odd = integer ? [-(2 ** 31), 2 ** 31 - 1, 8999] : [-0, Infinity, -Infinity];
  return Float64Array.from({ length: count }, (_, i) => {
    const state = Math.imul((i + 1) * 2654435761 + seed, 0x85ebca6b) >>> 8;
    return state % 97 === 0 ? (odd[state % 3] ?? 0) : integer ? (state % 11) - 3 : Math.fround(((state % 23) - 11) / 7);
  });
};

describe("kernels that look at many elements for a result", () => {
  it.each(Object.keys(cases).flatMap((name) => [0, 3].map((seed) => [name, seed] as const)))(
    "%s (threads in order %i)",
    async (name, seed) => {
      const kernel = kernelOf(name);
      const [x] = kernel.operands;
      if (x === undefined) throw new Error("nothing is read");
      const values = drawn(elementsOf(x, batch), seed, x.storage === "i32");
      const { outputs } = evaluate(graphOf(name), { batch, inputs: { x: values }, parameters: {} });
      const run = { name: header.name, kernel: emitKernel(kernel, header), operands: kernel.operands, batch };
      const result = await launch(
        { ...run, values: kernel.operands.map((_, i) => (i === 0 ? values : null)) },
        { seed },
      );
      // -0 is 0 to all of them.
      const plain = (list: Float64Array | undefined): number[] => Array.from(list ?? [], (value) => value + 0);
      expect(plain(result.values.at(-1))).toEqual(plain(outputs["y"]));
    },
  );

  it("refuses more of the largest than shared memory holds", () => {
    const text = `graph "many"
%0: [b, i 9000; 1] = input {name="x", layout="b i"}
%1 = topK %0 {count=5000, axes=[i]}
output "y" = %1 "b rank"`;
    expect(() => lower(parseGraph(text), "f32")).toThrow(
      /the 5000 largest do not fit in shared memory, which holds 4096/,
    );
  });
});
