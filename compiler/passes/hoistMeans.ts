import type { Node, ValueId } from "../../ir/graph.ts";
import { prefixRows } from "../../ir/types.ts";
import { isSum } from "./affine.ts";
import { rewrite, type Pass, type Rewriter } from "./rewrite.ts";

/**
 * Averages repeated tokens before an affine map instead of behind it: the mean of outputs is the output of the mean, the
 * product has fewer rows, and averages rows as it loads them.
 * Requires: sinkRepeats. Ensures: `meanPrefix` reads an attention's result where only affine maps lie between.
 *
 *   meanPrefix(linear(x) + b) → linear(meanPrefix(x)) + b
 */
export const hoistMeans: Pass = {
  name: "hoistMeans",
  run: (graph) =>
    rewrite(graph, (node, to) => (node.op === "meanPrefix" ? hoist(node.inputs[0], node.attrs.over, node, to) : null)),
};

const hoist = (id: ValueId, over: readonly string[], like: Node, to: Rewriter): ValueId | null => {
  const x = to.node(id);
  if (to.readers(id).length > 1) return null;
  const take = (input: ValueId): ValueId =>
    hoist(input, over, like, to) ?? to.add("meanPrefix", [input], { over }, like);
  if (x.op === "linear") return to.add("linear", [take(x.inputs[0]), x.inputs[1]], x.attrs, x);
  if (x.op !== "pointwise" || !isSum(x.attrs.body)) return null;
  const repeated = (input: ValueId): boolean => to.type(input).prefix.over.some((axis) => over.includes(axis));
  const vector = (input: ValueId): boolean => prefixRows(to.type(input)) === 0 && to.type(input).axes.length === 0;
  if (!x.inputs.every((input) => repeated(input) || vector(input))) return null;
  return to.add(
    "pointwise",
    x.inputs.map((input) => (repeated(input) ? take(input) : input)),
    x.attrs,
    x,
  );
};
