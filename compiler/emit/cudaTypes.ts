import type { BinaryOp, Scalar, UnaryOp } from "../../ir/scalar.ts";
import { rangeOf, type Interval, type Ranges } from "../../ir/scalarRange.ts";
import { rangesWhere } from "../../ir/scalarSimplify.ts";
import { InternalError, assertNever } from "../diagnostics.ts";

/** Types of generated expressions: `int` has 32 bits, `long` (int64_t) 64. */
export type CudaType = "bool" | "int" | "long" | "float";
/** C++ text that stands for a value: a name, or anything that binds as tightly as a call or an index. */
export type CudaValue = { readonly type: CudaType; readonly text: string };
/** A variable; integers have a range, which decides where 64 bits are needed and which divisions round towards zero. */
export type CudaVariable =
  | { readonly type: "bool" | "float"; readonly text: string }
  | { readonly type: "int" | "long"; readonly text: string; readonly min: number; readonly max: number };

/** What the names of a scalar expression are in the kernel. */
export type CudaScope = {
  readonly variables: { readonly [name: string]: CudaVariable };
  /** Argument number i of the expression. */
  readonly arguments?: readonly CudaValue[];
  /** The tables that it loads from; the element at an index, which is given as int expressions. */
  readonly tables?: readonly { readonly type: CudaType; readonly element: (index: readonly string[]) => string }[];
  /** Functions good for results of 16 bits (errors of 1e-6) instead of float32's. */
  readonly fast?: boolean;
};

/** C++ spelling of the types. */
export const typeName: { readonly [T in CudaType]: string } = {
  bool: "bool",
  int: "int",
  long: "int64_t",
  float: "float",
};

const typeOrder: readonly CudaType[] = ["bool", "int", "long", "float"];
export const commonType = (a: CudaType, b: CudaType): CudaType => (typeOrder.indexOf(a) > typeOrder.indexOf(b) ? a : b);

export const fitsInt = ({ min, max }: Interval): boolean => min >= -(2 ** 31) && max < 2 ** 31;

/** What is known of an expression's types, found once. */
export type TypeTable = { readonly scope: CudaScope; readonly ranges: Ranges; readonly known: Map<Scalar, CudaType> };

export const typeTable = (scope: CudaScope): TypeTable => ({ scope, ranges: rangesOf(scope), known: new Map() });

function rangesOf(scope: CudaScope): Ranges {
  const ranges: { [name: string]: Interval } = {};
  for (const [name, variable] of Object.entries(scope.variables)) {
    if (variable.type === "bool") ranges[name] = { min: 0, max: 1 };
    else if (variable.type === "int" || variable.type === "long")
      ranges[name] = { min: variable.min, max: variable.max };
  }
  return ranges;
}

export function variableOf(name: string, scope: CudaScope): CudaVariable {
  const variable = scope.variables[name];
  if (variable !== undefined) return variable;
  throw new InternalError(
    `the variable "${name}" has no name in the kernel, which knows ${Object.keys(scope.variables).join(", ")}`,
  );
}

export function tableOf(index: number, scope: CudaScope): NonNullable<CudaScope["tables"]>[number] {
  const table = scope.tables?.[index];
  if (table !== undefined) return table;
  throw new InternalError(`table ${index} of ${scope.tables?.length ?? 0} is read`);
}

export function argumentOf(index: number, scope: CudaScope): CudaValue {
  const value = scope.arguments?.[index];
  if (value !== undefined) return value;
  throw new InternalError(`argument ${index} of ${scope.arguments?.length ?? 0} is read`);
}

/** The narrowest type that holds every value of the expression. */
export function typeOf(scalar: Scalar, table: TypeTable): CudaType {
  const known = table.known.get(scalar);
  if (known !== undefined) return known;
  const type = findType(scalar, table);
  table.known.set(scalar, type);
  return type;
}

function findType(scalar: Scalar, table: TypeTable): CudaType {
  switch (scalar.kind) {
    case "number":
      if (!Number.isSafeInteger(scalar.value) || Object.is(scalar.value, -0)) return "float";
      return Math.abs(scalar.value) < 2 ** 31 ? "int" : "long";
    case "variable":
      return variableOf(scalar.name, table.scope).type;
    case "argument":
      return argumentOf(scalar.index, table.scope).type;
    case "load":
      return tableOf(scalar.table, table.scope).type;
    case "select":
      return commonType(typeOf(scalar.then, table), typeOf(scalar.else, table));
    case "unary":
      return unaryType(scalar, table);
    case "binary":
      return binaryType(scalar, table);
    default:
      return assertNever(scalar);
  }
}

const unaryKinds: { readonly [O in UnaryOp]: "same" | "bool" | "int" | "float" } = {
  neg: "same", abs: "same", floor: "same", ceil: "same", round: "same", sign: "same", not: "bool",
  exp: "float", log: "float", sqrt: "float", rsqrt: "float", sin: "float", cos: "float", tanh: "float", erf: "float", sigmoid: "float",
}; // prettier-ignore
const binaryKinds: { readonly [O in BinaryOp]: "common" | "bool" | "float" } = {
  add: "common", sub: "common", mul: "common", min: "common", max: "common", floorDiv: "common", mod: "common", rem: "common",
  div: "float", pow: "float",
  and: "bool", or: "bool", eq: "bool", ne: "bool", lt: "bool", le: "bool", gt: "bool", ge: "bool",
}; // prettier-ignore

function unaryType(scalar: Scalar & { readonly kind: "unary" }, table: TypeTable): CudaType {
  const kind = unaryKinds[scalar.op];
  if (kind !== "same") return kind;
  const of = typeOf(scalar.of, table);
  return of === "float" ? of : integerType(scalar, of, table);
}

function binaryType(scalar: Scalar & { readonly kind: "binary" }, table: TypeTable): CudaType {
  const kind = binaryKinds[scalar.op];
  if (kind !== "common") return kind;
  const common = commonType(typeOf(scalar.left, table), typeOf(scalar.right, table));
  return common === "float" ? common : integerType(scalar, common, table);
}

/** 64 bits where an operand has them or the result may not fit in 32. */
function integerType(scalar: Scalar, operands: CudaType, table: TypeTable): CudaType {
  return operands === "long" || !fitsInt(rangeOf(scalar, table.ranges)) ? "long" : "int";
}

/** What is known where a condition holds, or where it does not. */
export function assuming(condition: Scalar, holds: boolean, table: TypeTable): TypeTable {
  const ranges = rangesWhere(condition, holds, table.ranges);
  return ranges === table.ranges ? table : { scope: table.scope, ranges, known: new Map() };
}
