import { GraphError } from "./errors.ts";
import type { Scalar } from "./scalar.ts";
import { binaryFunctions, unaryFunctions } from "./scalarMeaning.ts";

/** What an expression is evaluated in. */
export type ScalarEnvironment = {
  readonly variables?: { readonly [name: string]: number };
  readonly arguments?: ArrayLike<number>;
  readonly load?: (table: number, index: readonly number[]) => number;
};

/** The value in float64. Throws a GraphError on a variable, argument or load that the environment lacks. */
export const evaluateScalar = (expr: Scalar, environment: ScalarEnvironment): number => {
  switch (expr.kind) {
    case "number":
      return expr.value;
    case "variable": {
      const value = environment.variables?.[expr.name];
      if (value === undefined) throw new GraphError(`the variable "${expr.name}" has no value`);
      return value;
    }
    case "argument": {
      const value = environment.arguments?.[expr.index];
      if (value === undefined) throw new GraphError(`argument ${expr.index} has no value`);
      return value;
    }
    case "load": {
      if (environment.load === undefined) throw new GraphError(`table ${expr.table} cannot be read here`);
      return environment.load(
        expr.table,
        expr.index.map((index) => evaluateScalar(index, environment)),
      );
    }
    case "unary":
      return unaryFunctions[expr.op](evaluateScalar(expr.of, environment));
    case "binary":
      // The right side of && and || is asked only where the left does not decide: it may be a load that is out of reach.
      if (expr.op === "and" || expr.op === "or") {
        const left = evaluateScalar(expr.left, environment) !== 0;
        if (left === (expr.op === "or")) return left ? 1 : 0;
        return evaluateScalar(expr.right, environment) === 0 ? 0 : 1;
      }
      return binaryFunctions[expr.op](evaluateScalar(expr.left, environment), evaluateScalar(expr.right, environment));
    case "select":
      return evaluateScalar(expr.if, environment) === 0
        ? evaluateScalar(expr.else, environment)
        : evaluateScalar(expr.then, environment);
  }
};

/** Where a compiled expression finds its variables and arguments: slots of one array that the caller fills. */
export type CompiledScalar = (slots: Float64Array) => number;
export type ScalarSlots = {
  readonly variable: (name: string) => number;
  readonly argument?: (index: number) => number;
  readonly load?: (table: number, index: readonly number[]) => number;
};

/** The expression as a function of an array of slots: for evaluating it at very many positions. */
export const compileScalar = (expr: Scalar, slots: ScalarSlots): CompiledScalar => {
  const compile = (part: Scalar): CompiledScalar => {
    switch (part.kind) {
      case "number": {
        const { value } = part;
        return () => value;
      }
      case "variable":
        return slotReader(slots.variable(part.name));
      case "argument":
        if (slots.argument === undefined) throw new GraphError(`argument ${part.index} has no value`);
        return slotReader(slots.argument(part.index));
      case "load": {
        const { load } = slots;
        if (load === undefined) throw new GraphError(`table ${part.table} cannot be read here`);
        const index = part.index.map(compile);
        return (values) =>
          load(
            part.table,
            index.map((at) => at(values)),
          );
      }
      case "unary": {
        const apply = unaryFunctions[part.op];
        const of = compile(part.of);
        return (values) => apply(of(values));
      }
      case "binary":
        return compileBinary(part.op, compile(part.left), compile(part.right));
      case "select": {
        const test = compile(part.if);
        const then = compile(part.then);
        const otherwise = compile(part.else);
        return (values) => (test(values) === 0 ? otherwise(values) : then(values));
      }
    }
  };
  return compile(expr);
};

const slotReader =
  (slot: number): CompiledScalar =>
  (values) =>
    values[slot] ?? Number.NaN;

/** The commonest operations without an indirect call. */
const compileBinary = (
  op: keyof typeof binaryFunctions,
  left: CompiledScalar,
  right: CompiledScalar,
): CompiledScalar => {
  switch (op) {
    case "add":
      return (values) => left(values) + right(values);
    case "sub":
      return (values) => left(values) - right(values);
    case "mul":
      return (values) => left(values) * right(values);
    case "and":
      return (values) => (left(values) !== 0 && right(values) !== 0 ? 1 : 0);
    case "or":
      return (values) => (left(values) !== 0 || right(values) !== 0 ? 1 : 0);
    default: {
      const apply = binaryFunctions[op];
      return (values) => apply(left(values), right(values));
    }
  }
};
