import type { Node, NodeOf, ValueId } from "../../ir/graph.ts";
import { gridRows, sizeOf } from "../../ir/types.ts";
import type { Rewriter } from "./rewrite.ts";

/**
 * The weight of one product in the place of two, the outer one's behind the inner's; null where it is no less work, or
 * where a weight is not a constant.
 */
export const composed = (
  inner: NodeOf<"linear"> | NodeOf<"conv">,
  outer: ValueId,
  to: Rewriter,
  like: Node,
): ValueId | null => {
  const weight = inner.inputs[1];
  if (!to.isConstant(weight) || to.isConstant(inner.id)) return null;
  if (inner.op === "conv" && inner.attrs.groups > 1) return null;
  const window = inner.op === "conv" ? inner.attrs.window.map(({ axis, size }) => ({ axis, size })) : [];
  const into = (gridRows(to.type(weight)) / inner.type.channels) * to.type(weight).channels;
  const between = inner.type.channels;
  const out = gridRows(to.type(outer));
  if (into * out >= into * between + between * out) return null;
  const axes = window.map(({ axis }) => axis);
  const matrix = axes.length === 0 ? weight : to.add("pack", [weight], { axes }, like);
  const both = to.add("linear", [outer, transposed(matrix, like, to)], {}, like);
  return axes.length === 0 ? both : to.add("unpack", [both], { sizes: window }, like);
};

/** A weight [out, in] as [in, out]: rows named `out` again, so that a product reads it as a weight. */
const transposed = (weight: ValueId, like: Node, to: Rewriter): ValueId => {
  const type = to.type(weight);
  const columns = to.add("unpack", [weight], { sizes: [{ axis: "in", size: type.channels }] }, like);
  const rows = to.add("pack", [columns], { axes: ["out"] }, like);
  return sizeOf(type, "out") === undefined ? weight : to.add("rename", [rows], { axes: { in: "out" } }, like);
};
