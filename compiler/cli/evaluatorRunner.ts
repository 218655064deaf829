import { evaluate } from "../../ir/evaluate.ts";
import type { Graph } from "../../ir/graph.ts";
import { layoutShape } from "../../ir/layoutOffset.ts";
import { checkCheckpoint, type Checkpoint } from "../../runtime/checkpoint.ts";
import type { NumberArray } from "./arrays.ts";
import { batchOf, graphInputs, graphParameters } from "./ports.ts";
import type { Runner } from "./runner.ts";

/** The float64 interpreter of a graph: exact, slow, and free of everything that a compiler could do wrong. */
export function evaluatorRunner(graph: Graph, checkpoint: Checkpoint): Runner {
  const parameters = graphParameters(graph);
  checkCheckpoint({ name: graph.name, parameters, unused: graph.unused }, checkpoint);
  const ports = graphInputs(graph);
  return {
    kind: "evaluator",
    device: "the float64 evaluator",
    kernels: null,
    run: async (inputs) => {
      const batch = batchOf(ports, inputs);
      const { outputs, kept } = evaluate(graph, {
        batch,
        inputs: Object.fromEntries([...inputs].map(([name, { values }]) => [name, values])),
        parameters: lazily(
          parameters.map(({ name }) => name),
          (name) => checkpoint.tensors.get(name)?.values() ?? [],
        ),
      });
      const results = { ...kept, ...outputs };
      const arrays = [...graph.kept, ...graph.outputs].map(({ name, value, layout }): [string, NumberArray] => {
        const type = graph.nodes.find(({ id }) => id === value)?.type;
        const sizes = type === undefined ? [] : layoutShape(layout, type);
        const shape = sizes.map((size) => (typeof size === "number" ? size : size.batchTimes * batch));
        const values = results[name] ?? new Float64Array();
        return [name, { shape, values: type?.element === "int" ? Int32Array.from(values) : values }];
      });
      return new Map(arrays);
    },
    profile: null,
    build: null,
    [Symbol.dispose]: () => {},
  };
}

/** Weights are read from their file one at a time, when the interpreter comes to them. */
function lazily<T>(names: readonly string[], read: (name: string) => T): { readonly [name: string]: T } {
  const properties = names.map((name) => [name, { enumerable: true, get: () => read(name) }]);
  return Object.defineProperties({}, Object.fromEntries(properties)) as { readonly [name: string]: T };
}
