import { evaluated, inputsOf, kernelOf, type SampleCase, sampleLaunch } from "../kernels/sampleCase.ts";
import { emitKernel } from "../../compiler/emit/emitKernel.ts";
import type { EmittedKernel, FusedKernel } from "../../compiler/schedule/kernels.ts";
import { parseScalar } from "../../ir/scalarText.ts";
import {
  attentionKernel,
  attentionReference,
  attentionValues,
  grid,
  header,
  toleranceOf,
  type AttentionCase,
} from "../kernels/attentionCase.ts";
import { access, operand, product, shared } from "../kernels/gemmCase.ts";
import { gemmReference, rounded, seenWeight } from "../kernels/gemmReference.ts";
import { convolution } from "../kernels/gemmKernels.ts";
import { elementsOf } from "../kernels/harness.ts";
import * as map from "../kernels/mapCases.ts";
import * as row from "../kernels/rowCases.ts";
import { outputs } from "../kernels/reference.ts";
import { normal, rounding } from "../kernels/testData.ts";
import type { Precision } from "../../ir/types.ts";

/** A small launch, and what it should leave in float64. */
export type Probe = {
  readonly kernel: FusedKernel;
  readonly emitted: EmittedKernel;
  readonly values: readonly (Float64Array | null)[];
  readonly batch: number;
  readonly weight?: { readonly shape: readonly number[]; readonly data: Float64Array };
  /** By operand; null where nothing is compared. */
  readonly expected: readonly (Float64Array | null)[];
  /** Of errors relative to the largest result. */
  readonly tolerance: number;
};
/** The kernels' entry point. */
export const entry = "probe";

const attention = (test: AttentionCase): Probe => {
  const kernel = attentionKernel(test);
  const batch = test.batch ?? 1;
  const values = attentionValues(kernel, batch);
  const reference = attentionReference(kernel, values, batch);
  const expected = kernel.operands.map((_, index) => reference.get(index) ?? null);
  const tolerance = toleranceOf(test.precision, test.headDim);
  return { kernel, emitted: emitKernel(kernel, header(entry)), values, batch, expected, tolerance };
};

type Gemm = Parameters<typeof gemmReference>[0];
/** Rows of A lie a hundred deviations from zero: sums that lose them show. */
const gemm = (kernel: Gemm, mean = 0): Probe => {
  const batch = 2;
  const k = kernel.taps * kernel.channels;
  const written = new Set(kernel.stores.map((store) => store.operand));
  const values = kernel.operands.map((each, index) =>
    written.has(index) && !kernel.epilogue.elements.some((element) => element.operand === index)
      ? null
      : rounded(normal(index + 1, elementsOf(each, batch), index === 0 ? mean : 0), each.storage),
  );
  const data = normal(99, kernel.columns * k, 0, 1 / Math.sqrt(k));
  const reference = gemmReference(kernel, values, seenWeight(kernel, data), batch);
  const expected = reference.map((each, index) => (written.has(index) ? each : null));
  const weight = { shape: [kernel.columns, k], data };
  // Half a unit in the last place of the largest result, and sums in float32.
  const tolerance = 1.01 * rounding[kernel.precision] + 4e-6;
  return { kernel, emitted: emitKernel(kernel, header(entry)), values, batch, weight, expected, tolerance };
};

const mapOrRow = (
  kernel: Extract<FusedKernel, { kind: "map" | "row" }>,
  inputs: readonly { readonly mean?: number; readonly deviation?: number }[],
): Probe => {
  const batch = 2;
  const written = new Set(kernel.stores.map((store) => store.operand));
  const values = kernel.operands.map((each, index) => {
    const { mean, deviation } = inputs[index] ?? {};
    return written.has(index)
      ? null
      : rounded(normal(index + 1, elementsOf(each, batch), mean, deviation), each.storage);
  });
  const found = outputs(kernel, values, batch);
  const expected = kernel.operands.map((_, index) => (written.has(index) ? (found[index] ?? null) : null));
  const tolerance = 1.01 * rounding[kernel.precision] + 4e-6;
  return { kernel, emitted: emitKernel(kernel, header(entry)), values, batch, expected, tolerance };
};

const sampling = (test: SampleCase): Probe => {
  const batch = 2;
  const inputs = inputsOf(test);
  const kernel = kernelOf(test);
  const { kernel: made, values } = sampleLaunch(test, inputs, batch, entry);
  const isWritten = new Set(kernel.stores.map((store) => store.operand));
  const result = evaluated(test, inputs, batch);
  const expected = kernel.operands.map((_, index) => (isWritten.has(index) ? result : null));
  return {
    kernel,
    emitted: made,
    values: values.map((each) => (each instanceof Float64Array ? each : null)),
    batch,
    expected,
    // Shares are rounded, and results.
    tolerance: 2 ** -7,
  };
};

