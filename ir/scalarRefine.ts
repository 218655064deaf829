import { isComparison } from "./scalarCompare.ts";
import { addScaled, type LinearContext } from "./scalarLinear.ts";
import { isInteger, type Ranges, rangeOfVariable } from "./scalarRange.ts";
import type { Scalar } from "./scalar.ts";

/** The ranges as far as a simplified condition narrows them by holding or failing; the same object where it tells nothing. */
export const refineRanges = (ranges: Ranges, condition: Scalar, holds: boolean, context: LinearContext): Ranges => {
  if (condition.kind === "variable") return narrow(ranges, condition.name, holds ? 1 : 0, holds ? Infinity : 0);
  if (condition.kind === "unary" && condition.op === "not") return refineRanges(ranges, condition.of, !holds, context);
  if (condition.kind !== "binary") return ranges;
  const { op, left, right } = condition;
  if (op === (holds ? "and" : "or")) {
    return refineRanges(refineRanges(ranges, left, holds, context), right, holds, context);
  }
  if (!isComparison(op) || !isInteger(left, ranges) || !isInteger(right, ranges)) return ranges;
  const { constant, terms } = addScaled(context.linearOf(left), context.linearOf(right), -1);
  const [term, second] = terms;
  if (term === undefined || second !== undefined || term.atom.kind !== "variable") return ranges;
  // coefficient * x + constant is compared with 0.
  const { name } = term.atom;
  const bounds = boundsOf[op](holds);
  if (bounds === undefined) return ranges;
  const low = (bounds.min - constant) / term.coefficient;
  const high = (bounds.max - constant) / term.coefficient;
  return narrow(ranges, name, Math.ceil(Math.min(low, high)), Math.floor(Math.max(low, high)));
};

type Bounds = { readonly min: number; readonly max: number };
const negative: Bounds = { min: -Infinity, max: -1 };
const notPositive: Bounds = { min: -Infinity, max: 0 };
const positive: Bounds = { min: 1, max: Infinity };
const notNegative: Bounds = { min: 0, max: Infinity };
const zero: Bounds = { min: 0, max: 0 };

/** Where an integer lies that compares so with 0, or does not. */
const boundsOf = {
  lt: (holds: boolean): Bounds => (holds ? negative : notNegative),
  le: (holds: boolean): Bounds => (holds ? notPositive : positive),
  gt: (holds: boolean): Bounds => (holds ? positive : notPositive),
  ge: (holds: boolean): Bounds => (holds ? notNegative : negative),
  eq: (holds: boolean): Bounds | undefined => (holds ? zero : undefined),
  ne: (holds: boolean): Bounds | undefined => (holds ? undefined : zero),
};

/** A side that is never taken narrows to nothing: then the range stays, and what is said about that side does not matter. */
const narrow = (ranges: Ranges, name: string, min: number, max: number): Ranges => {
  const known = rangeOfVariable(name, ranges);
  if (known === undefined) return ranges;
  const narrowed = { min: Math.max(known.min, min), max: Math.min(known.max, max) };
  if (narrowed.min > narrowed.max || (narrowed.min === known.min && narrowed.max === known.max)) return ranges;
  return { ...ranges, [name]: narrowed };
};
