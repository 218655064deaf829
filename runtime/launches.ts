import type { Argument, BlockCount, Kernel, Program, Step } from "../ir/program.ts";
import { addressOf } from "./driver.ts";
import type { CuFunction, CuStream, HostAddress } from "./driverApi.ts";
import type { Driver } from "./driver.ts";
import { RuntimeError } from "./errors.ts";
import type { ProgramMemory } from "./programMemory.ts";

/** A kernel as it is loaded on a device. */
export type LoadedKernel = { readonly kernel: Kernel; readonly entry: CuFunction };

/** A step with all that its launch needs, for one batch. */
export type Launch = {
  readonly step: Step;
  readonly entry: CuFunction;
  readonly grid: readonly [x: number, y: number, z: number];
  readonly threads: number;
  readonly sharedBytes: number;
  /** The `extra` of cuLaunchKernel: addresses within `arguments`. */
  readonly extra: HostAddress;
  /** Holds the packed arguments; not moved or freed while it is referenced. */
  readonly arguments: ArrayBuffer;
};

/** Prepares every launch of a program for a batch: grids, and arguments packed as the driver takes them fastest. */
export const prepareLaunches = (
  program: Program,
  kernels: ReadonlyMap<string, LoadedKernel>,
  memory: ProgramMemory,
  batch: number,
): readonly Launch[] => {
  const packed = program.steps.map((step) => layOut(step.arguments));
  const buffer = new ArrayBuffer(packed.reduce((bytes, { total }) => bytes + total, 0));
  const words = new DataView(buffer);
  const base = addressOf(buffer);
  let start = 0;
  return program.steps.map((step, index): Launch => {
    const loaded = kernels.get(step.kernel);
    const layout = packed[index];
    if (loaded === undefined || layout === undefined) throw new RuntimeError(`internal: step ${index} has no kernel`);
    for (const { argument, offset } of layout.places) {
      if (argument.kind === "batch") words.setInt32(start + offset, batch, true);
      else {
        const address = memory.addressOf(argument.buffer, batch) + BigInt(argument.offset);
        words.setBigUint64(start + offset, address, true);
      }
    }
    const [sizeAt, extraAt] = [start + layout.size, start + layout.extra];
    words.setBigUint64(sizeAt, BigInt(layout.bytes), true);
    const extra = [
      launchParameter.bufferPointer,
      base + BigInt(start),
      launchParameter.bufferSize,
      base + BigInt(sizeAt),
      0n,
    ];
    for (const [word, value] of extra.entries()) words.setBigUint64(extraAt + word * 8, value, true);
    start += layout.total;
    return {
      step,
      entry: loaded.entry,
      grid: gridFor(step, batch),
      threads: loaded.kernel.threads,
      sharedBytes: loaded.kernel.sharedBytes,
      extra: base + BigInt(extraAt),
      arguments: buffer,
    };
  });
};

export const launch = (driver: Driver, { entry, grid, threads, sharedBytes, extra }: Launch, stream: CuStream): void =>
  driver.call("cuLaunchKernel", entry, grid[0], grid[1], grid[2], threads, 1, 1, sharedBytes, stream, null, extra);

/** CU_LAUNCH_PARAM_* */
const launchParameter = { bufferPointer: 1n, bufferSize: 2n } as const;

type ArgumentLayout = {
  readonly places: readonly { readonly argument: Argument; readonly offset: number }[];
  /** Of the arguments themselves. */
  readonly bytes: number;
  /** Where their size and the `extra` array lie behind them, and where it all ends. */
  readonly size: number;
  readonly extra: number;
  readonly total: number;
};

/** Arguments lie as in a C struct: each aligned to its own size. */
const layOut = (args: readonly Argument[]): ArgumentLayout => {
  let bytes = 0;
  const places = args.map((argument) => {
    const size = argument.kind === "batch" ? 4 : 8;
    const offset = Math.ceil(bytes / size) * size;
    bytes = offset + size;
    return { argument, offset };
  });
  const size = Math.ceil(bytes / 16) * 16;
  return { places, bytes, size, extra: size + 8, total: Math.ceil((size + 48) / 64) * 64 };
};

const largestGrid = [2 ** 31 - 1, 65535, 65535] as const;

const gridFor = (step: Step, batch: number): readonly [number, number, number] => {
  const [x, y, z] = step.grid.map((count) => blocks(count, batch));
  const grid = [x ?? 1, y ?? 1, z ?? 1] as const;
  const wrong = grid.findIndex((count, axis) => count < 1 || count > (largestGrid[axis] ?? 0));
  if (wrong >= 0)
    throw new RuntimeError(
      `step "${step.kernel}" (${step.origin.path}) would launch ${grid.join(" x ")} blocks for batch ${batch}; CUDA takes 1 to ${largestGrid.join(" x ")}`,
    );
  return grid;
};

const blocks = ({ factor, fixed, perExample, divisor, plus }: BlockCount, batch: number): number =>
  factor * Math.ceil((fixed + perExample * batch) / divisor) + (plus === undefined ? 0 : blocks(plus, batch));
