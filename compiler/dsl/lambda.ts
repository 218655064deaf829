import { fileURLToPath } from "node:url";
import { assertNever } from "../../ir/errors.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { and, ge, literal, load, lt, mod, select, variable } from "../../ir/scalarBuild.ts";
import { walkScalar } from "../../ir/scalarWalk.ts";
import type { CodePlace } from "../codeFrame.ts";
import { compileError, type DiagnosticCode, type DiagnosticParams, didYouMean, invariant } from "../diagnostics.ts";
import { applyMath, applyOperator, applyPrefix, truth } from "./lambdaOperators.ts";
import { type LambdaExpr, type SourcePlace, sourceOf } from "./lambdaSource.ts";
import { AnyGrid } from "./grid.ts";
import type { NumberTable } from "./numberLists.ts";
import { Parameter } from "./parameter.ts";
import { authorPlace, readable } from "./place.ts";

/** JavaScript's `%` keeps the dividend's sign; this one the divisor's: `modulo(-1, 4)` is 3. */
export const modulo = (a: number, n: number): number => a - n * Math.floor(a / n);

/** What a name in a lambda stands for. */
export type Meaning =
  /** `within` says where it is one: an element of an array is undefined beyond its ends. */
  | { readonly kind: "scalar"; readonly scalar: Scalar; readonly within?: Scalar }
  /** A position: its fields are the scalars of these names. */
  | { readonly kind: "position"; readonly fields: { readonly [field: string]: Scalar } }
  /** An element of a table that is not indexed to the end. */
  | { readonly kind: "row"; readonly table: NumberTable; readonly index: readonly Scalar[] }
  /** Anything else that a capture holds. */
  | { readonly kind: "plain"; readonly value: unknown; readonly name: string };
export type Table = Parameter | AnyGrid | NumberTable;

/** A lambda with its captures folded in and the functions that it calls inlined; loads are from `tables`, by number. */
export type Lowered = { readonly body: Scalar; readonly tables: readonly Table[] };

export const scalar = (value: Scalar): Meaning => ({ kind: "scalar", scalar: value });
/** A position whose coordinate on each axis is the variable `NAME.AXIS`. */
export const position = (name: string, fields: readonly string[]): Meaning => ({
  kind: "position",
  fields: Object.fromEntries(fields.map((field) => [field, variable(`${name}.${field}`)])),
});

/** Deeper calls than an author writes on purpose. */
const callLimit = 64;

/** Reads `f`, which the front end has marked, with these meanings of its parameters. */
export function lowerLambda(f: object, meanings: readonly Meaning[]): Lowered {
  const tables: Table[] = [];
  const body = toScalar(lowerCall(f, meanings, { tables, depth: 0, at: null }), placeOf(sourceOf(f)?.source.place));
  return { body, tables };
}

type Context = { readonly tables: Table[]; readonly depth: number; readonly at: CodePlace | null };

function lowerCall(f: object, meanings: readonly Meaning[], context: Context): Meaning {
  const known = sourceOf(f);
  const name = known?.source.name || ("name" in f && typeof f.name === "string" && f.name) || "this function";
  if (known === undefined)
    return refuse(
      "lambda-source-unknown",
      { name },
      context.at ?? authorPlace(),
      context.depth === 0
        ? "write the lambda in place, or mark it where it is written: score((s, q, k) => ...)"
        : "a kernel calls functions of the model's own files: const f = (x: number) => ..., or Math",
    );
  const { source, captures } = known;
  if (context.depth > callLimit)
    return refuse(
      "lambda-recursion",
      { name },
      placeOf(source.place),
      "write the terms out, or compute the values outside and index them",
    );
  if (source.body.kind === "refused") {
    const { code, what, hint, place } = source.body.refusal;
    if (code === "unsupported-function") return refuse(code, { name: what }, placeOf(place), hint);
    return refuse(code, { what }, placeOf(place), hint);
  }
  let values: readonly unknown[];
  try {
    values = captures();
  } catch (error) {
    const found = `not readable here (${error instanceof Error ? error.message : String(error)})`;
    return refuse("lambda-capture", { name: source.captures.join(", "), found }, placeOf(source.place));
  }
  const { value, locals } = source.body;
  return lower(value, { parameters: meanings, locals, met: new Map(), values, texts: source.captures, call: context });
}

