import { closeSync, openSync, writeSync } from "node:fs";
import { RuntimeError } from "./errors.ts";
import { openFile } from "./file.ts";
import { formatShape } from "./text.ts";

/** Element types of the format that a reader may meet, and their bytes. */
export const dtypeBytes = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
} as const;
export type Dtype = keyof typeof dtypeBytes;

/** A tensor as the header describes it; `start` and `end` count bytes behind the header. */
export type TensorEntry = {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
};

/** A safetensors file that is damaged, truncated, or made to mislead. Nothing of it has been used. */
export class SafetensorsError extends RuntimeError {
  override readonly name: string = "SafetensorsError";
}

/** An open safetensors file. Only the header has been read; the bytes of a tensor are read when they are asked for. */
export type Safetensors = Disposable & {
  readonly source: string;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: ReadonlyMap<string, string>;
  /** The tensor's bytes, little-endian and row-major: a view of memory, or a fresh read of the file's range. */
  readonly bytes: (entry: TensorEntry) => Uint8Array;
};

/** Opens a file and checks its header against its size. Close it with `using`. */
export const openSafetensors = (path: string): Safetensors => {
  const file = openFile(path);
  try {
    const { tensors, metadata, dataStart } = readHeader(path, file.size, file.read);
    return {
      source: path,
      tensors,
      metadata,
      bytes: (entry) => file.read(dataStart + entry.start, dataStart + entry.end),
      [Symbol.dispose]: () => file[Symbol.dispose](),
    };
  } catch (error) {
    file[Symbol.dispose]();
    throw error;
  }
};

/** The same for a file that is in memory already; tensors are views of it. */
export const parseSafetensors = (content: Uint8Array, source = "safetensors"): Safetensors => {
  const { tensors, metadata, dataStart } = readHeader(source, content.length, (start, end) =>
    content.subarray(start, end),
  );
  return {
    source,
    tensors,
    metadata,
    bytes: (entry) => content.subarray(dataStart + entry.start, dataStart + entry.end),
    [Symbol.dispose]: () => {},
  };
};

export type TensorToWrite = {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Little-endian, row-major; a function where they are made when their turn comes. */
  readonly bytes: Uint8Array | (() => Uint8Array);
};

/** Writes tensors in the map's order. */
export const writeSafetensors = (
  path: string,
  tensors: ReadonlyMap<string, TensorToWrite>,
  metadata: ReadonlyMap<string, string> = new Map(),
): void => {
  const header = layOut(tensors, metadata);
  const file = openSync(path, "w");
  try {
    writeFully(file, header);
    for (const [name, tensor] of tensors) writeFully(file, contentOf(name, tensor));
  } finally {
    closeSync(file);
  }
};

