import { RuntimeError } from "./errors.ts";
import type { Dtype } from "./safetensors.ts";

/** An open file of tensors by name, whatever its format. Close it with `using`. */
export type TensorFile = Disposable & {
  readonly source: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
};
export type StoredTensor = {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Little-endian and row-major, read from the file when called. */
  readonly bytes: () => Uint8Array;
};

/** A file of weights that is damaged, made to mislead, or of a kind that fovea does not read. Nothing of it has been used. */
export class WeightsFileError extends RuntimeError {
  override readonly name: string = "WeightsFileError";
}

/** How elements of a tensor lie in a storage: in elements. */
export type View = { readonly shape: readonly number[]; readonly strides: readonly number[]; readonly offset: number };

/** Elements of a view. Throws where it leaves a storage of `elements`, or is no view at all. */
export const countView = ({ shape, strides, offset }: View, elements: number): number => {
  const sizes = [...shape, ...strides, offset];
  if (shape.length !== strides.length || !sizes.every((size) => Number.isSafeInteger(size) && size >= 0))
    throw new RuntimeError(`its shape [${shape.join(", ")}] and strides [${strides.join(", ")}] are no view`);
  const count = shape.reduce((product, size) => product * size, 1);
  const last = shape.reduce((at, size, axis) => at + (size - 1) * (strides[axis] ?? 0), offset);
  if (!Number.isSafeInteger(count) || (count > 0 && !(last < elements)))
    throw new RuntimeError(
      `its shape [${shape.join(", ")}] at offset ${offset} with strides [${strides.join(", ")}] reaches beyond its storage of ${elements} elements`,
    );
  return count;
};

/** The bytes of a view, dense and row-major. `storage` is left as it is, and may be what comes back. */
export const gatherView = (storage: Uint8Array, { shape, strides, offset }: View, itemBytes: number): Uint8Array => {
  const count = shape.reduce((product, size) => product * size, 1);
  if (count === 0) return new Uint8Array();
  if (isDense(shape, strides)) return storage.subarray(offset * itemBytes, (offset + count) * itemBytes);
  const result = new Uint8Array(new ArrayBuffer(count * itemBytes));
  const rank = shape.length;
  const run = shape[rank - 1] ?? 1;
  const step = strides[rank - 1] ?? 0;
  const index = shape.map(() => 0);
  let from = offset;
  for (let to = 0; to < count; to += run) {
    for (let i = 0; i < run; i++) {
      const source = (from + i * step) * itemBytes;
      const target = (to + i) * itemBytes;
      for (let byte = 0; byte < itemBytes; byte++) result[target + byte] = storage[source + byte] ?? 0;
    }
    for (let axis = rank - 2; axis >= 0; axis--) {
      const [at, size, stride] = [(index[axis] ?? 0) + 1, shape[axis] ?? 1, strides[axis] ?? 0];
      from += stride;
      index[axis] = at;
      if (at < size) break;
      from -= size * stride;
      index[axis] = 0;
    }
  }
  return result;
};

const isDense = (shape: readonly number[], strides: readonly number[]): boolean => {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis] ?? 1;
    if (size !== 1 && strides[axis] !== expected) return false;
    expected *= size;
  }
  return true;
};