type Scope = {
  readonly parameters: readonly Meaning[];
  readonly locals: readonly LambdaExpr[];
  /** Locals that were read: each is one expression, however often it is named. */
  readonly met: Map<number, Meaning>;
  readonly values: readonly unknown[];
  readonly texts: readonly string[];
  readonly call: Context;
};

function lower(expr: LambdaExpr, scope: Scope): Meaning {
  switch (expr.kind) {
    case "number":
      return scalar(literal(expr.value));
    case "boolean":
      return scalar(literal(expr.value ? 1 : 0));
    case "parameter":
      return scope.parameters[expr.index] ?? plain(undefined, "a parameter that was not given");
    case "local":
      return lowerLocal(expr.index, scope);
    case "capture":
      return captured(scope.values[expr.index], scope.texts[expr.index] ?? "");
    case "field":
      return fieldOf(lower(expr.of, scope), expr.name, placeOf(expr.place));
    case "element":
      return elementOf(lower(expr.of, scope), lower(expr.index, scope), scope, placeOf(expr.place));
    case "unary":
      return scalar(applyPrefix(expr.op, lowerScalar(expr.of, scope)));
    case "binary":
      return expr.op === "??"
        ? orElse(lower(expr.left, scope), expr.right, scope)
        : scalar(applyOperator(expr.op, lowerScalar(expr.left, scope), () => lowerScalar(expr.right, scope)));
    case "choose": {
      const test = truth(lowerScalar(expr.if, scope));
      // Only the branch that is taken is read where that is known: the other may not make sense here.
      if (test.kind === "number") return lower(test.value === 0 ? expr.else : expr.then, scope);
      return scalar(select(test, lowerScalar(expr.then, scope), lowerScalar(expr.else, scope)));
    }
    case "math":
      return scalar(
        applyMath(
          expr.name,
          expr.arguments.map((each) => lowerScalar(each, scope)),
        ),
      );
    case "call":
      return lowerNamedCall(expr, scope);
    case "read":
      return scalar(lowerRead(expr, scope));
    default:
      return assertNever(expr);
  }
}

/** `parameter.at(i, j)`, `grid.element(i, j, channel)`, or `grid.of(k, channel)`: the grid's element where the position k is. */
function lowerRead(expr: Extract<LambdaExpr, { kind: "read" }>, scope: Scope): Scalar {
  const at = placeOf(expr.place);
  const table = lower(expr.of, scope);
  const isIndexed =
    table.kind === "plain" &&
    ((table.value instanceof Parameter && expr.method === "at") ||
      (table.value instanceof AnyGrid && expr.method === "element"));
  if (isIndexed)
    return loadFrom(
      table.value as Parameter | AnyGrid,
      expr.arguments.map((each) => lowerScalar(each, scope)),
      scope,
      at,
    );
  if (table.kind === "plain" && table.value instanceof AnyGrid && expr.method === "of") {
    const [where, channel] = expr.arguments;
    const there = where === undefined ? plain(undefined, "the position") : lower(where, scope);
    const { axes } = table.value.type;
    const coordinates = axes.map(({ axis }) => toScalar(fieldOf(there, axis, at), at));
    return loadFrom(
      table.value,
      [...coordinates, channel === undefined ? literal(0) : lowerScalar(channel, scope)],
      scope,
      at,
    );
  }
  return refuse(
    "unsupported-function",
    { name: expr.method },
    at,
    "a lambda reads a parameter with .at(i, j), a grid with .of(k), an array with [i]",
  );
}

