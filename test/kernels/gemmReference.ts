import type { Access, GemmKernel } from "../../compiler/schedule/kernels.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { compileScalar } from "../../ir/scalarEvaluate.ts";
import type { StorageType } from "../../ir/types.ts";
import { fromStorage, toStorage } from "../../runtime/storage.ts";
import { elementsOf } from "./harness.ts";

/** The numbers as the storage type holds them. */
export const rounded = (values: Float64Array, storage: StorageType): Float64Array =>
  new Float64Array(fromStorage(toStorage(values, storage, "a test's operand"), storage));

/** Slots of an expression's variables and arguments. */
const slotNames = ["r", "n", "tap", "c", "group", "j"];
const slots = new Float64Array(32);
type Position = {
  readonly r: number;
  readonly n?: number;
  readonly tap?: number;
  readonly c?: number;
  readonly group?: number;
  readonly j?: number;
};
type Evaluate = (position: Position, values?: readonly number[]) => number;

const compiled = (expr: Scalar): Evaluate => {
  const run = compileScalar(expr, {
    variable: (name) => slotNames.indexOf(name),
    argument: (index) => slotNames.length + index,
  });
  return ({ r, n = NaN, tap = NaN, c = NaN, group = NaN, j = NaN }, values = []) => {
    slots.set([r, n, tap, c, group, j, ...values]);
    return run(slots);
  };
};

type Reader = (example: number, position: Position) => number | null;

/** Where an element lies in the operand's array, or null where there is none. */
const placeOf = (access: Access, kernel: GemmKernel): Reader => {
  const operand = kernel.operands[access.operand];
  if (operand === undefined) throw new Error(`there is no operand ${access.operand}`);
  const [offset, valid] = [compiled(access.offset), compiled(access.valid)];
  return (example, position) => {
    if (valid(position) === 0) return null;
    const at = offset(position);
    if (!(at >= 0 && at < operand.exampleSize)) throw new Error(`offset ${at} is outside of operand ${access.operand}`);
    return example * operand.exampleStride + at;
  };
};

/**
 * What the kernel means, in float64 but for the rounding of A and the weight to its precision: every operand after it, NaN
 * where nothing is written. `weight` is [columns, K] as the kernel sees it: see `seenWeight`.
 */
export const gemmReference = (
  kernel: GemmKernel,
  values: readonly (Float64Array | null)[],
  weight: Float64Array,
  batch: number,
): readonly Float64Array[] => {
  const { rows, batched } = kernel.space;
  const results = kernel.operands.map(
    (operand, index) => values[index]?.slice() ?? new Float64Array(elementsOf(operand, batch)).fill(NaN),
  );
  const rowOfA = rowReader(kernel, values);
  const body = compiled(kernel.epilogue.body);
  const elements = kernel.epilogue.elements.map((access) => ({ access, place: placeOf(access, kernel) }));
  const stores = kernel.stores.map((access) => ({ access, place: placeOf(access, kernel) }));
  const k = kernel.taps * kernel.channels;
  for (let example = 0; example < (batched ? batch : 1); example++) {
    for (let r = 0; r < rows; r++) {
      const rowsOfA = Array.from({ length: kernel.groups }, (_, group) => rowOfA(example, r, group));
      for (let n = 0; n < kernel.columns; n++) {
        const a = rowsOfA[Math.floor((n * kernel.groups) / kernel.columns)] ?? [];
        let sum = 0;
        for (let i = 0; i < k; i++) sum += (a[i] ?? NaN) * (weight[n * k + i] ?? NaN);
        const read = elements.map(({ access, place }) => {
          const at = place(example, { r, n });
          return at === null ? access.fill : (values[access.operand]?.[at] ?? NaN);
        });
        const y = body({ r, n }, [sum, ...read]);
        for (const { access, place } of stores) {
          const at = place(example, { r, n });
          const result = results[access.operand];
          if (at !== null && result !== undefined) result[at] = y;
        }
      }
    }
  }
  return results;
};

const rowReader = (kernel: GemmKernel, values: readonly (Float64Array | null)[]) => {
  const { a, taps, channels, norm } = kernel;
  const place = placeOf(a, kernel);
  const prologue = compiled(kernel.prologue);
  const count = a.mean && compiled(a.mean.count);
  const behind = a.mean && compiled(a.mean.offset);
  const from = values[a.operand];
  const element = (example: number, position: Position): number => {
    const at = place(example, position);
    if (at === null) return a.fill;
    const averaged = count?.(position) ?? 1;
    let sum = 0;
    for (let j = 0; j < averaged; j++) sum += from?.[at + (behind?.({ r: 0, j }) ?? 0)] ?? NaN;
    return prologue(position, [sum / averaged]);
  };
  return (example: number, r: number, group: number): Float64Array => {
    const row = new Float64Array(taps * channels);
    for (let tap = 0; tap < taps; tap++)
      for (let c = 0; c < channels; c++) row[tap * channels + c] = element(example, { r, tap, c, group });
    // A kernel multiplies, and normalises, what it has stored in its tiles.
    const stored = rounded(row, kernel.precision);
    if (norm === null) return multiplied(stored, kernel);
    const mean = stored.reduce((sum, x) => sum + x, 0) / stored.length;
    const variance = stored.reduce((sum, x) => sum + (x - mean) ** 2, 0) / stored.length;
    return multiplied(
      stored.map((x) => (x - mean) / Math.sqrt(variance + norm.eps)),
      kernel,
    );
  };
};

/** Factors as tensor cores see them: half of the last bit kept is added, the rest cut off. */
const multiplied = (factors: Float64Array, { tf32 }: GemmKernel): Float64Array => {
  if (!tf32) return factors;
  const bits = new Uint32Array(Float32Array.from(factors).buffer);
  const floats = new Float32Array(bits.map((each) => (each + 0x1000) & 0xffffe000).buffer);
  return Float64Array.from(floats);
};

/** The weight as a kernel sees it: rounded, and of a normalised product with centred columns first. */
export const seenWeight = (kernel: GemmKernel, weight: Float64Array): Float64Array => {
  const k = kernel.taps * kernel.channels;
  if (kernel.norm === null) return multiplied(rounded(weight, kernel.precision), kernel);
  const centred = weight.map((value, at) => {
    const column = weight.subarray(at - (at % k), at - (at % k) + k);
    return value - column.reduce((sum, x) => sum + x, 0) / k;
  });
  return multiplied(rounded(centred, kernel.precision), kernel);
};
