import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { buildEmulator } from "../../compiler/toolchain/buildEmulator.ts";
import { compileImages } from "../../compiler/toolchain/compileImages.ts";
import { addressOf, loadDriver, systemDriver, type Driver } from "../../runtime/driver.ts";
import type { CuFunction, DevicePointer } from "../../runtime/driverApi.ts";

/** Primitives are tested on the emulated device, or with FOVEA_TEST_DEVICE=cuda on the machine's GPU. */
export const onGpu: boolean = process.env["FOVEA_TEST_DEVICE"] === "cuda";

export type Traffic = {
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

/** A kernel's argument: an address, or a number of the given C type, or bytes with their alignment. */
export type Argument = DevicePointer | { readonly int: number } | { readonly bytes: Uint8Array; readonly align: number };
export const int = (value: number): Argument => ({ int: value });
export type Launch = {
  readonly grid?: number;
  readonly block: number;
  readonly shared?: number;
  readonly cluster?: number;
  readonly args: readonly Argument[];
};
type Words = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float32Array;

/** A device with the few verbs that these tests need. */
export class TestDevice {
  readonly #driver: Driver;
  readonly #functions: Map<string, CuFunction> = new Map();
  constructor(driver: Driver) {
    this.#driver = driver;
    driver.call("cuInit", 0);
    driver.enter(driver.make("cuDevicePrimaryCtxRetain", 0));
  }

  async load(file: string, kernels: readonly string[]): Promise<void> {
    const source = await readFile(join(import.meta.dirname, "kernels", file), "utf8");
    const target = onGpu ? "sm_90a" : "emulated";
    const [image] = await compileImages([{ name: basename(file, ".cu"), family: "device", source }], [target]);
    if (image !== undefined) this.loadImage(image.image, kernels);
  }
  loadImage(image: Uint8Array, kernels: readonly string[]): void {
    const module = this.#driver.make("cuModuleLoadData", image);
    for (const name of kernels) this.#functions.set(name, this.#driver.make("cuModuleGetFunction", module, name));
  }

  allocate(bytes: number): DevicePointer {
    return this.#driver.make("cuMemAlloc_v2", bytes);
  }
  upload(data: Words): DevicePointer {
    const address = this.allocate(data.byteLength);
    this.#driver.call("cuMemcpyHtoDAsync_v2", address, data, data.byteLength, 0n as never);
    this.#driver.call("cuStreamSynchronize", 0n as never);
    return address;
  }
  download<T extends Words>(into: T, from: DevicePointer): T {
    this.#driver.call("cuMemcpyDtoHAsync_v2", into, from, into.byteLength, 0n as never);
    this.#driver.call("cuStreamSynchronize", 0n as never);
    return into;
  }

  /** Launches and waits. The status: 0, or why the kernel failed. */
  run(name: string, { grid = 1, block, shared = 0, cluster = 1, args }: Launch): number {
    const entry = this.#functions.get(name);
    if (entry === undefined) throw new Error(`no kernel "${name}"`);
    const limit = 8; // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    if (shared > 49152) this.#driver.call("cuFuncSetAttribute", entry, limit, shared);
    const packed = pack(args);
    const sizes = new BigUint64Array([BigInt(packed.byteLength)]);
    const extra = new BigUint64Array([1n, addressOf(packed.buffer), 2n, addressOf(sizes.buffer), 0n]);
    const at = addressOf(extra.buffer);
    if (cluster === 1) this.#driver.call("cuLaunchKernel", entry, grid, 1, 1, block, 1, 1, shared, 0n as never, null, at);
    else this.#launchCluster(entry, grid, block, shared, cluster, at);
    return this.#driver.status("cuStreamSynchronize", 0n as never);
  }
  #launchCluster(entry: CuFunction, grid: number, block: number, shared: number, cluster: number, extra: bigint): void {
    const attribute = new Uint32Array(18); // CUlaunchAttribute
    attribute.set([4, 0, cluster, 1, 1]);
    const config = new DataView(new ArrayBuffer(56)); // CUlaunchConfig
    [grid, 1, 1, block, 1, 1, shared].forEach((value, i) => config.setUint32(4 * i, value, true));
    config.setBigUint64(40, addressOf(attribute.buffer), true);
    config.setUint32(48, 1, true);
    const launch = this.#extension("int cuLaunchKernelEx(const void*, void*, void*, void*)");
    const status = launch(addressOf(config.buffer as ArrayBuffer), entry, null, extra);
    if (status !== 0) throw new Error(`cuLaunchKernelEx failed: ${String(status)}`);
  }

  /** A CUtensorMap over a dense tensor, innermost extent first. Types: 6 for 16-bit integers, 7 for float32. */
  tensorMap(base: DevicePointer, extents: readonly number[], box: readonly number[], swizzle: number, type = 1): Argument {
    const buffer = new ArrayBuffer(192);
    const skip = Number((64n - (addressOf(buffer) & 63n)) & 63n);
    const size = type === 7 ? 4 : 2;
    const strides = extents.map((_, i) => BigInt(extents.slice(0, i + 1).reduce((a, b) => a * b, size)));
    const encode = this.#extension(
      "int cuTensorMapEncodeTiled(void*, int, uint32_t, uint64_t, void*, void*, void*, void*, int, int, int, int)",
    );
    const ones = Uint32Array.from(extents, () => 1);
    const extent = BigUint64Array.from(extents.map(BigInt));
    const stride = BigUint64Array.from(strides);
    const at = addressOf(buffer) + BigInt(skip);
    const status = encode(at, type, extents.length, base, extent, stride, Uint32Array.from(box), ones, 0, swizzle, 0, 0);
    if (status !== 0) throw new Error(`cuTensorMapEncodeTiled failed: ${String(status)}`);
    return { bytes: new Uint8Array(buffer.slice(skip, skip + 128)), align: 64 };
  }

  // Of the emulated device only
  set(key: string, value: number): void {
    if (this.#extension("int fovea_emu_set(const char*, int64_t)")(key, value) !== 0) throw new Error(`no setting "${key}"`);
  }
  reset(): void {
    this.#extension("void fovea_emu_reset()")();
  }
  report(): string {
    return String(this.#extension("const char *fovea_emu_report()")());
  }
  counters(): Counters {
    return JSON.parse(String(this.#extension("const char *fovea_emu_counters()")())) as Counters;
  }
  nameRange(address: DevicePointer, bytes: number, name: string): void {
    this.#extension("void fovea_emu_name_range(uint64_t, size_t, const char*)")(address, bytes, name);
  }
  status(name: Parameters<Driver["status"]>[0], ...parameters: readonly unknown[]): number {
    return (this.#driver.status as (n: string, ...p: readonly unknown[]) => number).call(this.#driver, name, ...parameters);
  }
  get driver(): Driver {
    return this.#driver;
  }

  readonly #extensions: Map<string, (...parameters: readonly unknown[]) => unknown> = new Map();
  #extension(prototype: string): (...parameters: readonly unknown[]) => unknown {
    const known = this.#extensions.get(prototype);
    if (known !== undefined) return known;
    const found = this.#driver.extension(prototype);
    if (found === null) throw new Error(`the library lacks "${prototype}"`);
    this.#extensions.set(prototype, found);
    return found;
  }
}

export const openTestDevice = async (): Promise<TestDevice> =>
  new TestDevice(loadDriver(onGpu ? systemDriver : await buildEmulator()));

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

