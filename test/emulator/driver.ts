import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import koffi from "koffi";
import { buildEmulator } from "../../compiler/toolchain/buildEmulator.ts";
import { compileImages } from "../../compiler/toolchain/compileImages.ts";
import { onGpu } from "../support/testDevice.ts";

type Traffic = {
  readonly requests: number;
  readonly sectors: number;
  readonly bytes: number;
  readonly uniqueBytes: number;
};
type SharedTraffic = { readonly requests: number; readonly wavefronts: number; readonly conflicts: number };
export type Counters = {
  readonly kernel: string;
  readonly blocks: number;
  readonly barriers: number;
  readonly mmaM16n8k16: number;
  readonly tensorFlops: number;
  readonly specialOps: number;
  readonly global: { readonly read: Traffic; readonly written: Traffic; readonly atomic: Traffic };
  readonly shared: { readonly [kind in "load" | "store" | "ldmatrix" | "stmatrix" | "cpAsync"]: SharedTraffic };
  readonly buffers: readonly {
    readonly name?: string;
    readonly parameter?: number;
    readonly read: Traffic;
    readonly written: Traffic;
  }[];
};

/** An address of device memory. */
export type DevicePointer = bigint;
/** A kernel's argument: an address, or a number of C type int, or bytes with their alignment. */
export type Argument =
  | DevicePointer
  | { readonly int: number }
  | { readonly bytes: Uint8Array; readonly align: number };
export const int = (value: number): Argument => ({ int: value });
export type Launch = {
  readonly grid?: number;
  readonly block: number;
  readonly shared?: number;
  readonly cluster?: number;
  readonly args: readonly Argument[];
};
type Words = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float32Array;
type Callable = (...parameters: readonly unknown[]) => unknown;

const addressOf = (buffer: ArrayBuffer): bigint => koffi.address(buffer);

/** A device with the few verbs that these tests need. */
export class TestDevice {
  readonly #library: ReturnType<typeof koffi.load>;
  readonly #bound: Map<string, Callable> = new Map();
  readonly #functions: Map<string, bigint> = new Map();

  constructor(library: string) {
    this.#library = koffi.load(library);
    this.#check("int cuInit(uint32_t)", 0);
    const context = this.make("int cuDevicePrimaryCtxRetain(void*, int)", 0);
    this.#check("int cuCtxSetCurrent(void*)", context);
  }

