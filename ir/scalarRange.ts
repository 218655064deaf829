import type { BinaryOp, Scalar, UnaryOp } from "./scalar.ts";
import { isBoolean, unaryFunctions } from "./scalarMeaning.ts";

/** The values from `min` to `max`, both included. */
export type Interval = { readonly min: number; readonly max: number };
/** What each variable may be. A variable that is named here is an integer; one that is not may be anything. */
export type Ranges = { readonly [variable: string]: Interval };

const everything: Interval = { min: -Infinity, max: Infinity };
const truth: Interval = { min: 0, max: 1 };
const point = (value: number): Interval => ({ min: value, max: value });

/** 0 <= variable < size. */
export const below = (size: number): Interval => ({ min: 0, max: size - 1 });

export const rangeOfVariable = (name: string, ranges: Ranges): Interval | undefined =>
  Object.hasOwn(ranges, name) ? ranges[name] : undefined;

/**
 * An interval that holds every value of the expression (NaN apart). Each occurrence of a variable is taken for itself:
 * of an expression in which one occurs often, take the range of its simplified form.
 */
export const rangeOf = (expr: Scalar, ranges: Ranges): Interval => {
  switch (expr.kind) {
    case "number":
      return Number.isNaN(expr.value) ? everything : point(expr.value);
    case "variable":
      return rangeOfVariable(expr.name, ranges) ?? everything;
    case "argument":
    case "load":
      return everything;
    case "unary":
      return unaryRange(expr.op, rangeOf(expr.of, ranges));
    case "binary":
      if (expr.op === "mul" && isSame(expr.left, expr.right)) return powerRange(rangeOf(expr.left, ranges), 2);
      if (expr.op === "pow" && expr.right.kind === "number")
        return outwardsOf(powerRange(rangeOf(expr.left, ranges), expr.right.value));
      return binaryRange(
        expr.op,
        rangeOf(expr.left, ranges),
        rangeOf(expr.right, ranges),
        isInteger(expr.left, ranges) && isInteger(expr.right, ranges),
      );
    case "select": {
      const condition = rangeOf(expr.if, ranges);
      if (isTrue(condition)) return rangeOf(expr.then, ranges);
      if (isFalse(condition)) return rangeOf(expr.else, ranges);
      const then = rangeOf(expr.then, ranges);
      const otherwise = rangeOf(expr.else, ranges);
      return { min: Math.min(then.min, otherwise.min), max: Math.max(then.max, otherwise.max) };
    }
  }
};

/** Whether they are written alike. */
const isSame = (a: Scalar, b: Scalar): boolean => {
  if (a === b) return true;
  switch (a.kind) {
    case "number":
      return b.kind === "number" && a.value === b.value;
    case "variable":
      return b.kind === "variable" && a.name === b.name;
    case "unary":
      return b.kind === "unary" && a.op === b.op && isSame(a.of, b.of);
    case "binary":
      return b.kind === "binary" && a.op === b.op && isSame(a.left, b.left) && isSame(a.right, b.right);
    default:
      return false;
  }
};

/** Of whole powers: an even one is nowhere below 0, and least where its base comes nearest to it. */
const powerRange = (x: Interval, exponent: number): Interval => {
  if (!Number.isInteger(exponent) || exponent < 1) return everything;
  const [a, b] = [x.min ** exponent, x.max ** exponent];
  if (exponent % 2 === 1) return { min: a, max: b };
  return { min: x.min <= 0 && x.max >= 0 ? 0 : Math.min(a, b), max: Math.max(a, b) };
};

/** What a condition comes to wherever its variables are in range. */
export const decide = (condition: Scalar, ranges: Ranges): "always" | "never" | "maybe" => {
  const range = rangeOf(condition, ranges);
  return isTrue(range) ? "always" : isFalse(range) ? "never" : "maybe";
};

const isTrue = ({ min, max }: Interval): boolean => min > 0 || max < 0;
const isFalse = ({ min, max }: Interval): boolean => min === 0 && max === 0;

const integerOps: ReadonlySet<BinaryOp> = new Set<BinaryOp>(["add", "sub", "mul", "min", "max", "mod", "rem"]);

/** Whether the expression is an integer (or infinite) whatever its variables are. */
export const isInteger = (expr: Scalar, ranges: Ranges): boolean => {
  switch (expr.kind) {
    case "number":
      return Number.isInteger(expr.value);
    case "variable":
      return rangeOfVariable(expr.name, ranges) !== undefined;
    case "argument":
    case "load":
      return false;
    case "unary":
      if (expr.op === "neg" || expr.op === "abs") return isInteger(expr.of, ranges);
      return (
        expr.op === "not" || expr.op === "floor" || expr.op === "ceil" || expr.op === "round" || expr.op === "sign"
      );
    case "binary":
      if (isBoolean(expr) || expr.op === "floorDiv") return true;
      return integerOps.has(expr.op) && isInteger(expr.left, ranges) && isInteger(expr.right, ranges);
    case "select":
      return isInteger(expr.then, ranges) && isInteger(expr.else, ranges);
  }
};

