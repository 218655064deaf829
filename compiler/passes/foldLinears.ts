import type { Node, NodeOf, ValueId } from "../../ir/graph.ts";
import { add, argument } from "../../ir/scalarBuild.ts";
import { sizeOf } from "../../ir/types.ts";
import { isSum } from "./affine.ts";
import { rewrite, type Pass, type Rewriter } from "./rewrite.ts";

/**
 * Multiplies the weights of two linear layers that follow one another, once, when weights are loaded (in float64, rounded
 * once: more exact than two layers), where one layer is less work than two.
 * Requires: hoistMeans and sinkRepeats (nothing but a bias lies between). Ensures: no product reads a product alone.
 *
 *   linear(linear(x, A) + a, B) → linear(x, B A) + B a
 */
export const foldLinears: Pass = {
  name: "foldLinears",
  run: (graph) =>
    rewrite(graph, (node, to) => {
      if (node.op !== "linear" || !to.isConstant(node.inputs[1])) return null;
      const inner = innerLayer(node.inputs[0], to);
      if (!inner || !isLessWork(inner.layer, node, to)) return null;
      const weight = to.add("linear", [node.inputs[1], transposed(inner.layer.inputs[1], inner.layer, to)], {}, node);
      const product = to.add("linear", [inner.layer.inputs[0], weight], {}, node);
      if (inner.bias === null) return product;
      const bias = to.add("linear", [inner.bias, node.inputs[1]], {}, node);
      return to.add("pointwise", [product, bias], { body: add(argument(0), argument(1)) }, node);
    }),
};

type InnerLayer = { readonly layer: NodeOf<"linear">; readonly bias: ValueId | null };

const innerLayer = (id: ValueId, to: Rewriter): InnerLayer | null => {
  const node = to.node(id);
  if (to.readers(id).length > 1) return null;
  if (node.op === "linear")
    return to.isConstant(node.inputs[1]) && !to.isConstant(id) ? { layer: node, bias: null } : null;
  if (node.op !== "pointwise" || !isSum(node.attrs.body)) return null;
  const bias = node.inputs.find(
    (input) =>
      to.isConstant(input) && to.type(input).axes.length === 0 && to.type(input).channels === node.type.channels,
  );
  const other = node.inputs.find((input) => input !== bias);
  if (bias === undefined || other === undefined) return null;
  const layer = innerLayer(other, to);
  return layer && layer.bias === null ? { layer: layer.layer, bias } : null;
};

const isLessWork = (inner: NodeOf<"linear">, outer: NodeOf<"linear">, to: Rewriter): boolean => {
  const into = to.type(inner.inputs[0]).channels;
  const between = inner.type.channels;
  const out = outer.type.channels;
  return into * out < into * between + between * out;
};

/** A weight [out, in] as [in, out]: rows named `out` again, so that a product reads it as a weight. */
const transposed = (weight: ValueId, like: Node, to: Rewriter): ValueId => {
  const type = to.type(weight);
  const columns = to.add("unpack", [weight], { sizes: [{ axis: "in", size: type.channels }] }, like);
  const rows = to.add("pack", [columns], { axes: ["out"] }, like);
  return sizeOf(type, "out") === undefined ? weight : to.add("rename", [rows], { axes: { in: "out" } }, like);
};
