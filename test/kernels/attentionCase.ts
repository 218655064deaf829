import { emitAttention } from "../../compiler/emit/attention.ts";
import type { Access, AttentionKernel, KernelHeader, Operand, TokenAccess } from "../../compiler/schedule/kernels.ts";
import type { Target } from "../../compiler/schedule/target.ts";
import type { Pattern } from "../../ir/patterns.ts";
import { predicate } from "../../ir/predicate.ts";
import { add, argument, literal, mul, variable } from "../../ir/scalarBuild.ts";
import { compileScalar, evaluateScalar } from "../../ir/scalarEvaluate.ts";
import { variablesOf } from "../../ir/scalarWalk.ts";
import { tokensOf } from "../../ir/tokens.ts";
import type { Scalar } from "../../ir/scalar.ts";
import {
  noPrefix,
  prefixRows,
  rowsOf,
  sizeOf,
  type Extent,
  type Precision,
  type Prefix,
  type TensorType,
} from "../../ir/types.ts";
import { tokenVariable } from "../../ir/visibleKeys.ts";
import { rounded } from "./gemmReference.ts";
import { launch, type Checks, type Launch, type LaunchResult } from "./harness.ts";

/** An attention on dense rows: q, k and v are column ranges of one buffer where the types are one, else three buffers. */
export type AttentionCase = {
  readonly precision: Precision;
  readonly pattern: Pattern;
  readonly query: TensorType;
  readonly key?: TensorType;
  readonly heads?: number;
  readonly headDim: number;
  readonly valueDim?: number;
  readonly scale?: number;
  readonly score?: Scalar;
  readonly normalize?: AttentionKernel["normalize"];
  readonly batch?: number;
  readonly epilogue?: Scalar;
  /** Shapes of the tables that the score reads, channels last. */
  readonly tables?: readonly (readonly number[])[];
  /** Terms of relative positions along an axis. */
  readonly positions?: { readonly axis: string; readonly terms: readonly PositionRole[] };
};
type PositionRole = "query" | "key" | "value";

export const grid = (axes: { readonly [axis: string]: number }, prefix: Prefix = noPrefix): TensorType => ({
  element: "float",
  batch: true,
  prefix,
  axes: Object.entries(axes).map(([axis, size]): Extent => ({ axis, size })),
  channels: 1,
});

/** Offset of a token's row of `pitch` elements: prefix rows first, the axes in the type's order. */
export const denseTokens = (
  type: TensorType,
  operand: number,
  pitch: number,
  width: number,
  start: number,
): TokenAccess => {
  const within = add(start, mul(variable("head"), width), variable("c"));
  const flat = (axes: readonly string[]): Scalar =>
    axes.reduce<Scalar>((sum, axis) => add(mul(sum, sizeOf(type, axis) ?? 1), variable(axis)), literal(0));
  const access = (row: Scalar): Access => ({
    operand,
    offset: add(mul(row, pitch), within),
    valid: literal(1),
    fill: 0,
  });
  const prefixRow = add(mul(flat(type.prefix.over), type.prefix.count), type.prefix.count > 1 ? variable("prefix") : 0);
  return {
    grid: access(add(flat(type.axes.map(({ axis }) => axis)), prefixRows(type))),
    prefix: type.prefix.count > 0 ? access(prefixRow) : null,
  };
};

export const header = (name: string): KernelHeader => ({
  name,
  origin: { file: "model.ts", line: 1, column: 1, path: "", formula: "out = softmax(scale * q kT) v" },
  shapes: [],
});

