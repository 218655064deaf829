import type { EmittedKernel, Operand } from "../../compiler/schedule/kernels.ts";
import type { BlockCount, WeightExpr } from "../../ir/program.ts";
import { bytesOf, type StorageType } from "../../ir/types.ts";
import { buildEmulator } from "../../compiler/toolchain/buildEmulator.ts";
import { compileImages } from "../../compiler/toolchain/compileImages.ts";
import { openDevice, type Device } from "../../runtime/device.ts";
import { addressOf, type Driver } from "../../runtime/driver.ts";
import type { CuModule, CuStream, DevicePointer } from "../../runtime/driverApi.ts";
import { fromStorage, toStorage } from "../../runtime/storage.ts";
import { evaluateWeight } from "../../runtime/weights.ts";

/** One launch of an emitted kernel on the emulated device. */
export type Launch = {
  /** The entry point, as the header named it. */
  readonly name: string;
  readonly kernel: EmittedKernel;
  readonly operands: readonly Operand[];
  /** Elements of each operand, all examples: null is left as it comes, which is NaN. */
  readonly values: readonly (Float64Array | Islands | null)[];
  readonly batch: number;
  /** What `$weight` is, shaped [columns, taps * channels]. */
  readonly weight?: { readonly shape: readonly number[]; readonly data: Float64Array };
  /** Where the headers are that the kernel includes, if not where they belong. */
  readonly headers?: string;
};

/** The parts of an operand that a kernel uses, where the whole would not fit into this machine: first element and values. */
export type Islands = readonly { readonly at: number; readonly values: Float64Array }[];

export type LaunchResult = {
  /** Every operand afterwards; its islands one after the other. */
  readonly values: readonly Float64Array[];
  /** What the emulated device counted; see fovea_emu_counters. */
  readonly counters: Counters;
};
type Counters = { readonly [name: string]: unknown };

/** How the emulated device runs and what it looks for; see fovea_emu_set. */
export type Checks = { readonly [setting: string]: number };
/** Every access in its bounds, nothing read that nobody wrote, no race in shared memory. */
const strictChecks: Checks = { bounds: 1, uninitialised: 1, races: 1, counters: 1, poison: 1, seed: 0 };

/**
 * Compiles the kernel, runs it and reads every operand back. Memory that nobody wrote comes back as NaN, accesses out of
 * an operand's bounds fail the launch.
 */
export async function launch(run: Launch, checks: Checks = strictChecks): Promise<LaunchResult> {
  return launchIn(await imageOf(run.name, run.kernel.source, run.headers), run, checks);
}

/** Compiles a text of one kernel or several for the emulated device. */
export async function imageOf(name: string, source: string, headers?: string): Promise<Uint8Array> {
  const sources = [{ name, family: "test", source }];
  const [image] = await compileImages(sources, ["emulated"], headers === undefined ? {} : { headers });
  if (image === undefined) throw new Error("no image");
  return image.image;
}

/** Kernels in one text, each in a namespace of its own: the headers, which are most of a text, are compiled once. */
export const inOneText = (launches: readonly Pick<Launch, "name" | "kernel">[]): string => {
  const lines = launches.flatMap(({ kernel }) => kernel.source.split("\n"));
  const includes = new Set(lines.filter((line) => line.startsWith("#include")));
  const spaces = launches.map(({ name, kernel }) => {
    const body = kernel.source.split("\n").filter((line) => !line.startsWith("#include"));
    return [`namespace of_${name} {`, ...body.map((line) => line.replaceAll("::Element", `of_${name}::Element`)), "}"];
  });
  return [...includes, ...spaces.flat(), ""].join("\n");
};

/** Launches the kernel from an image that has it. */
export async function launchIn(image: Uint8Array, run: Launch, checks: Checks = strictChecks): Promise<LaunchResult> {
  const device = await emulatedDevice();
  return device.use((driver) => {
    for (const [setting, value] of Object.entries({ ...strictChecks, ...checks })) set(driver, setting, value);
    driver.extension("void fovea_emu_reset()")?.();
    return withModule(driver, image, (module) => runIn(driver, module, run));
  });
}

let opened: Promise<Device> | undefined;

/** One device for all tests of a file, until a kernel fails: then another. */
export async function emulatedDevice(): Promise<Device> {
  const device = await opened;
  if (device !== undefined && !device.lost) return device;
  device?.[Symbol.dispose]();
  opened = buildEmulator().then((library) => openDevice({ kind: "emulated", library }));
  return opened;
}

function set(driver: Driver, setting: string, value: number): void {
  const known = driver.extension("int fovea_emu_set(const char*, int64_t)")?.(setting, value);
  if (known !== 0) throw new Error(`the emulated device has no setting "${setting}"`);
}

function withModule<Result>(driver: Driver, image: Uint8Array, work: (module: CuModule) => Result): Result {
  const module = driver.make("cuModuleLoadData", image);
  try {
    return work(module);
  } finally {
    // After a failure the context is lost, and its modules with it.
    driver.status("cuModuleUnload", module);
  }
}

