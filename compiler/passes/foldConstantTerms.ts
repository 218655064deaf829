import type { NodeOf, ValueId } from "../../ir/graph.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { add, argument } from "../../ir/scalarBuild.ts";
import { mapScalar } from "../../ir/scalarWalk.ts";
import type { TensorType } from "../../ir/types.ts";
import { rewrite, type Pass, type Rewriter } from "./rewrite.ts";

/**
 * Adds up constants once, when weights are loaded, instead of for each element: biases that folds have moved together.
 * Requires: fusePointwise. Ensures: no sum in a pointwise op has two constant terms of one shape.
 *
 *   gelu(product + bias + moved) → gelu(product + (bias + moved))
 */
export const foldConstantTerms: Pass = {
  name: "foldConstantTerms",
  run: (graph) =>
    rewrite(graph, (node, to) => {
      if (node.op !== "pointwise" || to.isConstant(node.inputs[0] ?? node.id)) return null;
      const folded = foldTerms(node, to);
      return folded ? to.add("pointwise", folded.inputs, { body: folded.body }, node) : null;
    }),
};

type Folded = { readonly inputs: readonly ValueId[]; readonly body: Scalar };

const foldTerms = (node: NodeOf<"pointwise">, to: Rewriter): Folded | null => {
  const inputs: ValueId[] = [...node.inputs];
  const sums = new Map<string, number>();
  const sumOf = (terms: readonly number[]): number => {
    const key = terms.join();
    const known = sums.get(key);
    if (known !== undefined) return known;
    const body = add(...terms.map((_, i) => argument(i)));
    const sum = to.add(
      "pointwise",
      terms.flatMap((term) => inputs[term] ?? []),
      { body },
      node,
    );
    sums.set(key, inputs.push(sum) - 1);
    return inputs.length - 1;
  };
  const fold = (expr: Scalar): Scalar | undefined => {
    if (expr.kind !== "binary" || expr.op !== "add") return undefined;
    const terms = termsOf(expr);
    const groups = groupByShape(terms, inputs, to);
    if (groups.every((group) => group.length < 2)) return undefined;
    const merged = new Set(groups.flat());
    const rest = terms.filter((term) => term.kind !== "argument" || !merged.has(term.index));
    return add(...rest.map((term) => mapScalar(term, fold)), ...groups.map((group) => argument(sumOf(group))));
  };
  const body = mapScalar(node.attrs.body, fold);
  return sums.size === 0 ? null : compact(inputs, body);
};

const termsOf = (expr: Scalar): readonly Scalar[] =>
  expr.kind === "binary" && expr.op === "add" ? [...termsOf(expr.left), ...termsOf(expr.right)] : [expr];

/** Constant arguments among the terms of a sum, those of one shape together; single ones are left out. */
const groupByShape = (
  terms: readonly Scalar[],
  inputs: readonly ValueId[],
  to: Rewriter,
): readonly (readonly number[])[] => {
  const groups = new Map<string, number[]>();
  for (const term of terms) {
    const input = term.kind === "argument" ? inputs[term.index] : undefined;
    if (term.kind !== "argument" || input === undefined || !to.isConstant(input)) continue;
    const shape = shapeKey(to.type(input));
    groups.set(shape, [...(groups.get(shape) ?? []), term.index]);
  }
  return [...groups.values()].filter((group) => group.length > 1);
};

const shapeKey = (type: TensorType): string => JSON.stringify([type.prefix, type.axes, type.channels]);

/** Leaves out the inputs that the body no longer reads. */
const compact = (inputs: readonly ValueId[], body: Scalar): Folded => {
  const kept: ValueId[] = [];
  const places = new Map<number, number>();
  const renumbered = mapScalar(body, (expr) => {
    if (expr.kind !== "argument") return undefined;
    const place = places.get(expr.index) ?? kept.push(...inputs.slice(expr.index, expr.index + 1)) - 1;
    places.set(expr.index, place);
    return argument(place);
  });
  return { inputs: kept, body: renumbered };
};