export const attentionKernel = (test: AttentionCase): AttentionKernel => {
  const { precision, query, key = query, heads = 2, headDim, valueDim = headDim } = test;
  const together = key === query;
  const channels = heads * (together ? 2 * headDim + valueDim : headDim);
  // Of no channels there is one element still: memory of no size is none.
  const operand = (type: TensorType, width: number): Operand => ({
    storage: precision,
    exampleStride: rowsOf(type) * width,
    exampleSize: Math.max(1, rowsOf(type) * width),
  });
  const tables = test.tables ?? [];
  const line = sizeOf(query, test.positions?.axis ?? "") ?? 0;
  const terms = test.positions?.terms ?? [];
  const widthOf = (role: PositionRole): number => (role === "value" ? valueDim : headDim);
  const first = together ? 2 : 4;
  const operands = [
    ...(together
      ? [operand(query, channels)]
      : [operand(query, heads * headDim), operand(key, heads * headDim), operand(key, heads * valueDim)]),
    operand(query, heads * valueDim),
    ...tables.map((shape): Operand => ({
      storage: "f32",
      exampleStride: 0,
      exampleSize: shape.reduce((a, b) => a * b, 1),
    })),
    ...terms.map((role): Operand => ({
      storage: precision,
      exampleStride: 0,
      exampleSize: heads * (2 * line - 1) * widthOf(role),
    })),
  ];
  const reads = together
    ? [
        denseTokens(query, 0, channels, headDim, 0),
        denseTokens(key, 0, channels, headDim, heads * headDim),
        denseTokens(key, 0, channels, valueDim, 2 * heads * headDim),
      ]
    : [
        denseTokens(query, 0, heads * headDim, headDim, 0),
        denseTokens(key, 1, heads * headDim, headDim, 0),
        denseTokens(key, 2, heads * valueDim, valueDim, 0),
      ];
  const table = (role: PositionRole): Access | null => {
    const place = terms.indexOf(role);
    if (place < 0) return null;
    const row = add(mul(variable("head"), 2 * line - 1), variable("row"));
    return {
      operand: first + tables.length + place,
      offset: add(mul(row, widthOf(role)), variable("c")),
      valid: literal(1),
      fill: 0,
    };
  };
  const [q, k, v] = reads;
  if (q === undefined || k === undefined || v === undefined) throw new Error("three accesses");
  return {
    kind: "attention",
    precision,
    operands,
    batched: true,
    heads,
    headDim,
    valueDim,
    scale: test.scale ?? 1 / Math.sqrt(headDim),
    pattern: test.pattern,
    blindQueries: 0,
    score: test.score ?? variable("s"),
    normalize: test.normalize ?? "softmax",
    query,
    key,
    q,
    k,
    v,
    out: denseTokens(query, together ? 1 : 3, heads * valueDim, valueDim, 0),
    epilogue: test.epilogue ?? argument(0),
    tables: tables.map((shape, i) => ({
      operand: first + i,
      offset: shape.reduce<Scalar>((sum, size, axis) => add(mul(sum, size), variable(`i${axis}`)), literal(0)),
      valid: literal(1),
      fill: 0,
    })),
    positions:
      test.positions === undefined
        ? null
        : { axis: test.positions.axis, size: line, query: table("query"), key: table("key"), value: table("value") },
    split: null,
  };
};

const random = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
};
/**
 * Operand values. Queries are lifted by one and keys lowered by one, so that every real score lies far below zero and a
 * key of zeros that is not there would take the whole row.
 */
export const attentionValues = (kernel: AttentionKernel, batch: number, seed = 1): readonly (Float64Array | null)[] => {
  const next = random(seed);
  const values = kernel.operands.map((operand, i) => {
    if (isWritten(kernel, i)) return null;
    const size = operand.exampleStride * (batch - 1) + operand.exampleSize;
    return Float64Array.from({ length: size }, () =>
      operand.storage === "u8" ? Math.floor(200 * (next() + 0.5)) : 2 * next(),
    );
  });
  for (const [access, type, shift] of [
    [kernel.q, kernel.query, 1],
    [kernel.k, kernel.key, -1],
  ] as const)
    for (let example = 0; example < batch; example++)
      for (const { at, index, valid } of elementsOf(kernel, access, type, kernel.headDim, example)) {
        const data = values[at];
        if (valid && data !== null && data !== undefined) data[index] = (data[index] ?? 0) + shift;
      }
  return values.map((data, i) =>
    data === null ? null : rounded(data, kernel.operands[i]?.storage ?? kernel.precision),
  );
};

