import type { Target } from "./target.ts";

/** What the plan of a multihead attention block looks at. */
export type MabSizes = {
  /** Channels of queries and results, and of what queries are projected from. */
  readonly dim: number;
  readonly inDim: number;
  readonly heads: number;
  /** Groups of an example, and the keys and rows of each. */
  readonly groups: number;
  readonly keys: number;
  readonly rows: number;
  /** Biases, scales and shifts: a number for each channel. */
  readonly columns: number;
};

/** How rows are shared out: a warp takes 16 at a time, beside weights and keys that stay in shared memory. */
export type MabPlan = {
  readonly keySlots: number;
  readonly warps: number;
  readonly minBlocks: number;
  /** Tiles of 16 rows of a thread block, and thread blocks of a group. */
  readonly tiles: number;
  readonly blocks: number;
  readonly sharedBytes: number;
  readonly notes: readonly string[];
};

/** Sums of a row, 4 bytes for each channel, are in the registers of four lanes: 128 channels take 64 registers. */
const mostChannels = 128;
/** Channels and keys of a row: scores of all keys lie beside the sums, half a register each. With more together some spill. */
const mostInRegisters = 176;

/** Null where weights, keys or sums don't fit: kernels one after the other do the same. */
export const planMab = (sizes: MabSizes, target: Target): MabPlan | null => {
  const { dim, inDim, keys, rows } = sizes;
  if (dim > mostChannels || dim % 16 !== 0 || inDim > 2 * mostChannels) return null;
  const keySlots = Math.ceil(keys / 16) * 16;
  if (dim + keySlots > mostInRegisters) return null;
  const [inBytes, rowBytes] = [Math.ceil(inDim / 8) * 16, dim * 2];
  const resident = dim * (inBytes + rowBytes) + 2 * keySlots * rowBytes + sizes.columns * dim * 4;
  const slabBytes = 2 * 16 * Math.max(inBytes, rowBytes);
  const all = Math.ceil(rows / 16);
  const fitting = [8, 4, 3, 2, 1].filter((each) => resident + each * slabBytes <= target.sharedBytes);
  const [most] = fitting;
  // One warp or two would leave the tensor cores idle while they load.
  if (most === undefined || (most < 4 && most < all)) return null;
  const warps = fitting.find((each) => each <= all) ?? 1;
  // As many thread blocks as fill the device once: each loads the weights.
  const tiles = Math.ceil(Math.max(warps, Math.ceil(all / target.multiprocessors)) / warps) * warps;
  const sharedBytes = resident + warps * slabBytes;
  return {
    keySlots,
    warps,
    minBlocks: 1,
    tiles,
    blocks: Math.ceil(all / tiles),
    sharedBytes,
    notes: [
      `Both weights (${kib(dim * (inBytes + rowBytes))}) and ${keys} keys and values (${kib(2 * keySlots * rowBytes)}) fit in the ${kib(target.sharedBytes)} of a thread block on ${target.leastOn} and stay there, ` +
        `so that rows go from x to the result without a value between them in memory: ${tiles} tiles of 16 rows a thread block, ${warps} warps.`,
      "A row's sums stay in registers, in float32, from the projected query to the result.",
    ],
  };
};

const kib = (bytes: number): string => `${Number((bytes / 1024).toPrecision(3))} KiB`;
