import type { NodeOf, ValueId } from "../../ir/graph.ts";
import { prefixRows } from "../../ir/types.ts";
import { rewrite, type Pass, type Rewriter } from "./rewrite.ts";

/**
 * Computes on a learned token apart from the grid behind it, so that the token's part is done when weights are loaded and
 * the grid's joins the kernel that makes the grid.
 * Requires: nothing. Ensures: no pointwise op reads a grid with constant tokens in front.
 *
 *   withPrefix(x, class) + position → withPrefix(x + grid(position), class + prefix(position))
 */
export const splitConstantTokens: Pass = {
  name: "splitConstantTokens",
  run: (graph) =>
    rewrite(graph, (node, to) => {
      if (node.op !== "pointwise") return null;
      const whole = node.inputs.some((id) => isSplit(id, to));
      if (!whole || !node.inputs.every((id) => canSplit(id, to))) return null;
      const grid = to.add(
        "pointwise",
        node.inputs.map((id) => gridPart(id, node, to)),
        node.attrs,
        node,
      );
      const tokens = to.add(
        "pointwise",
        node.inputs.map((id) => prefixPart(id, node, to)),
        node.attrs,
        node,
      );
      return to.add("withPrefix", [grid, tokens], {}, node);
    }),
};

const isSplit = (id: ValueId, to: Rewriter): boolean => {
  const node = to.node(id);
  return node.op === "withPrefix" && to.isConstant(node.inputs[1]) && !to.isConstant(id);
};

/** Tokens put together just now, constants, and vectors that are the same for all tokens. */
const canSplit = (id: ValueId, to: Rewriter): boolean => {
  const type = to.type(id);
  return isSplit(id, to) || (to.isConstant(id) && (prefixRows(type) > 0 || type.axes.length === 0));
};

const gridPart = (id: ValueId, like: NodeOf<"pointwise">, to: Rewriter): ValueId => {
  const node = to.node(id);
  if (node.op === "withPrefix") return node.inputs[0];
  return prefixRows(node.type) > 0 ? to.add("grid", [id], {}, like) : id;
};

const prefixPart = (id: ValueId, like: NodeOf<"pointwise">, to: Rewriter): ValueId => {
  const node = to.node(id);
  if (node.op === "withPrefix") return node.inputs[1];
  return prefixRows(node.type) > 0 ? to.add("prefix", [id], {}, like) : id;
};
