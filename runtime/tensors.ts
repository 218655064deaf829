import type { Port, PortSize, Program } from "../ir/program.ts";
import { bytesOf, type StorageType } from "../ir/types.ts";
import type { Device, DeviceMemory } from "./device.ts";
import type { DevicePointer } from "./driverApi.ts";
import { RuntimeError } from "./errors.ts";
import { fromStorage, toStorage } from "./storage.ts";
import { didYouMean, formatShape } from "./text.ts";

/** A dense, row-major array on the host. Numbers of every floating-point precision are float32 here. */
export type HostTensor = {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
};

/** An array that stays on the device: an output that is another program's input. Its owner disposes of it. */
export class DeviceTensor implements Disposable {
  readonly device: Device;
  readonly storage: StorageType;
  readonly shape: readonly number[];
  readonly #memory: DeviceMemory;

  constructor(device: Device, storage: StorageType, shape: readonly number[], memory: DeviceMemory) {
    this.device = device;
    this.storage = storage;
    this.shape = shape;
    this.#memory = memory;
  }

  get address(): DevicePointer {
    return this.#memory.address;
  }

  get bytes(): number {
    return bytesOfShape(this.shape, this.storage);
  }

  /** A copy on the host. */
  read(): HostTensor {
    return download(this.device, this.address, this.shape, this.storage);
  }

  [Symbol.dispose](): void {
    this.#memory[Symbol.dispose]();
  }
}

/** Copies an array that is done from the device. */
export const download = (
  device: Device,
  address: DevicePointer,
  shape: readonly number[],
  storage: StorageType,
): HostTensor => {
  const bytes = new Uint8Array(new ArrayBuffer(bytesOfShape(shape, storage)));
  if (bytes.length > 0) device.use((driver) => driver.call("cuMemcpyDtoH_v2", bytes, address, bytes.length));
  return { shape, data: fromStorage(bytes, storage) };
};

/** What a program takes: by the inputs' names, on the host or on its device. */
export type Inputs = { readonly [name: string]: HostTensor | DeviceTensor };

/** An input that was found to fit: bytes to upload, or an array on the device to copy from. */
type CheckedInput = { readonly port: Port; readonly source: Uint8Array | DeviceTensor };
export type CheckedInputs = {
  /** The program that takes them. */
  readonly program: Program;
  readonly batch: number;
  readonly inputs: readonly CheckedInput[];
};

/**
 * Checks names, element types, shapes and the batch, which the shapes imply unless `batch` says it. Throws a
 * RuntimeError that names what is wrong, the expected and the actual.
 */
export const checkInputs = (program: Program, given: Inputs, batch: number | undefined): CheckedInputs => {
  const names = program.inputs.map((port) => port.name);
  for (const name of Object.keys(given))
    if (!names.includes(name))
      throw new RuntimeError(
        `"${program.name}" has no input "${name}"${didYouMean(name, names) || `; its inputs are ${names.join(", ")}`}`,
      );
  const tensors = program.inputs.map((port) => {
    const tensor = given[port.name];
    if (tensor === undefined) throw new RuntimeError(`input "${port.name}" ${formatPort(port)} is missing`);
    return { port, tensor };
  });
  const known =
    batch ??
    tensors.reduce<number | null>((found, { port, tensor }) => found ?? impliedBatch(port, tensor.shape), null) ??
    1;
  requireBatch(program, known);
  return {
    program,
    batch: known,
    inputs: tensors.map(({ port, tensor }) => ({ port, source: checkTensor(port, tensor, known) })),
  };
};

/** Throws where the program was not built for this batch. */
export const requireBatch = ({ name, batch: { min, max } }: Program, batch: number): void => {
  if (!Number.isInteger(batch) || batch < min || batch > max)
    throw new RuntimeError(
      `batch ${batch}: "${name}" was built for ${min === max ? `a batch of ${min}` : `batches of ${min} to ${max}`}${hintFor(batch, max)}`,
    );
};

const hintFor = (batch: number, max: number): string =>
  Number.isInteger(batch) && batch > max
    ? `\n  hint: give it ${max} at a time, or build it with --axis batch=1..${batch}`
    : "";

export const portShape = (port: Port, batch: number): readonly number[] =>
  port.shape.map((size) => sizeFor(size, batch));
export const portBytes = (port: Port, batch: number): number => bytesOfShape(portShape(port, batch), port.storage);

const bytesOfShape = (shape: readonly number[], storage: StorageType): number =>
  shape.reduce((bytes, size) => bytes * size, bytesOf[storage]);

const sizeFor = (size: PortSize, batch: number): number => (typeof size === "number" ? size : size.batchTimes * batch);

/** The batch that a shape implies, where it can. */
const impliedBatch = (port: Port, shape: readonly number[]): number | null => {
  const axis = port.shape.findIndex((size) => typeof size !== "number");
  const size = port.shape[axis];
  const actual = shape[axis];
  if (size === undefined || typeof size === "number" || actual === undefined) return null;
  const batch = actual / size.batchTimes;
  return Number.isInteger(batch) ? batch : null;
};

const checkTensor = (port: Port, tensor: HostTensor | DeviceTensor, batch: number): Uint8Array | DeviceTensor => {
  const what = `input "${port.name}"`;
  if (formatShape(tensor.shape) !== formatShape(portShape(port, batch)))
    throw new RuntimeError(
      `${what} is ${formatShape(tensor.shape)}, the program takes ${formatPort(port)} with b = ${batch}`,
    );
  if (tensor instanceof DeviceTensor) {
    if (tensor.storage !== port.storage)
      throw new RuntimeError(`${what} is ${tensor.storage} on the device, the program takes ${port.storage}`);
    return tensor;
  }
  const { data, shape } = tensor;
  const kind = hostArrays[port.storage];
  if (!(data instanceof kind))
    throw new RuntimeError(`${what} is ${articleFor(data)}, the program takes ${port.storage} as a ${kind.name}`);
  const count = shape.reduce((product, size) => product * size, 1);
  if (data.length !== count)
    throw new RuntimeError(`${what} has ${data.length} elements, its shape ${formatShape(shape)} says ${count}`);
  if (port.range !== undefined) requireLengths(what, data, port.range);
  if (data instanceof Float32Array && port.storage !== "f32") return toStorage(data, port.storage, what);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
};

/** Throws a RuntimeError where a length is none that a set can have. */
export const requireLengths = (
  what: string,
  data: ArrayLike<number>,
  { min, max }: NonNullable<Port["range"]>,
): void => {
  const bad = Array.from(data).findIndex((value) => value < min || value > max);
  if (bad >= 0)
    throw new RuntimeError(
      `${what} is ${data[bad]} at ${bad}: the program takes lengths from ${min} to ${max}, what its sets are padded to`,
    );
};

const hostArrays = {
  f32: Float32Array,
  f16: Float32Array,
  bf16: Float32Array,
  i32: Int32Array,
  u8: Uint8Array,
} as const;

const articleFor = (data: unknown): string => {
  const name = typeof data === "object" && data !== null ? data.constructor.name : typeof data;
  return `${/^[AEIO]/.test(name) ? "an" : "a"} ${name}`;
};

/** "[b, 3, 224, 224]" */
export const formatPort = (port: Port): string =>
  formatShape(
    port.shape.map((size) =>
      typeof size === "number" ? size : size.batchTimes === 1 ? "b" : `${size.batchTimes} * b`,
    ),
  );
