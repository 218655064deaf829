import type { Precision, StorageType } from "../../ir/types.ts";
import { fromStorage, toStorage } from "../../runtime/storage.ts";

/** Numbers that a storage type holds exactly, so that a reference in float64 begins with what the kernel reads. */
export function stored(values: Float64Array, storage: StorageType): Float64Array {
  return Float64Array.from(fromStorage(toStorage(values, storage, "test"), storage));
}

/** Normally distributed, the same for the same seed. */
export function normal(seed: number, count: number, mean = 0, deviation = 1): Float64Array {
  const next = uniform(seed);
  return Float64Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - next()));
    return mean + deviation * radius * Math.cos(2 * Math.PI * next());
  });
}

/** Numbers from 0 to below 1 (mulberry32). */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Half the distance of neighbouring numbers of size 1: what one rounding to storage may cost. */
export const rounding: { readonly [S in Precision]: number } = { f32: 2 ** -24, f16: 2 ** -11, bf16: 2 ** -8 };

/** The greatest of |actual - expected| / (1 + |expected|); infinite where only one of them is NaN. */
export function worstError(
  actual: Float64Array,
  expected: Float64Array,
): { readonly error: number; readonly at: number } {
  if (actual.length !== expected.length) throw new Error(`${actual.length} values for ${expected.length}`);
  let worst = { error: 0, at: -1 };
  for (const [at, value] of actual.entries()) {
    const wanted = expected[at] ?? NaN;
    const same = Object.is(value, wanted) || (Number.isNaN(value) && Number.isNaN(wanted));
    const error = same ? 0 : Math.abs(value - wanted) / (1 + Math.abs(wanted));
    if (Number.isNaN(error) || error > worst.error) worst = { error: Number.isNaN(error) ? Infinity : error, at };
  }
  return worst;
}
