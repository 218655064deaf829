import koffi from "koffi";
import { prototypes, type CuContext, type DriverApi, type HostAddress, type Out, type Status } from "./driverApi.ts";
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
      throw new RuntimeError(`cannot load the driver library "${path}": ${said}`, { cause });
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

  /** Calls on a thread of its own, so that a call that waits leaves the event loop free. That thread has no current context. */
  statusAsync<K extends keyof DriverApi>(name: K, ...parameters: ParametersOf<K>): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#function(name).async(...parameters, (error: unknown, status: number) => {
        if (error) reject(error instanceof Error ? error : new RuntimeError(String(error)));
        else resolve(status);
      });
    });
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

  failure(name: string, status: number, hint?: string): CudaError {
    const code = this.#text("cuGetErrorName", status) ?? "unknown error";
    const description = this.#text("cuGetErrorString", status) ?? "";
    return new CudaError({ call: name, status, code, description, ...(hint === undefined ? {} : { hint }) });
  }

  /** A function that is not of the driver API: the emulated device has some. Null where the library lacks it. */
  extension(prototype: string): ((...parameters: readonly unknown[]) => unknown) | null {
    try {
      return this.#library.func(prototype);
    } catch {
      return null;
    }
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
