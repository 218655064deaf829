import type { NodeOf, ValueId } from "../../ir/graph.ts";
import { variablesOf } from "../../ir/scalarWalk.ts";
import { rewrite, type Pass, type Rewriter } from "./rewrite.ts";

/**
 * Takes a sum of several values apart before it is computed, where its channels become axes: whoever reads it then, a
 * sampling for its points, adds up what it needs as it loads.
 * Requires: distributeProducts. Ensures: no unpack reads a pointwise op of several activations that it alone reads.
 *
 *   unpack(a + b + bias) → unpack(a) + unpack(b) + unpack(bias)
 */
export const sinkUnpacks: Pass = {
  name: "sinkUnpacks",
  run: (graph) =>
    rewrite(graph, (node, to) => {
      if (node.op !== "unpack" || activations(node.inputs[0], to) < 2) return null;
      const sum = unpacked(node.inputs[0], node, to);
      // Axes that no term has all of would stand in another order.
      const axes = (id: ValueId): string =>
        to
          .type(id)
          .axes.map(({ axis }) => axis)
          .join();
      return axes(sum) === node.type.axes.map(({ axis }) => axis).join() ? sum : null;
    }),
};

const unpacked = (id: ValueId, like: NodeOf<"unpack">, to: Rewriter): ValueId => {
  const node = to.node(id);
  // One channel stands for all, of whichever axes.
  if (to.type(id).channels === 1) return id;
  if (!isTakenApart(id, to) || node.op !== "pointwise") return to.add("unpack", [id], like.attrs, like);
  const inputs = node.inputs.map((input) => unpacked(input, like, to));
  return to.add("pointwise", inputs, node.attrs, node);
};

/** How many values that are not known when weights are loaded a chain of pointwise ops reads. */
const activations = (id: ValueId, to: Rewriter): number => {
  const node = to.node(id);
  if (to.isConstant(id)) return 0;
  if (!isTakenApart(id, to) || node.op !== "pointwise") return 1;
  return node.inputs.reduce((sum, input) => sum + activations(input, to), 0);
};

/** Only its reader sees it, and it doesn't look at where it is. */
const isTakenApart = (id: ValueId, to: Rewriter): boolean => {
  const node = to.node(id);
  return node.op === "pointwise" && to.readers(id).length <= 1 && variablesOf(node.attrs.body).size === 0;
};
