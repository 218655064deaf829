import type { Scalar } from "../../../ir/scalar.ts";
import { add, and, floorDiv, ge, literal, lt, max, min, mul, select, sub, variable } from "../../../ir/scalarBuild.ts";
import { below } from "../../../ir/scalarRange.ts";
import { simplify } from "../../../ir/scalarSimplify.ts";
import { empty, full } from "./blocks.ts";

/** Which blocks of keys each tile of queries meets, and which of those it sees whole. */
export type BlockSchedule =
  /** Every tile meets every block and sees it whole, the last one apart if `partialTail`. */
  | { readonly kind: "dense"; readonly blocks: number; readonly partialTail: boolean }
  /**
   * In closed form: tile `tile` meets `count` blocks, the `i`-th being number `block`, whole if `full` holds of `tile`
   * and `block`. Tiles of neighbourhoods read the parts of axes as well, `part.AXIS`.
   */
  | {
      readonly kind: "closed";
      readonly tiles: number;
      readonly blocks: number;
      /** Blocks that the tile with the most of them meets, and a tile of all of them. */
      readonly most: number;
      readonly mean: number;
      readonly count: Scalar;
      readonly block: Scalar;
      readonly full: Scalar;
    }
  /** What no arithmetic says: tile t meets the entries from starts[t] to starts[t + 1], each 2 * block + (whole ? 1 : 0). */
  | {
      readonly kind: "table";
      readonly tiles: number;
      readonly blocks: number;
      readonly starts: readonly number[];
      readonly entries: readonly number[];
    };

export type ClosedSchedule = Extract<BlockSchedule, { readonly kind: "closed" }>;

export type Classes = { readonly tiles: number; readonly blocks: number; readonly classes: Uint8Array };
type Span = { readonly first: number; readonly end: number };

/** `whole(tile, block)`: a class of `full` that counts. */
export const scheduleOf = (
  met: Classes,
  whole: Classes,
  sizes: { readonly tile: number; readonly block: number },
): BlockSchedule => {
  const { tiles, blocks } = met;
  const isMet = (tile: number, block: number): boolean => met.classes[tile * blocks + block] !== empty;
  const isWhole = (tile: number, block: number): boolean =>
    isMet(tile, block) && whole.classes[tile * blocks + block] === full;
  return (
    denseSchedule(tiles, blocks, isMet, isWhole) ??
    closedSchedule(tiles, blocks, isMet, isWhole, sizes) ??
    tableSchedule(tiles, blocks, isMet, isWhole)
  );
};

type Test = (tile: number, block: number) => boolean;

const everywhere = (tiles: number, from: number, to: number, test: Test): boolean => {
  for (let tile = 0; tile < tiles; tile++)
    for (let block = from; block < to; block++) if (!test(tile, block)) return false;
  return true;
};

const denseSchedule = (tiles: number, blocks: number, isMet: Test, isWhole: Test): BlockSchedule | undefined => {
  if (blocks === 0 || !everywhere(tiles, 0, blocks, isMet) || !everywhere(tiles, 0, blocks - 1, isWhole))
    return undefined;
  return { kind: "dense", blocks, partialTail: !everywhere(tiles, blocks - 1, blocks, isWhole) };
};