function orElse(left: Meaning, right: LambdaExpr, scope: Scope): Meaning {
  if (left.kind === "plain" && (left.value === undefined || left.value === null)) return lower(right, scope);
  if (left.kind !== "scalar" || left.within === undefined) return left;
  return scalar(select(left.within, left.scalar, lowerScalar(right, scope)));
}

function lowerLocal(index: number, scope: Scope): Meaning {
  const local = scope.locals[index];
  invariant(local !== undefined, `a lambda has no local ${index}`);
  let meaning = scope.met.get(index);
  if (meaning === undefined) scope.met.set(index, (meaning = lower(local, scope)));
  return meaning;
}

function lowerNamedCall(expr: Extract<LambdaExpr, { kind: "call" }>, scope: Scope): Meaning {
  const callee = lower(expr.callee, scope);
  const at = placeOf(expr.place);
  const name = expr.callee.kind === "capture" ? (scope.texts[expr.callee.index] ?? "?") : "this";
  if (callee.kind !== "plain" || typeof callee.value !== "function")
    return refuse("unsupported-function", { name }, at, "it is not a function");
  const meanings = expr.arguments.map((each) => lower(each, scope));
  if (callee.value === modulo) {
    const [a, n] = meanings.map((each) => toScalar(each, at));
    return scalar(mod(a ?? literal(0), n ?? literal(1)));
  }
  return lowerCall(callee.value, meanings, { tables: scope.call.tables, depth: scope.call.depth + 1, at });
}

const plain = (value: unknown, name: string): Meaning => ({ kind: "plain", value, name });

function captured(value: unknown, name: string): Meaning {
  if (typeof value === "number") return scalar(literal(value));
  if (typeof value === "boolean") return scalar(literal(value ? 1 : 0));
  return plain(value, name);
}

function fieldOf(of: Meaning, name: string, at: CodePlace): Meaning {
  if (of.kind === "position") {
    const field = of.fields[name];
    if (field !== undefined) return scalar(field);
    const axes = Object.keys(of.fields);
    return refuse(
      "unknown-axis",
      { op: "the lambda", axis: name, axes: axes.filter((axis) => axis !== "isPrefix") },
      at,
      didYouMean(name, axes),
    );
  }
  if (of.kind === "plain" && typeof of.value === "object" && of.value !== null)
    return captured(Reflect.get(of.value, name), `${of.name}.${name}`);
  return refuse("unsupported-syntax", { what: `".${name}"` }, at, "positions have a field for each axis: q.h, k.t");
}

function elementOf(of: Meaning, index: Meaning, scope: Scope, at: CodePlace): Meaning {
  if (index.kind === "plain" && typeof index.value === "string") return fieldOf(of, index.value, at);
  const where = toScalar(index, at);
  if (of.kind === "row") return indexTable(of.table, [...of.index, where], scope, at);
  if (of.kind === "plain" && Array.isArray(of.value)) {
    if (where.kind === "number") return captured(of.value[where.value], `${of.name}[${where.value}]`);
    return indexTable(tableOf(of.value, at), [where], scope, at);
  }
  return refuse(
    "unsupported-syntax",
    { what: "this index" },
    at,
    "arrays of numbers are indexed by numbers, positions by the name of an axis",
  );
}

/** An element of an array of numbers; the last index may lie beyond its ends, where JavaScript gives undefined. */
function indexTable(table: NumberTable, index: readonly Scalar[], scope: Scope, at: CodePlace): Meaning {
  if (index.length < table.sizes.length) return { kind: "row", table, index };
  const last = index.at(-1) ?? literal(0);
  const within = and(ge(last, 0), lt(last, table.sizes.at(-1) ?? 1));
  return { kind: "scalar", scalar: loadFrom(table, index, scope, at), within };
}

