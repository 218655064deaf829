import type { AttentionTokens, Frames } from "./tokenData.ts";

/** What a report shows: plain data, which the page reads as JSON. Times are milliseconds, sizes bytes of the whole batch. */
export type ReportData = {
  readonly name: string;
  readonly precision: string;
  readonly device: string;
  /** Of the symbolic axes: "t=8"; "" where there are none. */
  readonly extents: string;
  readonly batch: number;
  /** Times are measurements; or estimates from exact counts for `roof.name`; or the least that it needs: nothing ran. */
  readonly basis: "measured" | "counted" | "planned";
  readonly milliseconds: number;
  /** The whole program replayed as one graph; null where nothing was measured. */
  readonly replayMilliseconds: number | null;
  readonly roof: Roof;
  readonly memory: { readonly activations: number; readonly shared: number; readonly weights: number };
  readonly launches: readonly LaunchData[];
  readonly flows: readonly Flow[];
  readonly lives: readonly BufferLife[];
  readonly kernels: readonly KernelData[];
  /** The author's files that could be read, by the name that launches give. */
  readonly files: readonly { readonly file: string; readonly text: string }[];
  /** What tokens attend to, where that was asked for. */
  readonly tokens: readonly AttentionTokens[];
  readonly frames: Frames | null;
  /** Another profile to be seen beside this one. */
  readonly against: Earlier | null;
};

/** What a comparison needs of another report. */
export type Earlier = Pick<
  ReportData,
  "name" | "precision" | "device" | "extents" | "batch" | "basis" | "milliseconds"
> & {
  readonly roof: Pick<Roof, "name">;
  readonly launches: readonly Pick<
    LaunchData,
    "kernel" | "path" | "milliseconds" | "flops" | "readBytes" | "writeBytes"
  >[];
};

/** What the best known kernels reach on a GPU, a second. */
export type Roof = {
  readonly name: string;
  readonly memoryBytes: number;
  readonly tensorFlops: number;
  readonly plainFlops: number;
};

export type LaunchData = {
  readonly kernel: string;
  readonly family: string;
  readonly file: string;
  readonly line: number;
  /** Modules from the network down, parted by dots. */
  readonly path: string;
  readonly formula: string;
  readonly blocks: number;
  readonly milliseconds: number;
  /** What the mathematics needs: operations, and each operand once. */
  readonly flops: number;
  readonly readBytes: number;
  readonly writeBytes: number;
  /** Null where the device has no counters. */
  readonly counted: Counted | null;
  /** The least time of its mathematics on `roof.name`, and what that waits for. */
  readonly floor: { readonly milliseconds: number; readonly bound: string };
};
/** Exact counts of the emulated device, and what each alone would take. */
export type Counted = {
  readonly bound: string;
  /** Milliseconds by resource. */
  readonly parts: { readonly [resource: string]: number };
  /** Different bytes of global memory. */
  readonly memoryBytes: number;
  /** Sectors between multiprocessors and cache, in bytes. */
  readonly cacheBytes: number;
  readonly tensorFlops: number;
  readonly specialOps: number;
  readonly bankConflicts: number;
  readonly barriers: number;
};

/** Bytes that one launch leaves for another; ports stand for launches at the ends. */
export type Flow = { readonly from: FlowEnd; readonly to: FlowEnd; readonly bytes: number };
export type FlowEnd = number | { readonly port: string };

/** A value in the arena, from the launch that first writes it to the last that reads it. */
export type BufferLife = {
  readonly space: "activations" | "shared";
  readonly offset: number;
  readonly bytes: number;
  readonly from: number;
  readonly to: number;
};

export type KernelData = {
  readonly name: string;
  readonly family: string;
  readonly text: string;
  readonly threads: number;
  readonly sharedBytes: number;
  readonly notes: readonly string[];
  readonly ptxas: { readonly [target: string]: { readonly registers: number; readonly spillBytes: number } };
};