/** The bytes that `writeSafetensors` writes. */
export const encodeSafetensors = (
  tensors: ReadonlyMap<string, TensorToWrite>,
  metadata: ReadonlyMap<string, string> = new Map(),
): Uint8Array => {
  const parts = [layOut(tensors, metadata), ...[...tensors].map(([name, tensor]) => contentOf(name, tensor))];
  const whole = new Uint8Array(parts.reduce((total, part) => total + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
};

const layOut = (tensors: ReadonlyMap<string, TensorToWrite>, metadata: ReadonlyMap<string, string>): Uint8Array => {
  const entries: [string, unknown][] = metadata.size > 0 ? [[metadataKey, Object.fromEntries(metadata)]] : [];
  let offset = 0;
  for (const [name, tensor] of tensors) {
    const { dtype, shape } = tensor;
    if (name === metadataKey) throw new SafetensorsError(`a tensor may not be named "${metadataKey}"`);
    if (typeof tensor.bytes !== "function") contentOf(name, tensor);
    const end = offset + expectedBytes(tensor);
    entries.push([name, { dtype, shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  // Spaces behind the header keep every tensor's elements aligned in memory.
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const header = new Uint8Array(lengthBytes + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - lengthBytes), true);
  header.set(json, lengthBytes);
  return header;
};

const expectedBytes = ({ dtype, shape }: TensorToWrite): number =>
  shape.reduce((count, size) => count * size, dtypeBytes[dtype]);

const contentOf = (name: string, tensor: TensorToWrite): Uint8Array => {
  const bytes = typeof tensor.bytes === "function" ? tensor.bytes() : tensor.bytes;
  if (bytes.length !== expectedBytes(tensor))
    throw new SafetensorsError(
      `tensor "${name}" has ${bytes.length} bytes; ${tensor.dtype} ${formatShape(tensor.shape)} needs ${expectedBytes(tensor)}`,
    );
  return bytes;
};

/** The format's own limit. */
const longestHeader = 100_000_000;
const lengthBytes = 8;
const metadataKey = "__metadata__";

type Header = {
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: ReadonlyMap<string, string>;
  readonly dataStart: number;
};

const readHeader = (source: string, size: number, readRange: (start: number, end: number) => Uint8Array): Header => {
  const fail = (problem: string): never => {
    throw new SafetensorsError(`"${source}": ${problem}`);
  };
  if (size < lengthBytes) fail(`${size} bytes are too few for a safetensors file: it begins with a length of 8`);
  const start = readRange(0, lengthBytes);
  const length = new DataView(start.buffer, start.byteOffset, lengthBytes).getBigUint64(0, true);
  if (length > BigInt(longestHeader))
    fail(
      `the header says it is ${length} bytes long, more than the format's ${longestHeader}: not a safetensors file?`,
    );
  const dataStart = lengthBytes + Number(length);
  if (dataStart > size) fail(`truncated: the header ends at byte ${dataStart}, the file at ${size}`);
  const json = decodeHeader(readRange(lengthBytes, dataStart), fail);
  const repeated = repeatedKey(json.text);
  if (repeated !== null) fail(`the header has "${repeated}" twice`);

  const tensors = new Map<string, TensorEntry>();
  let metadata: ReadonlyMap<string, string> = new Map();
  for (const [name, value] of Object.entries(json.value)) {
    if (name === metadataKey) metadata = readMetadata(value, fail);
    else tensors.set(name, readEntry(name, value, fail));
  }
  checkOffsets(tensors, size - dataStart, fail);
  return { tensors, metadata, dataStart };
};

type Fail = (problem: string) => never;

const decodeHeader = (bytes: Uint8Array, fail: Fail): { text: string; value: object } => {
  if (bytes[0] !== 0x7b) fail(`the header does not begin with "{": not a safetensors file?`);
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return { text, value };
  } catch (cause) {
    fail(`the header is not JSON in UTF-8: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  return fail("the header is not a JSON object");
};

const readMetadata = (value: unknown, fail: Fail): ReadonlyMap<string, string> => {
  if (!isObject(value)) return fail(`${metadataKey} is not an object`);
  const metadata = new Map<string, string>();
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") return fail(`${metadataKey}."${key}" is not a string`);
    metadata.set(key, text);
  }
  return metadata;
};

const readEntry = (name: string, value: unknown, fail: Fail): TensorEntry => {
  if (!isObject(value)) return fail(`tensor "${name}" is not described by an object`);
  const fields = new Map<string, unknown>(Object.entries(value));
  for (const field of fields.keys())
    if (!["dtype", "shape", "data_offsets"].includes(field)) fail(`tensor "${name}" has an unknown field "${field}"`);
  const dtype = fields.get("dtype");
  const shape = fields.get("shape");
  const offsets = fields.get("data_offsets");
  if (!isDtype(dtype))
    return fail(
      `tensor "${name}": ${JSON.stringify(dtype) ?? "no"} dtype; known are ${Object.keys(dtypeBytes).join(", ")}`,
    );
  if (!isSizes(shape))
    return fail(`tensor "${name}": shape ${JSON.stringify(shape)} is not a list of whole numbers from 0`);
  if (!isSizes(offsets) || offsets.length !== 2)
    return fail(`tensor "${name}": data_offsets ${JSON.stringify(offsets)} are not two whole numbers from 0`);
  const [start = 0, end = 0] = offsets;
  const bytes = shape.reduce((count, size) => count * size, dtypeBytes[dtype]);
  if (end < start) return fail(`tensor "${name}": data_offsets end (${end}) before they start (${start})`);
  if (!Number.isSafeInteger(bytes) || end - start !== bytes)
    return fail(
      `tensor "${name}": ${dtype} ${formatShape(shape)} takes ${bytes} bytes, data_offsets span ${end - start}`,
    );
  return { name, dtype, shape, start, end };
};

/** Tensors lie end to end, in any order, and fill the file: no overlap, no gap, nothing behind. */
const checkOffsets = (tensors: ReadonlyMap<string, TensorEntry>, dataBytes: number, fail: Fail): void => {
  const sorted = [...tensors.values()].toSorted((a, b) => a.start - b.start || a.end - b.end);
  let end = 0;
  let previous = "";
  for (const entry of sorted) {
    if (entry.end > dataBytes)
      fail(`truncated: tensor "${entry.name}" ends at byte ${entry.end} of the data, which has ${dataBytes}`);
    if (entry.start < end) fail(`tensors "${previous}" and "${entry.name}" overlap at byte ${entry.start} of the data`);
    if (entry.start > end)
      fail(`bytes ${end} to ${entry.start} of the data belong to no tensor (before "${entry.name}")`);
    end = entry.end;
    previous = entry.name;
  }
  if (end !== dataBytes) fail(`${dataBytes - end} bytes behind the last tensor belong to no tensor`);
};

/** A key that an object of this (valid) JSON text has twice: JSON.parse would keep the last and say nothing. */
const repeatedKey = (json: string): string | null => {
  const open: Set<string>[] = [];
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === brace.open) open.push(new Set());
    else if (code === brace.close) open.pop();
    else if (code === quote) {
      const start = at;
      for (at++; json.charCodeAt(at) !== quote; at++) if (json.charCodeAt(at) === backslash) at++;
      const keys = open.at(-1);
      if (keys === undefined || !isColonNext(json, at + 1)) continue;
      const key = String(JSON.parse(json.slice(start, at + 1)));
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return null;
};
const brace = { open: 0x7b, close: 0x7d } as const;
const quote = 0x22;
const backslash = 0x5c;

const isColonNext = (json: string, from: number): boolean => {
  let at = from;
  while (" \t\n\r".includes(json.charAt(at)) && at < json.length) at++;
  return json.charAt(at) === ":";
};

const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isDtype = (value: unknown): value is Dtype => typeof value === "string" && Object.hasOwn(dtypeBytes, value);
const isSizes = (value: unknown): value is readonly number[] =>
  Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);

/** Writes of more than 2 GiB are cut by the system. */
const longestWrite = 2 ** 30;

const writeFully = (file: number, bytes: Uint8Array): void => {
  for (let at = 0; at < bytes.length;) at += writeSync(file, bytes, at, Math.min(longestWrite, bytes.length - at));
};
