import { floorDiv, mod } from "./scalarBuild.ts";
import {
  addScaled,
  atomForm,
  bucketOf,
  constantForm,
  fromForm,
  type Linear,
  type LinearContext,
  sameForm,
  scale,
  type Term,
} from "./scalarLinear.ts";
import type { Scalar } from "./scalar.ts";

/** floor(form / divisor) for a positive divisor. */
export const divideForm = (form: Linear, divisor: number, context: LinearContext): Linear => {
  if (divisor === 1) return form;
  // Multiples of the divisor leave as they are.
  const whole: Linear = {
    constant: Math.floor(form.constant / divisor),
    terms: form.terms
      .filter(isMultipleOf(divisor))
      .map((term) => ({ ...term, coefficient: term.coefficient / divisor })),
  };
  const rest: Linear = {
    constant: form.constant - whole.constant * divisor,
    terms: form.terms.filter((term) => !isMultipleOf(divisor)(term)),
  };
  const bucket = bucketOf(rest, divisor, context);
  if (bucket !== undefined) return addScaled(whole, constantForm(bucket), 1);
  return addScaled(whole, divideRest(rest, divisor, context), 1);
};

const divideRest = (rest: Linear, divisor: number, context: LinearContext): Linear => {
  // (g * s + t) / (g * d) = s / d where 0 <= t < g.
  for (const step of commonSteps(rest, divisor)) {
    const parts = splitByStep(rest, step, context);
    if (parts !== undefined) return divideForm(parts.steps, divisor / step, context);
  }
  const [term, second] = rest.terms;
  const operands = second === undefined && term?.coefficient === 1 ? division(term.atom) : undefined;
  // (x / e + c) / d = (x + c * e) / (d * e).
  if (operands?.op === "floorDiv") {
    const inner = addScaled(context.linearOf(operands.of), constantForm(rest.constant), operands.by);
    return divideForm(inner, divisor * operands.by, context);
  }
  // (x mod (d * n)) / d = (x / d) mod n.
  if (operands?.op === "mod" && rest.constant === 0 && operands.by % divisor === 0) {
    return moduloForm(divideForm(context.linearOf(operands.of), divisor, context), operands.by / divisor, context);
  }
  return atomForm(floorDiv(fromForm(rest), divisor), context);
};

/** form mod divisor for a positive divisor. */
export const moduloForm = (form: Linear, divisor: number, context: LinearContext): Linear => {
  if (divisor === 1) return constantForm(0);
  const bucket = bucketOf(form, divisor, context);
  if (bucket !== undefined) return addScaled(form, constantForm(divisor), -bucket);
  const reduced = reduceByDivisor(form, divisor, context);
  const reducedBucket = bucketOf(reduced, divisor, context);
  if (reducedBucket !== undefined) return addScaled(reduced, constantForm(divisor), -reducedBucket);
  // (g * s + t) mod (g * n) = g * (s mod n) + t where 0 <= t < g.
  for (const step of commonSteps(reduced, divisor)) {
    const parts = splitByStep(reduced, step, context);
    if (parts === undefined) continue;
    return addScaled(parts.rest, moduloForm(parts.steps, divisor / step, context), step);
  }
  return atomForm(mod(fromForm(reduced), divisor), context);
};

/** Another form with the same remainder: multiples of the divisor dropped, and inner remainders by its multiples opened. */
const reduceByDivisor = (form: Linear, divisor: number, context: LinearContext): Linear => {
  const remainder = (value: number): number => ((value % divisor) + divisor) % divisor;
  let reduced = constantForm(form.constant);
  for (const term of form.terms) {
    const inner = division(term.atom);
    const opened =
      inner?.op === "mod" && (term.coefficient * inner.by) % divisor === 0
        ? scale(context.linearOf(inner.of), term.coefficient)
        : { constant: 0, terms: [term] };
    reduced = addScaled(reduced, opened, 1);
  }
  return {
    constant: remainder(reduced.constant),
    terms: reduced.terms
      .filter((term) => !isMultipleOf(divisor)(term))
      .map((term) =>
        Math.abs(term.coefficient) < divisor ? term : { ...term, coefficient: remainder(term.coefficient) },
      ),
  };
};

