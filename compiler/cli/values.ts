import { eliminateDeadNodes } from "../../ir/deadNodes.ts";
import { evaluate } from "../../ir/evaluate.ts";
import type { Graph, Output, ValueId } from "../../ir/graph.ts";
import type { Layout } from "../../ir/layout.ts";
import type { TensorType } from "../../ir/types.ts";
import { fromLayout, type Value } from "../../ir/value.ts";
import type { Checkpoint } from "../../runtime/checkpoint.ts";
import type { NumberArrays } from "./arrays.ts";

/** Runs a graph on a device: its outputs by name. */
export type RunGraph = (graph: Graph, inputs: NumberArrays) => Promise<NumberArrays>;
export type Example = { readonly inputs: NumberArrays; readonly batch: number; readonly checkpoint: Checkpoint };
export type Values = ReadonlyMap<ValueId, Value>;

/** Values of a graph. What depends on weights alone needs no device. */
export async function valuesOf(
  graph: Graph,
  values: readonly ValueId[],
  { inputs, batch, checkpoint }: Example,
  run: RunGraph,
): Promise<Values> {
  const ids = [...new Set(values)];
  const wanted = (each: boolean): Output[] =>
    ids
      .filter((id) => typeOf(graph, id).batch === each)
      .map((id) => ({ name: String(id), value: id, layout: rowLayout(typeOf(graph, id)), upTo: null }));
  const only = (outputs: Output[]): Graph => eliminateDeadNodes({ ...graph, outputs, kept: [] });
  const [own, shared] = [wanted(true), wanted(false)];
  const found = new Map<ValueId, Value>();
  const add = ({ name, value, layout }: Output, array: ArrayLike<number>, examples: number): void =>
    void found.set(value, fromLayout(array, layout, typeOf(graph, value), examples, name));
  if (own.length > 0) {
    const results = await run(only(own), inputs);
    for (const output of own) add(output, results.get(output.name)?.values ?? [], batch);
  }
  if (shared.length > 0) {
    const small = only(shared);
    const parameters = small.nodes.flatMap((node) => (node.op === "parameter" ? [node.attrs.name] : []));
    const { outputs } = evaluate(small, {
      batch: 1,
      inputs: Object.fromEntries([...inputs].map(([name, array]) => [name, array.values])),
      parameters: Object.fromEntries(parameters.map((name) => [name, checkpoint.tensors.get(name)?.values() ?? []])),
    });
    for (const output of shared) add(output, outputs[output.name] ?? [], 1);
  }
  return found;
}

/** The rows of an example one after the other. */
function rowLayout({ batch, prefix, axes }: TensorType): Layout {
  const grid = axes.map(({ axis }) => axis);
  const rows = prefix.count > 0 ? [[...prefix.over, "prefix"], grid] : [grid];
  return [...(batch ? [[["b"]]] : []), rows, [["c"]]];
}

export function typeOf({ nodes }: Graph, id: ValueId): TensorType {
  const node = nodes[id];
  if (node === undefined) throw new RangeError(`there is no value %${id}`);
  return node.type;
}
