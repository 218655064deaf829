import type { BufferId, BufferSpec } from "./lower/memory.ts";
import { bufferBytes } from "./lower/memory.ts";
import type { LoweredLoop } from "./lower/lower.ts";
import type { Launch } from "./lower/context.ts";

/** Where each buffer lies: bytes into the activations (times the batch) or into the memory that all examples share. */
export type Plan = {
  readonly offsets: ReadonlyMap<BufferId, Place>;
  /** Bytes per example. */
  readonly activations: number;
  readonly shared: number;
  /** The largest sum of buffers that are alive at one step, bytes per example: no plan can do with less. */
  readonly largestLiveSet: number;
};
type Place = { readonly space: "activations" | "shared"; readonly offset: number; readonly bytes: number };

const alignment = 256;
const aligned = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

/** Plans all buffers in one arena by lifetime: in each of several orders, keeping the smallest arena. */
export const planBuffers = (
  buffers: readonly BufferSpec[],
  launches: readonly Launch[],
  loop: LoweredLoop | null = null,
): Plan => {
  const lives = lifetimes(buffers, launches, loop);
  const plans = orders.map((order) =>
    place(lives.toSorted((a, b) => order(b) - order(a) || a.buffer.id - b.buffer.id)),
  );
  const smallest = plans.toSorted((a, b) => a.activations - b.activations)[0];
  if (!smallest) throw new Error("internal: no order to plan buffers in");
  return { ...smallest, largestLiveSet: largestLiveSet(lives, launches.length) };
};

/** Those that are hard to place come first: the largest, the longest lived, or both at once. */
const orders: readonly ((life: Life) => number)[] = [
  ({ buffer }) => bufferBytes(buffer),
  ({ from, to }) => to - from,
  ({ buffer, from, to }) => bufferBytes(buffer) * (to - from + 1),
];

/** Each in turn at the lowest offset where nothing lies that is alive at the same time. */
const place = (lives: readonly Life[]): Omit<Plan, "largestLiveSet"> => {
  const offsets = new Map<BufferId, Place>();
  const placed: (Life & Place)[] = [];
  const ends = { activations: 0, shared: 0 };
  for (const life of lives) {
    const space = life.buffer.batched ? "activations" : "shared";
    const bytes = aligned(bufferBytes(life.buffer));
    const beside = placed.filter((other) => other.space === space && other.from <= life.to && life.from <= other.to);
    let offset = 0;
    for (const other of beside.toSorted((a, b) => a.offset - b.offset)) {
      if (other.offset >= offset + bytes) break;
      offset = Math.max(offset, other.offset + other.bytes);
    }
    placed.push({ ...life, space, offset, bytes });
    offsets.set(life.buffer.id, { space, offset, bytes });
    ends[space] = Math.max(ends[space], offset + bytes);
  }
  return { offsets, ...ends };
};

type Life = { readonly buffer: BufferSpec; readonly from: number; readonly to: number };

/** What was made before the loop lives until its steps have been taken, and so does the flag that the host reads. */
const lifetimes = (
  buffers: readonly BufferSpec[],
  launches: readonly Launch[],
  loop: LoweredLoop | null,
): readonly Life[] => {
  const first = launches.findIndex(({ stage }) => stage === "step");
  const last = launches.findLastIndex(({ stage }) => stage === "step");
  const isHeld = (buffer: BufferSpec, from: number, to: number): boolean =>
    (from < first && to >= first) || buffer.id === loop?.flag.id;
  return buffers.flatMap((buffer) => {
    const steps = launches.flatMap((launch, step) =>
      launch.reads.includes(buffer.id) || launch.writes.includes(buffer.id) ? [step] : [],
    );
    const from = steps[0];
    const to = steps.at(-1);
    if (from === undefined || to === undefined) return [];
    return [{ buffer, from, to: isHeld(buffer, from, to) ? Math.max(to, last) : to }];
  });
};

const largestLiveSet = (lives: readonly Life[], steps: number): number => {
  let largest = 0;
  for (let step = 0; step < steps; step++) {
    const alive = lives.filter(({ buffer, from, to }) => buffer.batched && from <= step && step <= to);
    largest = Math.max(
      largest,
      alive.reduce((sum, { buffer }) => sum + aligned(bufferBytes(buffer)), 0),
    );
  }
  return largest;
};
