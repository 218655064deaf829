import type { Scalar } from "../../../ir/scalar.ts";
import { below, rangeOf, type Interval, type Ranges } from "../../../ir/scalarRange.ts";
import { partName, positionsIn, type GroupTokens, type Groups } from "./groups.ts";

/** What a tile of queries and a block of keys are to each other. */
export const empty = 0;
const partial = 1;
export const full = 2;

/** Slots of a thread block: `groups` groups of tokens, each unit of `slots` slots holding `groups / units` of them side by side. */
export type SlotLayout = {
  readonly tokens: GroupTokens;
  readonly units: number;
  readonly groupsPerUnit: number;
  readonly unitSlots: number;
};

export const slotCount = ({ units, unitSlots }: SlotLayout): number => units * unitSlots;

/** Slots side by side whose tokens are a box of positions. */
type Box = {
  readonly groupIndex: number;
  readonly ranges: { readonly [axis: string]: Interval };
  readonly isPrefix: boolean;
  readonly missing: "all" | "some" | "none";
};

/**
 * How each tile of `tile` query slots meets each block of `block` key slots, for all groups whose parts lie in `parts`:
 * never "full" or "empty" unless that is certain. Row by row, a number a block. `regularOnly`: for the regular groups
 * alone; `guardsQueries`: a block is full only if all its queries exist as well.
 */
export const classify = (
  query: SlotLayout,
  key: SlotLayout,
  keep: Scalar,
  sizes: { readonly tile: number; readonly block: number },
  groups: Groups,
  options: { readonly regularOnly: boolean; readonly guardsQueries: boolean },
): { readonly tiles: number; readonly blocks: number; readonly classes: Uint8Array } => {
  const tiles = Math.ceil(slotCount(query) / sizes.tile);
  const blocks = Math.ceil(slotCount(key) / sizes.block);
  const classes = new Uint8Array(tiles * blocks);
  const parts = (axis: string): Interval => {
    const found = groups.axes.find((each) => each.axis === axis);
    return found === undefined
      ? { min: 0, max: 0 }
      : below(options.regularOnly ? Math.max(found.regular, 1) : found.count);
  };
  const partRanges = Object.fromEntries(groups.axes.map(({ axis }) => [partName(axis), parts(axis)]));
  const coarse = tiles * blocks > mostPairs;
  const queryBoxes = boxesOf(query, sizes.tile, "q", parts, coarse);
  const keyBoxes = boxesOf(key, sizes.block, "k", parts, coarse);
  for (let tile = 0; tile < tiles; tile++)
    for (let block = 0; block < blocks; block++)
      classes[tile * blocks + block] = classOf(
        queryBoxes[tile] ?? [],
        keyBoxes[block] ?? [],
        keep,
        partRanges,
        options.guardsQueries,
      );
  return { tiles, blocks, classes };
};

/** Beyond this many pairs of a tile and a block, each is one box: cheaper, and fewer blocks are seen to be full or empty. */
const mostPairs = 20_000;

const classOf = (
  queries: readonly Box[],
  keys: readonly Box[],
  keep: Scalar,
  partRanges: Ranges,
  guardsQueries: boolean,
): number => {
  let [some, all] = [false, keys.length > 0];
  for (const query of queries) {
    if (guardsQueries && query.missing !== "none") all = false;
    if (query.missing === "all") continue;
    for (const key of keys) {
      if (some && !all) return partial;
      if (key.missing === "all") {
        all = false;
        continue;
      }
      if (key.missing === "some") all = false;
      const { min, max } =
        query.groupIndex === key.groupIndex
          ? rangeOf(keep, { ...partRanges, ...query.ranges, ...key.ranges })
          : { min: 0, max: 0 };
      if (!(min > 0)) all = false;
      if (max > 0) some = true;
    }
  }
  return some ? (all ? full : partial) : empty;
};

