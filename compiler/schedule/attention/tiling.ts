import { prefixRows, type TensorType } from "../../../ir/types.ts";
import type { AttentionKernel } from "../kernels.ts";
import { congruent, type Tile } from "./groups.ts";
import type { AxisPartition, Division, KeyRun, Reach } from "./partition.ts";
import { reachesOf } from "./reach.ts";
import { mostResidentKeys, rowBytes, sharingBytes } from "./tiles.ts";

/** An axis on which queries see keys near them alone, in steps of its stride. */
type NearAxis = {
  readonly axis: string;
  readonly stride: number;
  readonly least: number;
  readonly most: number;
  readonly reach: Reach;
};

/**
 * Ways to take the queries of neighbourhoods on several axes: boxes of them, each with the box of keys that they see. A
 * tile that is a run of a line sees whole rows of keys for a few of each; a box of 8 x 8 sees the keys around it. Those that
 * promise most, the best first; none where neighbours are near on no axis or there is no second one.
 */
export const tilings = (kernel: AttentionKernel, division: Division, valueColumns: number): readonly Division[] => {
  if (division.queries === "prefix" || !division.keys.has("grid")) return [];
  const axes = nearAxes(kernel, division);
  const free = freeCounts(kernel, division, axes);
  const isLine = axes.length + (free.queries > 1 ? 1 : 0) < 2;
  if (axes.length === 0 || isLine) return [];
  const prefixKeys = division.keys.has("prefix") ? prefixRows(kernel.key) : 0;
  const bytes = rowBytes(kernel.headDim, kernel.precision) + rowBytes(valueColumns, kernel.precision);
  return combinations(axes.map(sizesOf))
    .map((sizes) => estimated(axes, sizes, { free, prefixKeys, rowBytes: bytes }))
    .filter(({ queries }) => queries >= 16 && queries <= mostQueries)
    .toSorted((a, b) => a.cost - b.cost)
    .slice(0, mostTilings)
    .map(({ tiles }) => ({
      ...division,
      queries: kernel.query.prefix.count > 0 ? "grid" : "all",
      partition: new Map<string, AxisPartition>([...division.partition, ...tiles]),
    }));
};

/** Queries of a thread block. */
const mostQueries = 512;
/** How many are planned to the end: the estimate knows no steps. */
const mostTilings = 3;

const nearAxes = (kernel: AttentionKernel, { partition }: Division): readonly NearAxis[] => {
  const reaches = reachesOf(kernel.pattern, kernel);
  if (reaches === "none") return [];
  return kernel.query.axes.flatMap(({ axis, size }): NearAxis[] => {
    const reach = reaches.get(axis);
    const part = partition.get(axis);
    // Prefix tokens that are repeated over an axis have a place on it, and one alone.
    const isRepeated = [kernel.query, kernel.key].some(({ prefix }) => prefix.count > 0 && prefix.over.includes(axis));
    if (reach === undefined || isRepeated || (part !== undefined && part.kind !== "residue")) return [];
    const stride = part?.stride ?? 1;
    const steps = (distance: number): number => Math.floor(distance / stride);
    const own: Reach = {
      before: steps(reach.before),
      after: steps(reach.after),
      fromEnd: steps(reach.fromEnd),
      fromStart: steps(reach.fromStart),
    };
    const { least, most } = congruent(size, stride);
    return own.before + own.after + 1 < least ? [{ axis, stride, least, most, reach: own }] : [];
  });
};

/** Tokens of a group on all the other axes. */
const freeCounts = (
  { query, key }: AttentionKernel,
  { partition }: Division,
  near: readonly NearAxis[],
): { readonly queries: number; readonly keys: number } => {
  const count = (type: TensorType): number =>
    type.axes
      .filter(({ axis }) => !near.some((each) => each.axis === axis))
      .reduce((product, { axis, size }) => product * localOf(partition.get(axis), size), 1);
  return { queries: count(query), keys: count(key) };
};