function runIn(driver: Driver, module: CuModule, run: Launch): LaunchResult {
  const stream = 0n as CuStream;
  const held: DevicePointer[] = [];
  const place = (bytes: number, parts: readonly Part[]): DevicePointer => {
    const address = driver.make("cuMemAlloc_v2", bytes);
    held.push(address);
    for (const { at, content } of parts)
      driver.call("cuMemcpyHtoDAsync_v2", (address + BigInt(at)) as DevicePointer, content, content.length, stream);
    return address;
  };
  try {
    const operands = run.operands.map((operand, index) => {
      const bytes = elementsOf(operand, run.batch) * bytesOf[operand.storage];
      const values = run.values[index] ?? null;
      const parts = partsOf(values, operand.storage);
      if (values instanceof Float64Array && parts[0]?.content.length !== bytes)
        throw new Error(`operand ${index} has ${parts[0]?.content.length} bytes of values and takes ${bytes}`);
      const back = values instanceof Float64Array || values === null ? [{ at: 0, bytes }] : sizesOf(parts);
      return { address: place(bytes, parts), back, storage: operand.storage };
    });
    const packed = new ArgumentBuffer();
    for (const parameter of run.kernel.parameters) {
      switch (parameter.kind) {
        case "operand": {
          const operand = operands[parameter.operand];
          if (operand === undefined) throw new Error(`there is no operand ${parameter.operand}`);
          packed.pointer(operand.address);
          break;
        }
        case "weight": {
          const content = weightBytes(parameter.value, parameter.storage, run);
          packed.pointer(place(content.length, [{ at: 0, content }]));
          break;
        }
        case "batch":
          packed.int(run.batch);
          break;
      }
    }
    const entry = driver.make("cuModuleGetFunction", module, run.name);
    if (run.kernel.sharedBytes > 48 * 1024)
      driver.call("cuFuncSetAttribute", entry, maxDynamicShared, run.kernel.sharedBytes);
    const [x, y, z] = run.kernel.grid.map((count) => blocks(count, run.batch));
    const extra = packed.finish();
    driver.call(
      "cuLaunchKernel",
      entry,
      x ?? 1,
      y ?? 1,
      z ?? 1,
      run.kernel.threads,
      1,
      1,
      run.kernel.sharedBytes,
      stream,
      null,
      extra.address,
    );
    driver.call("cuStreamSynchronize", stream);
    const counters = JSON.parse(String(driver.extension("const char* fovea_emu_counters()")?.())) as Counters;
    const values = operands.map(({ address, back, storage }) => {
      const parts = back.map(({ at, bytes }) => {
        const content = new Uint8Array(bytes);
        driver.call("cuMemcpyDtoH_v2", content, (address + BigInt(at)) as DevicePointer, bytes);
        return fromStorage(content, storage);
      });
      return Float64Array.from(parts.length === 1 ? (parts[0] ?? []) : parts.flatMap((part) => [...part]));
    });
    return { values, counters };
  } finally {
    for (const address of held) driver.status("cuMemFree_v2", address);
  }
}

/** Bytes to upload and where they go. */
type Part = { readonly at: number; readonly content: Uint8Array };
const partsOf = (values: Float64Array | Islands | null, storage: StorageType): readonly Part[] =>
  values === null
    ? []
    : (values instanceof Float64Array ? [{ at: 0, values }] : values).map((island) => ({
        at: island.at * bytesOf[storage],
        content: toStorage(island.values, storage, "an operand"),
      }));
const sizesOf = (parts: readonly Part[]): readonly { readonly at: number; readonly bytes: number }[] =>
  parts.map(({ at, content }) => ({ at, bytes: content.length }));

/** CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES */
const maxDynamicShared = 8;

/** Elements in memory: the last example ends where its own elements do. */
export const elementsOf = ({ exampleStride, exampleSize }: Operand, batch: number): number =>
  exampleStride * (batch - 1) + exampleSize;

const blocks = ({ factor, fixed, perExample, divisor }: BlockCount, batch: number): number =>
  factor * Math.ceil((fixed + perExample * batch) / divisor);

function weightBytes(value: WeightExpr, storage: StorageType, { weight }: Launch): Uint8Array {
  if (weight === undefined) throw new Error("the kernel has a weight and the launch none");
  const tensors = new Map([["$weight", { shape: weight.shape, values: () => weight.data }]]);
  return toStorage(evaluateWeight(value, { source: "test", tensors }).data, storage, "weight");
}

/** Kernel arguments one after the other, each at a multiple of its size; CU_LAUNCH_PARAM_BUFFER_POINTER and its size. */
class ArgumentBuffer {
  readonly #bytes = new ArrayBuffer(512);
  readonly #view = new DataView(this.#bytes);
  readonly #extra = new BigUint64Array(new ArrayBuffer(64));
  #end = 0;

  pointer(address: DevicePointer): void {
    this.#end = Math.ceil(this.#end / 8) * 8;
    this.#view.setBigUint64(this.#end, address, true);
    this.#end += 8;
  }

  int(value: number): void {
    this.#view.setInt32(this.#end, value, true);
    this.#end += 4;
  }

  finish(): { readonly address: bigint; readonly keep: unknown } {
    this.#extra[5] = BigInt(this.#end);
    this.#extra.set([1n, addressOf(this.#bytes), 2n, addressOf(this.#extra.buffer as ArrayBuffer) + 40n, 0n]);
    return { address: addressOf(this.#extra.buffer as ArrayBuffer), keep: this };
  }
}
