import { emulatorOf, type Emulator } from "./emulated.ts";
import { loadDriver, systemDriver, type Driver } from "./driver.ts";
import type { CuContext, CuStream, DevicePointer } from "./driverApi.ts";
import { CudaError, RuntimeError, cudaStatus } from "./errors.ts";
import { formatBytes } from "./text.ts";

/** A GPU behind the system's driver, or fovea's emulated device, which runs the same kernels on the host's processor. */
type DeviceKind = "cuda" | "emulated";
export type DeviceInfo = {
  readonly kind: DeviceKind;
  readonly index: number;
  readonly name: string;
  readonly computeCapability: { readonly major: number; readonly minor: number };
  readonly memoryBytes: number;
  readonly multiprocessors: number;
  /** Of one block, at most. */
  readonly sharedBytes: number;
  /** The driver's version of CUDA: "13.0". */
  readonly driverVersion: string;
  /** Precisions that its tensor cores take. */
  readonly precisions: readonly ("f32" | "f16" | "bf16")[];
};
/** A kind of device that is not there, and why. */
type MissingDevice = { readonly kind: DeviceKind; readonly because: string };
export type DeviceList = { readonly devices: readonly DeviceInfo[]; readonly missing: readonly MissingDevice[] };

export type DeviceChoice =
  | { readonly kind: "cuda"; readonly index?: number }
  /** `library`: the path of libcuda_emulated.so. */
  | { readonly kind: "emulated"; readonly library: string; readonly index?: number };

/** What this machine can run programs on. Never throws: what is not there is listed with the reason. */
export const listDevices = (options: { readonly emulatorLibrary?: string } = {}): DeviceList => {
  const { emulatorLibrary } = options;
  const devices: DeviceInfo[] = [];
  const missing: MissingDevice[] = [];
  const look = (kind: DeviceKind, library: string): void => {
    try {
      const driver = startDriver(library);
      const count = readInt((out) => driver.call("cuDeviceGetCount", out));
      for (let index = 0; index < count; index++) devices.push(describe(driver, kind, index));
      if (count === 0) missing.push({ kind, because: "the driver sees no device" });
    } catch (error) {
      missing.push({ kind, because: error instanceof Error ? error.message : String(error) });
    }
  };
  look("cuda", systemDriver);
  if (emulatorLibrary !== undefined) look("emulated", emulatorLibrary);
  return { devices, missing };
};

/** Opens a device; close it with `using` or `[Symbol.dispose]()`. Throws what is missing. */
export const openDevice = (choice: DeviceChoice): Device => {
  const { kind, index = 0 } = choice;
  const driver = startDriver(choice.kind === "cuda" ? systemDriver : choice.library);
  const count = readInt((out) => driver.call("cuDeviceGetCount", out));
  if (!Number.isInteger(index) || index < 0 || index >= count)
    throw new RuntimeError(
      count === 0 ? "the driver sees no device" : `no ${kind} device ${index}: there are ${count}, from 0`,
    );
  return new Device(openContext(driver, index), describe(driver, kind, index));
};

/** Memory of a device that its owner frees. */
export type DeviceMemory = Disposable & { readonly address: DevicePointer; readonly bytes: number };

/**
 * An open device. Once a kernel has failed in a way that costs the context (an access outside of memory and the like),
 * the device is lost and every use of it throws that first failure.
 */
export class Device implements Disposable {
  readonly info: DeviceInfo;
  readonly #shared: SharedContext;
  #closed = false;

  constructor(shared: SharedContext, info: DeviceInfo) {
    this.info = info;
    this.#shared = shared;
  }