/** A block or two that every tile meets (those of prefix tokens), then blocks side by side. */
const closedSchedule = (
  tiles: number,
  blocks: number,
  isMet: Test,
  isWhole: Test,
  sizes: { readonly tile: number; readonly block: number },
): BlockSchedule | undefined => {
  for (const lead of [0, 1, 2]) {
    if (lead > blocks || !everywhere(tiles, 0, lead, isMet)) break;
    const met = Array.from({ length: tiles }, (_, tile) => runFrom(tile, lead, blocks, isMet));
    if (met.some((run) => run === undefined)) continue;
    const runs = met.flatMap((run) => run ?? []);
    const wholeRuns = runs.map((run, tile) => longestRun(tile, run, isWhole));
    const first = fit(
      runs.map((run) => run.first),
      sizes,
    );
    const end = fit(
      runs.map((run) => run.end),
      sizes,
    );
    const wholeFirst = fit(
      wholeRuns.map((run) => run.first),
      sizes,
    );
    const wholeEnd = fit(
      wholeRuns.map((run) => run.end),
      sizes,
    );
    if (first === undefined || end === undefined) continue;
    const ranges = { tile: below(tiles), i: below(blocks), block: below(blocks) };
    const [i, block] = [variable("i"), variable("block")];
    const counts = runs.map((run) => lead + run.end - run.first);
    const noneWhole = wholeRuns.every((run) => run.first === run.end);
    const known = wholeFirst !== undefined && wholeEnd !== undefined && !noneWhole;
    return {
      kind: "closed",
      tiles,
      blocks,
      most: Math.max(...counts),
      mean: counts.reduce((sum, count) => sum + count, 0) / tiles,
      count: simplify(add(sub(end, first), lead), ranges),
      block: simplify(lead === 0 ? add(first, i) : select(lt(i, lead), i, add(first, sub(i, lead))), ranges),
      full: known ? simplify(and(ge(block, wholeFirst), lt(block, wholeEnd)), ranges) : literal(0),
    };
  }
  return undefined;
};

/** The one run of blocks from `from` on for which the test holds; undefined where there are several. */
const runFrom = (tile: number, from: number, to: number, test: Test): Span | undefined => {
  let first = from;
  while (first < to && !test(tile, first)) first++;
  let end = first;
  while (end < to && test(tile, end)) end++;
  for (let block = end; block < to; block++) if (test(tile, block)) return undefined;
  return first === to ? { first: from, end: from } : { first, end };
};

const longestRun = (tile: number, within: Span, test: Test): Span => {
  let best: Span = { first: within.first, end: within.first };
  let first = within.first;
  for (let block = within.first; block <= within.end; block++) {
    if (block < within.end && test(tile, block)) continue;
    if (block - first > best.end - best.first) best = { first, end: block };
    first = block + 1;
  }
  return best;
};

/** The values as clamp(floor((step * tile + offset) / block), least, most), if they are that. */
const fit = (
  values: readonly number[],
  sizes: { readonly tile: number; readonly block: number },
): Scalar | undefined => {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  if (least === most) return literal(least);
  let [low, high] = [-Infinity, Infinity];
  for (const [tile, value] of values.entries()) {
    const at = sizes.tile * tile;
    if (value > least) low = Math.max(low, sizes.block * value - at);
    if (value < most) high = Math.min(high, sizes.block * (value + 1) - 1 - at);
  }
  if (low > high) return undefined;
  // The smallest number of those that will do, so that causal patterns have none at all.
  const offset = low <= 0 && high >= 0 ? 0 : low > 0 ? low : high;
  return max(min(floorDiv(add(mul(variable("tile"), sizes.tile), offset), sizes.block), most), least);
};

const tableSchedule = (tiles: number, blocks: number, isMet: Test, isWhole: Test): BlockSchedule => {
  const starts = [0];
  const entries: number[] = [];
  for (let tile = 0; tile < tiles; tile++) {
    for (let block = 0; block < blocks; block++)
      if (isMet(tile, block)) entries.push(2 * block + (isWhole(tile, block) ? 1 : 0));
    starts.push(entries.length);
  }
  return { kind: "table", tiles, blocks, starts, entries };
};

/** Blocks of keys that the tile with the most of them meets. */
export const mostBlocks = (schedule: BlockSchedule): number => {
  switch (schedule.kind) {
    case "dense":
      return schedule.blocks;
    case "closed":
      return schedule.most;
    case "table":
      return schedule.starts.reduce((most, end, i) => Math.max(most, end - (schedule.starts[i - 1] ?? 0)), 0);
  }
};

/** Blocks of keys that a tile meets, of all tiles of queries. */
export const meanBlocks = (schedule: BlockSchedule): number => {
  switch (schedule.kind) {
    case "dense":
      return schedule.blocks;
    case "closed":
      return schedule.mean;
    case "table":
      return schedule.entries.length / schedule.tiles;
  }
};

/** Pairs of a tile and a block that meet. */
export const pairsOf = (schedule: BlockSchedule, met: Classes): number =>
  schedule.kind === "dense"
    ? met.tiles * met.blocks
    : met.classes.reduce((sum, each) => sum + (each === empty ? 0 : 1), 0);
