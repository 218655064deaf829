import { expect } from "vitest";
import { emitGemm } from "../../compiler/emit/gemm.ts";
import type { Access, EmittedKernel, GemmKernel, KernelHeader, Operand } from "../../compiler/schedule/kernels.ts";
import { parseScalar } from "../../ir/scalarText.ts";
import type { Precision, StorageType } from "../../ir/types.ts";
import type { LaunchCounters } from "../../runtime/emulated.ts";
import { gemmReference, rounded, seenWeight } from "./gemmReference.ts";
import { elementsOf, launch, type Checks } from "./harness.ts";

/** Relative L2 errors: of a store rounded to nearest (2^-9 and 2^-12 over the square root of 3), and of float32 sums. */
const tolerance: { readonly [S in Precision]: number } = { bf16: 1.9e-3, f16: 2.6e-4, f32: 8e-7 };

export const operand = (storage: StorageType, exampleSize: number, exampleStride: number = exampleSize): Operand => ({
  storage,
  exampleSize,
  exampleStride,
});
/** Shared by all examples. */
export const shared = (storage: StorageType, exampleSize: number): Operand => operand(storage, exampleSize, 0);

export const access = (of: number, offset: string, valid = "1", fill = 0): Access => ({
  operand: of,
  offset: parseScalar(offset),
  valid: parseScalar(valid),
  fill,
});

/** A product of `rows` x `k` by `k` x `columns`, changed as wanted: operand 0 is A, operand 1 the result. */
export const product = (
  precision: Precision,
  [rows, columns, k]: readonly [number, number, number],
  change: Partial<GemmKernel> = {},
): GemmKernel => ({
  kind: "gemm",
  precision,
  tf32: false,
  operands: [operand(precision, rows * k), operand(precision, rows * columns)],
  space: { rows, batched: true },
  columns,
  taps: 1,
  groups: 1,
  channels: k,
  a: { ...access(0, `r * ${k} + c`), mean: null },
  prologue: parseScalar("$0"),
  norm: null,
  epilogue: { body: parseScalar("$0"), elements: [] },
  stores: [access(1, `r * ${columns} + n`)],
  lengths: null,
  ...change,
});

/** Numbers that look normal, the same for the same seed. */
export const normal = (count: number, seed: number): Float64Array => {
  let state = (seed * 2654435761 + 12345) >>> 0;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
  return Float64Array.from({ length: count }, () => (uniform() + uniform() + uniform() - 1.5) * 2);
};

export const header = (name: string): KernelHeader => ({
  name,
  origin: { file: "models/example.ts", line: 12, column: 3, path: "model.layer", formula: "y = x W" },
  shapes: [],
});

/** What an operand holds before the launch: numbers about zero unless `inputs` says otherwise. */
const initial = (kernel: GemmKernel, batch: number, inputs: Inputs): readonly (Float64Array | null)[] => {
  const written = new Set(kernel.stores.map((store) => store.operand));
  const read = new Set([kernel.a.operand, ...kernel.epilogue.elements.map((each) => each.operand)]);
  return kernel.operands.map((each, index) => {
    if (written.has(index) && !read.has(index)) return null;
    const count = elementsOf(each, batch);
    const values = inputs[index]?.(count) ?? defaultValues(each.storage, count, index);
    return rounded(values, each.storage);
  });
};
export type Inputs = { readonly [operand: number]: (count: number) => Float64Array };
const defaultValues = (storage: StorageType, count: number, seed: number): Float64Array => {
  const values = normal(count, seed + 1);
  if (storage === "u8") return values.map((x) => Math.min(255, Math.max(0, Math.round(128 + 60 * x))));
  return storage === "i32" ? values.map((x) => Math.round(10 * x)) : values;
};

export type Checked = {
  readonly emitted: EmittedKernel;
  readonly counters: LaunchCounters;
  readonly errors: readonly number[];
};

/** Emits and runs a kernel and compares every operand that it stores to with the reference. */
export const check = async (
  kernel: GemmKernel,
  options: {
    readonly batch?: number;
    readonly inputs?: Inputs;
    readonly checks?: Checks;
    readonly within?: number;
  } = {},
): Promise<Checked> => {
  const batch = options.batch ?? 2;
  const k = kernel.taps * kernel.channels;
  const emitted = emitGemm(kernel, header("product"));
  const values = initial(kernel, batch, options.inputs ?? {});
  const weight = normal(kernel.columns * k, 99).map((x) => x / Math.sqrt(k));
  const result = await launch(
    {
      name: "product",
      kernel: emitted,
      operands: kernel.operands,
      values,
      batch,
      weight: { shape: [kernel.columns, k], data: weight },
    },
    { races: 0, ...options.checks },
  );
  const expected = gemmReference(kernel, values, seenWeight(kernel, weight), batch);
  const stored = [...new Set(kernel.stores.map((store) => store.operand))];
  const errors = stored.map((index) => {
    const [found, wanted] = [result.values[index] ?? new Float64Array(0), expected[index] ?? new Float64Array(0)];
    const error = relativeError(found, wanted);
    const { storage } = kernel.operands[index] ?? operand("f32", 0);
    // Kernels of half precision take the fast functions, whose errors are about 1e-6, whatever they store.
    const least = storage === "f32" && kernel.precision !== "f32" ? 3e-6 : tolerance[storage as Precision];
    expect(error, `relative error of operand ${index}`).toBeLessThan(least);
    return error;
  });
  return { emitted, counters: result.counters as unknown as LaunchCounters, errors };
};

/** Relative L2 error; infinite where something was written that should not be, or the other way round. */
const relativeError = (found: Float64Array, wanted: Float64Array): number => {
  let [difference, size] = [0, 0];
  for (const [at, value] of wanted.entries()) {
    const other = found[at] ?? NaN;
    if (Number.isNaN(value) !== Number.isNaN(other)) return Infinity;
    if (Number.isNaN(value)) continue;
    difference += (value - other) ** 2;
    size += value ** 2;
  }
  return Math.sqrt(difference / size);
};
