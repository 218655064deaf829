import type { Graph, Node, ValueId } from "../../../ir/graph.ts";

/** Who reads each value, and as which of its inputs. */
export type Uses = ReadonlyMap<ValueId, readonly Use[]>;
export type Use = { readonly by: Node; readonly input: number } | "output";

export const usesOf = (graph: Graph): Uses => {
  const uses = new Map<ValueId, Use[]>(graph.nodes.map((node) => [node.id, []]));
  for (const by of graph.nodes) for (const [input, id] of by.inputs.entries()) uses.get(id)?.push({ by, input });
  for (const { value } of [...graph.outputs, ...graph.kept]) uses.get(value)?.push("output");
  return uses;
};
