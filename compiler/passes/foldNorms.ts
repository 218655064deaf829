import type { NodeOf, ValueId } from "../../ir/graph.ts";
import { add, argument, mul } from "../../ir/scalarBuild.ts";
import { affineIn } from "./affine.ts";
import { rewrite, type Pass, type Reader, type Rewriter } from "./rewrite.ts";

/**
 * Moves the scale and shift of a normalisation into the products that read it, which then normalise as they load.
 * Requires: nothing. Ensures: a product behind a normalisation reads it directly.
 *
 *   linear(normalize(x) * g + b, W) → linear(normalize(x), W * g) + W b
 */
export const foldNorms: Pass = {
  name: "foldNorms",
  run: (graph) =>
    rewrite(graph, (node, to) => {
      if (node.op !== "linear") return null;
      const affine = to.node(node.inputs[0]);
      if (affine.op !== "pointwise" || !to.readers(affine.id).every(isProduct)) return null;
      const map = normalized(affine, to);
      return map ? foldInto(node, map, to) : null;
    }),
};

const isProduct = (reader: Reader): boolean => reader !== "output" && reader.op === "linear" && reader.input === 0;

type NormAffine = { readonly x: ValueId; readonly scale: ValueId | null; readonly shift: ValueId | null };

const normalized = (node: NodeOf<"pointwise">, to: Rewriter): NormAffine | null => {
  const x = node.inputs.findIndex((id) => to.node(id).op === "normalize");
  const map = x < 0 ? null : affineIn(node.attrs.body, x);
  if (!map) return null;
  const vector = (index: number | null): ValueId | null | "not a vector" => {
    if (index === null) return null;
    const id = node.inputs[index];
    return id !== undefined &&
      to.isConstant(id) &&
      to.type(id).axes.length === 0 &&
      to.type(id).channels === node.type.channels
      ? id
      : "not a vector";
  };
  const scale = vector(map.scale);
  const shift = vector(map.shift);
  const source = node.inputs[x];
  return source === undefined || scale === "not a vector" || shift === "not a vector"
    ? null
    : { x: source, scale, shift };
};

const foldInto = (node: NodeOf<"linear">, { x, scale, shift }: NormAffine, to: Rewriter): ValueId => {
  const weight = node.inputs[1];
  const scaled =
    scale === null ? weight : to.add("pointwise", [weight, scale], { body: mul(argument(0), argument(1)) }, node);
  const product = to.add("linear", [x, scaled], {}, node);
  if (shift === null) return product;
  const moved = to.add("linear", [shift, weight], {}, node);
  return to.add("pointwise", [product, moved], { body: add(argument(0), argument(1)) }, node);
};
