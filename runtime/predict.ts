import type { Program } from "../ir/program.ts";
import type { LaunchCounters } from "./emulated.ts";

/** What a GPU can do in a second, for predictions. Peaks that the best known kernels come near, not those of its data sheet. */
export type TargetModel = {
  readonly name: string;
  /** From and to device memory, bytes. */
  readonly memoryBytes: number;
  /** Between the multiprocessors and the second-level cache, bytes. */
  readonly cacheBytes: number;
  /** Tensor cores, float16 or bfloat16 in, float32 sums. */
  readonly tensorFlops: number;
  /** Outside of tensor cores, float32. */
  readonly plainFlops: number;
  /** exp2, reciprocals and the like. */
  readonly specialOps: number;
  /** Passes over shared memory's banks. */
  readonly sharedWavefronts: number;
  /** From one kernel of a graph to the next, seconds. */
  readonly launchSeconds: number;
};

const clock = 1.755e9;
const multiprocessors = 132;

/** H200 SXM: 790 TFLOP/s and 4.3 TB/s are what its best kernels reach; 16 special operations and one wavefront a multiprocessor and clock. */
export const h200: TargetModel = {
  name: "H200",
  memoryBytes: 4.3e12,
  cacheBytes: multiprocessors * clock * 32,
  tensorFlops: 790e12,
  plainFlops: multiprocessors * clock * 128 * 2,
  specialOps: multiprocessors * clock * 16,
  sharedWavefronts: multiprocessors * clock,
  launchSeconds: 1.3e-6,
};

/** An estimate from exact counts; never a measurement. */
export type Prediction = {
  readonly target: string;
  readonly milliseconds: number;
  /** What it would wait for most. */
  readonly bound: "memory" | "cache" | "arithmetic" | "shared memory" | "launch";
  /** Each alone. */
  readonly parts: {
    readonly memory: number;
    readonly cache: number;
    readonly tensor: number;
    readonly plain: number;
    readonly special: number;
    readonly shared: number;
    readonly launch: number;
  };
};

/**
 * Time of a launch: memory, cache, shared memory and arithmetic overlap, so the slowest counts; tensor cores and special
 * functions wait for each other in the attention kernels that are known, so they add up. It says nothing of latency,
 * occupancy or registers. `flops`: what the step's mathematics needs; what the tensor cores did not do of it, plain
 * arithmetic did. Good for ranking, within about a quarter for kernels that fill the device, worse below 10 us.
 */
export const predict = (counters: LaunchCounters, flops: number, target: TargetModel = h200): Prediction => {
  const { read, written, atomic } = counters.global;
  const { load, store, ldmatrix, stmatrix, cpAsync } = counters.shared;
  const wavefronts = [load, store, ldmatrix, stmatrix, cpAsync].reduce((sum, traffic) => sum + traffic.wavefronts, 0);
  const parts = {
    memory: (read.uniqueBytes + written.uniqueBytes + atomic.uniqueBytes) / target.memoryBytes,
    cache: (sectorBytes * (read.sectors + written.sectors + atomic.sectors)) / target.cacheBytes,
    tensor: counters.tensorFlops / target.tensorFlops,
    plain: Math.max(0, flops - counters.tensorFlops) / target.plainFlops,
    special: counters.specialOps / target.specialOps,
    shared: wavefronts / target.sharedWavefronts,
    launch: target.launchSeconds,
  };
  const candidates = [
    ["memory", parts.memory],
    ["cache", parts.cache],
    ["arithmetic", parts.tensor + parts.plain + parts.special],
    ["shared memory", parts.shared],
  ] as const;
  const [slowest, seconds] = candidates.reduce((worst, each) => (each[1] > worst[1] ? each : worst));
  return {
    target: target.name,
    milliseconds: 1e3 * (seconds + parts.launch),
    bound: parts.launch > seconds ? "launch" : slowest,
    parts: {
      memory: 1e3 * parts.memory,
      cache: 1e3 * parts.cache,
      tensor: 1e3 * parts.tensor,
      plain: 1e3 * parts.plain,
      special: 1e3 * parts.special,
      shared: 1e3 * parts.shared,
      launch: 1e3 * parts.launch,
    },
  };
};

/** What a launch takes at least, whatever the kernel: each operand moved once, the arithmetic at its peak. */
export type Floor = { readonly milliseconds: number; readonly bound: "memory" | "arithmetic" | "launch" };

/** The roofline of a step's mathematics and its launch. float32 is multiplied outside of tensor cores, exactly. */
export const floorOf = (
  work: { readonly flops: number; readonly readBytes: number; readonly writeBytes: number },
  precision: Program["precision"],
  target: TargetModel = h200,
): Floor => {
  const memory = (work.readBytes + work.writeBytes) / target.memoryBytes;
  const arithmetic = work.flops / (precision === "f32" ? target.plainFlops : target.tensorFlops);
  const seconds = Math.max(memory, arithmetic);
  return {
    milliseconds: 1e3 * (seconds + target.launchSeconds),
    bound: target.launchSeconds > seconds ? "launch" : memory > arithmetic ? "memory" : "arithmetic",
  };
};

const sectorBytes = 32;