type Element = {
  readonly at: number;
  readonly index: number;
  readonly row: number;
  readonly head: number;
  readonly c: number;
  readonly valid: boolean;
  readonly fill: number;
};

/** Every element that an access names, by row of the type, head and channel. */
const elementsOf = (
  kernel: AttentionKernel,
  access: TokenAccess,
  type: TensorType,
  columns: number,
  example: number,
): readonly Element[] => {
  const tokens = tokensOf(type);
  const found: Element[] = [];
  for (let row = 0; row < tokens.rows; row++) {
    const part = row < tokens.prefixRows ? access.prefix : access.grid;
    if (part === null) throw new Error("a prefix token without an access");
    const variables: { [name: string]: number } = { prefix: tokens.prefixIndex[row] ?? 0 };
    for (const [axis, values] of tokens.coordinates) variables[axis] = values[row] ?? 0;
    for (let head = 0; head < kernel.heads; head++)
      for (let c = 0; c < columns; c++) {
        variables["head"] = head;
        variables["c"] = c;
        const valid = evaluateScalar(part.valid, { variables }) !== 0;
        const index = valid
          ? evaluateScalar(part.offset, { variables }) + example * (kernel.operands[part.operand]?.exampleStride ?? 0)
          : 0;
        found.push({ at: part.operand, index, row, head, c, valid, fill: part.fill });
      }
  }
  return found;
};

const isWritten = ({ out }: AttentionKernel, operand: number): boolean =>
  out.grid.operand === operand || out.prefix?.operand === operand;

/** a * b + sum, rounded or not. */
type MultiplyAdd = (a: number, b: number, sum: number) => number;
const inFloat64: MultiplyAdd = (a, b, sum) => sum + a * b;
/** As a kernel of exact float32 does channel by channel: the product of two float32 is exact, and rounded once it is added. */
export const inFloat32: MultiplyAdd = (a, b, sum) => Math.fround(sum + a * b);

/** What is written, in float64 and operand by operand, token pair by token pair as `predicate` says; NaN where nothing is. */
export const attentionReference = (
  kernel: AttentionKernel,
  values: readonly (Float64Array | null)[],
  batch: number,
  multiplyAdd: MultiplyAdd = inFloat64,
): ReadonlyMap<number, Float64Array> => {
  const results = new Map<number, Float64Array>();
  for (const [i, { exampleStride, exampleSize }] of kernel.operands.entries())
    if (isWritten(kernel, i))
      results.set(i, new Float64Array(exampleStride * (batch - 1) + exampleSize).fill(Number.NaN));
  const sees = pairTest(kernel);
  const [queries, keys] = [rowsOf(kernel.query), rowsOf(kernel.key)];
  for (let example = 0; example < batch; example++) {
    const table = (access: TokenAccess, type: TensorType, columns: number): Float64Array => {
      const data = new Float64Array(rowsOf(type) * kernel.heads * columns);
      for (const { at, index, row, head, c, valid, fill } of elementsOf(kernel, access, type, columns, example))
        data[(row * kernel.heads + head) * columns + c] = valid ? (values[at]?.[index] ?? Number.NaN) : fill;
      return data;
    };
    const q = table(kernel.q, kernel.query, kernel.headDim);
    const k = table(kernel.k, kernel.key, kernel.headDim);
    const v = table(kernel.v, kernel.key, kernel.valueDim);
    const out = elementsOf(kernel, kernel.out, kernel.query, kernel.valueDim, example);
    const rows = new Float64Array(queries * kernel.heads * kernel.valueDim);
    const score = scoreOf(kernel, values, example);
    const positions = positionsOf(kernel, values);
    for (let i = 0; i < queries; i++)
      for (let head = 0; head < kernel.heads; head++) {
        const scores: number[] = [];
        const seen: number[] = [];
        for (let j = 0; j < keys; j++) {
          if (!sees(i, j)) continue;
          let s = 0;
          for (let c = 0; c < kernel.headDim; c++)
            s = multiplyAdd(
              q[(i * kernel.heads + head) * kernel.headDim + c] ?? 0,
              k[(j * kernel.heads + head) * kernel.headDim + c] ?? 0,
              s,
            );
          const value = score(kernel.scale * s, i, j, head) + positions.score(i, j, head, q, k);
          if (value === -Infinity) continue;
          scores.push(value);
          seen.push(j);
        }
        const weights = weightsOf(scores, kernel.normalize);
        for (let c = 0; c < kernel.valueDim; c++) {
          let sum = 0;
          for (const [n, j] of seen.entries())
            sum +=
              (weights[n] ?? 0) *
              ((v[(j * kernel.heads + head) * kernel.valueDim + c] ?? 0) + positions.value(i, j, head, c));
          rows[(i * kernel.heads + head) * kernel.valueDim + c] = evaluateScalar(kernel.epilogue, {
            variables: {},
            arguments: [sum],
          });
        }
      }
    for (const { at, index, row, head, c, valid } of out) {
      const result = results.get(at);
      if (valid && result !== undefined) result[index] = rows[(row * kernel.heads + head) * kernel.valueDim + c] ?? 0;
    }
  }
  return results;
};