const monotone: ReadonlySet<UnaryOp> = new Set<UnaryOp>([
  "sign",
  "floor",
  "ceil",
  "round",
  "exp",
  "tanh",
  "erf",
  "sigmoid",
]);

const unaryRange = (op: UnaryOp, x: Interval): Interval => {
  const apply = unaryFunctions[op];
  // Rounding may turn neighbours round in the last bit, so that bounds of inexact functions are moved out a little.
  if (monotone.has(op))
    return op === "exp" || op === "tanh" || op === "erf" || op === "sigmoid"
      ? outwards(apply(x.min), apply(x.max))
      : { min: apply(x.min), max: apply(x.max) };
  switch (op) {
    case "neg":
      return { min: -x.max, max: -x.min };
    case "not":
      return isTrue(x) ? point(0) : isFalse(x) ? point(1) : truth;
    case "abs":
      return { min: Math.max(0, x.min, -x.max), max: Math.max(-x.min, x.max) };
    case "sqrt":
      return outwards(Math.sqrt(Math.max(0, x.min)), Math.sqrt(Math.max(0, x.max)));
    case "sin":
    case "cos":
      return { min: -1, max: 1 };
    case "log":
      return outwards(Math.log(Math.max(0, x.min)), Math.log(Math.max(0, x.max)));
    default:
      return everything;
  }
};

const outwardsOf = ({ min, max }: Interval): Interval => outwards(min, max);
const outwards = (min: number, max: number): Interval => ({
  min: min - Math.abs(min) * 1e-14,
  max: max + Math.abs(max) * 1e-14,
});

const hull = (...values: readonly number[]): Interval =>
  values.some(Number.isNaN) ? everything : { min: Math.min(...values), max: Math.max(...values) };

/** 0 * Infinity is 0 here: a bound that is never reached. */
const times = (a: number, b: number): number => (a === 0 || b === 0 ? 0 : a * b);

const binaryRange = (op: BinaryOp, a: Interval, b: Interval, integers: boolean): Interval => {
  switch (op) {
    case "add":
      return sumRange(a, b);
    case "sub":
      return sumRange(a, { min: -b.max, max: -b.min });
    case "mul":
      return hull(times(a.min, b.min), times(a.min, b.max), times(a.max, b.min), times(a.max, b.max));
    case "div":
      return b.min > 0 || b.max < 0 ? hull(a.min / b.min, a.min / b.max, a.max / b.min, a.max / b.max) : everything;
    case "floorDiv":
      if (b.min <= 0 && b.max >= 0) return everything;
      return hull(...[a.min / b.min, a.min / b.max, a.max / b.min, a.max / b.max].map(Math.floor));
    case "mod":
      return modRange(a, b, integers);
    case "rem":
      return remRange(a, b, integers);
    case "min":
      return { min: Math.min(a.min, b.min), max: Math.min(a.max, b.max) };
    case "max":
      return { min: Math.max(a.min, b.min), max: Math.max(a.max, b.max) };
    case "and":
      return isTrue(a) && isTrue(b) ? point(1) : isFalse(a) || isFalse(b) ? point(0) : truth;
    case "or":
      return isTrue(a) || isTrue(b) ? point(1) : isFalse(a) && isFalse(b) ? point(0) : truth;
    case "lt":
      return a.max < b.min ? point(1) : a.min >= b.max ? point(0) : truth;
    case "le":
      return a.max <= b.min ? point(1) : a.min > b.max ? point(0) : truth;
    case "gt":
      return binaryRange("lt", b, a, integers);
    case "ge":
      return binaryRange("le", b, a, integers);
    case "eq":
      if (a.min === a.max && b.min === b.max && a.min === b.min) return point(1);
      return a.max < b.min || b.max < a.min ? point(0) : truth;
    case "ne": {
      const equal = binaryRange("eq", a, b, integers);
      return { min: 1 - equal.max, max: 1 - equal.min };
    }
    case "pow":
      return everything;
  }
};

const sumRange = (a: Interval, b: Interval): Interval => {
  const min = a.min + b.min;
  const max = a.max + b.max;
  return Number.isNaN(min) || Number.isNaN(max) ? everything : { min, max };
};

const modRange = (a: Interval, b: Interval, integers: boolean): Interval => {
  if (b.min <= 0) return b.max < 0 ? { min: integers ? b.min + 1 : b.min, max: 0 } : everything;
  const quotient = Math.floor(a.min / b.min);
  if (b.min === b.max && Number.isFinite(quotient) && quotient === Math.floor(a.max / b.min)) {
    return { min: a.min - quotient * b.min, max: a.max - quotient * b.min };
  }
  return { min: 0, max: integers ? b.max - 1 : b.max };
};

const remRange = (a: Interval, b: Interval, integers: boolean): Interval => {
  if (b.min <= 0 && b.max >= 0) return everything;
  const size = Math.max(Math.abs(b.min), Math.abs(b.max)) - (integers ? 1 : 0);
  return { min: a.min >= 0 ? 0 : Math.max(a.min, -size), max: a.max <= 0 ? 0 : Math.min(a.max, size) };
};
