import { binary, load, select, unary } from "./scalarBuild.ts";
import type { Scalar } from "./scalar.ts";

export const childrenOf = (expr: Scalar): readonly Scalar[] => {
  switch (expr.kind) {
    case "number":
    case "variable":
    case "argument":
      return [];
    case "load":
      return expr.index;
    case "unary":
      return [expr.of];
    case "binary":
      return [expr.left, expr.right];
    case "select":
      return [expr.if, expr.then, expr.else];
  }
};

/** Calls `visit` on the expression and all within it, a shared part once. */
export const walkScalar = (expr: Scalar, visit: (part: Scalar) => void): void => {
  const seen = new Set<Scalar>();
  const walk = (part: Scalar): void => {
    if (seen.has(part)) return;
    seen.add(part);
    visit(part);
    childrenOf(part).forEach(walk);
  };
  walk(expr);
};

export const variablesOf = (expr: Scalar): ReadonlySet<string> => {
  const names = new Set<string>();
  walkScalar(expr, (part) => {
    if (part.kind === "variable") names.add(part.name);
  });
  return names;
};

/**
 * The expression with parts replaced: `replace` sees each part before what is within it, and what it returns stands
 * as it is; where it returns undefined the part is rebuilt from its replaced children. Shared parts stay shared, and
 * an expression in which nothing is replaced is returned itself.
 */
export const mapScalar = (expr: Scalar, replace: (part: Scalar) => Scalar | undefined): Scalar => {
  const done = new Map<Scalar, Scalar>();
  const map = (part: Scalar): Scalar => {
    const known = done.get(part);
    if (known !== undefined) return known;
    const mapped = replace(part) ?? rebuild(part, childrenOf(part).map(map));
    done.set(part, mapped);
    return mapped;
  };
  return map(expr);
};

/** The same operation on other operands, folded; the expression itself where they are the operands it has. */
export const rebuild = (expr: Scalar, children: readonly Scalar[]): Scalar => {
  const [first, second, third] = children;
  if (first === undefined || childrenOf(expr).every((child, index) => child === children[index])) return expr;
  switch (expr.kind) {
    case "number":
    case "variable":
    case "argument":
      return expr;
    case "load":
      return load(expr.table, children);
    case "unary":
      return unary(expr.op, first);
    case "binary":
      return binary(expr.op, first, second ?? expr.right);
    case "select":
      return select(first, second ?? expr.then, third ?? expr.else);
  }
};

/** Variables by name replaced by expressions; others stay. */
export const substitute = (expr: Scalar, values: { readonly [name: string]: Scalar | number }): Scalar =>
  mapScalar(expr, (part) => {
    if (part.kind !== "variable" || !Object.hasOwn(values, part.name)) return undefined;
    const value = values[part.name];
    return typeof value === "number" ? { kind: "number", value } : value;
  });

/** Arguments replaced by expressions; those that `value` does not know stay. */
export const substituteArguments = (expr: Scalar, value: (index: number) => Scalar | undefined): Scalar =>
  mapScalar(expr, (part) => (part.kind === "argument" ? value(part.index) : undefined));
