import { type ParameterSlot, type Program } from "../ir/program.ts";
import { RuntimeError } from "./errors.ts";
import { openTensors } from "./openTensors.ts";
import { howToResize, publishedGrid } from "./publishedGrid.ts";
import type { Dtype } from "./safetensors.ts";
import { fromBfloat16, fromFloat16 } from "./storage.ts";
import type { StoredTensor, TensorFile } from "./tensorFile.ts";
import { didYouMean, formatShape, nearestName } from "./text.ts";

/** Trained parameters by their published names, whatever file they come from. */
export type Checkpoint = { readonly source: string; readonly tensors: ReadonlyMap<string, CheckpointTensor> };
export type CheckpointTensor = {
  readonly shape: readonly number[];
  /** Row-major, as exact as the file has them. Read from the file when called: do not keep more of them than needed. */
  readonly values: () => Float32Array | Float64Array;
};

/** The tensors of an open file, which must stay open while they are read. */
export const checkpointOf = (file: Pick<TensorFile, "source" | "tensors">): Checkpoint => {
  const tensors = new Map<string, CheckpointTensor>();
  for (const [name, tensor] of file.tensors)
    tensors.set(name, { shape: tensor.shape, values: () => decode(name, tensor) });
  return { source: file.source, tensors };
};

/** Opens a file of weights, of any format that `openTensors` reads, as a checkpoint. Close it with `using`. */
export const openCheckpoint = async (path: string): Promise<Checkpoint & Disposable> => {
  const file = await openTensors(path);
  return { ...checkpointOf(file), [Symbol.dispose]: () => file[Symbol.dispose]() };
};

/**
 * Throws a CheckpointError that names every parameter which is missing, of another shape, or unexpected. Extents of one
 * don't count: [1, 197, 768] is taken for [197, 768].
 */
export const checkCheckpoint = (
  program: Pick<Program, "name" | "parameters" | "unused">,
  checkpoint: Checkpoint,
): void => {
  const known = new Map(program.parameters.map((slot) => [slot.name, slot]));
  const ignored = new Set(program.unused);
  const names = [...checkpoint.tensors.keys()];
  const unexpected = names.filter((name) => !known.has(name) && !ignored.has(name));
  const problems: string[] = [];
  for (const slot of known.values()) {
    const found = checkpoint.tensors.get(slot.name);
    if (found === undefined)
      problems.push(`missing "${slot.name}" ${formatShape(slot.shape)}${didYouMean(slot.name, unexpected)}`);
    else if (!sameShape(slot, found.shape))
      problems.push(
        `"${slot.name}" is ${formatShape(found.shape)}, the program wants ${formatShape(slot.shape)}${advice(slot, found.shape)}`,
      );
  }
  for (const name of unexpected) {
    const nearest = nearestName(name, [...known.keys()]);
    problems.push(
      `unexpected "${name}"${nearest === null || checkpoint.tensors.has(nearest) ? "" : ` (for "${nearest}"?)`}`,
    );
  }
  if (problems.length > 0) throw new CheckpointError(program.name, checkpoint.source, problems);
};

const advice = (slot: ParameterSlot, shape: readonly number[]): string => {
  if (slot.resizing === null) return "";
  return publishedGrid(slot, shape) === null ? "" : ` (${howToResize})`;
};

/** A checkpoint that does not fit the program. `problems` has one line for each parameter. */
export class CheckpointError extends RuntimeError {
  override readonly name: string = "CheckpointError";
  readonly problems: readonly string[];

  constructor(program: string, source: string, problems: readonly string[]) {
    const shown = problems.slice(0, shownProblems).map((problem) => `\n  ${problem}`);
    const more = problems.length - shown.length;
    super(`"${source}" does not fit "${program}":${shown.join("")}${more > 0 ? `\n  and ${more} more` : ""}`);
    this.problems = problems;
  }
}

const shownProblems = 40;

const sameShape = (slot: ParameterSlot, shape: readonly number[]): boolean =>
  formatShape(slot.shape.filter((size) => size !== 1)) === formatShape(shape.filter((size) => size !== 1));

const decode = (name: string, tensor: StoredTensor): Float32Array | Float64Array => {
  const decoder = decoders[tensor.dtype];
  if (decoder === undefined)
    throw new RuntimeError(`parameter "${name}": ${tensor.dtype} is not a type that fovea reads`);
  const bytes = tensor.bytes();
  const aligned = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
  return decoder(aligned.buffer, aligned.byteOffset, aligned.byteLength, name);
};

type Decoder = (buffer: ArrayBufferLike, offset: number, bytes: number, name: string) => Float32Array | Float64Array;

const decoders: { readonly [D in Dtype]?: Decoder } = {
  F64: (buffer, offset, bytes) => new Float64Array(buffer, offset, bytes / 8),
  F32: (buffer, offset, bytes) => new Float32Array(buffer, offset, bytes / 4),
  F16: (buffer, offset, bytes) => fromFloat16(new Uint16Array(buffer, offset, bytes / 2)),
  BF16: (buffer, offset, bytes) => fromBfloat16(new Uint16Array(buffer, offset, bytes / 2)),
  I64: (buffer, offset, bytes, name) => fromBigInts(new BigInt64Array(buffer, offset, bytes / 8), name),
  U64: (buffer, offset, bytes, name) => fromBigInts(new BigUint64Array(buffer, offset, bytes / 8), name),
  I32: (buffer, offset, bytes) => new Float64Array(new Int32Array(buffer, offset, bytes / 4)),
  U32: (buffer, offset, bytes) => new Float64Array(new Uint32Array(buffer, offset, bytes / 4)),
  I16: (buffer, offset, bytes) => new Float32Array(new Int16Array(buffer, offset, bytes / 2)),
  U16: (buffer, offset, bytes) => new Float32Array(new Uint16Array(buffer, offset, bytes / 2)),
  I8: (buffer, offset, bytes) => new Float32Array(new Int8Array(buffer, offset, bytes)),
  U8: (buffer, offset, bytes) => new Float32Array(new Uint8Array(buffer, offset, bytes)),
  BOOL: (buffer, offset, bytes) => new Float32Array(new Uint8Array(buffer, offset, bytes)),
};

const fromBigInts = (integers: BigInt64Array | BigUint64Array, name: string): Float64Array => {
  const values = new Float64Array(integers.length);
  for (let i = 0; i < values.length; i++) {
    const value = Number(integers[i]);
    if (!Number.isSafeInteger(value))
      throw new RuntimeError(`parameter "${name}": element ${i} (${integers[i]}) is beyond 2^53`);
    values[i] = value;
  }
  return values;
};
