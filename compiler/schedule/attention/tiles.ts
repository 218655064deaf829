import type { Precision } from "../../../ir/types.ts";
import type { Target } from "../target.ts";
import { biasBytes } from "./relative.ts";

/** What the choice of tiles looks at. */
export type TileProblem = {
  readonly precision: Precision;
  readonly headDim: number;
  /** Value columns that a thread block sums up. */
  readonly valueColumns: number;
  readonly groups: number;
  /** Tokens of a group. */
  readonly queries: number;
  readonly keys: number;
  /** Elements of a table of relative biases in shared memory; 0: none. */
  readonly biasCount: number;
  readonly target: Target;
  /** Bytes of a row of all tables of relative positions in shared memory; 0: none. */
  readonly positionBytes: number;
  /** Whether a token's value is its key: one row in shared memory is both. */
  readonly valuesAreKeys: boolean;
};

export type Tiles =
  /** All keys of a thread block's groups in shared memory. */
  | {
      readonly kind: "resident";
      readonly warps: number;
      /** Tiles of 16 queries that a warp has room for: with two, the next one comes while it works on this one. */
      readonly queryBuffers: 1 | 2;
      /** Units of a thread block, and groups side by side in the slots of one. */
      readonly units: number;
      readonly groupsPerUnit: number;
      /** Slots of queries that one thread block takes: all of a unit's, or part of those of a large group. */
      readonly tileSlots: number;
      /** Groups that a thread block takes one after the other, with a bias that stays in registers; see turns.ts. */
      readonly turns: number;
      readonly querySlots: number;
      readonly keySlots: number;
      readonly span: number;
    }
  /** Keys pass by in blocks of `span`. */
  | {
      readonly kind: "stream";
      readonly warps: number;
      readonly querySlots: number;
      readonly keySlots: number;
      readonly span: number;
    };

export type ResidentTiles = Extract<Tiles, { readonly kind: "resident" }>;

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;
export const rowBytes = (columns: number, precision: Precision): number =>
  roundUp(columns * (precision === "f32" ? 4 : 2), 16);

/** Shared memory of a thread block that leaves room for a second one on a multiprocessor of sm_90, and that every GPU offers. */
export const sharingBytes: number = 99 * 1024;
/** Groups of more keys pass by though they might fit: as many queries are too much work for one thread block while others have none. */
export const mostResidentKeys = 1024;

/**
 * Keys a step: 64 keep 32 score registers beside the 32 sums of head dimension 64. Wider heads have more sums and take
 * narrower steps, or registers spill.
 */
const widestSpan = ({ precision, valueColumns, keys, positionBytes }: TileProblem): number => {
  // Products with rows of relative positions are in registers beside the scores; one step alone keeps fewer of them.
  if (positionBytes > 0) return valueColumns > 160 ? 16 : precision !== "f32" && keys <= 64 ? 64 : 32;
  if (precision === "f32") return valueColumns <= 64 ? 64 : 32;
  return valueColumns <= 96 ? 64 : valueColumns <= 160 ? 32 : 16;
};

/** The columns of a row of values that one thread block sums: 256 are 128 registers a thread, and more would not fit. */
export const valueColumnsOf = (valueDim: number, precision: Precision): number => {
  const most = precision === "f32" ? 128 : 256;
  const parts = Math.ceil(valueDim / most);
  // Equal parts if there are any: a shorter last one is loaded element by element.
  for (let equal = parts; equal <= 2 * parts; equal++) if (valueDim % (8 * equal) === 0) return valueDim / equal;
  return parts === 1 ? valueDim : roundUp(Math.ceil(valueDim / parts), 8);
};

/** Registers of a thread, beside which ptxas spills none. */
const registersOf = (
  { precision, valueColumns, positionBytes }: Pick<TileProblem, "precision" | "valueColumns" | "positionBytes">,
  span: number,
): number => {
  const [fewer, more] = precision === "f32" ? [168, 255] : [128, 168];
  const narrow = positionBytes > 0 && (precision === "f32" || span === 64) ? more : fewer;
  const most = precision === "f32" ? 64 : 96;
  return valueColumns <= most ? narrow : precision !== "f32" && valueColumns <= 160 ? 168 : 255;
};

/**
 * Thread blocks that registers must leave room for on a multiprocessor. `readsPairs`: scores read tables pair by pair,
 * whose places take registers beside a wide span's sums.
 */
export const minBlocks = (
  problem: Pick<TileProblem, "precision" | "valueColumns" | "positionBytes">,
  { warps, span, readsPairs }: { readonly warps: number; readonly span: number; readonly readsPairs: boolean },
): number => {
  const least = readsPairs && span === 64 ? 168 : 0;
  return Math.max(1, Math.floor(65536 / (Math.max(least, registersOf(problem, span)) * warps * 32)));
};

/** Warps of one thread block that may have a multiprocessor to itself. */
const mostWarps = (problem: TileProblem): number =>
  Math.min(16, Math.floor(65536 / (registersOf(problem, widestSpan(problem)) * 32)));

/** Whether all queries fit into one thread block, past which keys then stream once. */
const isFew = (problem: TileProblem): boolean =>
  problem.queries <= 16 * mostWarps(problem) && problem.keys >= 8 * problem.queries;

