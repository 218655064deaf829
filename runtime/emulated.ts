import type { Driver } from "./driver.ts";
import { RuntimeError } from "./errors.ts";

/** What the emulated device offers beyond the driver API. Settings hold for the whole process. */
export type Emulator = {
  /** See runtime/emulator/emulator.h for the settings. */
  readonly set: (setting: string, value: number) => void;
  /** What the last launch did. Traffic is counted while the setting "counters" is 1. */
  readonly counters: () => LaunchCounters;
  /** What all launches since the device was opened did, without traffic. */
  readonly totals: () => Pick<LaunchCounters, "lostPoints">;
};

/** Exact counts of one launch. */
export type LaunchCounters = {
  readonly kernel: string;
  readonly blocks: number;
  readonly barriers: number;
  readonly collectives: number;
  readonly mbarrierArrivals: number;
  /** exp2, reciprocals and the like, one a thread. */
  readonly specialOps: number;
  /** Points of sampling that are not numbers, or infinite where zeros lie outside: they read nothing. Always counted. */
  readonly lostPoints: number;
  readonly mmaM16n8k16: number;
  readonly mmaM16n8k8: number;
  readonly wgmma: number;
  readonly tensorFlops: number;
  /** Through bulk copies and TMA. */
  readonly bulkBytes: number;
  readonly cpuNanoseconds: number;
  readonly global: { readonly read: Traffic; readonly written: Traffic; readonly atomic: Traffic };
  readonly shared: {
    readonly load: SharedTraffic;
    readonly store: SharedTraffic;
    readonly ldmatrix: SharedTraffic;
    readonly stmatrix: SharedTraffic;
    readonly cpAsync: SharedTraffic;
  };
  readonly buffers: readonly (({ readonly name: string } | { readonly parameter: number }) & {
    readonly address: string;
    readonly size: number;
    readonly read: Traffic;
    readonly written: Traffic;
  })[];
};
/** Between the multiprocessors and global memory: requests of warps, 32-byte sectors they touch, bytes that lanes asked for, and different bytes. */
type Traffic = {
  readonly requests: number;
  readonly sectors: number;
  readonly bytes: number;
  readonly uniqueBytes: number;
};
/** Wavefronts are passes over the 32 banks; conflicts are those beyond the least possible. */
type SharedTraffic = { readonly requests: number; readonly wavefronts: number; readonly conflicts: number };

const emulators = new WeakMap<Driver, Emulator | "none">();

/** Null for a driver that is not the emulated device's. */
export const emulatorOf = (driver: Driver): Emulator | null => {
  let found = emulators.get(driver);
  if (found === undefined) {
    found = bind(driver) ?? "none";
    emulators.set(driver, found);
  }
  return found === "none" ? null : found;
};

const bind = (driver: Driver): Emulator | null => {
  const set = driver.extension("int fovea_emu_set(const char*, int64_t)");
  const counters = driver.extension("const char* fovea_emu_counters()");
  const totals = driver.extension("const char* fovea_emu_total_counters()");
  if (set === null || counters === null || totals === null) return null;
  return {
    set: (setting, value) => {
      if (set(setting, value) !== 0) throw new RuntimeError(`the emulated device has no setting "${setting}"`);
    },
    counters: () => JSON.parse(String(counters())) as LaunchCounters,
    totals: () => JSON.parse(String(totals())) as LaunchCounters,
  };
};
