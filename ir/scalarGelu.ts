import type { Scalar } from "./scalar.ts";
import { createNumbering } from "./scalarLinear.ts";

/** x where the expression is the exact GELU of x. */
export function geluArgument(scalar: Scalar): Scalar | undefined {
  const product = factorsOf(scalar);
  if (product.factors.length !== 2 || Math.abs(product.constant - 0.5) > 1e-9) return undefined;
  for (const [one, other] of [product.factors, product.factors.toReversed()] as const) {
    if (one === undefined || other === undefined) continue;
    if (other.kind !== "binary" || other.op !== "add") continue;
    for (const [unit, erf] of [
      [other.left, other.right],
      [other.right, other.left],
    ] as const) {
      if (unit.kind !== "number" || unit.value !== 1 || erf.kind !== "unary" || erf.op !== "erf") continue;
      const inner = factorsOf(erf.of);
      const [x] = inner.factors;
      if (inner.factors.length !== 1 || x === undefined || Math.abs(inner.constant - Math.SQRT1_2) > 1e-7) continue;
      const numberOf = createNumbering();
      if (numberOf(x) === numberOf(one)) return x;
    }
  }
  return undefined;
}

/** A product as its constant and its other factors. */
function factorsOf(scalar: Scalar): { readonly constant: number; readonly factors: readonly Scalar[] } {
  if (scalar.kind === "number") return { constant: scalar.value, factors: [] };
  if (scalar.kind === "binary" && scalar.op === "mul") {
    const [left, right] = [factorsOf(scalar.left), factorsOf(scalar.right)];
    return { constant: left.constant * right.constant, factors: [...left.factors, ...right.factors] };
  }
  if (scalar.kind === "binary" && scalar.op === "div") {
    const divisor = constantOf(scalar.right);
    const left = factorsOf(scalar.left);
    if (divisor !== undefined) return { constant: left.constant / divisor, factors: left.factors };
  }
  const value = constantOf(scalar);
  return value === undefined ? { constant: 1, factors: [scalar] } : { constant: value, factors: [] };
}

function constantOf(scalar: Scalar): number | undefined {
  if (scalar.kind === "number") return scalar.value;
  if (scalar.kind === "unary" && scalar.op === "sqrt" && scalar.of.kind === "number") return Math.sqrt(scalar.of.value);
  return undefined;
}
