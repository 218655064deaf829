import type { BufferId, BufferSpec } from "./lower/memory.ts";
import { bufferBytes } from "./lower/memory.ts";
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

/**
 * Plans all buffers in one arena by lifetime: largest first, each at the lowest offset where nothing that is alive at the
 * same time lies.
 */
export const planBuffers = (buffers: readonly BufferSpec[], launches: readonly Launch[]): Plan => {
  const lives = lifetimes(buffers, launches);
  const offsets = new Map<BufferId, Place>();
  const placed: { readonly from: number; readonly to: number; readonly offset: number; readonly bytes: number; readonly space: string }[] = [];
  const ends = { activations: 0, shared: 0 };
  const bySize = [...lives].toSorted((a, b) => bufferBytes(b.buffer) - bufferBytes(a.buffer) || a.buffer.id - b.buffer.id);
  for (const { buffer, from, to } of bySize) {
    const space = buffer.batched ? "activations" : "shared";
    const bytes = aligned(bufferBytes(buffer));
    const beside = placed.filter((other) => other.space === space && other.from <= to && from <= other.to).toSorted((a, b) => a.offset - b.offset);
    let offset = 0;
    for (const other of beside) {
      if (other.offset >= offset + bytes) break;
      offset = Math.max(offset, other.offset + other.bytes);
    }
    placed.push({ from, to, offset, bytes, space });
    offsets.set(buffer.id, { space, offset, bytes });
    ends[space] = Math.max(ends[space], offset + bytes);
  }
  return { offsets, ...ends, largestLiveSet: largestLiveSet(lives, launches.length) };
};

type Life = { readonly buffer: BufferSpec; readonly from: number; readonly to: number };

const lifetimes = (buffers: readonly BufferSpec[], launches: readonly Launch[]): readonly Life[] =>
  buffers.flatMap((buffer) => {
    const steps = launches.flatMap((launch, step) => (launch.reads.includes(buffer.id) || launch.writes.includes(buffer.id) ? [step] : []));
    const from = steps[0];
    const to = steps.at(-1);
    return from === undefined || to === undefined ? [] : [{ buffer, from, to }];
  });

const largestLiveSet = (lives: readonly Life[], steps: number): number => {
  let largest = 0;
  for (let step = 0; step < steps; step++) {
    const alive = lives.filter(({ buffer, from, to }) => buffer.batched && from <= step && step <= to);
    largest = Math.max(largest, alive.reduce((sum, { buffer }) => sum + aligned(bufferBytes(buffer)), 0));
  }
  return largest;
};
