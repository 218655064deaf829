import { createBuilder } from "../../ir/builder.ts";
import type { Graph, Node, NodeOf, ValueId } from "../../ir/graph.ts";
import { add, argument } from "../../ir/scalarBuild.ts";
import { prefixRows, type TensorType } from "../../ir/types.ts";
import { placesOf } from "../places.ts";
import { isSum } from "./affine.ts";
import type { Pass } from "./rewrite.ts";

/**
 * Makes one product of several that read the same value, which is then loaded once: the query, key and value of an
 * attention that projects them apart, the offsets and weights of a sampling. Their results become its columns.
 * Requires: foldConstantTerms (a product has one bias). Ensures: products of one value with biases of their own, and
 * nothing else behind them, are one.
 *
 *   linear(x, W) + b, linear(x, V) + c → columns of linear(x, [W; V]) + [b; c]
 */
export const joinLinears: Pass = {
  name: "joinLinears",
  run: (graph) => {
    const groups = groupsOf(graph);
    return groups.length === 0 ? graph : joined(graph, groups);
  },
};

/** A product and the sum with its bias behind it, which alone reads it; `bias` is null where there is none. */
type Member = { readonly linear: NodeOf<"linear">; readonly bias: ValueId | null; readonly result: ValueId };

const groupsOf = (graph: Graph): readonly (readonly Member[])[] => {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const constants = constantsOf(graph);
  const readers = readersOf(graph);
  const places = placesOf(graph).points;
  const groups = new Map<string, Member[]>();
  for (const node of graph.nodes) {
    if (node.op !== "linear" || constants.has(node.id) || !constants.has(node.inputs[1])) continue;
    const member = memberOf(node, nodes, readers, constants, places);
    if (member === null) continue;
    const key = [node.inputs[0], member.bias === null ? "plain" : "biased", purposeOf(member, places)].join(" ");
    groups.set(key, [...(groups.get(key) ?? []), member]);
  }
  return [...groups.values()].filter((group) => group.length > 1);
};

type Nodes = ReadonlyMap<ValueId, Node>;
type Readers = ReadonlyMap<ValueId, readonly (Node | "output")[]>;

const memberOf = (
  linear: NodeOf<"linear">,
  nodes: Nodes,
  readers: Readers,
  constants: ReadonlySet<ValueId>,
  places: ReadonlySet<ValueId>,
): Member | null => {
  const [only, ...others] = readers.get(linear.id) ?? [];
  if (only === undefined) return null;
  const isOperand = (id: ValueId): boolean =>
    (readers.get(id) ?? []).every(
      (reader) =>
        takesColumns(reader) ||
        (places.has(id) && movesTokens(reader)) ||
        (reader !== "output" && reader.op === "grid" && isOperand(reader.id)),
    );
  if (others.length === 0 && only !== "output" && only.op === "pointwise") {
    const bias = only.inputs.find((id) => id !== linear.id);
    const type = bias === undefined ? undefined : nodes.get(bias)?.type;
    return bias !== undefined &&
      isSum(only.attrs.body) &&
      constants.has(bias) &&
      isVector(type, linear.type.channels) &&
      isOperand(only.id)
      ? { linear, bias, result: only.id }
      : null;
  }
  return isOperand(linear.id) ? { linear, bias: null, result: linear.id } : null;
};

/** Points are placed in float32, and what stands beside them would be stored so too: they are joined with each other alone. */
const purposeOf = ({ result }: Member, places: ReadonlySet<ValueId>): "points" | "tokens" =>
  places.has(result) ? "points" : "tokens";

const isVector = (type: TensorType | undefined, channels: number): boolean =>
  type !== undefined && type.axes.length === 0 && prefixRows(type) === 0 && type.channels === channels;

/** Whoever loads rows by address finds columns as well; others would join the product themselves, or copy. */
const takesColumns = (reader: Node | "output"): boolean =>
  reader !== "output" && ["attend", "sample", "channels", "unpack"].includes(reader.op);

/** Points are loaded by address, from wherever these views say. */
const movesTokens = (reader: Node | "output"): boolean =>
  reader !== "output" && (reader.op === "merge" || reader.op === "rename" || reader.op === "expand");

const constantsOf = ({ nodes }: Graph): ReadonlySet<ValueId> => {
  const constants = new Set<ValueId>();
  for (const { id, op, inputs } of nodes)
    if (op !== "input" && op !== "state" && inputs.every((input) => constants.has(input))) constants.add(id);
  return constants;
};

const readersOf = (graph: Graph): Readers => {
  const readers = new Map<ValueId, (Node | "output")[]>();
  const note = (id: ValueId, reader: Node | "output"): void =>
    void readers.set(id, [...(readers.get(id) ?? []), reader]);
  for (const node of graph.nodes) for (const id of node.inputs) note(id, node);
  for (const { value } of [...graph.outputs, ...graph.kept]) note(value, "output");
  return readers;
};

/** Constants come first, so that the first product of a group finds the weights of all. */
const joined = (graph: Graph, groups: readonly (readonly Member[])[]): Graph => {
  const builder = createBuilder(graph.name);
  const renamed = new Map<ValueId, ValueId>();
  const rename = (id: ValueId): ValueId => {
    const found = renamed.get(id);
    if (found === undefined) throw new Error(`internal: %${id} is read before it is made`);
    return found;
  };
  const copy = ({ id, op, inputs, attrs, span, path }: Node): void =>
    void renamed.set(id, builder.add(op, inputs.map(rename) as never, attrs as never, span, path));
  const join = (group: readonly Member[]): void => {
    const [first] = group;
    if (first === undefined) return;
    const { inputs, span, path } = first.linear;
    const weights = group.map(({ linear }) => rename(linear.inputs[1]));
    const weight = builder.add("concat", weights, { over: { axis: "out" } }, span, path);
    let result = builder.add("linear", [rename(inputs[0]), weight], {}, span, path);
    const biases = group.flatMap(({ bias }) => (bias === null ? [] : [rename(bias)]));
    if (biases.length > 0) {
      const bias = builder.add("concat", biases, { over: "channels" }, span, path);
      result = builder.add("pointwise", [result, bias], { body: add(argument(0), argument(1)) }, span, path);
    }
    let start = 0;
    for (const { linear, result: columns } of group) {
      const width = linear.type.channels;
      const attrs = { groups: 1, start, width };
      renamed.set(columns, builder.add("channels", [result], attrs, linear.span, linear.path));
      start += width;
    }
  };
  const constants = constantsOf(graph);
  const firsts = new Map(groups.flatMap((group) => group.slice(0, 1).map(({ linear }) => [linear.id, group] as const)));
  const gone = new Set(groups.flat().flatMap(({ linear, result }) => [linear.id, result]));
  for (const node of graph.nodes) if (constants.has(node.id)) copy(node);
  for (const node of graph.nodes) {
    const group = firsts.get(node.id);
    if (group !== undefined) join(group);
    else if (!constants.has(node.id) && !gone.has(node.id)) copy(node);
  }
  for (const { name, value, layout, upTo } of graph.outputs) builder.output(name, rename(value), layout, upTo);
  for (const { name, value, layout } of graph.kept) builder.keep(name, rename(value), layout);
  for (const name of graph.unused) builder.unused(name);
  for (const [name, how] of Object.entries(graph.resizing)) builder.resizing(name, how);
  return builder.build();
};