function loadFrom(table: Table, index: readonly Scalar[], { call: { tables } }: Scope, at: CodePlace): Scalar {
  const sizes = sizesOf(table);
  if (index.length !== sizes.length)
    return refuse(
      "bad-argument",
      { op: "at", problem: `${index.length} indices were given, and the parameter is [${sizes.join(", ")}]` },
      at,
    );
  index.forEach((each, axis) => {
    const size = sizes[axis] ?? 1;
    if (each.kind === "number" && !(Number.isInteger(each.value) && each.value >= 0 && each.value < size))
      refuse("bad-argument", { op: "at", problem: `index ${axis} is ${each.value}, and the extent is ${size}` }, at);
  });
  if (!tables.includes(table)) tables.push(table);
  return load(tables.indexOf(table), index);
}

/** An extent for each index. */
const sizesOf = (table: Table): readonly number[] =>
  table instanceof AnyGrid ? [...table.type.axes.map(({ size }) => size), table.type.channels] : table.sizes;

// One table per array, so that two reads of it are reads of one table.
const numberTables = new WeakMap<readonly unknown[], NumberTable>();
function tableOf(array: readonly unknown[], at: CodePlace): NumberTable {
  let table = numberTables.get(array);
  if (table === undefined) {
    const sizes: number[] = [];
    for (let inner: unknown = array; Array.isArray(inner); inner = inner[0]) sizes.push(inner.length);
    const elements = array.flat(sizes.length - 1) as readonly unknown[];
    const values = elements.flatMap((each) =>
      typeof each === "number" || typeof each === "boolean" ? [Number(each)] : [],
    );
    const even = elements.length === sizes.reduce((all, size) => all * size, 1);
    if (!even || values.length < elements.length)
      return refuse("lambda-capture", { name: "the array", found: "not an even array of numbers" }, at);
    numberTables.set(array, (table = { sizes, values }));
  }
  return table;
}

const lowerScalar = (expr: LambdaExpr, scope: Scope): Scalar =>
  toScalar(lower(expr, scope), "place" in expr ? placeOf(expr.place) : scope.call.at);

function toScalar(meaning: Meaning, at: CodePlace | null): Scalar {
  switch (meaning.kind) {
    case "scalar":
      return meaning.scalar;
    case "position":
      return refuse("lambda-capture", { name: "this", found: "a position" }, at, "name one of its coordinates: q.h");
    case "row":
      return refuse("lambda-capture", { name: "this", found: "a row of an array" }, at, "index it to the end");
    case "plain": {
      const { name, value } = meaning;
      const read = value instanceof Parameter ? `${name}.at(i, j)` : value instanceof AnyGrid ? `${name}.of(k)` : "";
      const convert = typeof value === "string" ? `make it a number outside: Number(${name})` : "";
      const hint = read === "" ? convert : `read one number of it: ${read}`;
      return refuse("lambda-capture", { name: meaning.name, found: kindOf(meaning.value) }, at, hint);
    }
    default:
      return assertNever(meaning);
  }
}
function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (value instanceof AnyGrid) return "a grid";
  if (value instanceof Parameter) return `a parameter [${value.sizes.join(", ")}]`;
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** Whether the expression reads a variable whose name ends so: `.isPrefix`. */
export function readsVariable(expr: Scalar, ending: string): boolean {
  let found = false;
  walkScalar(expr, (part) => {
    found ||= part.kind === "variable" && part.name.endsWith(ending);
  });
  return found;
}

function placeOf(place: SourcePlace): CodePlace;
function placeOf(place: SourcePlace | undefined): CodePlace | null;
function placeOf(place: SourcePlace | undefined): CodePlace | null {
  if (place === undefined) return null;
  const file = place.file.startsWith("file:") ? fileURLToPath(place.file) : place.file;
  return { ...place, file: readable(file) };
}

function refuse<C extends DiagnosticCode>(
  code: C,
  params: DiagnosticParams[C],
  span: CodePlace | null,
  hint = "",
): never {
  throw compileError(code, params, { span, hint });
}
