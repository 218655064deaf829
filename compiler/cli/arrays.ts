import { checkpointOf } from "../../runtime/checkpoint.ts";
import { tensorFileOf } from "../../runtime/openTensors.ts";
import { openSafetensors, writeSafetensors } from "../../runtime/safetensors.ts";

/** A dense row-major array of the caller. */
export type NumberArray = {
  readonly shape: readonly number[];
  readonly values: Float32Array | Float64Array | Int32Array;
};
export type NumberArrays = ReadonlyMap<string, NumberArray>;

/** All arrays of a safetensors file. Those of integers are Int32Arrays. */
export function readArrays(file: string): NumberArrays {
  using open = tensorFileOf(openSafetensors(file));
  const arrays = new Map<string, NumberArray>();
  for (const [name, { shape, values }] of checkpointOf(open).tensors) {
    const numbers = values();
    const isInteger = /^(I|U|BOOL)/.test(open.tensors.get(name)?.dtype ?? "");
    arrays.set(name, { shape, values: isInteger ? Int32Array.from(numbers) : numbers });
  }
  return arrays;
}

/** The array of an input's name, or the only one. */
export const ownArray = (name: string, arrays: NumberArrays): NumberArray | undefined =>
  arrays.get(name) ?? (arrays.size === 1 ? [...arrays.values()][0] : undefined);

/** Writes float32 and int32 arrays; float64 is rounded. */
export function writeArrays(file: string, arrays: NumberArrays): void {
  const tensors = [...arrays].map(([name, { shape, values }]) => {
    const narrow = values instanceof Float64Array ? Float32Array.from(values) : values;
    const bytes = new Uint8Array(narrow.buffer, narrow.byteOffset, narrow.byteLength);
    return [name, { dtype: narrow instanceof Int32Array ? "I32" : "F32", shape, bytes }] as const;
  });
  writeSafetensors(file, new Map(tensors));
}

export const countOf = (shape: readonly number[]): number => shape.reduce((count, size) => count * size, 1);