  /** Calls by a C prototype; pointers and handles are `void*` and bigints. */
  call(prototype: string, ...parameters: readonly unknown[]): unknown {
    let bound = this.#bound.get(prototype);
    if (bound === undefined) {
      bound = this.#library.func(prototype) as Callable;
      this.#bound.set(prototype, bound);
    }
    return bound(...parameters);
  }
  /** Calls a function that writes 64 bits through its first parameter. */
  make(prototype: string, ...parameters: readonly unknown[]): bigint {
    const result = new BigUint64Array(1);
    this.#check(prototype, result, ...parameters);
    return result[0] ?? 0n;
  }
  #check(prototype: string, ...parameters: readonly unknown[]): void {
    const status = this.call(prototype, ...parameters);
    if (status !== 0) throw new Error(`"${prototype}" gives ${String(status)}`);
  }

  async load(file: string, kernels: readonly string[]): Promise<void> {
    const source = await readFile(join(import.meta.dirname, "kernels", file), "utf8");
    const target = onGpu ? "sm_90a" : "emulated";
    const [image] = await compileImages([{ name: basename(file, ".cu"), family: "device", source }], [target]);
    if (image !== undefined) this.loadImage(image.image, kernels);
  }
  loadImage(image: Uint8Array, kernels: readonly string[]): void {
    const module = this.make("int cuModuleLoadData(void*, const void*)", image);
    for (const name of kernels) this.#functions.set(name, this.entry(module, name));
  }
  entry(module: bigint, name: string): bigint {
    return this.make("int cuModuleGetFunction(void*, void*, const char*)", module, name);
  }

  allocate(bytes: number): DevicePointer {
    return this.make("int cuMemAlloc_v2(void*, size_t)", bytes);
  }
  upload(data: Words): DevicePointer {
    const address = this.allocate(data.byteLength);
    this.#check("int cuMemcpyHtoD_v2(uint64_t, const void*, size_t)", address, data, data.byteLength);
    return address;
  }
  download<T extends Words>(into: T, from: DevicePointer): T {
    this.#check("int cuMemcpyDtoH_v2(void*, uint64_t, size_t)", into, from, into.byteLength);
    return into;
  }

  /** Launches and waits. The status: 0, or why the kernel failed. */
  run(name: string, launch: Launch): number {
    const entry = this.#functions.get(name);
    if (entry === undefined) throw new Error(`no kernel "${name}"`);
    this.launch(entry, launch);
    return this.synchronize();
  }
  /** Queues on a stream; 0n is the null stream. */
  launch(entry: bigint, { grid = 1, block, shared = 0, cluster = 1, args }: Launch, stream: bigint = 0n): void {
    const limit = 8; // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    if (shared > 49152) this.#check("int cuFuncSetAttribute(void*, int, int)", entry, limit, shared);
    const { extra } = this.hostArguments(args);
    const attribute = new Uint32Array(18); // CUlaunchAttribute
    const clusterDimension = 4;
    attribute.set([clusterDimension, 0, cluster, 1, 1]);
    const config = new DataView(new ArrayBuffer(56)); // CUlaunchConfig
    [grid, 1, 1, block, 1, 1, shared].forEach((value, i) => config.setUint32(4 * i, value, true));
    config.setBigUint64(32, stream, true);
    config.setBigUint64(40, addressOf(attribute.buffer), true);
    config.setUint32(48, cluster > 1 ? 1 : 0, true);
    this.#check("int cuLaunchKernelEx(const void*, void*, void*, void*)", config.buffer, entry, null, extra);
  }
  /** Packed arguments as cuLaunchKernel's `extra` names them. They live as long as this device. */
  hostArguments(args: readonly Argument[]): { readonly extra: bigint } {
    const packed = pack(args);
    const size = new BigUint64Array([BigInt(packed.byteLength)]);
    const extra = new BigUint64Array([1n, addressOf(packed.buffer), 2n, addressOf(size.buffer), 0n]);
    this.#kept.push(packed, size, extra);
    return { extra: addressOf(extra.buffer) };
  }
  readonly #kept: ArrayBufferView[] = [];
  synchronize(): number {
    return Number(this.call("int cuCtxSynchronize()"));
  }

  /** A CUtensorMap over a dense tensor, innermost extent first. Types: 6 for 16-bit integers, 7 for float32. */
  tensorMap(
    base: DevicePointer,
    extents: readonly number[],
    box: readonly number[],
    swizzle: number,
    type = 1,
  ): Argument {
    const buffer = new ArrayBuffer(192);
    const skip = Number((64n - (addressOf(buffer) & 63n)) & 63n);
    const size = type === 7 ? 4 : 2;
    const strides = extents.map((_, i) => BigInt(extents.slice(0, i + 1).reduce((a, b) => a * b, size)));
    const ones = Uint32Array.from(extents, () => 1);
    const extent = BigUint64Array.from(extents.map(BigInt));
    const stride = BigUint64Array.from(strides);
    const at = addressOf(buffer) + BigInt(skip);
    const prototype =
      "int cuTensorMapEncodeTiled(void*, int, uint32_t, uint64_t, void*, void*, void*, void*, int, int, int, int)";
    const shape = [extents.length, base, extent, stride, Uint32Array.from(box), ones] as const;
    this.#check(prototype, at, type, ...shape, 0, swizzle, 0, 0);
    return { bytes: new Uint8Array(buffer.slice(skip, skip + 128)), align: 64 };
  }

  // Of the emulated device only
  set(key: string, value: number): void {
    if (this.call("int fovea_emu_set(const char*, int64_t)", key, value) !== 0) throw new Error(`no setting "${key}"`);
  }
  /** Mends the context and forgets counters and named ranges. */
  reset(): void {
    this.call("void fovea_emu_reset()");
  }
  report(): string {
    return String(this.call("const char *fovea_emu_report()"));
  }
  counters(): Counters {
    return JSON.parse(String(this.call("const char *fovea_emu_counters()"))) as Counters;
  }
  nameRange(address: DevicePointer, bytes: number, name: string): void {
    this.call("void fovea_emu_name_range(uint64_t, size_t, const char*)", address, bytes, name);
  }
}

export const openTestDevice = async (): Promise<TestDevice> =>
  new TestDevice(onGpu ? "libcuda.so.1" : await buildEmulator());

/** One buffer of arguments, each at its C type's alignment. */
function pack(args: readonly Argument[]): Uint8Array<ArrayBuffer> {
  const buffer = new ArrayBuffer(4096);
  const view = new DataView(buffer);
  let end = 0;
  const reserve = (bytes: number, align: number): number => {
    const at = Math.ceil(end / align) * align;
    end = at + bytes;
    return at;
  };
  for (const argument of args) {
    if (typeof argument === "bigint") view.setBigUint64(reserve(8, 8), argument, true);
    else if ("int" in argument) view.setInt32(reserve(4, 4), argument.int, true);
    else new Uint8Array(buffer).set(argument.bytes, reserve(argument.bytes.byteLength, argument.align));
  }
  return new Uint8Array(buffer.slice(0, end));
}