/** form = step * steps + rest with 0 <= rest < step, if the terms fall apart so. */
export const splitByStep = (
  form: Linear,
  step: number,
  context: LinearContext,
): { readonly steps: Linear; readonly rest: Linear } | undefined => {
  const small = form.terms.filter((term) => !isMultipleOf(step)(term));
  if (small.length === form.terms.length) return undefined;
  const rest: Linear = { constant: form.constant, terms: small };
  const bucket = bucketOf(rest, step, context);
  if (bucket === undefined) return undefined;
  const steps = form.terms
    .filter(isMultipleOf(step))
    .map((term) => ({ ...term, coefficient: term.coefficient / step }));
  return {
    steps: { constant: bucket, terms: steps },
    rest: { constant: form.constant - bucket * step, terms: small },
  };
};

const isMultipleOf =
  (divisor: number) =>
  (term: Term): boolean =>
    term.coefficient % divisor === 0;

/** Divisors above 1 of `divisor` that it shares with coefficients, the largest first. */
const commonSteps = (form: Linear, divisor: number): readonly number[] =>
  [...new Set(form.terms.map((term) => greatestCommonDivisor(term.coefficient, divisor)))]
    .filter((step) => step > 1)
    .toSorted((a, b) => b - a);

export const greatestCommonDivisor = (a: number, b: number): number =>
  b === 0 ? Math.abs(a) : greatestCommonDivisor(b, a % b);

type Division = { readonly op: "floorDiv" | "mod"; readonly of: Scalar; readonly by: number };
/** An atom as a division by a positive number. */
const division = (atom: Scalar): Division | undefined =>
  atom.kind === "binary" &&
  (atom.op === "floorDiv" || atom.op === "mod") &&
  atom.right.kind === "number" &&
  atom.right.value > 0
    ? { op: atom.op, of: atom.left, by: atom.right.value }
    : undefined;

/** Puts quotients and remainders of the same number together again while that leaves fewer terms. */
export const recombine = (form: Linear, context: LinearContext): Linear => {
  for (let current = form; ;) {
    const next = current.terms.length < 2 ? undefined : recombineOnce(current, context);
    if (next === undefined) return current;
    current = next;
  }
};

const recombineOnce = (form: Linear, context: LinearContext): Linear | undefined => {
  for (const term of form.terms) {
    const inner = division(term.atom);
    if (inner === undefined) continue;
    const without = addScaled(form, { constant: 0, terms: [term] }, -1);
    for (const candidate of otherForms(form, term, inner, context)) {
      const next = addScaled(without, candidate, 1);
      if (next.terms.length < form.terms.length) return next;
    }
  }
  return undefined;
};

/** Forms equal to a term that is a quotient or a remainder (together with another term that they take back). */
function* otherForms(form: Linear, term: Term, inner: Division, context: LinearContext): Generator<Linear> {
  const { coefficient } = term;
  const { by } = inner;
  const of = context.linearOf(inner.of);
  if (inner.op === "floorDiv") {
    // -n * (x / n) = x mod n - x.
    if (coefficient % by === 0) {
      yield scale(addScaled(of, moduloForm(of, by, context), -1), coefficient / by);
    }
    // -n * (x / (d * n)) = (x / d) mod n - x / d.
    for (const other of form.terms) {
      const finer = division(other.atom);
      if (finer?.op !== "floorDiv" || other === term || by % finer.by !== 0) continue;
      const ratio = by / finer.by;
      if (coefficient !== -other.coefficient * ratio) continue;
      const quotient = divideForm(of, finer.by, context);
      yield scale(addScaled(quotient, moduloForm(quotient, ratio, context), -1), coefficient / ratio);
    }
    return;
  }
  const quotient = divideForm(of, by, context);
  // x mod n = x - n * (x / n).
  yield scale(addScaled(of, quotient, -by), coefficient);
  // x mod d + d * ((x / d) mod n) = x mod (d * n).
  for (const other of form.terms) {
    const outer = division(other.atom);
    if (outer?.op !== "mod" || other.coefficient !== coefficient * by) continue;
    if (!sameForm(context.linearOf(outer.of), quotient)) continue;
    const both = scale(moduloForm(of, by * outer.by, context), coefficient);
    yield addScaled(both, { constant: 0, terms: [other] }, -1);
  }
}