/** What terms of relative positions add to the score of a pair, and to a value's channel. */
const positionsOf = (kernel: AttentionKernel, values: readonly (Float64Array | null)[]) => {
  const { positions, heads, headDim } = kernel;
  const at = (type: TensorType): Int32Array => tokenVariable(tokensOf(type), positions?.axis ?? "");
  const [ofQuery, ofKey] = [at(kernel.query), at(kernel.key)];
  const element = (access: Access | null, apart: number, head: number, c: number): number => {
    if (access === null || positions === null) return 0;
    const offset = evaluateScalar(access.offset, { variables: { head, row: positions.size - 1 + apart, c } });
    return values[access.operand]?.[offset] ?? Number.NaN;
  };
  return {
    score: (query: number, key: number, head: number, q: Float64Array, k: Float64Array): number => {
      const apart = (ofQuery[query] ?? 0) - (ofKey[key] ?? 0);
      let sum = 0;
      if (positions === null) return sum;
      for (let c = 0; c < headDim; c++) {
        sum += (q[(query * heads + head) * headDim + c] ?? 0) * element(positions.query, apart, head, c);
        sum += (k[(key * heads + head) * headDim + c] ?? 0) * element(positions.key, -apart, head, c);
      }
      return sum;
    },
    value: (query: number, key: number, head: number, c: number): number =>
      element(positions?.value ?? null, (ofQuery[query] ?? 0) - (ofKey[key] ?? 0), head, c),
  };
};

const weightsOf = (scores: readonly number[], normalize: AttentionKernel["normalize"]): readonly number[] => {
  if (normalize === "none") return scores;
  if (normalize === "count") return scores.map((score) => score / scores.length);
  const most = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - most));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
};

export const pairTest = (kernel: AttentionKernel): ((query: number, key: number) => boolean) => {
  const test = pairFunction(kernel, predicate(kernel.pattern, kernel.query, kernel.key));
  return (query, key) => test(query, key, {}) !== 0;
};

const pairFunction = (
  kernel: AttentionKernel,
  expr: Scalar,
  load?: (table: number, index: readonly number[]) => number,
): ((query: number, key: number, more: { readonly [name: string]: number }) => number) => {
  const [queries, keys] = [tokensOf(kernel.query), tokensOf(kernel.key)];
  const names = [...variablesOf(expr)];
  const compiled = compileScalar(expr, {
    variable: (name) => names.indexOf(name),
    ...(load === undefined ? {} : { load }),
  });
  const slots = new Float64Array(Math.max(1, names.length));
  const sources = names.map((name) => {
    if (name.startsWith("q.")) return { side: "q", values: tokenVariable(queries, name.slice(2)) };
    return name.startsWith("k.")
      ? { side: "k", values: tokenVariable(keys, name.slice(2)) }
      : { side: "", values: new Int32Array(0) };
  });
  return (query, key, more) => {
    for (const [slot, { side, values }] of sources.entries())
      slots[slot] =
        side === "q" ? (values[query] ?? 0) : side === "k" ? (values[key] ?? 0) : (more[names[slot] ?? ""] ?? 0);
    return compiled(slots);
  };
};

