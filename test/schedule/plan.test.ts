import * as fc from "fast-check";
import { expect, test } from "vitest";
import { runPasses } from "../../compiler/passes/pipeline.ts";
import { evaluate } from "../../ir/evaluate.ts";
import type { Graph } from "../../ir/graph.ts";
import { layoutShape } from "../../ir/layoutOffset.ts";
import { printGraph } from "../../ir/print.ts";
import { randomGraph } from "../support/randomGraph.ts";
import { runPlan } from "../support/runPlan.ts";

const batch = 2;
const numbers = (name: string, count: number): Float64Array =>
  Float64Array.from({ length: count }, (_, i) => Math.sin((i + 1) * 12.9898 + (name.codePointAt(1) ?? 7) * 78.233));

const dataOf = (graph: Graph) => {
  const inputs: { [name: string]: Float64Array } = {};
  const parameters: { [name: string]: Float64Array } = {};
  for (const node of graph.nodes) {
    if (node.op === "input") {
      const shape = layoutShape(node.attrs.layout, node.type).map((size) =>
        typeof size === "number" ? size : size.batchTimes * batch,
      );
      inputs[node.attrs.name] = numbers(
        node.attrs.name,
        shape.reduce((a, b) => a * b, 1),
      );
    }
    if (node.op === "parameter")
      parameters[node.attrs.name] = numbers(
        node.attrs.name,
        node.attrs.shape.reduce((a, b) => a * b, 1),
      );
  }
  return { inputs, parameters };
};

test("plans of random graphs compute what the graphs mean, whichever order elements come in", () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(1000), { minLength: 8, maxLength: 60 }),
      fc.constantFrom("forwards" as const, "backwards" as const),
      (choices, order) => {
        const graph = randomGraph(choices);
        const data = { batch, ...dataOf(graph) };
        const expected = evaluate(graph, data).outputs;
        const actual = runPlan(runPasses(graph).graph, { ...data, order });
        for (const [name, values] of Object.entries(expected))
          for (const [i, wanted] of values.entries())
            if (!(Math.abs((actual[name]?.[i] ?? NaN) - wanted) < 1e-7 * (1 + Math.abs(wanted))))
              expect.fail(`${name}[${i}] is ${actual[name]?.[i]}, not ${wanted}, in\n${printGraph(graph)}`);
      },
    ),
    { numRuns: Number(process.env["FOVEA_PLAN_RUNS"] ?? 600) },
  );
}, 120_000);
