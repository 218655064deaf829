import type { NodeOf, ValueId } from "../../ir/graph.ts";
import { lengthsOf } from "../../ir/lengths.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { add, argument, gt, mul, select } from "../../ir/scalarBuild.ts";
import { printScalar } from "../../ir/scalarText.ts";
import { noPrefix, prefixRows, rowsOf, sizeOf, type TensorType } from "../../ir/types.ts";
import { isSum } from "./affine.ts";
import { rewrite, type Pass, type Rewriter } from "./rewrite.ts";

/**
 * Lets a few learned queries look at what keys and values are projected from: each head's query goes through its key
 * weight once, when weights are loaded, and what the head gathers through its value weight. Nothing of the size of the
 * set is computed or stored but the result. A key's bias is the same for all keys and falls out of the softmax; a
 * value's bias is added once, as weights sum to one.
 * Requires: nothing (a projection is a product, or one and its bias). Ensures: nothing that others rely on.
 *
 *   attend(q, x Wk + a, x Wv + b) → attend(q Wk, x, x) Wv + b      for constant q, heads as an axis of queries, where that is less work
 */
export const absorbProjections: Pass = {
  name: "absorbProjections",
  run: (graph) =>
    rewrite(graph, (node, to) => {
      if (node.op !== "attend" || !isPlain(node, to) || !to.isConstant(node.inputs[0])) return null;
      const [key, value] = [projection(node.inputs[1], to), projection(node.inputs[2], to)];
      return key && value && isLessWork(node, key, value, to) ? absorbed(node, key, value, to) : null;
    }),
};

/** A plain softmax in which every query sees some key, or all of its set's as far as that is long. */
const isPlain = ({ attrs, inputs: [, , , lengths, ...more] }: NodeOf<"attend">, to: Rewriter): boolean =>
  attrs.normalize === "softmax" &&
  more.length === 0 &&
  (lengths === undefined ? isProduct(attrs.score) : isOfLengths(attrs.score, to.type(lengths))) &&
  (attrs.pattern.kind === "all" || attrs.pattern.kind === "same");

const isProduct = (score: Scalar): boolean => score.kind === "variable" && score.name === "s";

/** Whether the score says of keys alone, and by the one table, how far sets go. */
const isOfLengths = (score: Scalar, table: TensorType): boolean => {
  const found = lengthsOf(score);
  const wanted = [...table.axes.map(({ axis }) => `k.${axis}`), "0"];
  return (
    found !== null &&
    found.queryAxis === null &&
    isProduct(found.score) &&
    found.index.map(printScalar).join() === wanted.join()
  );
};

type Projection = { readonly x: ValueId; readonly weight: ValueId; readonly bias: ValueId | null };

const projection = (id: ValueId, to: Rewriter): Projection | null => {
  const node = to.node(id);
  if (to.readers(id).length > 1 || to.isConstant(id)) return null;
  if (node.op === "linear") {
    const [x, weight] = node.inputs;
    return to.isConstant(weight) && prefixRows(to.type(x)) === 0 ? { x, weight, bias: null } : null;
  }
  if (node.op !== "pointwise" || !isSum(node.attrs.body)) return null;
  const bias = node.inputs.find((input) => to.isConstant(input) && to.type(input).axes.length === 0);
  const product = node.inputs.find((input) => input !== bias);
  const inner = bias === undefined || product === undefined ? null : projection(product, to);
  return inner !== null && inner.bias === null && bias !== undefined ? { ...inner, bias } : null;
};

/**
 * In multiplications for each token of the set. A token's element that is neither stored nor read again counts as 32 of
 * them: so many does a device compute in float32 in the time in which it moves one, and several times as many in 16 bits.
 */
const isLessWork = (node: NodeOf<"attend">, key: Projection, value: Projection, to: Rewriter): boolean => {
  const { heads, pattern } = node.attrs;
  const [q, k, v] = node.inputs.map((id) => to.type(id)) as [typeof node.type, typeof node.type, typeof node.type];
  const [ofKey, ofValue] = [to.type(key.x).channels, to.type(value.x).channels];
  const projected = k.channels + v.channels;
  // A token is met by the queries of its own set.
  const sets = pattern.kind === "same" ? pattern.axes.reduce((all, axis) => all * (sizeOf(q, axis) ?? 1), 1) : 1;
  const queries = rowsOf(q) / sets;
  const before = ofKey * k.channels + ofValue * v.channels + (queries + 32) * projected;
  return queries * heads * (ofKey + ofValue) < before;
};

const absorbed = (node: NodeOf<"attend">, key: Projection, value: Projection, to: Rewriter): ValueId => {
  const { heads } = node.attrs;
  const queries = Array.from({ length: heads }, (_, head) => throughKeys(node, key.weight, head, to));
  const q = to.add("concat", queries, { over: "channels" }, node);
  // Heads are queries of one set now, side by side in memory as they were: the set is read once for all of them.
  const separate = to.add("unpack", [q], { sizes: [{ axis: ofHead, size: heads }] }, node);
  const [, , , ...lengths] = node.inputs;
  const gathered = to.add("attend", [separate, key.x, value.x, ...lengths], { ...node.attrs, heads: 1 }, node);
  const together = to.add("pack", [gathered], { axes: [ofHead] }, node);
  const product = to.add("linear", [together, byHead(value.weight, heads, to, node)], {}, node);
  if (value.bias === null) return product;
  const sum = add(argument(0), argument(1));
  // What an empty set gives is zeros.
  const body = lengths.length === 0 ? sum : select(gt(argument(2), 0), sum, argument(0));
  return to.add("pointwise", [product, value.bias, ...lengths], { body }, node);
};

/** The query of one head, as it meets what keys are projected from. */
const throughKeys = (node: NodeOf<"attend">, weight: ValueId, head: number, to: Rewriter): ValueId => {
  const width = to.type(node.inputs[0]).channels / node.attrs.heads;
  const q = to.add("channels", [node.inputs[0]], { groups: 1, start: head * width, width }, node);
  const rows = to.add("slice", [weight], { axis: "out", start: head * width, step: 1, size: width }, node);
  const columns = to.add("unpack", [rows], { sizes: [{ axis: "in", size: to.type(weight).channels }] }, node);
  const turned = to.add("pack", [columns], { axes: ["out"] }, node);
  return to.add("linear", [q, to.add("rename", [turned], { axes: { in: "out" } }, node)], {}, node);
};

/** The axis of queries that heads become. */
const ofHead = "ofHead";

/** A weight whose rows of each head read what that head has gathered. */
const byHead = (weight: ValueId, heads: number, to: Rewriter, node: NodeOf<"attend">): ValueId => {
  const out = to.type(weight).axes[0]?.size ?? 1;
  const parts = Array.from({ length: heads }, (_, head) => {
    const values = Array.from({ length: out }, (_row, row) => (Math.floor((row * heads) / out) === head ? 1 : 0));
    const type = {
      element: "float",
      batch: false,
      prefix: noPrefix,
      axes: [{ axis: "out", size: out }],
      channels: 1,
    } as const;
    const own = to.add("constant", [], { values, type }, node);
    return to.add("pointwise", [weight, own], { body: mul(argument(0), argument(1)) }, node);
  });
  return to.add("concat", parts, { over: "channels" }, node);
};
