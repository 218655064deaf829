import type { Graph, Node, Op, ValueId } from "../ir/graph.ts";
import type { Scalar } from "../ir/scalar.ts";
import { walkScalar } from "../ir/scalarWalk.ts";

/** What is kept in float32 whatever the precision, as an error of a pixel's 1/256 is one of the result's size. */
export type Places = {
  /** Values that points and their weights are made of. Their products are multiplied in tf32: bfloat16 has too few bits. */
  readonly points: ReadonlySet<ValueId>;
  /** Tokens that are normalised to place points: the residual stream of a network that samples. */
  readonly tokens: ReadonlySet<ValueId>;
  /** Values that whole numbers, and choices of the largest, are made of. */
  readonly decisions: ReadonlySet<ValueId>;
};

/**
 * From a sampling back: sums, views and products. Behind a product lies what such values alone read: a projected query
 * does, and tokens that are attended to, too, do not. What is computed to be looked at and for nothing else does not count
 * as a reader.
 */
export const placesOf = (graph: Graph): Places => {
  const readers = neededReaders(graph);
  const points = new Set<ValueId>();
  /** Those with a product between them and the points. */
  const behind = new Set<ValueId>();
  const tokens = new Set<ValueId>();
  for (const node of backwards(graph)) {
    if (node.op === "sample") for (const id of node.inputs.slice(0, 2)) points.add(id);
    if (tokens.has(node.id) && passes.includes(node.op)) for (const id of node.inputs) tokens.add(id);
    if (!points.has(node.id)) continue;
    const isProduct = node.op === "linear";
    const made = isProduct ? [node.inputs[0]] : madeOf(node, graph);
    for (const id of made) {
      const isBehind = isProduct || behind.has(node.id);
      const alone = (readers.get(id) ?? []).every((reader) => points.has(reader.id));
      if (!isBehind || alone) points.add(id);
      if (isBehind && alone) behind.add(id);
      if (isBehind) for (const each of normalised(id, graph)) tokens.add(each);
    }
  }
  return { points, tokens, decisions: decisionsOf(graph) };
};

/**
 * Whether a network keeps float32 between its kernels, whatever the precision: one that looks at sets through a few
 * learned vectors, and none of whose products is wide. The scores of such vectors are peaked, and a softmax of them makes
 * a tenth of what bfloat16 rounds to a thousandth, layer upon layer; and rows of so few channels are loaded, multiplied
 * and stored before the next launch has begun, so that 16 bits would save nothing.
 */
export const isNarrowOfSets = ({ nodes }: Graph): boolean => {
  const looks = nodes.some((node) => node.op === "attend" && nodes[node.inputs[0]]?.type.batch === false);
  if (!looks) return false;
  return nodes.every((node) => {
    if (node.op !== "linear" || !node.type.batch) return true;
    return Math.min(node.type.channels, nodes[node.inputs[0]]?.type.channels ?? 0) <= narrowChannels;
  });
};
/** Four products of tensor cores in tf32, and a line of memory in float32. */
const narrowChannels = 32;

/** What a value is made of without a product: what a loop's state is, too, at its first step and at those that follow. */
const madeOf = (node: Node, { nodes }: Graph): readonly ValueId[] => {
  if (node.op === "take") return [node.inputs[0]];
  if (node.op === "after") return [node.inputs[1]];
  if (node.op === "state") {
    const loop = nodes.find((each) => each.op === "loop");
    const next = loop?.op === "loop" ? loop.inputs[1 + loop.attrs.states.indexOf(node.attrs.name)] : undefined;
    return next === undefined ? node.inputs : [...node.inputs, next];
  }
  return passes.includes(node.op) ? node.inputs : [];
};

/** All values, the last first; twice where steps hand on to earlier values what later ones make of them. */
const backwards = ({ nodes }: Graph): readonly Node[] => {
  const once = nodes.toReversed();
  return nodes.some(({ op }) => op === "loop") ? [...once, ...once] : once;
};

/** Whether a function takes whole numbers of what it reads, as rounding does. */
const takesWhole = (body: Scalar): boolean => {
  let found = false;
  walkScalar(body, (part) => {
    found ||= part.kind === "unary" && ["floor", "ceil", "round"].includes(part.op);
  });
  return found;
};

/** From what is rounded or chosen back to what kernels compute. */
const decisionsOf = (graph: Graph): ReadonlySet<ValueId> => {
  const found = new Set<ValueId>();
  for (const node of backwards(graph)) {
    const isArgmax = node.op === "reduce" && node.attrs.kind === "argmax";
    const isMost = (node.op === "reduce" || node.op === "pool") && node.attrs.kind === "max";
    if (node.op === "round" || node.op === "topK" || isArgmax) for (const id of node.inputs) found.add(id);
    if (node.op === "take") found.add(node.inputs[1]);
    if (node.op === "pointwise" && takesWhole(node.attrs.body)) for (const id of node.inputs) found.add(id);
    if (found.has(node.id)) for (const id of isMost ? node.inputs : madeOf(node, graph)) found.add(id);
  }
  return found;
};

/** What normalisations that this value is made of read. */
const normalised = (of: ValueId, { nodes }: Graph): readonly ValueId[] => {
  const found: ValueId[] = [];
  const seen = new Set([of]);
  for (const id of seen) {
    const node = nodes[id];
    if (node?.op === "normalize") found.push(...node.inputs);
    else if (node !== undefined && passes.includes(node.op)) for (const input of node.inputs) seen.add(input);
  }
  return found;
};

/** Who reads a value on its way to what the caller gets. */
const neededReaders = (graph: Graph): ReadonlyMap<ValueId, readonly Node[]> => {
  const needed = new Set(graph.outputs.map(({ value }) => value));
  const readers = new Map<ValueId, Node[]>(graph.nodes.map(({ id }) => [id, []]));
  for (const node of graph.nodes.toReversed()) {
    if (!needed.has(node.id)) continue;
    for (const id of new Set(node.inputs)) {
      needed.add(id);
      readers.get(id)?.push(node);
    }
  }
  return readers;
};

const passes: readonly Op[] = [
  "pointwise",
  "concat",
  "channels",
  "merge",
  "unmerge",
  "pad",
  "unpack",
  "pack",
  "rename",
  "expand",
  "slice",
];
