import { Float16Array } from "@petamoriken/float16";
import { bytesOf, type StorageType } from "../ir/types.ts";
import { RuntimeError } from "./errors.ts";

/**
 * Numbers as their bytes in device memory, rounded to nearest (ties to even) once, whatever precision they come in.
 * Throws where a finite number would become infinite, and where an integer type meets something else; `what` says whose.
 */
export const toStorage = (values: Float64Array | Float32Array, storage: StorageType, what: string): Uint8Array => {
  switch (storage) {
    case "f32":
      return bytesOfArray(
        refuseOverflow(values instanceof Float32Array ? values : new Float32Array(values), values, storage, what),
      );
    case "f16": {
      const rounded = new Float16Array(values);
      const bits = new Uint16Array(rounded.buffer);
      if (bits.some(isInfiniteHalf)) refuseOverflow(rounded, values, storage, what);
      return bytesOfArray(bits);
    }
    case "bf16": {
      const { bits, overflows } = toBfloat16(values);
      if (overflows) refuseOverflow(fromBfloat16(bits), values, storage, what);
      return bytesOfArray(bits);
    }
    case "i32":
      return bytesOfArray(
        Int32Array.from(values, (value, at) => requireInteger(value, at, -(2 ** 31), 2 ** 31 - 1, storage, what)),
      );
    case "u8":
      return Uint8Array.from(values, (value, at) => requireInteger(value, at, 0, 255, storage, what));
  }
};

/** The numbers that bytes in device memory stand for. Exact. `bytes` may lie at any address. */
export const fromStorage = (bytes: Uint8Array, storage: StorageType): Float32Array | Int32Array | Uint8Array => {
  if (storage === "u8") return bytes;
  const { buffer, byteOffset } = bytes.byteOffset % bytesOf[storage] === 0 ? bytes : bytes.slice();
  const count = bytes.byteLength / bytesOf[storage];
  switch (storage) {
    case "f32":
      return new Float32Array(buffer, byteOffset, count);
    case "i32":
      return new Int32Array(buffer, byteOffset, count);
    case "f16":
      return fromFloat16(new Uint16Array(buffer, byteOffset, count));
    case "bf16":
      return fromBfloat16(new Uint16Array(buffer, byteOffset, count));
  }
};

export const fromBfloat16 = (bits: Uint16Array): Float32Array => {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) words[i] = (bits[i] ?? 0) << 16;
  return new Float32Array(words.buffer);
};

export const fromFloat16 = (bits: Uint16Array): Float32Array => {
  const table = halfValues();
  const values = new Float32Array(bits.length);
  for (let i = 0; i < bits.length; i++) values[i] = table[bits[i] ?? 0] ?? 0;
  return values;
};

let halfTable: Float32Array | null = null;
/** Every float16's value, by its bits. Made on first use: 256 KiB. */
const halfValues = (): Float32Array => {
  halfTable ??= new Float32Array(new Float16Array(Uint16Array.from({ length: 1 << 16 }, (_, bits) => bits).buffer));
  return halfTable;
};

/** `overflows`: some result is infinite, of a number that may not have been. */
const toBfloat16 = (values: Float64Array | Float32Array): { bits: Uint16Array; overflows: boolean } => {
  const single = values instanceof Float32Array ? values : new Float32Array(values);
  const words = new Uint32Array(single.buffer, single.byteOffset, single.length);
  const bits = new Uint16Array(values.length);
  let overflows = false;
  for (let i = 0; i < bits.length; i++) {
    const word = words[i] ?? 0;
    const upper = word >>> 16;
    if ((word & 0x7fffffff) > 0x7f800000) {
      bits[i] = upper | 0x40; // a NaN stays one
      continue;
    }
    let up = (word & 0xffff) > 0x8000 ? 1 : 0;
    if ((word & 0xffff) === 0x8000) up = roundHalf(values[i] ?? 0, single[i] ?? 0, upper & 1);
    bits[i] = upper + up;
    if (((upper + up) & 0x7fff) === 0x7f80) overflows = true;
  }
  return { bits, overflows };
};

/** Whether to go up from halfway between two results, to which a rounding to float32 may have brought `exact`. */
const roundHalf = (exact: number, halfway: number, toEven: number): number => {
  const beyond = Math.abs(exact) - Math.abs(halfway);
  return beyond > 0 ? 1 : beyond < 0 ? 0 : toEven;
};

const isInfiniteHalf = (bits: number): boolean => (bits & 0x7fff) === 0x7c00;

/** Infinities may come from the checkpoint (a mask's), but must not be made here. */
const refuseOverflow = <Rounded extends ArrayLike<number>>(
  rounded: Rounded,
  values: ArrayLike<number>,
  storage: StorageType,
  what: string,
): Rounded => {
  for (let i = 0; i < rounded.length; i++) {
    const [before, after] = [values[i] ?? 0, rounded[i] ?? 0];
    if ((after === Infinity || after === -Infinity) && before !== after)
      throw new RuntimeError(
        `${what}: element ${i} is ${before}, beyond what ${storage} can hold${storage === "f16" ? " (65504); build in bf16 or f32" : ""}`,
      );
  }
  return rounded;
};

const requireInteger = (
  value: number,
  at: number,
  least: number,
  most: number,
  storage: StorageType,
  what: string,
): number => {
  if (!Number.isInteger(value) || value < least || value > most)
    throw new RuntimeError(
      `${what}: element ${at} is ${value}, not an ${storage} (a whole number from ${least} to ${most})`,
    );
  return value;
};

const bytesOfArray = (array: Float32Array | Uint16Array | Int32Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
