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
  run: (graph) => {
    const outputs = new Set([...graph.outputs, ...graph.kept].map(({ value }) => value));
    return rewrite(graph, (node, to) => {
      const simple = simplified(node, to);
      // tokens that are the same for all examples stand in for batched ones, but not where they are an output
      return simple !== null && outputs.has(node.id) && to.type(simple).batch !== node.type.batch ? null : simple;
    });
  },
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