  /** The emulated device's own controls and counters; null on a GPU. */
  get emulator(): Emulator | null {
    return emulatorOf(this.#shared.driver);
  }

  sharesMemoryWith(other: Device): boolean {
    return this.#shared === other.#shared;
  }

  get lost(): boolean {
    return this.#shared.lost !== null;
  }

  /** Runs `work` in this device's context. */
  use<T>(work: (driver: Driver) => T): T {
    this.#mustBeOpen();
    const { driver, context } = this.#shared;
    try {
      driver.enter(context);
      return work(driver);
    } catch (error) {
      throw this.#remember(error);
    }
  }

  /** `what` is said when there is not enough: "activations of 64 examples". */
  allocate(bytes: number, what: string): DeviceMemory {
    // The driver refuses empty allocations; an empty array still needs an address.
    const size = Math.max(bytes, 256);
    const address = this.use((driver) => {
      try {
        return driver.make("cuMemAlloc_v2", size);
      } catch (error) {
        if (error instanceof CudaError && error.status === cudaStatus.outOfMemory) throw this.#exhausted(bytes, what);
        throw error;
      }
    });
    let freed = false;
    return {
      address,
      bytes,
      [Symbol.dispose]: () => {
        if (freed) return;
        freed = true;
        this.release((driver) => driver.call("cuMemFree_v2", address));
      },
    };
  }

  /** Frees something. What belonged to a closed or lost device went with it. */
  release(work: (driver: Driver) => void): void {
    if (this.#closed || this.lost) return;
    this.use(work);
  }

  memory(): { readonly freeBytes: number; readonly totalBytes: number } {
    return this.use((driver) => {
      const total = new BigUint64Array(1);
      const free = driver.make("cuMemGetInfo_v2", total);
      return { freeBytes: Number(free), totalBytes: Number(total[0]) };
    });
  }

  /** Work on it runs in order, beside that of other streams. */
  createStream(): CuStream {
    return this.use((driver) => driver.make("cuStreamCreate", nonBlockingStream));
  }

  /** Resolves when all work of the stream is done. The event loop stays free. Rejects if a kernel failed. */
  async finished(stream: CuStream): Promise<void> {
    this.#mustBeOpen();
    const { driver, context } = this.#shared;
    const status = await driver.finished(context, stream);
    if (status !== cudaStatus.success) throw this.#remember(driver.failure("cuStreamSynchronize", status));
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    closeContext(this.#shared);
  }

  #mustBeOpen(): void {
    const { lost } = this.#shared;
    if (this.#closed) throw new RuntimeError(`the device "${this.info.name}" was closed`);
    if (lost !== null)
      throw new RuntimeError(
        `the device "${this.info.name}" was lost by an earlier failure: ${lost.message}\n  hint: ${afterLoss[this.info.kind]}`,
        { cause: lost },
      );
  }

  #remember(error: unknown): unknown {
    if (error instanceof CudaError && error.sticky) this.#shared.lost ??= error;
    return error;
  }

  #exhausted(bytes: number, what: string): CudaError {
    const { freeBytes, totalBytes } = this.memory();
    return new CudaError({
      call: "cuMemAlloc_v2",
      status: cudaStatus.outOfMemory,
      code: "CUDA_ERROR_OUT_OF_MEMORY",
      description: `${what}: asked for ${formatBytes(bytes)}; ${formatBytes(freeBytes)} of ${formatBytes(totalBytes)} are free on "${this.info.name}"`,
    });
  }
}

const afterLoss: { readonly [K in DeviceKind]: string } = {
  cuda: "end this process and start another: the driver does not give the device back to a process that lost it",
  emulated: "close the device and open it again",
};

/** The driver has one primary context a device for the whole process: everyone who opens the device shares it, and its loss. */
type SharedContext = {
  readonly driver: Driver;
  readonly context: CuContext;
  readonly device: number;
  users: number;
  lost: CudaError | null;
};
const contexts = new Map<Driver, Map<number, SharedContext>>();

const openContext = (driver: Driver, index: number): SharedContext => {
  const ofDriver = contexts.get(driver) ?? new Map<number, SharedContext>();
  contexts.set(driver, ofDriver);
  const device = deviceHandle(driver, index);
  const shared = ofDriver.get(device) ?? {
    driver,
    context: driver.make("cuDevicePrimaryCtxRetain", device),
    device,
    users: 0,
    lost: null,
  };
  ofDriver.set(device, shared);
  shared.users++;
  return shared;
};

const closeContext = (shared: SharedContext): void => {
  const { driver, device, lost } = shared;
  shared.users--;
  if (shared.users > 0) return;
  contexts.get(driver)?.delete(device);
  driver.leave();
  // A lost context cannot be mended, only begun anew; what the driver says of that changes nothing here.
  if (lost !== null) driver.status("cuDevicePrimaryCtxReset_v2", device);
  const status = driver.status("cuDevicePrimaryCtxRelease_v2", device);
  if (status !== cudaStatus.success && lost === null) throw driver.failure("cuDevicePrimaryCtxRelease_v2", status);
};

/** Does not wait for the default stream. */
const nonBlockingStream = 1;

/** CUdevice_attribute */
const attribute = { multiprocessors: 16, major: 75, minor: 76, sharedBytesOptIn: 97 } as const;

const startDriver = (library: string): Driver => {
  const driver = loadDriver(library);
  driver.call("cuInit", 0);
  // As on a GPU, a launch returns at once and the work is done where somebody waits for it: off the event loop.
  emulatorOf(driver)?.set("deferred_streams", 1);
  return driver;
};

const describe = (driver: Driver, kind: DeviceKind, index: number): DeviceInfo => {
  const device = deviceHandle(driver, index);
  const text = new Uint8Array(new ArrayBuffer(256));
  driver.call("cuDeviceGetName", text, text.length, device);
  const ask = (of: number): number => readInt((out) => driver.call("cuDeviceGetAttribute", out, of, device));
  const version = readInt((out) => driver.call("cuDriverGetVersion", out));
  const computeCapability = { major: ask(attribute.major), minor: ask(attribute.minor) };
  return {
    kind,
    index,
    name: new TextDecoder().decode(text.subarray(0, text.indexOf(0))),
    computeCapability,
    memoryBytes: Number(driver.make("cuDeviceTotalMem_v2", device)),
    multiprocessors: ask(attribute.multiprocessors),
    sharedBytes: ask(attribute.sharedBytesOptIn),
    driverVersion: `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`,
    precisions: computeCapability.major >= 8 ? ["f32", "f16", "bf16"] : ["f32", "f16"],
  };
};

const deviceHandle = (driver: Driver, index: number): number =>
  readInt((out) => driver.call("cuDeviceGet", out, index));

const readInt = (ask: (out: Int32Array) => void): number => {
  const out = new Int32Array(new ArrayBuffer(8));
  ask(out);
  return out[0] ?? 0;
};