const scoreOf = (
  kernel: AttentionKernel,
  values: readonly (Float64Array | null)[],
  example: number,
): ((s: number, query: number, key: number, head: number) => number) => {
  const load = (table: number, index: readonly number[]): number => {
    const access = kernel.tables[table];
    if (access === undefined) throw new Error(`no table ${table}`);
    const variables = Object.fromEntries(index.map((at, i) => [`i${i}`, at]));
    if (evaluateScalar(access.valid, { variables }) === 0) return access.fill;
    const at =
      evaluateScalar(access.offset, { variables }) + example * (kernel.operands[access.operand]?.exampleStride ?? 0);
    const value = values[access.operand]?.[at];
    if (value === undefined) throw new Error(`table ${table} has no element ${index.join()}`);
    return value;
  };
  const test = pairFunction(kernel, kernel.score, load);
  return (s, query, key, head) => test(query, key, { s, head });
};

/**
 * Of errors relative to the largest result. Weights and results are rounded to the storage type once each; in float32 the
 * products decide, whose rounding grows with their number since every test score is far from zero.
 */
export const toleranceOf = (precision: Precision, headDim: number): number =>
  ({ f32: 3e-6 * Math.max(1, headDim / 128), f16: 7e-4, bf16: 5e-3 })[precision];

export type Outcome = {
  readonly worst: number;
  readonly result: LaunchResult;
  readonly kernel: AttentionKernel;
  readonly source: string;
};

/** Runs a kernel on the emulated device and compares it with the reference: the largest error relative to the largest value. */
export const runAttention = async (
  kernel: AttentionKernel,
  batch: number,
  checks: Checks = {},
  target?: Target,
): Promise<Outcome> => {
  const run = attentionLaunch(kernel, "attention_0", batch, target);
  const result = await launch(run, { counters: 0, ...checks });
  return { worst: worstOf(kernel, run, result), result, kernel, source: run.kernel.source };
};

export type AttentionLaunch = Launch & { readonly values: readonly (Float64Array | null)[] };

/** A launch of the kernel on values of its own. */
export const attentionLaunch = (
  kernel: AttentionKernel,
  name: string,
  batch: number,
  target?: Target,
): AttentionLaunch => {
  const values = attentionValues(kernel, batch);
  return { name, kernel: emitAttention(kernel, header(name), target), operands: kernel.operands, values, batch };
};

/** The largest error of what was launched relative to the largest value; infinite where something else was written. */
export const worstOf = (
  kernel: AttentionKernel,
  run: AttentionLaunch,
  result: LaunchResult,
  multiplyAdd: MultiplyAdd = inFloat64,
): number => {
  const expected = attentionReference(kernel, run.values, run.batch, multiplyAdd);
  const all = [...expected.values()];
  const most = Math.max(...all.map((data) => data.reduce((a, b) => Math.max(a, Math.abs(b) || 0), 0))) || 1;
  let worst = 0;
  for (const [operand, data] of expected)
    for (const [i, value] of data.entries()) {
      const got = result.values[operand]?.[i] ?? Number.NaN;
      const error = Number.isNaN(value) ? (Number.isNaN(got) ? 0 : Infinity) : Math.abs(got - value) / most;
      worst = Number.isNaN(error) ? Infinity : Math.max(worst, error);
    }
  return worst;
};

export const runCase = (test: AttentionCase, checks: Checks = {}): Promise<Outcome> =>
  runAttention(attentionKernel(test), test.batch ?? 1, checks);
