import { createBuilder } from "../../ir/builder.ts";
import type { Graph, Node, Op, Ops, ValueId } from "../../ir/graph.ts";
import type { TensorType } from "../../ir/types.ts";

/** One change to a graph. Passes are listed, in order and with reasons, in pipeline.ts. */
export type Pass = { readonly name: string; readonly run: (graph: Graph) => Graph };

/** The graph being made: values of the old graph have been given new ids as they were copied. */
export type Rewriter = {
  /** A value of the new graph. */
  readonly node: (id: ValueId) => Node;
  readonly type: (id: ValueId) => TensorType;
  /** Whether a value of the new graph depends on no input. */
  readonly isConstant: (id: ValueId) => boolean;
  /** Adds a node that stands where `like` stands in the author's source. */
  readonly add: <K extends Op>(op: K, inputs: Ops[K]["inputs"], attrs: Ops[K]["attrs"], like: Node) => ValueId;
  /** Who read the value that `id` replaces in the old graph; nobody, for values that a pass added. */
  readonly readers: (id: ValueId) => readonly Reader[];
};
export type Reader = { readonly op: Op; readonly input: number } | "output";

/**
 * Copies a graph node by node. `change` sees each node with its inputs already new, and gives the value to use in its
 * place, or null to keep it. Nodes that nobody reads any more are left out. An unchanged graph is returned as it was, and
 * so is one whose outputs would no longer be one for each example.
 */
export const rewrite = (graph: Graph, change: (node: Node, rewriter: Rewriter) => ValueId | null): Graph => {
  const builder = createBuilder(graph.name);
  const made = new Map<ValueId, Node>();
  const constants = new Set<ValueId>();
  const renamed = new Map<ValueId, ValueId>();
  const readersOfNew = new Map<ValueId, readonly Reader[]>();
  const readersOfOld = readersOf(graph);
  const rename = (id: ValueId): ValueId => {
    const found = renamed.get(id);
    if (found === undefined) throw new Error(`internal: %${id} is read before it is made`);
    return found;
  };
  const add: Rewriter["add"] = (op, inputs, attrs, like) => {
    const id = builder.add(op, inputs, attrs, like.span, like.path);
    made.set(id, { id, op, inputs, attrs, type: builder.type(id), span: like.span, path: like.path } as Node);
    if (op !== "input" && op !== "state" && inputs.every((input) => constants.has(input))) constants.add(id);
    return id;
  };
  const rewriter: Rewriter = {
    add,
    node: (id) => {
      const found = made.get(id);
      if (!found) throw new Error(`internal: no value %${id}`);
      return found;
    },
    type: (id) => builder.type(id),
    isConstant: (id) => constants.has(id),
    readers: (id) => readersOfNew.get(id) ?? [],
  };
  let changed = false;
  for (const node of graph.nodes) {
    const copy = { ...node, inputs: node.inputs.map(rename) } as Node;
    const replacement = change(copy, rewriter);
    changed ||= replacement !== null;
    const id = replacement ?? add(copy.op, copy.inputs as never, copy.attrs as never, copy);
    renamed.set(node.id, id);
    readersOfNew.set(id, [...(readersOfNew.get(id) ?? []), ...(readersOfOld.get(node.id) ?? [])]);
  }
  if (!changed) return graph;
  // Tokens that are the same for all examples may stand in for batched ones anywhere but in what the caller gets.
  const published = [...graph.outputs, ...graph.kept].map(({ value }) => value);
  const sameBatch = (node: Node): boolean =>
    !published.includes(node.id) || builder.type(rename(node.id)).batch === node.type.batch;
  if (!graph.nodes.every(sameBatch)) return graph;
  for (const { name, value, layout, upTo } of graph.outputs) builder.output(name, rename(value), layout, upTo);
  for (const { name, value, layout } of graph.kept) builder.keep(name, rename(value), layout);
  for (const name of graph.unused) builder.unused(name);
  for (const [name, how] of Object.entries(graph.resizing)) builder.resizing(name, how);
  return builder.build();
};

const readersOf = (graph: Graph): ReadonlyMap<ValueId, readonly Reader[]> => {
  const readers = new Map<ValueId, Reader[]>();
  const note = (id: ValueId, reader: Reader): void => void readers.set(id, [...(readers.get(id) ?? []), reader]);
  for (const node of graph.nodes) for (const [input, id] of node.inputs.entries()) note(id, { op: node.op, input });
  for (const { value } of [...graph.outputs, ...graph.kept]) note(value, "output");
  return readers;
};