export const chooseTiles = (problem: TileProblem): Tiles => {
  const span = widestSpan(problem);
  const resident = residentTiles(problem, span);
  if (resident !== undefined) {
    // Fewer warps need less room for queries.
    const narrower = { ...resident, warps: Math.min(4, resident.warps) };
    const fitting =
      [resident, narrower].find((tiles) => sharedBytes(problem, tiles) <= sharingBytes) ??
      aloneOnMultiprocessor(problem, resident);
    if (fitting !== undefined) return fitting;
  }
  // More queries a block read the keys less often; with few there would be too few blocks to fill the device.
  const wide = problem.queries >= 512 && problem.precision !== "f32" && problem.valueColumns <= 96;
  const few = isFew(problem);
  const filling = few ? mostWarps(problem) : wide ? 8 : 4;
  const widest = Math.min(filling, Math.max(1, Math.ceil(problem.queries / 16)));
  // A product of the tensor cores takes 16 keys.
  const narrowest = problem.precision === "f32" ? 8 : 16;
  for (let keys = span; ; keys /= 2) {
    for (let warps = Math.max(widest, 4); warps >= 1; warps /= 2) {
      const tiles: Tiles = {
        kind: "stream",
        warps,
        querySlots: roundUp(problem.queries, 16),
        keySlots: roundUp(problem.keys, keys),
        span: keys,
      };
      const most = keys > 16 && !few ? sharingBytes : problem.target.sharedBytes;
      if (sharedBytes(problem, tiles) <= most || (keys === narrowest && warps === 1)) return tiles;
    }
  }
};

const residentTiles = (
  { queries, keys, groups, positionBytes }: TileProblem,
  span: number,
): ResidentTiles | undefined => {
  if (keys > mostResidentKeys) return undefined;
  // Where positions count, slots are positions of one line.
  const most = positionBytes > 0 ? 1 : Math.min(groups, Math.floor(16 / Math.max(queries, keys)));
  const groupsPerUnit = Math.max(1, most);
  const querySlots = roundUp(groupsPerUnit * queries, 16);
  const keySlots = roundUp(groupsPerUnit * keys, 16);
  // So many queries of a large group outweigh the keys, which each of its thread blocks reads again.
  const tileSlots = groupsPerUnit === 1 ? Math.min(querySlots, 32 * keySlots) : querySlots;
  const slabs = tileSlots / 16;
  // Four slabs keep four warps busy; several units share a thread block only where one step covers the keys of a unit.
  const units =
    keySlots <= span && positionBytes === 0
      ? Math.max(1, Math.min(Math.floor(4 / slabs), Math.ceil(groups / groupsPerUnit)))
      : 1;
  return {
    kind: "resident",
    warps: warpsFor(slabs * units),
    queryBuffers: 2,
    units,
    groupsPerUnit,
    tileSlots,
    turns: 1,
    querySlots,
    keySlots,
    span: units > 1 ? keySlots : Math.min(span, keySlots),
  };
};

/**
 * Keys that leave no room for a second thread block stay in shared memory even so: q, k and v are read once, where blocks
 * of keys that pass by are read again for every tile of queries, and in float32 two of those blocks leave no room for a
 * second thread block on sm_80 either. The warps are all that a multiprocessor has to hide latency behind, so there are as
 * many as shorten the work, up to two for each of its schedulers; where there is no room for a second tile of queries a
 * warp waits for its next one while others work.
 */
const aloneOnMultiprocessor = (problem: TileProblem, resident: ResidentTiles): ResidentTiles | undefined => {
  const slabs = (resident.units * resident.tileSlots) / 16;
  // Queries of one tile meet keys that pass by once as well, and leave room for other thread blocks.
  if (slabs <= 4) return undefined;
  const candidates = [8, 7, 6, 5, 4]
    .flatMap((warps) => ([2, 1] as const).map((queryBuffers) => ({ ...resident, warps, queryBuffers })))
    .filter((tiles) => sharedBytes(problem, tiles) <= problem.target.sharedBytes);
  const rounds = ({ warps }: ResidentTiles): number => Math.ceil(slabs / warps);
  return candidates.toSorted(
    (a, b) => rounds(a) - rounds(b) || b.queryBuffers - a.queryBuffers || a.warps - b.warps,
  )[0];
};

/** Four to eight warps, as many as leave the fewest idle in the last round. */
const warpsFor = (slabs: number): number => {
  if (slabs <= 4) return slabs;
  let best = 4;
  for (let warps = 4; warps <= 8; warps++) {
    if (Math.ceil(slabs / warps) * warps < Math.ceil(slabs / best) * best) best = warps;
  }
  return best;
};

/** As the static sums of templates/attention/resident.cuh, turns.cuh and stream.cuh. */
export const sharedBytes = (
  problem: Pick<
    TileProblem,
    "precision" | "headDim" | "valueColumns" | "biasCount" | "positionBytes" | "valuesAreKeys"
  >,
  tiles: Tiles,
): number => {
  const key = rowBytes(problem.headDim, problem.precision);
  const ofValue = rowBytes(problem.valueColumns, problem.precision);
  const value = problem.valuesAreKeys ? 0 : ofValue;
  const scratch = problem.precision === "f32" ? 16 * 64 * 4 : 0;
  const slab = 16 * Math.max(key, ofValue);
  const bias = biasBytes(tiles.kind === "resident" ? tiles.units * tiles.keySlots : tiles.keySlots, problem.biasCount);
  const positions = problem.positionBytes * positionRows(tiles);
  if (tiles.kind === "stream")
    return 2 * tiles.span * (key + value) + tiles.warps * (slab + scratch) + bias + positions;
  if (tiles.turns > 1) return 2 * (tiles.keySlots * (key + value) + tiles.warps * slab) + bias;
  const buffers = (tiles.tileSlots * tiles.units) / 16 > tiles.warps ? tiles.queryBuffers : 1;
  return tiles.units * tiles.keySlots * (key + value) + tiles.warps * (buffers * slab + scratch) + bias + positions;
};

/** Rows of a table of relative positions: as many as slots of a thread block's queries and of the keys together. */
export const positionRows = (tiles: Tiles): number =>
  (tiles.kind === "resident" ? tiles.querySlots : 16 * tiles.warps) + tiles.keySlots;
