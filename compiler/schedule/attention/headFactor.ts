import type { Scalar } from "../../../ir/scalar.ts";
import { variablesOf } from "../../../ir/scalarWalk.ts";

/** What the score multiplies products with, where that and nothing else is what it does and the head alone decides; null where it does more. */
export const headFactor = (score: Scalar): Scalar | null => {
  if (score.kind !== "binary" || score.op !== "mul") return null;
  const { left, right } = score;
  const factor = isProduct(left) ? right : isProduct(right) ? left : null;
  return factor !== null && [...variablesOf(factor)].every((name) => name === "head") ? factor : null;
};

const isProduct = (expr: Scalar): boolean => expr.kind === "variable" && expr.name === "s";
