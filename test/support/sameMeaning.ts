import { expect } from "vitest";
import type { Graph } from "../../ir/graph.ts";
import { evaluate } from "../../ir/evaluate.ts";
import { layoutShape } from "../../ir/layoutOffset.ts";

/** Numbers that look random and are the same in every run. */
const numbers = (name: string, count: number): Float64Array =>
  Float64Array.from({ length: count }, (_, i) => Math.sin((i + 1) * 12.9898 + name.length * 78.233) * 2 + 0.25);

/** Two graphs with the same inputs and parameters compute the same outputs, to the rounding of float64. */
export const sameMeaning = (before: Graph, after: Graph, batch: number = 2): void => {
  const size = (shape: ReturnType<typeof layoutShape>): number =>
    shape.reduce<number>((product, each) => product * (typeof each === "number" ? each : each.batchTimes * batch), 1);
  const inputs: { [name: string]: Float64Array } = {};
  const parameters: { [name: string]: Float64Array } = {};
  for (const node of before.nodes) {
    if (node.op === "input")
      inputs[node.attrs.name] = numbers(node.attrs.name, size(layoutShape(node.attrs.layout, node.type)));
    if (node.op === "parameter")
      parameters[node.attrs.name] = numbers(
        node.attrs.name,
        node.attrs.shape.reduce((a, b) => a * b, 1),
      );
  }
  const expected = evaluate(before, { batch, inputs, parameters });
  const actual = evaluate(after, { batch, inputs, parameters });
  for (const [name, values] of Object.entries(expected.outputs)) {
    const got = actual.outputs[name];
    expect(got?.length).toBe(values.length);
    for (const [i, value] of values.entries()) expect(got?.[i]).toBeCloseTo(value, 9);
  }
};
