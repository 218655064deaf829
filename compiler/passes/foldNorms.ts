import type { NodeOf, ValueId } from "../../ir/graph.ts";
import { add, argument, mul } from "../../ir/scalarBuild.ts";
import { prefixRows } from "../../ir/types.ts";
import { affineIn } from "./affine.ts";
import { rewrite, type Pass, type Reader, type Rewriter } from "./rewrite.ts";

/**
 * Moves the scale and shift of a normalisation into the products that read it, which then normalise as they load.
 * Requires: nothing. Ensures: a product behind a normalisation reads it directly, tokens of a padding included.
 *
 *   linear(normalize(x) * g + b, W) → linear(normalize(x), W * g) + W b
 *   linear(pad(normalize(x) * g + b), W) → linear(normalize(pad(x)), W * g) + pad(W b)
 */
export const foldNorms: Pass = {
  name: "foldNorms",
  run: (graph) =>
    rewrite(graph, (node, to) => {
      if (node.op !== "linear") return null;
      const source = to.node(node.inputs[0]);
      const pad = source.op === "pad" && hasOnlyZeros(source) && prefixRows(source.type) === 0 ? source : null;
      const affine = pad === null ? source : to.node(pad.inputs[0]);
      if (affine.op !== "pointwise" || !to.readers(source.id).every(isProduct)) return null;
      if (pad !== null && to.readers(affine.id).length > 1) return null;
      const map = normalized(affine, to);
      return map && (pad === null || isOfChannels(map.x, to)) ? foldInto(node, pad, map, to) : null;
    }),
};

/** Whether it cuts nothing. */
const hasOnlyZeros = ({ attrs }: NodeOf<"pad">): boolean =>
  [...Object.values(attrs.before), ...Object.values(attrs.after)].every((width) => width >= 0);

const isProduct = (reader: Reader): boolean => reader !== "output" && reader.op === "linear" && reader.input === 0;

/** Whether each token is normalised alone. */
const isOfChannels = (id: ValueId, to: Rewriter): boolean => {
  const norm = to.node(id);
  return norm.op === "normalize" && norm.attrs.axes.length === 0;
};

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

const foldInto = (
  node: NodeOf<"linear">,
  pad: NodeOf<"pad"> | null,
  { x, scale, shift }: NormAffine,
  to: Rewriter,
): ValueId => {
  const weight = node.inputs[1];
  const scaled =
    scale === null ? weight : to.add("pointwise", [weight, scale], { body: mul(argument(0), argument(1)) }, node);
  const product = to.add("linear", [pad === null ? x : padFirst(pad, x, to), scaled], {}, node);
  if (shift === null) return product;
  const shifted = to.add("linear", [shift, weight], {}, node);
  const moved = pad === null ? shifted : padded(pad, shifted, to);
  return to.add("pointwise", [product, moved], { body: add(argument(0), argument(1)) }, node);
};

/** A token of zeros is normalised to zeros: the padding may come first. */
const padFirst = (pad: NodeOf<"pad">, norm: ValueId, to: Rewriter): ValueId => {
  const node = to.node(norm);
  if (node.op !== "normalize") throw new Error(`internal: %${norm} is no normalisation`);
  return to.add("normalize", [to.add("pad", [node.inputs[0]], pad.attrs, pad)], node.attrs, node);
};

/** The vector at the tokens that there are, zeros in the padding. */
const padded = (pad: NodeOf<"pad">, vector: ValueId, to: Rewriter): ValueId =>
  to.add("pad", [to.add("expand", [vector], { sizes: to.type(pad.inputs[0]).axes }, pad)], pad.attrs, pad);
