import type { NodeOf, ValueId } from "../../ir/graph.ts";
import { argument } from "../../ir/scalarBuild.ts";
import { substituteArguments } from "../../ir/scalarWalk.ts";
import { gridRows, prefixRows, type TensorType } from "../../ir/types.ts";
import { rewrite, type Pass, type Rewriter } from "./rewrite.ts";

/**
 * Makes one pointwise op of several that follow one another at the same tokens and channels.
 * Requires: the folds (they look for single affine maps). Ensures: a pointwise op reads no other that it alone reads.
 *
 *   gelu(linear + b) → pointwise(linear, b) with one body
 */
export const fusePointwise: Pass = {
  name: "fusePointwise",
  run: (graph) =>
    rewrite(graph, (node, to) => {
      if (node.op !== "pointwise") return null;
      const inner = node.inputs.map((id) => joined(id, node, to));
      if (inner.every((each) => each === null)) return null;
      const inputs: ValueId[] = [];
      const numberOf = (id: ValueId): number => {
        const known = inputs.indexOf(id);
        return known >= 0 ? known : inputs.push(id) - 1;
      };
      const bodies = node.inputs.map((id, i) => {
        const from = inner[i];
        // What no body reads may still say which axes the result has.
        for (const each of from?.inputs ?? []) numberOf(each);
        return from
          ? substituteArguments(from.attrs.body, (j) => argument(numberOf(from.inputs[j] ?? id)))
          : argument(numberOf(id));
      });
      const body = substituteArguments(node.attrs.body, (i) => bodies[i]);
      return to.add("pointwise", inputs, { body }, node);
    }),
};

const joined = (id: ValueId, outer: NodeOf<"pointwise">, to: Rewriter): NodeOf<"pointwise"> | null => {
  const inner = to.node(id);
  if (inner.op !== "pointwise" || to.readers(id).length > 1 || to.isConstant(id)) return null;
  return sameElements(inner.type, outer.type) ? inner : null;
};

const sameElements = (a: TensorType, b: TensorType): boolean =>
  a.batch === b.batch && a.channels === b.channels && prefixRows(a) === prefixRows(b) && gridRows(a) === gridRows(b);
