import { describe, expect, it } from "vitest";
import type { Precision } from "../../ir/types.ts";
import type { LaunchCounters } from "../../runtime/emulated.ts";
import type { StepProfile } from "../../runtime/profile.ts";
import { drawnInputs, loadOnEmulator } from "../support/emulatedProgram.ts";
import { compileTimeSformer, type AttentionType } from "./timesformer.ts";

// What every launch of a whole program moves, counted by the emulated device. Frames, heads and layers are fewer than
// published; a frame has its 14 x 14 patches and a head its 64 channels, so groups of tokens are as large as published.

type Reduced = {
  readonly type: AttentionType;
  readonly precision: Precision;
  readonly frames: number;
  /** Bytes read for each byte of q, k and v, where keys pass by block after block: see `streamed`. */
  readonly streams?: { readonly tokens: number; readonly tile: number };
};
const reduced: readonly Reduced[] = [
  { type: "divided_space_time", precision: "bf16", frames: 2 },
  { type: "divided_space_time", precision: "f32", frames: 2 },
  { type: "joint_space_time", precision: "bf16", frames: 4, streams: { tokens: 785, tile: 128 } },
  { type: "space_only", precision: "f16", frames: 2 },
];

/** Each tile of queries is read once and meets all keys and values. */
const streamed = ({ tokens, tile }: { readonly tokens: number; readonly tile: number }): number =>
  (1 + 2 * Math.ceil(tokens / tile)) / 3;

describe.each(reduced)("$type in $precision", ({ type, precision, frames, streams }) => {
  const profiled = (async (): Promise<readonly StepProfile[]> => {
    const config = {
      attention_type: type,
      depth: 2,
      embed_dim: 128,
      num_heads: 2,
      num_frames: frames,
      num_classes: 10,
    };
    using executable = await loadOnEmulator(compileTimeSformer(precision, { config }));
    return (await executable.profile(drawnInputs(executable, 1), { by: "counters" })).steps;
  })();

  it("writes each byte of every result once", async () => {
    for (const { kernel, counters, work } of counted(await profiled)) {
      expect(counters.global.written.bytes, kernel).toBe(counters.global.written.uniqueBytes);
      expect(counters.global.written.bytes, kernel).toBe(work.writeBytes);
      expect(counters.global.atomic.bytes, kernel).toBe(0);
    }
  });

  it("reads q, k and v once where a group's keys stay in shared memory, and else as its tiles imply", async () => {
    const steps = counted(await profiled).filter(({ kernel }) => kernel.startsWith("attention"));
    expect(steps).toHaveLength(type === "divided_space_time" ? 4 : 2);
    for (const { kernel, counters } of steps) {
      const { bytes, uniqueBytes } = counters.global.read;
      const isSpace = !kernel.startsWith("attention_temporal");
      if (streams !== undefined && isSpace) expect(bytes / uniqueBytes, kernel).toBeCloseTo(streamed(streams), 1);
      else expect(bytes / uniqueBytes, kernel).toBeLessThanOrEqual(1.1);
    }
  });

  it("meets no conflict of banks on the way to the tensor cores, nor elsewhere in a load", async () => {
    for (const { kernel, counters } of counted(await profiled)) {
      const { ldmatrix, cpAsync, load } = counters.shared;
      expect([ldmatrix.conflicts, cpAsync.conflicts, load.conflicts], kernel).toEqual([0, 0, 0]);
    }
  });

  it("counts what it did before", async () => {
    const lines = counted(await profiled).map(line);
    await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot(`counts/${type}_${precision}.txt`);
  });
});

type Counted = {
  readonly kernel: string;
  readonly counters: LaunchCounters;
  readonly work: StepProfile["work"];
};
const counted = (steps: readonly StepProfile[]): readonly Counted[] =>
  steps.map(({ kernel, time, work }) => {
    if (time.kind !== "counted") throw new Error(`${kernel} was not counted`);
    return { kernel, counters: time.counters, work };
  });

/** One launch, exact: bytes asked for and different ones, sectors, and work of the tensor cores. */
const line = ({ kernel, counters }: Counted): string => {
  const { read, written } = counters.global;
  const { load, store, ldmatrix, cpAsync } = counters.shared;
  return [
    kernel.padEnd(24),
    `read ${read.bytes} of ${read.uniqueBytes} in ${read.sectors} sectors`,
    `wrote ${written.bytes} in ${written.sectors}`,
    `shared ${load.wavefronts}+${store.wavefronts}+${ldmatrix.wavefronts}+${cpAsync.wavefronts}`,
    `tensor ${counters.tensorFlops}`,
  ].join("  ");
};
