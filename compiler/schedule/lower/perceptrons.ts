import type { Graph, Node, NodeOf, ValueId } from "../../../ir/graph.ts";
import { variablesOf } from "../../../ir/scalarWalk.ts";
import { gridRows, prefixRows } from "../../../ir/types.ts";
import { isSum } from "../../passes/affine.ts";
import { warpRow } from "../rowPlan.ts";

/**
 * A product of few results whose every row is made of little, by one kernel: a convolution of each channel, or a product of
 * few columns; a bias; a normalisation; a function of each element. `null` where there is none.
 */
export type Perceptron = {
  /** What computes a term of a product's hidden element. */
  readonly terms: NodeOf<"pointwise"> | null;
  readonly head: NodeOf<"conv"> | NodeOf<"linear">;
  readonly bias: { readonly node: NodeOf<"pointwise">; readonly value: ValueId } | null;
  readonly norm: NodeOf<"normalize"> | null;
  readonly activation: NodeOf<"pointwise"> | null;
  readonly tail: NodeOf<"linear">;
};

/** Columns of a product, and results of a row, that are too few to fill a tile of a product on tensor cores. */
const fewColumns = 4;
const fewResults = 8;

/** By the last product. Values between have one reader each, and nobody wants them kept. */
export const findPerceptrons = (
  graph: Graph,
  isConstant: (id: ValueId) => boolean,
  readers: (id: ValueId) => number,
): ReadonlyMap<ValueId, Perceptron> => {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const inside = (id: ValueId | undefined): Node | null => {
    const node = id === undefined ? undefined : nodes.get(id);
    const own = node !== undefined && readers(node.id) === 1 && !isConstant(node.id) && prefixRows(node.type) === 0;
    return own ? node : null;
  };
  const chainOf = (node: NodeOf<"pointwise">): ValueId | null => {
    const [x, other] = node.inputs.filter((id) => !isConstant(id));
    const type = x === undefined ? undefined : nodes.get(x)?.type;
    const same = type !== undefined && type.channels === node.type.channels && gridRows(type) === gridRows(node.type);
    return x !== undefined && other === undefined && same && !readsPlaces(node) ? x : null;
  };
  const found = new Map<ValueId, Perceptron>();
  for (const tail of graph.nodes) {
    if (tail.op !== "linear" || isConstant(tail.id) || !isConstant(tail.inputs[1])) continue;
    if (tail.type.channels > fewResults || prefixRows(tail.type) > 0) continue;
    let at = inside(tail.inputs[0]);
    const hidden = at?.type.channels ?? 0;
    let activation: Perceptron["activation"] = null;
    let norm: Perceptron["norm"] = null;
    let bias: Perceptron["bias"] = null;
    if (at?.op === "pointwise") {
      activation = at;
      at = inside(chainOf(at) ?? undefined);
    }
    if (at?.op === "normalize" && at.attrs.groups === 1 && at.attrs.axes.length === 0) {
      norm = at;
      at = inside(at.inputs[0]);
      const value = at?.op === "pointwise" && isSum(at.attrs.body) ? at.inputs.find(isConstant) : undefined;
      if (at?.op === "pointwise" && value !== undefined) {
        bias = { node: at, value };
        at = inside(chainOf(at) ?? undefined);
      }
    }
    if (at === null || hidden > warpRow) continue;
    if (at.op === "conv" && isConstant(at.inputs[1]) && at.attrs.groups === at.type.channels)
      found.set(tail.id, { terms: null, head: at, bias, norm, activation, tail });
    if (at.op === "linear" && isConstant(at.inputs[1])) {
      const x = inside(at.inputs[0]);
      const columns = nodes.get(at.inputs[0])?.type.channels ?? Infinity;
      const terms = x?.op === "pointwise" && !readsPlaces(x) ? x : null;
      if (columns <= fewColumns) found.set(tail.id, { terms, head: at, bias, norm, activation, tail });
    }
  }
  return found;
};

const readsPlaces = ({ attrs }: NodeOf<"pointwise">): boolean => variablesOf(attrs.body).size > 0;
