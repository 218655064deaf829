import type { Node, ValueId } from "../../ir/graph.ts";
import { prefixRows } from "../../ir/types.ts";
import { rewrite, type Pass, type Rewriter } from "./rewrite.ts";

/**
 * Drops views that undo or ignore one another.
 * Requires: nothing. Ensures: `grid` and `prefix` are never read from tokens that were just put together.
 *
 *   grid(withPrefix(x, p)) → x      prefix(withPrefix(x, p)) → p      grid(repeatPrefix(x)) → grid(x)
 */
export const simplifyViews: Pass = {
  name: "simplifyViews",
  run: (graph) => rewrite(graph, simplified),
};

const simplified = (node: Node, to: Rewriter): ValueId | null => {
  const input = node.inputs[0];
  if (input === undefined) return null;
  const x = to.node(input);
  switch (node.op) {
    case "grid":
      if (x.op === "withPrefix") return x.inputs[0];
      if (x.op === "repeatPrefix" || x.op === "meanPrefix") return to.add("grid", [x.inputs[0]], {}, node);
      return prefixRows(x.type) === 0 ? input : null;
    case "prefix":
      return x.op === "withPrefix" ? x.inputs[1] : null;
    case "meanPrefix":
      return x.op === "repeatPrefix" && x.attrs.over.join() === node.attrs.over.join() ? x.inputs[0] : null;
    default:
      return null;
  }
};
