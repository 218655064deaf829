import { erf } from "./erf.ts";
import type { BinaryOp, Scalar, UnaryOp } from "./scalar.ts";

/** What every operation means, in float64. Booleans are 0 and 1. */
export const unaryFunctions: { readonly [O in UnaryOp]: (x: number) => number } = {
  neg: (x) => -x,
  not: (x) => (x === 0 ? 1 : 0),
  abs: Math.abs,
  sign: Math.sign,
  floor: Math.floor,
  ceil: Math.ceil,
  round: Math.round,
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  rsqrt: (x) => 1 / Math.sqrt(x),
  sin: Math.sin,
  cos: Math.cos,
  tanh: Math.tanh,
  erf,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
};

const floorDivide = (a: number, b: number): number => Math.floor(a / b);
/** The remainder first, so that integers stay exact. */
const modulo = (a: number, b: number): number => {
  const rest = a % b;
  return rest !== 0 && rest < 0 !== b < 0 ? rest + b : rest === 0 ? 0 : rest;
};

export const binaryFunctions: { readonly [O in BinaryOp]: (a: number, b: number) => number } = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  pow: (a, b) => a ** b,
  min: Math.min,
  max: Math.max,
  floorDiv: floorDivide,
  mod: modulo,
  rem: (a, b) => a % b,
  and: (a, b) => (a !== 0 && b !== 0 ? 1 : 0),
  or: (a, b) => (a !== 0 || b !== 0 ? 1 : 0),
  eq: (a, b) => (a === b ? 1 : 0),
  ne: (a, b) => (a !== b ? 1 : 0),
  lt: (a, b) => (a < b ? 1 : 0),
  le: (a, b) => (a <= b ? 1 : 0),
  gt: (a, b) => (a > b ? 1 : 0),
  ge: (a, b) => (a >= b ? 1 : 0),
};

const booleanOps: ReadonlySet<BinaryOp> = new Set<BinaryOp>(["and", "or", "eq", "ne", "lt", "le", "gt", "ge"]);

/** Whether the expression is 0 or 1 whatever its variables are. */
export const isBoolean = (expr: Scalar): boolean => {
  switch (expr.kind) {
    case "number":
      return expr.value === 0 || expr.value === 1;
    case "unary":
      return expr.op === "not";
    case "binary":
      return booleanOps.has(expr.op);
    case "select":
      return isBoolean(expr.then) && isBoolean(expr.else);
    default:
      return false;
  }
};
