import { add, literal, mul, sub } from "./scalarBuild.ts";
import { childrenOf } from "./scalarWalk.ts";
import type { Scalar } from "./scalar.ts";
import { printScalar } from "./scalarText.ts";
import type { Interval, Ranges } from "./scalarRange.ts";

/** An integer as constant + sum of coefficient * atom; atoms are simplified, distinct and not linear themselves. */
export type Linear = { readonly constant: number; readonly terms: readonly Term[] };
export type Term = { readonly atom: Scalar; readonly id: number; readonly coefficient: number };

/** What the rules of simplification share: the ranges they may rely on, and how to look into an atom. */
export type LinearContext = {
  readonly ranges: Ranges;
  /** Equal expressions have equal numbers. */
  readonly idOf: (expr: Scalar) => number;
  readonly linearOf: (expr: Scalar) => Linear;
  readonly rangeOfAtom: (atom: Scalar) => Interval;
};

export const constantForm = (constant: number): Linear => ({ constant: constant + 0, terms: [] });

export const atomForm = (atom: Scalar, context: LinearContext): Linear =>
  atom.kind === "number"
    ? constantForm(atom.value)
    : { constant: 0, terms: [{ atom, id: context.idOf(atom), coefficient: 1 }] };

/** a + factor * b. */
export const addScaled = (a: Linear, b: Linear, factor: number): Linear => {
  const terms = new Map(a.terms.map((term) => [term.id, term]));
  for (const term of b.terms) {
    const coefficient = (terms.get(term.id)?.coefficient ?? 0) + factor * term.coefficient;
    if (coefficient === 0) terms.delete(term.id);
    else terms.set(term.id, { ...term, coefficient });
  }
  // 0 is added so that no -0 is left.
  return { constant: a.constant + factor * b.constant + 0, terms: [...terms.values()] };
};

export const scale = (form: Linear, factor: number): Linear => addScaled(constantForm(0), form, factor);

export const rangeOfForm = (form: Linear, context: LinearContext): Interval => {
  let min = form.constant;
  let max = form.constant;
  for (const { atom, coefficient } of form.terms) {
    const range = context.rangeOfAtom(atom);
    min += coefficient * (coefficient > 0 ? range.min : range.max);
    max += coefficient * (coefficient > 0 ? range.max : range.min);
  }
  return Number.isNaN(min) || Number.isNaN(max) ? { min: -Infinity, max: Infinity } : { min, max };
};

export const sameForm = (a: Linear, b: Linear): boolean => {
  const difference = addScaled(a, b, -1);
  return difference.constant === 0 && difference.terms.length === 0;
};

/** The number k for which the form lies in [k * size, (k + 1) * size) always. */
export const bucketOf = (form: Linear, size: number, context: LinearContext): number | undefined => {
  const { min, max } = rangeOfForm(form, context);
  const bucket = Math.floor(min / size);
  return Number.isFinite(bucket) && bucket === Math.floor(max / size) ? bucket : undefined;
};

/** The expression of a form: positive terms first, the largest steps leading, the constant last. */
export const fromForm = (form: Linear): Scalar => {
  const terms = [...form.terms].toSorted(
    (a, b) => b.coefficient - a.coefficient || compareText(printScalar(a.atom), printScalar(b.atom)),
  );
  const positive = terms.filter(({ coefficient }) => coefficient > 0);
  const negative = terms.filter(({ coefficient }) => coefficient < 0);
  const leading = positive.map((term) => mul(term.atom, term.coefficient));
  const { constant } = form;
  // `7 - x` rather than `-x + 7`.
  const start = leading.length > 0 ? add(...leading) : literal(constant);
  const all = negative.reduce((sum, term) => sub(sum, mul(term.atom, -term.coefficient)), start);
  if (leading.length === 0) return all;
  return constant < 0 ? sub(all, -constant) : add(all, constant);
};

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Numbers expressions by structure, so that equal ones are found without comparing trees. */
export const createNumbering = (): ((expr: Scalar) => number) => {
  const byObject = new Map<Scalar, number>();
  const byStructure = new Map<string, number>();
  const idOf = (expr: Scalar): number => {
    const known = byObject.get(expr);
    if (known !== undefined) return known;
    const structure = `${headOf(expr)}(${childrenOf(expr).map(idOf).join()})`;
    const id = byStructure.get(structure) ?? byStructure.size;
    byStructure.set(structure, id);
    byObject.set(expr, id);
    return id;
  };
  return idOf;
};

const headOf = (expr: Scalar): string => {
  switch (expr.kind) {
    case "number":
      return Object.is(expr.value, -0) ? "-0" : String(expr.value);
    case "variable":
      return `variable ${expr.name}`;
    case "argument":
      return `argument ${expr.index}`;
    case "load":
      return `load ${expr.table}`;
    case "unary":
    case "binary":
      return expr.op;
    case "select":
      return "select";
  }
};
