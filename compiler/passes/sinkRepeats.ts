import type { ValueId } from "../../ir/graph.ts";
import { prefixRows } from "../../ir/types.ts";
import { rewrite, type Pass, type Rewriter } from "./rewrite.ts";

/**
 * Computes once what is the same for every repetition of a token: the repeat moves behind computations that treat each
 * token alone, down to the attention, whose address map repeats for nothing.
 * Requires: nothing. Ensures: no product or normalisation reads repeated tokens of one source.
 *
 *   linear(normalize(repeatPrefix(x))) → repeatPrefix(linear(normalize(x)))
 */
export const sinkRepeats: Pass = {
  name: "sinkRepeats",
  run: (graph) =>
    rewrite(graph, (node, to) => {
      const source = node.inputs[0];
      if (source === undefined) return null;
      const x = to.node(source);
      if (node.op === "linear" && x.op === "repeatPrefix")
        return to.add(
          "repeatPrefix",
          [to.add("linear", [x.inputs[0], node.inputs[1]], node.attrs, node)],
          x.attrs,
          node,
        );
      if (node.op === "normalize" && x.op === "repeatPrefix" && node.attrs.axes.length === 0)
        return to.add("repeatPrefix", [to.add("normalize", [x.inputs[0]], node.attrs, node)], x.attrs, node);
      if (node.op !== "pointwise") return null;
      const repeats = node.inputs.flatMap((id) => repeatOf(id, to));
      const over = repeats[0]?.over;
      if (over === undefined || repeats.some((repeat) => repeat.over.join() !== over.join())) return null;
      if (!node.inputs.every((id) => repeatOf(id, to).length > 0 || isVector(id, to))) return null;
      const once = to.add(
        "pointwise",
        node.inputs.map((id) => repeatOf(id, to)[0]?.of ?? id),
        node.attrs,
        node,
      );
      return to.add("repeatPrefix", [once], { over }, node);
    }),
};

const repeatOf = (id: ValueId, to: Rewriter): readonly { readonly of: ValueId; readonly over: readonly string[] }[] => {
  const node = to.node(id);
  return node.op === "repeatPrefix" ? [{ of: node.inputs[0], over: node.attrs.over }] : [];
};

const isVector = (id: ValueId, to: Rewriter): boolean => prefixRows(to.type(id)) === 0 && to.type(id).axes.length === 0;
