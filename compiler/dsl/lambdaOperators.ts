import { assertNever } from "../../ir/errors.ts";
import type { Scalar } from "../../ir/scalar.ts";
import {
  add,
  and,
  binary,
  div,
  floorDiv,
  gt,
  literal,
  lt,
  max,
  min,
  mul,
  neg,
  not,
  or,
  select,
  sub,
  unary,
} from "../../ir/scalarBuild.ts";
import { isBoolean } from "../../ir/scalarMeaning.ts";
import type { LambdaOperator, MathFunction } from "./lambdaSource.ts";

export function applyPrefix(op: "-" | "+" | "!", of: Scalar): Scalar {
  return op === "-" ? neg(of) : op === "!" ? not(truth(of)) : of;
}

/** Whether JavaScript takes it for true: NaN is not. */
export function truth(of: Scalar): Scalar {
  if (of.kind === "number") return literal(of.value === 0 || Number.isNaN(of.value) ? 0 : 1);
  return isTruth(of) ? of : or(lt(of, 0), gt(of, 0));
}

const plainOperators = {
  "+": "add",
  "-": "sub",
  "*": "mul",
  "/": "div",
  "%": "rem",
  "<": "lt",
  "<=": "le",
  ">": "gt",
  ">=": "ge",
  "===": "eq",
  "!==": "ne",
} as const;

/** `right` is read where JavaScript would read it. */
export function applyOperator(op: Exclude<LambdaOperator, "??">, left: Scalar, right: () => Scalar): Scalar {
  switch (op) {
    case "&&":
    case "||": {
      const test = truth(left);
      // A side that is known leaves the other unread, as when it runs.
      if (test.kind === "number") return (test.value !== 0) === (op === "&&") ? right() : left;
      const other = right();
      if (isTruth(left) && isTruth(other)) return op === "&&" ? and(left, other) : or(left, other);
      return op === "&&" ? select(test, other, left) : select(test, left, other);
    }
    case "**": {
      const exponent = right();
      if (exponent.kind === "number" && (exponent.value === 2 || exponent.value === 3))
        return exponent.value === 2 ? mul(left, left) : mul(mul(left, left), left);
      return binary("pow", left, exponent);
    }
    case "<<":
      return mul(left, power(right()));
    case ">>":
      return floorDiv(left, power(right()));
    default:
      return binary(plainOperators[op], left, right());
  }
}
const power = (exponent: Scalar): Scalar => binary("pow", 2, exponent);
/** Whether it is 0 or 1 only. */
const isTruth = (of: Scalar): boolean => isBoolean(of) || (of.kind === "variable" && of.name.endsWith(".isPrefix"));

export function applyMath(name: MathFunction, given: readonly Scalar[]): Scalar {
  const x = given[0] ?? literal(NaN);
  const y = given[1] ?? literal(NaN);
  switch (name) {
    case "floor":
      // A quotient of integers is divided exactly.
      return x.kind === "binary" && x.op === "div" ? floorDiv(x.left, x.right) : unary("floor", x);
    case "abs":
    case "sign":
    case "ceil":
    case "round":
    case "sqrt":
    case "exp":
    case "log":
    case "sin":
    case "cos":
    case "tanh":
      return unary(name, x);
    case "trunc":
      return select(lt(x, 0), unary("ceil", x), applyMath("floor", [x]));
    case "min":
      return given.length === 0 ? literal(Infinity) : min(...given);
    case "max":
      return given.length === 0 ? literal(-Infinity) : max(...given);
    case "pow":
      return binary("pow", x, y);
    case "expm1":
      return sub(unary("exp", x), 1);
    case "log1p":
      return unary("log", add(x, 1));
    case "log2":
      return div(unary("log", x), Math.LN2);
    case "log10":
      return div(unary("log", x), Math.LN10);
    case "hypot":
      return unary(
        "sqrt",
        given.reduce<Scalar>((sum, each) => add(sum, mul(each, each)), literal(0)),
      );
    case "tan":
      return div(unary("sin", x), unary("cos", x));
    case "sinh":
      return mul(0.5, sub(unary("exp", x), unary("exp", neg(x))));
    case "cosh":
      return mul(0.5, add(unary("exp", x), unary("exp", neg(x))));
    default:
      return assertNever(name);
  }
}
