import type { Node, ValueId } from "../../ir/graph.ts";
import { prefixRows } from "../../ir/types.ts";
import { rewrite, type Pass, type Rewriter } from "./rewrite.ts";

/**
 * Takes the wanted tokens before a computation that treats each token alone, so that the others are never computed.
 * Requires: simplifyViews (a view of tokens put together is gone). Ensures: `grid` and `prefix` stand as near to the
 * inputs as their readers allow.
 *
 *   prefix(head(norm(x))) → head(norm(prefix(x)))
 */
export const hoistTokenViews: Pass = {
  name: "hoistTokenViews",
  run: (graph) =>
    rewrite(graph, (node, to) => {
      if (node.op !== "grid" && node.op !== "prefix") return null;
      return hoist(node.op, node.inputs[0], node, to);
    }),
};

const hoist = (view: "grid" | "prefix", id: ValueId, like: Node, to: Rewriter): ValueId | null => {
  const x = to.node(id);
  if (to.readers(id).length > 1) return null;
  const take = (input: ValueId): ValueId => hoist(view, input, like, to) ?? to.add(view, [input], {}, like);
  switch (x.op) {
    case "linear":
      return to.add("linear", [take(x.inputs[0]), x.inputs[1]], x.attrs, x);
    case "normalize":
      return x.attrs.axes.length === 0 ? to.add("normalize", [take(x.inputs[0])], x.attrs, x) : null;
    case "pointwise": {
      const isVector = (input: ValueId): boolean => prefixRows(to.type(input)) === 0 && to.type(input).axes.length === 0;
      if (x.inputs.some((input) => prefixRows(to.type(input)) === 0 && !isVector(input))) return null;
      return to.add("pointwise", x.inputs.map((input) => (isVector(input) ? input : take(input))), x.attrs, x);
    }
    default:
      return null;
  }
};
