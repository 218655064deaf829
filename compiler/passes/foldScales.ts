import type { NodeOf, ValueId } from "../../ir/graph.ts";
import { add, argument, mul } from "../../ir/scalarBuild.ts";
import { affineIn, isSum } from "./affine.ts";
import { rewrite, type Pass, type Rewriter } from "./rewrite.ts";

/**
 * Multiplies a product's weight, once, by what its channels are scaled with afterwards: a batch normalisation leaves
 * nothing but a bias.
 * Requires: nothing. Ensures: no product that has one reader is scaled by constants alone, channel by channel.
 *
 *   (linear(x, W) + b) * g + c → linear(x, W * g) + (b * g + c)      conv alike
 */
export const foldScales: Pass = {
  name: "foldScales",
  run: (graph) =>
    rewrite(graph, (node, to) => {
      if (node.op !== "pointwise") return null;
      for (const x of node.inputs.keys()) {
        const map = affineIn(node.attrs.body, x);
        const inner = map === null || map.scale === null ? null : productIn(node.inputs[x], to);
        const scale = inner === null ? null : vector(node, map?.scale ?? null, to);
        const shift = map?.shift === null || map?.shift === undefined ? null : vector(node, map.shift, to);
        if (inner === null || scale === null || (map?.shift !== null && shift === null)) continue;
        const product = scaled(inner.product, scale, to);
        const biases = inner.bias === null ? [] : [inner.bias];
        const bias = biases.map((id) =>
          to.add("pointwise", [id, scale], { body: mul(argument(0), argument(1)) }, node),
        );
        const terms = [...bias, ...(shift === null ? [] : [shift])];
        return terms.reduce<ValueId>(
          (sum, term) => to.add("pointwise", [sum, term], { body: add(argument(0), argument(1)) }, node),
          product,
        );
      }
      return null;
    }),
};

type Product = NodeOf<"linear"> | NodeOf<"conv">;
type Inner = { readonly product: Product; readonly bias: ValueId | null };

/** A product that nobody else reads, or one with a bias. */
const productIn = (id: ValueId | undefined, to: Rewriter): Inner | null => {
  if (id === undefined || to.isConstant(id) || to.readers(id).length > 1) return null;
  const node = to.node(id);
  if (node.op === "linear" || node.op === "conv")
    return to.isConstant(node.inputs[1]) ? { product: node, bias: null } : null;
  if (node.op !== "pointwise" || !isSum(node.attrs.body)) return null;
  for (const [x, other] of [
    [0, 1],
    [1, 0],
  ] as const) {
    const bias = vector(node, other, to);
    const inner = bias === null ? null : productIn(node.inputs[x], to);
    if (inner !== null && inner.bias === null) return { product: inner.product, bias };
  }
  return null;
};

/** An input that holds one constant number for each channel. */
const vector = (node: NodeOf<"pointwise">, index: number | null, to: Rewriter): ValueId | null => {
  const id = index === null ? undefined : node.inputs[index];
  if (id === undefined || !to.isConstant(id)) return null;
  const { axes, prefix, channels } = to.type(id);
  return axes.length === 0 && prefix.count === 0 && channels === node.type.channels ? id : null;
};

const scaled = (product: Product, scale: ValueId, to: Rewriter): ValueId => {
  const [x, weight] = product.inputs;
  const byOutput = to.add("unpack", [scale], { sizes: [{ axis: "out", size: product.type.channels }] }, product);
  const times = to.add("pointwise", [weight, byOutput], { body: mul(argument(0), argument(1)) }, product);
  return product.op === "linear"
    ? to.add("linear", [x, times], product.attrs, product)
    : to.add("conv", [x, times], product.attrs, product);
};
