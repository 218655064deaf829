import type { Graph, Node, Output, ValueId } from "./graph.ts";

/**
 * The graph without values that no output and no kept value needs, numbered anew; the same graph where there are none.
 * Inputs stay, since callers hand them over; parameters that go are `unused` from then on.
 */
export const eliminateDeadNodes = (graph: Graph): Graph => {
  const live = new Set<ValueId>([...graph.outputs, ...graph.kept].map(({ value }) => value));
  for (const node of graph.nodes.toReversed()) {
    if (node.op === "input") live.add(node.id);
    if (live.has(node.id)) for (const input of node.inputs) live.add(input);
  }
  if (live.size === graph.nodes.length) return graph;

  const renumbered = new Map<ValueId, ValueId>();
  const nodes: Node[] = [];
  const next = (value: ValueId): ValueId => renumbered.get(value) ?? value;
  for (const node of graph.nodes) {
    if (!live.has(node.id)) continue;
    renumbered.set(node.id, nodes.length as ValueId);
    nodes.push({ ...node, id: nodes.length, inputs: node.inputs.map(next) } as unknown as Node);
  }
  const renamed = (output: Output): Output => ({ ...output, value: next(output.value) });
  const read = new Set(nodes.flatMap((node) => (node.op === "parameter" ? [node.attrs.name] : [])));
  const dropped = graph.nodes.flatMap((node) =>
    node.op === "parameter" && !read.has(node.attrs.name) ? [node.attrs.name] : [],
  );
  return {
    ...graph,
    nodes,
    outputs: graph.outputs.map(renamed),
    kept: graph.kept.map(renamed),
    unused: [...new Set([...graph.unused, ...dropped])],
  };
};
