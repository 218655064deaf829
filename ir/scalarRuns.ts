import { add, mod, mul, sub, variable } from "./scalarBuild.ts";
import { fromForm } from "./scalarLinear.ts";
import { type Ranges, rangeOfVariable } from "./scalarRange.ts";
import { linearForm, simplify } from "./scalarSimplify.ts";
import { substitute, variablesOf } from "./scalarWalk.ts";
import type { Scalar } from "./scalar.ts";

/** expr = coefficient * variable + rest with a rest that is free of the variable; undefined where that is not so. */
export const linearIn = (
  expr: Scalar,
  name: string,
  ranges: Ranges,
): { readonly coefficient: number; readonly rest: Scalar } | undefined => {
  const form = linearForm(expr, ranges);
  const term = form.terms.find(({ atom }) => atom.kind === "variable" && atom.name === name);
  const others = form.terms.filter((other) => other !== term);
  if (others.some(({ atom }) => variablesOf(atom).has(name))) return undefined;
  return { coefficient: term?.coefficient ?? 0, rest: fromForm({ constant: form.constant, terms: others }) };
};

/** Whether every value of the expression is a multiple of `divisor`. */
export const isDivisible = (expr: Scalar, divisor: number, ranges: Ranges): boolean => {
  const rest = simplify(mod(expr, divisor), ranges);
  if (rest.kind === "number") return rest.value === 0;
  // A choice between two addresses: both ways must be.
  const form = linearForm(expr, ranges);
  const choice = form.terms.find(({ atom, coefficient }) => atom.kind === "select" && coefficient % divisor !== 0);
  if (choice === undefined || choice.atom.kind !== "select") return false;
  const others = fromForm({ constant: form.constant, terms: form.terms.filter((term) => term !== choice) });
  return [choice.atom.then, choice.atom.else].every((side) =>
    isDivisible(add(others, mul(side, choice.coefficient)), divisor, ranges),
  );
};

/**
 * The largest power of two w <= most for which the variable's range falls into whole runs of w, aligned at multiples
 * of w, and expr(v + j) = expr(v) + j within each.
 */
export const runLength = (expr: Scalar, name: string, ranges: Ranges, most: number): number =>
  largestRun(name, ranges, most, (run) => advancesByOne(expr, name, run));

/** As runLength, where each run also begins at a multiple of its length: what one vector load can fetch. */
export const vectorLength = (expr: Scalar, name: string, ranges: Ranges, most: number): number =>
  largestRun(
    name,
    ranges,
    most,
    (run) =>
      advancesByOne(expr, name, run) && isDivisible(substitute(expr, { [name]: run.start }), run.length, run.ranges),
  );

type Run = { readonly length: number; readonly start: Scalar; readonly ranges: Ranges };

const largestRun = (name: string, ranges: Ranges, most: number, holds: (run: Run) => boolean): number => {
  const range = rangeOfVariable(name, ranges);
  if (range === undefined) return 1;
  let length = 2 ** Math.floor(Math.log2(most));
  for (; length > 1; length /= 2) {
    if (range.min % length !== 0 || (range.max + 1) % length !== 0) continue;
    const runRanges: Ranges = {
      ...ranges,
      [runName]: { min: range.min / length, max: (range.max + 1) / length - 1 },
      [stepName]: { min: 0, max: length - 1 },
    };
    if (holds({ length, start: mul(variable(runName), length), ranges: runRanges })) break;
  }
  return length;
};

/** Names that no owner of expressions uses. */
const runName = "$run";
const stepName = "$step";

const advancesByOne = (expr: Scalar, name: string, run: Run): boolean => {
  const step = variable(stepName);
  const at = substitute(expr, { [name]: add(run.start, step) });
  const first = substitute(expr, { [name]: run.start });
  const difference = simplify(sub(at, add(first, step)), run.ranges);
  return difference.kind === "number" && difference.value === 0;
};
