import type { NodeOf, ValueId } from "../../ir/graph.ts";
import { add, argument } from "../../ir/scalarBuild.ts";
import { isSum } from "./affine.ts";
import { composed } from "./composed.ts";
import { rewrite, type Pass, type Rewriter } from "./rewrite.ts";

/**
 * Multiplies the weights of two layers that follow one another, once, when weights are loaded (in float64, rounded once:
 * more exact than two layers), where one layer is less work than two.
 * Requires: hoistMeans and sinkRepeats (nothing but a bias lies between). Ensures: no product reads a product alone.
 *
 *   linear(linear(x, A) + a, B) → linear(x, B A) + B a      linear(conv(x, A) + a, B) alike
 */
export const foldLinears: Pass = {
  name: "foldLinears",
  run: (graph) =>
    rewrite(graph, (node, to) => {
      if (node.op !== "linear" || !to.isConstant(node.inputs[1])) return null;
      const inner = innerLayer(node.inputs[0], to);
      const weight = inner && composed(inner.layer, node.inputs[1], to, node);
      if (inner === null || weight === null) return null;
      const { layer, bias } = inner;
      const product =
        layer.op === "linear"
          ? to.add("linear", [layer.inputs[0], weight], layer.attrs, node)
          : to.add("conv", [layer.inputs[0], weight], layer.attrs, node);
      if (bias === null) return product;
      const moved = to.add("linear", [bias, node.inputs[1]], {}, node);
      return to.add("pointwise", [product, moved], { body: add(argument(0), argument(1)) }, node);
    }),
};

type Layer = NodeOf<"linear"> | NodeOf<"conv">;
type InnerLayer = { readonly layer: Layer; readonly bias: ValueId | null };

const innerLayer = (id: ValueId, to: Rewriter): InnerLayer | null => {
  const node = to.node(id);
  if (!isAbsorbed(id, to)) return null;
  if (node.op === "linear" || node.op === "conv") return narrows(id, node, to) ? { layer: node, bias: null } : null;
  if (node.op !== "pointwise" || !isSum(node.attrs.body)) return null;
  const bias = node.inputs.find(
    (input) =>
      to.isConstant(input) && to.type(input).axes.length === 0 && to.type(input).channels === node.type.channels,
  );
  const other = node.inputs.find((input) => input !== bias);
  if (bias === undefined || other === undefined) return null;
  const layer = innerLayer(other, to);
  return layer && layer.bias === null && narrows(id, layer.layer, to) ? { layer: layer.layer, bias } : null;
};

/** Read by one, or by products alone: each then reads what lies before. */
const isAbsorbed = (id: ValueId, to: Rewriter): boolean => {
  const readers = to.readers(id);
  return (
    readers.length <= 1 ||
    readers.every((reader) => reader !== "output" && reader.op === "linear" && reader.input === 0)
  );
};

/** Whether several readers do no more work each without the layer. */
const narrows = (id: ValueId, layer: Layer, to: Rewriter): boolean =>
  to.readers(id).length <= 1 || (layer.op === "linear" && to.type(layer.inputs[0]).channels <= layer.type.channels);
