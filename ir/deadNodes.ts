import type { Graph, Node, NodeOf, Output, ValueId } from "./graph.ts";

/**
 * The graph without values that no output and no kept value needs, numbered anew; the same graph where there are none.
 * A loop hands on the states alone that something else than they themselves reads.
 * Inputs stay, since callers hand them over; parameters that go are `unused` from then on.
 */
export const eliminateDeadNodes = (graph: Graph): Graph => {
  const live = liveValues(graph);
  if (live.size === graph.nodes.length) return graph;

  const renumbered = new Map<ValueId, ValueId>();
  const nodes: Node[] = [];
  const next = (value: ValueId): ValueId => renumbered.get(value) ?? value;
  for (const node of graph.nodes) {
    if (!live.has(node.id)) continue;
    renumbered.set(node.id, nodes.length as ValueId);
    const kept = node.op === "loop" ? withStates(node, live, graph) : node;
    nodes.push({ ...kept, id: nodes.length, inputs: kept.inputs.map(next) } as unknown as Node);
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

const liveValues = (graph: Graph): ReadonlySet<ValueId> => {
  const live = new Set<ValueId>([...graph.outputs, ...graph.kept].map(({ value }) => value));
  // What a live state becomes is live, which may make other states so.
  for (let before = -1; live.size > before;) {
    before = live.size;
    for (const node of graph.nodes.toReversed()) {
      if (node.op === "input") live.add(node.id);
      if (!live.has(node.id)) continue;
      const { inputs } = node.op === "loop" ? withStates(node, live, graph) : node;
      for (const input of inputs) live.add(input);
    }
  }
  return live;
};

/** The loop with those of its states that are live. */
const withStates = (loop: NodeOf<"loop">, live: ReadonlySet<ValueId>, graph: Graph): NodeOf<"loop"> => {
  const [flag, ...next] = loop.inputs;
  const read = new Set(
    graph.nodes.flatMap((node) => (node.op === "state" && live.has(node.id) ? [node.attrs.name] : [])),
  );
  const isRead = (_: unknown, index: number): boolean => read.has(loop.attrs.states[index] ?? "");
  return {
    ...loop,
    inputs: [flag, ...next.filter(isRead)],
    attrs: { ...loop.attrs, states: loop.attrs.states.filter(isRead) },
  };
};
