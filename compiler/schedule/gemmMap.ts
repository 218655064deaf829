import { add, and, mul, variable } from "../../ir/scalarBuild.ts";
import { rangeOf, type Ranges } from "../../ir/scalarRange.ts";
import { runLength, vectorLength } from "../../ir/scalarRuns.ts";
import { linearForm, simplify } from "../../ir/scalarSimplify.ts";
import { variablesOf } from "../../ir/scalarWalk.ts";
import type { Scalar } from "../../ir/scalar.ts";
import type { Access } from "./kernels.ts";

/**
 * An address (a sum) or a condition (a conjunction) by what its parts depend on: the row `r` alone, other variables
 * alone, or both. What depends on one side is evaluated once for it; constants go to the row.
 */
export type SplitScalar = { readonly row: Scalar; readonly column: Scalar; readonly mixed: Scalar };

export const splitOffset = (offset: Scalar, ranges: Ranges): SplitScalar => {
  const form = linearForm(offset, ranges);
  const sumOf = (side: Side): Scalar =>
    add(
      ...form.terms.filter(({ atom }) => sideOf(atom) === side).map(({ atom, coefficient }) => mul(atom, coefficient)),
    );
  return { row: add(sumOf("row"), form.constant), column: sumOf("column"), mixed: sumOf("mixed") };
};

export const splitCondition = (condition: Scalar, ranges: Ranges): SplitScalar => {
  const conjuncts = conjunctsOf(simplify(condition, ranges));
  const allOf = (side: Side): Scalar => and(...conjuncts.filter((each) => sideOf(each) === side));
  return { row: allOf("row"), column: allOf("column"), mixed: allOf("mixed") };
};

type Side = keyof SplitScalar;
const sideOf = (expr: Scalar): Side => {
  const names = variablesOf(expr);
  return !names.has("r") ? (names.size === 0 ? "row" : "column") : names.size === 1 ? "row" : "mixed";
};

const conjunctsOf = (condition: Scalar): readonly Scalar[] =>
  condition.kind === "binary" && condition.op === "and"
    ? [...conjunctsOf(condition.left), ...conjunctsOf(condition.right)]
    : [condition];

/** The widest run of elements along a variable, at most `most` and a power of two, that one access can move. */
export const runWidth = (
  access: Pick<Access, "offset" | "valid">,
  along: string,
  exampleStride: number,
  ranges: Ranges,
  most: number,
): number => {
  // A condition that does not change within a run advances by one when the variable is added to it.
  const steady = runLength(add(access.valid, variable(along)), along, ranges, most);
  let width = Math.min(steady, vectorLength(access.offset, along, ranges, most));
  while (exampleStride % width !== 0) width /= 2;
  return width;
};

/** Whether every value fits an int. */
export const fitsInt = (expr: Scalar, ranges: Ranges): boolean => {
  const { min, max } = rangeOf(expr, ranges);
  return min >= -(2 ** 31) && max < 2 ** 31;
};

/** Whether the expression is 1 (a condition that holds) or another number whatever its variables are. */
export const isNumber = (expr: Scalar, value: number): boolean => expr.kind === "number" && expr.value === value;