const boxesOf = (
  layout: SlotLayout,
  size: number,
  side: "q" | "k",
  parts: (axis: string) => Interval,
  coarse: boolean,
): readonly (readonly Box[])[] => {
  const tiles: Box[][] = [];
  if (layout.tokens.count === 0) return tiles;
  const { tokens, unitSlots, groupsPerUnit } = layout;
  for (let start = 0; start < slotCount(layout); start += size) {
    const boxes: Box[] = [];
    for (let slot = start; slot < Math.min(start + size, slotCount(layout));) {
      const within = slot % unitSlots;
      const place = Math.floor(within / tokens.count);
      const groupIndex = Math.floor(slot / unitSlots) * groupsPerUnit + place;
      const end = Math.min(start + size, slot - within + unitSlots);
      if (place >= groupsPerUnit) {
        boxes.push({ groupIndex, ranges: {}, isPrefix: false, missing: "all" });
        slot = end;
        continue;
      }
      const local = within % tokens.count;
      const most = Math.min(tokens.count - local, end - slot);
      const { length, box } = coarse
        ? coarseBox(tokens, local, most, side, parts)
        : boxAt(tokens, local, most, side, parts);
      boxes.push({ ...box, groupIndex });
      slot += length;
    }
    tiles.push(boxes);
  }
  return tiles;
};

type Found = { readonly length: number; readonly box: Omit<Box, "groupIndex"> };

/** The longest run of tokens from index `local` that is a box of positions: whole rows where one starts there, else the rest of a row. */
const boxAt = (
  tokens: GroupTokens,
  local: number,
  most: number,
  side: "q" | "k",
  parts: (axis: string) => Interval,
): Found => {
  const isPrefix = local < tokens.prefixCount;
  const index = isPrefix ? local : local - tokens.prefixCount;
  const limit = Math.min(most, isPrefix ? tokens.prefixCount - local : most);
  const axes = tokens.axes
    .map((axis) => ({ axis, step: isPrefix ? axis.prefixStep : axis.gridStep }))
    .filter(({ axis, step }) => step > 0 && axis.local > 1)
    .toSorted((a, b) => b.step - a.step);
  const prefixes = isPrefix ? tokens.type.prefix.count : 1;
  const extents = new Map<string, Interval>();
  let length = Math.min(limit, prefixes - (index % prefixes));
  for (const { axis, step } of axes) {
    const at = Math.floor(index / step) % axis.local;
    extents.set(axis.axis, { min: at, max: at });
    // From here on the faster axes are covered whole.
    if (index % step === 0 && limit >= step) {
      const whole = Math.min(axis.local - at, Math.floor(limit / step));
      extents.set(axis.axis, { min: at, max: at + whole - 1 });
      for (const faster of axes.filter((each) => each.step < step))
        extents.set(faster.axis.axis, { min: 0, max: faster.axis.local - 1 });
      length = whole * step;
      break;
    }
  }
  return {
    length: Math.max(1, length),
    box: boxOf(tokens, side, isPrefix, (axis) => extents.get(axis) ?? { min: 0, max: 0 }, parts),
  };
};

const coarseBox = (
  tokens: GroupTokens,
  local: number,
  most: number,
  side: "q" | "k",
  parts: (axis: string) => Interval,
): Found => {
  const isPrefix = local < tokens.prefixCount;
  const length = isPrefix ? Math.min(most, tokens.prefixCount - local) : most;
  const first = isPrefix ? local : local - tokens.prefixCount;
  const last = first + length - 1;
  const locals = (axis: string): Interval => {
    const found = tokens.axes.find((each) => each.axis === axis);
    const step = (isPrefix ? found?.prefixStep : found?.gridStep) ?? 0;
    if (found === undefined || step === 0) return { min: 0, max: 0 };
    const [low, high] = [Math.floor(first / step), Math.floor(last / step)];
    const oneTurn = Math.floor(low / found.local) === Math.floor(high / found.local);
    return oneTurn ? { min: low % found.local, max: high % found.local } : { min: 0, max: found.local - 1 };
  };
  return { length, box: boxOf(tokens, side, isPrefix, locals, parts) };
};

const boxOf = (
  tokens: GroupTokens,
  side: "q" | "k",
  isPrefix: boolean,
  locals: (axis: string) => Interval,
  parts: (axis: string) => Interval,
): Omit<Box, "groupIndex"> => {
  const ranges: { [name: string]: Interval } = {
    [`${side}.isPrefix`]: { min: isPrefix ? 1 : 0, max: isPrefix ? 1 : 0 },
  };
  let missing: Box["missing"] = "none";
  for (const axis of tokens.axes) {
    if (isPrefix && axis.prefixStep === 0) {
      ranges[`${side}.${axis.axis}`] = { min: 0, max: 0 };
      continue;
    }
    const { missing: lost, ...range } = positionsIn(axis, parts(axis.axis), locals(axis.axis));
    ranges[`${side}.${axis.axis}`] = range;
    if (lost === "all" || missing === "all") missing = "all";
    else if (lost === "some") missing = "some";
  }
  return { ranges, isPrefix, missing };
};
