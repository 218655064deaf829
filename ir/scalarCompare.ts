import { add, binary, literal } from "./scalarBuild.ts";
import { greatestCommonDivisor, splitByStep } from "./scalarDivide.ts";
import {
  addScaled,
  constantForm,
  fromForm,
  type Linear,
  type LinearContext,
  rangeOfForm,
  scale,
} from "./scalarLinear.ts";
import type { BinaryOp, Scalar } from "./scalar.ts";

export type Comparison = "eq" | "ne" | "lt" | "le" | "gt" | "ge";
export const isComparison = (op: BinaryOp): op is Comparison =>
  op === "eq" || op === "ne" || op === "lt" || op === "le" || op === "gt" || op === "ge";

/** A comparison of integers, decided by range where it can be, else in lowest terms: what is added on the left, what is subtracted on the right. */
export const compareForms = (op: Comparison, left: Linear, right: Linear, context: LinearContext): Scalar => {
  const difference = addScaled(left, right, -1);
  switch (op) {
    case "eq":
      return equalsZero(difference, "eq", context);
    case "ne":
      return equalsZero(difference, "ne", context);
    case "lt":
      return belowZero(difference, context);
    case "le":
      return belowZero(addScaled(difference, constantForm(1), -1), context);
    case "gt":
      return belowZero(scale(difference, -1), context);
    case "ge":
      return belowZero(addScaled(scale(difference, -1), constantForm(1), -1), context);
  }
};

const belowZero = (form: Linear, context: LinearContext): Scalar => {
  const range = rangeOfForm(form, context);
  if (range.max < 0) return literal(1);
  if (range.min >= 0) return literal(0);
  // g * s + t < 0 where s < 0, for 0 <= t < g.
  for (const step of stepsOf(form)) {
    const parts = splitByStep(form, step, context);
    if (parts !== undefined) return belowZero(parts.steps, context);
  }
  const { positive, negative, constant } = sides(form);
  if (negative.terms.length === 0) return binary("lt", fromForm(positive), 0 - constant);
  if (positive.terms.length === 0) return binary("ge", fromForm(negative), constant + 1);
  if (constant === -1) return binary("le", fromForm(positive), fromForm(negative));
  return constant > 0
    ? binary("lt", add(fromForm(positive), constant), fromForm(negative))
    : binary("lt", fromForm(positive), add(fromForm(negative), -constant));
};

const equalsZero = (form: Linear, op: "eq" | "ne", context: LinearContext): Scalar => {
  const never = literal(op === "eq" ? 0 : 1);
  const range = rangeOfForm(form, context);
  if (range.min > 0 || range.max < 0) return never;
  if (form.terms.length === 0) return literal(op === "eq" ? 1 : 0);
  for (const step of stepsOf(form)) {
    const parts = splitByStep(form, step, context);
    if (parts === undefined) continue;
    if (parts.rest.terms.length === 0 && parts.rest.constant === 0) return equalsZero(parts.steps, op, context);
    if (rangeOfForm(parts.rest, context).min > 0) return never;
  }
  const { positive, negative, constant } = sides(form);
  if (negative.terms.length === 0) return binary(op, fromForm(positive), 0 - constant);
  if (positive.terms.length === 0) return binary(op, fromForm(negative), constant);
  return constant > 0
    ? binary(op, add(fromForm(positive), constant), fromForm(negative))
    : binary(op, fromForm(positive), add(fromForm(negative), -constant));
};

/** form = positive - negative + constant. */
const sides = (form: Linear): { readonly positive: Linear; readonly negative: Linear; readonly constant: number } => ({
  positive: { constant: 0, terms: form.terms.filter(({ coefficient }) => coefficient > 0) },
  negative: {
    constant: 0,
    terms: form.terms
      .filter(({ coefficient }) => coefficient < 0)
      .map((term) => ({ ...term, coefficient: -term.coefficient })),
  },
  constant: form.constant,
});

/** Divisors above 1 that coefficients have or share, the largest first. */
const stepsOf = (form: Linear): readonly number[] => {
  const all = form.terms.reduce((divisor, term) => greatestCommonDivisor(term.coefficient, divisor), 0);
  return [...new Set([...form.terms.map((term) => Math.abs(term.coefficient)), all])]
    .filter((step) => step > 1)
    .toSorted((a, b) => b - a);
};
