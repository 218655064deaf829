import { type Arrays, evaluate } from "../../ir/evaluate.ts";
import type { Graph, ValueId } from "../../ir/graph.ts";
import { lengthRange } from "../../ir/lengthRange.ts";
import type { LoopEnd } from "../../ir/program.ts";
import { countedDimension, layoutShape } from "../../ir/layoutOffset.ts";
import { checkCheckpoint, type Checkpoint } from "../../runtime/checkpoint.ts";
import { firstOfEach, largest } from "../../runtime/counts.ts";
import { requireLengths } from "../../runtime/tensors.ts";
import { InternalError } from "../diagnostics.ts";
import type { NumberArray, NumberArrays } from "./arrays.ts";
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
    run: async (inputs, loopEnded) => {
      for (const { id, name } of inputsOf(graph)) {
        const range = lengthRange(graph, id);
        if (range !== null) requireLengths(`input "${name}"`, inputs.get(name)?.values ?? [], range);
      }
      const read = lazily(
        parameters.map(({ name }) => name),
        (name) => checkpoint.tensors.get(name)?.values() ?? [],
      );
      const { arrays, loop } = evaluateArrays(graph, batchOf(ports, inputs), inputs, read);
      if (loop !== null) loopEnded?.(loop);
      return arrays;
    },
    profile: null,
    build: null,
    [Symbol.dispose]: () => {},
  };
}

const inputsOf = ({ nodes }: Graph): readonly { readonly id: ValueId; readonly name: string }[] =>
  nodes.flatMap(({ id, op, attrs }) => (op === "input" ? [{ id, name: attrs.name }] : []));

/** What a graph publishes, as callers receive it. */
export function evaluateArrays(
  graph: Graph,
  batch: number,
  inputs: NumberArrays,
  parameters: Arrays,
): { readonly arrays: NumberArrays; readonly loop: LoopEnd | null } {
  const { outputs, kept, loop } = evaluate(graph, {
    batch,
    inputs: Object.fromEntries([...inputs].map(([name, { values }]) => [name, values])),
    parameters,
  });
  const results = { ...kept, ...outputs };
  const arrays = [...graph.kept, ...graph.outputs].map(({ name, value, layout, upTo }): [string, NumberArray] => {
    const type = graph.nodes[value]?.type;
    if (type === undefined) throw new InternalError(`%${value} is not in the graph`);
    const shape = layoutShape(layout, type).map((size) => (typeof size === "number" ? size : size.batchTimes * batch));
    const data = results[name] ?? new Float64Array();
    const counted = upTo && countedDimension(layout, type, upTo.axis);
    const cut =
      upTo && counted ? firstOfEach({ shape, data }, counted, largest(results[upTo.count] ?? [])) : { shape, data };
    return [name, { shape: cut.shape, values: type.element === "int" ? Int32Array.from(cut.data) : cut.data }];
  });
  return { arrays: new Map(arrays), loop };
}

/** Weights are read from their file one at a time, when the interpreter comes to them. */
function lazily<T>(names: readonly string[], read: (name: string) => T): { readonly [name: string]: T } {
  const properties = names.map((name) => [name, { enumerable: true, get: () => read(name) }]);
  return Object.defineProperties({}, Object.fromEntries(properties)) as { readonly [name: string]: T };
}
