import type { Scalar } from "./scalar.ts";
import { childrenOf } from "./scalarWalk.ts";
import { assertNever } from "../diagnostics.ts";

/** Numbers for expressions, the same for equal ones. */
export type ScalarKeys = { readonly known: Map<Scalar, number>; readonly numbers: Map<string, number> };

export const scalarKeys = (): ScalarKeys => ({ known: new Map(), numbers: new Map() });

export function keyOf(scalar: Scalar, keys: ScalarKeys): number {
  const known = keys.known.get(scalar);
  if (known !== undefined) return known;
  const text = `${nameOf(scalar)}(${childrenOf(scalar)
    .map((child) => keyOf(child, keys))
    .join(",")})`;
  const key = keys.numbers.get(text) ?? keys.numbers.size;
  keys.numbers.set(text, key);
  keys.known.set(scalar, key);
  return key;
}

export function equalScalars(a: Scalar, b: Scalar): boolean {
  const keys = scalarKeys();
  return keyOf(a, keys) === keyOf(b, keys);
}

function nameOf(scalar: Scalar): string {
  switch (scalar.kind) {
    case "number":
      return Object.is(scalar.value, -0) ? "-0" : String(scalar.value);
    case "variable":
      return `$${scalar.name}`;
    case "argument":
      return `#${scalar.index}`;
    case "load":
      return `@${scalar.table}`;
    case "unary":
    case "binary":
      return scalar.op;
    case "select":
      return "select";
    default:
      return assertNever(scalar);
  }
}
