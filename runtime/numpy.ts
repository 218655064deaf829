import { RuntimeError } from "./errors.ts";
import { dtypeBytes, type Dtype } from "./safetensors.ts";
import { gatherView, type StoredTensor } from "./tensorFile.ts";
import type { ZipEntry } from "./zip.ts";

/** The arrays of an .npz archive: one NAME.npy for each. See numpy/lib/format.py. Arrays of objects are refused. */
export const readNumpyZip = (entries: ReadonlyMap<string, ZipEntry>): ReadonlyMap<string, StoredTensor> => {
  const tensors = new Map<string, StoredTensor>();
  for (const [path, entry] of entries) {
    const name = path.replace(/\.npy$/, "");
    let header: Header | null = null;
    try {
      header = readHeader(entry.read());
      checkSize(header, entry.bytes);
    } catch (error) {
      throw error instanceof RuntimeError ? new RuntimeError(`array "${name}": ${error.message}`) : error;
    }
    const { dtype, shape, columnMajor, dataStart } = header;
    const strides = shape.map((_, axis) =>
      (columnMajor ? shape.slice(0, axis) : shape.slice(axis + 1)).reduce((product, size) => product * size, 1),
    );
    const bytes = (): Uint8Array =>
      gatherView(entry.read().subarray(dataStart), { shape, strides, offset: 0 }, dtypeBytes[dtype]);
    tensors.set(name, { dtype, shape, bytes });
  }
  return tensors;
};

type Header = {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** Fortran's order. */
  readonly columnMajor: boolean;
  readonly dataStart: number;
};

const dtypes: ReadonlyMap<string, Dtype> = new Map([
  ["<f8", "F64"],
  ["<f4", "F32"],
  ["<f2", "F16"],
  ["<i8", "I64"],
  ["<i4", "I32"],
  ["<i2", "I16"],
  ["|i1", "I8"],
  ["<u8", "U64"],
  ["<u4", "U32"],
  ["<u2", "U16"],
  ["|u1", "U8"],
  ["|b1", "BOOL"],
]);

const magic = "\x93NUMPY";
const longestHeader = 1 << 20;

const readHeader = (content: Uint8Array): Header => {
  const text = (start: number, end: number): string => String.fromCharCode(...content.subarray(start, end));
  const [major = 0] = content.subarray(magic.length);
  if (text(0, magic.length) !== magic || major < 1 || major > 3 || content.length < 12)
    throw new RuntimeError("it does not begin as a file of NumPy (.npy)");
  const words = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const start = major === 1 ? 10 : 12;
  const length = major === 1 ? words.getUint16(8, true) : words.getUint32(8, true);
  if (length > longestHeader || start + length > content.length)
    throw new RuntimeError(`damaged: its header says it has ${length} bytes`);
  const header = new TextDecoder().decode(content.subarray(start, start + length));
  const descriptor = /'descr': *'([^']*)'/.exec(header)?.[1];
  const order = /'fortran_order': *(True|False)/.exec(header)?.[1];
  const sizes = /'shape': *\(([\d, ]*)\)/.exec(header)?.[1];
  if (descriptor === undefined || order === undefined || sizes === undefined)
    throw new RuntimeError(`its header is not that of a plain array: ${JSON.stringify(header.trim().slice(0, 120))}`);
  const dtype = dtypes.get(descriptor);
  if (dtype === undefined)
    throw new RuntimeError(`its type is "${descriptor}"; known are ${[...dtypes.keys()].join(", ")}`);
  const shape = sizes
    .split(",")
    .map((size) => size.trim())
    .filter((size) => size !== "")
    .map(Number);
  return { dtype, shape, columnMajor: order === "True", dataStart: start + length };
};

const checkSize = ({ dtype, shape, dataStart }: Header, bytes: number): void => {
  const expected = shape.reduce((product, size) => product * size, dtypeBytes[dtype]);
  if (bytes - dataStart !== expected)
    throw new RuntimeError(
      `damaged: ${dtype} [${shape.join(", ")}] takes ${expected} bytes, ${bytes - dataStart} are there`,
    );
};