const one = { count: 1, over: ["t"] };
const prefixAndSpace = { kind: "union", patterns: [{ kind: "prefix" }, { kind: "along", axes: ["h", "w"] }] } as const;
const normalised = (precision: Precision): Probe =>
  gemm(
    product(precision, [70, 72, 320], {
      norm: { eps: 1e-6 },
      operands: [operand(precision, 70 * 320), operand(precision, 70 * 72), shared("f32", 72)],
      epilogue: { body: parseScalar("$0 + $1"), elements: [access(2, "n")] },
    }),
    30,
  );

const makers = {
  /** Two frames of 36 tokens, a class token in each: three tiles of queries, the last step of keys partly there. */
  frames: () =>
    attention({ precision: "bf16", pattern: prefixAndSpace, query: grid({ t: 2, h: 5, w: 7 }, one), headDim: 64 }),
  /** 150 tokens: warps take two tiles of queries each, and three steps of keys. */
  image: () =>
    attention({ precision: "bf16", pattern: { kind: "all" }, query: grid({ h: 10, w: 15 }), headDim: 32, heads: 1 }),
  /** Groups of 5 frames, three in a tile. */
  time: () =>
    attention({
      precision: "bf16",
      pattern: { kind: "along", axes: ["t"] },
      query: grid({ t: 5, h: 3, w: 3 }),
      headDim: 32,
    }),
  /** Keys in blocks, more queries than a thread block has, the last warps idle. */
  stream: () =>
    attention({ precision: "bf16", pattern: { kind: "all" }, query: grid({ w: 210 }), headDim: 192, heads: 1 }),
  /** Queries that see nothing. */
  hidden: () =>
    attention({
      precision: "f16",
      pattern: { kind: "where", predicate: parseScalar("k.w < q.w - 2") },
      query: grid({ w: 30 }),
      headDim: 16,
    }),
  exact: () => attention({ precision: "f32", pattern: { kind: "all" }, query: grid({ w: 85 }), headDim: 20, heads: 1 }),
  /** Weights that are the scores: nothing that all lanes take part in lies between steps. */
  counted: () =>
    attention({
      precision: "f32",
      pattern: { kind: "all" },
      query: grid({ w: 85 }),
      headDim: 20,
      heads: 1,
      normalize: "none",
    }),
  /** 15 windows that come to a thread block one after the other, four at a time, some of them wrapped. */
  windows: () =>
    attention({
      precision: "bf16",
      pattern: { kind: "window", size: { h: 6, w: 6 }, shift: { h: 0, w: 2 } },
      query: grid({ h: 18, w: 30 }),
      headDim: 16,
      heads: 8,
      score: parseScalar("s + table0[q.h - k.h + 5, q.w - k.w + 5, head]"),
      tables: [[11, 11, 8]],
    }),
  /** A line with terms of relative positions, longer than two steps of keys. */
  line: () =>
    attention({
      precision: "bf16",
      pattern: { kind: "along", axes: ["w"] },
      query: grid({ h: 2, w: 75 }),
      headDim: 8,
      valueDim: 16,
      positions: { axis: "w", terms: ["query", "key", "value"] },
    }),
  norm: () => normalised("bf16"),
  exactNorm: () => normalised("f32"),
  residual: () =>
    gemm(
      product("f16", [70, 72, 312], {
        operands: [operand("f16", 70 * 312), operand("f16", 70 * 72), shared("f32", 72)],
        epilogue: { body: parseScalar("$0 + $1 + $2"), elements: [access(2, "n"), access(1, "r * 72 + n")] },
      }),
    ),
  conv: () => gemm(convolution("bf16", 16, 24, 9).kernel),
  longRow: () => mapOrRow(row.kernelOf(caseOf(row.cases, "rows that a block holds"), "f32"), [{ mean: 50 }]),
  farRow: () => mapOrRow(row.kernelOf(caseOf(row.cases, "a mean far above the deviation"), "f32"), [{ mean: 1000 }]),
  oddRow: () => mapOrRow(row.kernelOf(caseOf(row.cases, "rows of odd length"), "f32"), [{ mean: 3 }]),
  mean: () => mapOrRow(map.kernelOf(caseOf(map.cases, "a mean over tokens, far from zero"), "f32"), [{ mean: 1000 }]),
  /** Two maps, and rows of two heads that fill no whole tile. */
  products: () =>
    sampling({
      levels: [
        [7, 5],
        [4, 6],
      ],
      queries: 41,
      heads: 2,
      points: 5,
      width: 24,
      precision: "bf16",
      dense: true,
    }),
} satisfies { readonly [name: string]: () => Probe };

export type ProbeName = keyof typeof makers;
const made = new Map<ProbeName, Probe>();
const names = Object.keys(makers) as ProbeName[];
export const attentionProbes: readonly ProbeName[] = names.slice(0, names.indexOf("norm"));
export const otherProbes: readonly ProbeName[] = names.slice(names.indexOf("norm"));
export const probe = (name: ProbeName): Probe => {
  const found = made.get(name) ?? makers[name]();
  made.set(name, found);
  return found;
};

const caseOf = <Case>(cases: { readonly [name: string]: Case }, name: string): Case => {
  const found = cases[name];
  if (found === undefined) throw new Error(`there is no case "${name}"`);
  return found;
};
