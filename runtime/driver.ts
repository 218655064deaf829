import koffi from "koffi";
import {
  prototypes,
  type CuContext,
  type CuStream,
  type DriverApi,
  type HostAddress,
  type Out,
  type Status,
} from "./driverApi.ts";
import { CudaError, RuntimeError, cudaStatus } from "./errors.ts";

type ParametersOf<K extends keyof DriverApi> = Parameters<DriverApi[K]>;
/** Functions that write what they make through their first parameter, and the kind of that. */
type Made<K extends keyof DriverApi> = ParametersOf<K> extends readonly [Out<infer T>, ...unknown[]] ? T : never;
type RestOf<K extends keyof DriverApi> = ParametersOf<K> extends readonly [unknown, ...infer Rest] ? Rest : never;
type Bound = ReturnType<ReturnType<typeof koffi.load>["func"]>;

export const systemDriver = "libcuda.so.1";

/**
 * A library that exports the CUDA driver API: the system's, or the emulated device's. Functions are bound on first use,
 * so that an older driver fails at what it lacks and not at the door.
 */
export class Driver {
  readonly path: string;
  readonly #library: ReturnType<typeof koffi.load>;
  readonly #bound: Map<string, Bound> = new Map();
  /** Results are written here and read before the next call: nothing is allocated on the way. */
  readonly #result: BigUint64Array = new BigUint64Array(new ArrayBuffer(64));
  #current: CuContext | null = null;

  constructor(path: string) {
    this.path = path;
    try {
      this.#library = koffi.load(path);
    } catch (cause) {
      const said = cause instanceof Error ? cause.message : String(cause);
      const hint = path === systemDriver ? "\n  hint: install NVIDIA's driver, or use the emulated device" : "";
      throw new RuntimeError(`cannot load the driver library "${path}": ${said}${hint}`, { cause });
    }
  }

  /** Calls, and throws a CudaError if the driver says no. */
  call<K extends keyof DriverApi>(name: K, ...parameters: ParametersOf<K>): void {
    const status: Status = this.#function(name)(...parameters);
    if (status !== cudaStatus.success) throw this.failure(name, status);
  }

  /** Calls, and hands back the status: for calls whose failure is an answer. */
  status<K extends keyof DriverApi>(name: K, ...parameters: ParametersOf<K>): number {
    return this.#function(name)(...parameters);
  }

  /** Calls a function that makes something (a handle, an address, a size of 64 bits) and hands that back. */
  make<K extends keyof DriverApi>(name: K, ...rest: RestOf<K>): Made<K> {
    const status: Status = this.#function(name)(this.#result, ...rest);
    if (status !== cudaStatus.success) throw this.failure(name, status);
    return this.#result[0] as Made<K>;
  }

  /** Resolves to the status of the stream's work when it is done. A thread of the pool waits: the event loop stays free. */
  async finished(context: CuContext, stream: CuStream): Promise<number> {
    for (;;) {
      const status = await this.#onPool("cuStreamSynchronize", stream);
      if (status !== cudaStatus.invalidContext && status !== cudaStatus.contextIsDestroyed) return status;
      // The pool's threads begin without a context, and which of them takes a call is not ours to say: bind some and try again.
      const bound = await Promise.all(Array.from({ length: 4 }, () => this.#onPool("cuCtxSetCurrent", context)));
      const refusal = bound.find((each) => each !== cudaStatus.success);
      if (refusal !== undefined) return refusal;
    }
  }

  /** Makes `context` the one that later calls of this thread work in. */
  enter(context: CuContext): void {
    if (this.#current === context) return;
    this.call("cuCtxSetCurrent", context);
    this.#current = context;
  }

  /** The context is gone: the next `enter` must not believe that it is still current. */
  leave(): void {
    this.#current = null;
  }

  /** A status as an error, with what the emulated device reports of it. */
  failure(name: string, status: number): CudaError {
    const code = this.#text("cuGetErrorName", status) ?? "unknown error";
    const description = this.#text("cuGetErrorString", status) ?? "";
    const report = reported.has(status) ? String(this.extension("const char* fovea_emu_report()")?.() ?? "") : "";
    return new CudaError({
      call: name,
      status,
      code,
      description: report === "" ? description : `${description}\n${report}`,
    });
  }

  /** A function that is not of the driver API: the emulated device has some. Null where the library lacks it. */
  extension(prototype: string): ((...parameters: readonly unknown[]) => unknown) | null {
    try {
      return this.#library.func(prototype);
    } catch {
      return null;
    }
  }

  #onPool<K extends keyof DriverApi>(name: K, ...parameters: ParametersOf<K>): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#function(name).async(...parameters, (error: unknown, status: number) => {
        if (error) reject(error instanceof Error ? error : new RuntimeError(String(error)));
        else resolve(status);
      });
    });
  }

  #text(name: "cuGetErrorName" | "cuGetErrorString", status: number): string | null {
    const found = this.status(name, status, this.#result);
    const address = this.#result[0] ?? 0n;
    return found === cudaStatus.success && address !== 0n ? textAt(address) : null;
  }

  #function(name: keyof DriverApi): Bound {
    const known = this.#bound.get(name);
    if (known !== undefined) return known;
    try {
      const bound = this.#library.func(prototypes[name]);
      this.#bound.set(name, bound);
      return bound;
    } catch (cause) {
      throw new RuntimeError(`"${this.path}" has no ${name}: the driver is older than fovea needs (CUDA 11.4)`, {
        cause,
      });
    }
  }
}

/** Failures of which the emulated device says more than a name: of images, and of kernels. */
const reported: ReadonlySet<number> = new Set([200, 209, 500, 700, 702, 716, 719]);

/** The address of an ArrayBuffer's memory, which stays where it is as long as the buffer is referenced. */
export const addressOf = (buffer: ArrayBuffer): HostAddress => koffi.address(buffer);

const textAt = (address: HostAddress): string => String(koffi.decode(address, "char", -1));

const drivers = new Map<string, Driver>();
/** The driver library at `path`, loaded on first use and once: contexts and handles belong to it for the life of the process. */
export const loadDriver = (path: string): Driver => {
  const known = drivers.get(path);
  if (known !== undefined) return known;
  const driver = new Driver(path);
  drivers.set(path, driver);
  return driver;
};