const localOf = (part: AxisPartition | undefined, size: number): number => {
  if (part === undefined) return size;
  if (part.kind === "same") return 1;
  return part.kind === "residue" ? congruent(size, part.stride).most : part.size;
};

const sizesOf = ({ most }: NearAxis): readonly number[] => [
  ...[1, 2, 4, 8, 16, 32].filter((size) => size < most),
  most,
];

const combinations = (choices: readonly (readonly number[])[]): readonly (readonly number[])[] =>
  choices.reduce<readonly (readonly number[])[]>(
    (all, sizes) => all.flatMap((chosen) => sizes.map((size) => [...chosen, size])),
    [[]],
  );

/** What loading a key and its value costs, as so many pairs that are multiplied: about what caches deliver meanwhile. */
export const loadCost = 64;
type Surroundings = {
  readonly free: { readonly queries: number; readonly keys: number };
  readonly prefixKeys: number;
  /** Of a key and its value. */
  readonly rowBytes: number;
};
type Estimate = { readonly tiles: ReadonlyMap<string, Tile>; readonly queries: number; readonly cost: number };

const estimated = (
  axes: readonly NearAxis[],
  sizes: readonly number[],
  { free, prefixKeys, rowBytes: bytes }: Surroundings,
): Estimate => {
  const tiles = axes.map((axis, i) => tileOf(axis, sizes[i] ?? 1));
  const product = (numbers: readonly number[]): number => numbers.reduce((all, each) => all * each, 1);
  const groups = product(axes.map(({ most }, i) => Math.ceil(most / (sizes[i] ?? 1))));
  const queries = free.queries * product(sizes);
  const slots = Math.ceil(queries / 16) * 16;
  const keys = prefixKeys + free.keys * product(tiles.map((tile) => tile.keys.count));
  // 16 queries see rows of the first axis around their own; keys that pass by are met by all queries of the tile.
  const [first, firstSize = 1] = [tiles[0], sizes[0]];
  const { count = 1, reach } = first?.keys ?? {};
  const rows = Math.min(firstSize, Math.ceil((16 * firstSize) / queries));
  const seen = Math.min(count, rows + (reach?.before ?? 0) + (reach?.after ?? 0));
  const isResident = keys <= mostResidentKeys && keys * bytes + Math.min(slots, 128) * (bytes / 2) <= sharingBytes;
  const met = !isResident ? keys : prefixKeys + ((keys - prefixKeys) / count) * seen;
  return {
    tiles: new Map(axes.flatMap(({ axis }, i) => (tiles[i] === undefined ? [] : [[axis, tiles[i]] as const]))),
    queries,
    cost: groups * (slots * met + loadCost * keys),
  };
};

const tileOf = ({ stride, ...axis }: NearAxis, size: number): Tile => ({
  kind: "tile",
  size,
  stride,
  keys: keyRunOf(axis, size),
});

/** From the first key that the tile's first query sees; moved to lie inside, and as long as the tile with the most needs it. */
const keyRunOf = ({ least, most, reach }: Omit<NearAxis, "stride">, size: number): KeyRun => {
  const { before, after, fromEnd, fromStart } = reach;
  const firstSeen = (place: number): number => Math.max(0, Math.min(place - before, least - 1 - fromEnd));
  const lastSeen = (place: number): number => Math.min(most - 1, Math.max(place + after, fromStart));
  const tiles = Array.from({ length: Math.ceil(most / size) }, (_, tile) => tile * size);
  for (let count = 1; ;) {
    const last = Math.max(0, Math.min(firstSeen(tiles.at(-1) ?? 0), most - count));
    const needed = tiles.map((start) => {
      const from = Math.max(0, Math.min(start - before, last));
      return lastSeen(Math.min(start + size, most) - 1) - from + 1;
    });
    const longest = Math.max(...needed);
    if (longest <= count) return { count, before, last, reach };
    count = longest;
  }
};
