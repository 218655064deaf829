import type { Scalar } from "../../../ir/scalar.ts";
import { type CompiledScalar, compileScalar, evaluateScalar } from "../../../ir/scalarEvaluate.ts";
import { variablesOf } from "../../../ir/scalarWalk.ts";
import { visibleKeys } from "../../../ir/visibleKeys.ts";
import type { AttentionKernel } from "../kernels.ts";
import { slotCount } from "./blocks.ts";
import { partName, type Groups } from "./groups.ts";
import { planAttention, type Job } from "./plan.ts";
import type { Side } from "./side.ts";
import type { BlockSchedule } from "./schedule.ts";

/** What an attention computes of what it could, for one head of one example. */
export type PatternMap = {
  /** Pairs of a query and a key that see each other, of all there are. */
  readonly pairs: number;
  readonly allPairs: number;
  readonly jobs: readonly JobMap[];
};
export type JobMap = {
  readonly queries: Job["queries"];
  /** Thread blocks that do the same for tokens of other groups. */
  readonly groupBlocks: number;
  readonly tileSlots: number;
  readonly blockSlots: number;
  readonly tiles: number;
  readonly blocks: number;
  /**
   * Tile by tile, block by block of keys: whether they meet, and whether every query of regular groups sees every key. Of
   * boxes of queries, those of most thread blocks: others lie at a border.
   */
  readonly met: Meetings;
  /** Pairs of slots that are multiplied. */
  readonly computed: number;
  /** Those of them in which both slots hold a token: the rest is padding. */
  readonly tokenPairs: number;
};
export type Meeting = "skipped" | "partial" | "full";
export type Meetings = readonly (readonly Meeting[])[];

export const patternMap = (kernel: AttentionKernel): PatternMap => {
  const seen = visibleKeys(kernel.pattern, kernel.query, kernel.key);
  const all = visibleKeys({ kind: "all" }, kernel.query, kernel.key);
  const count = (groups: typeof seen): number =>
    groups.reduce((sum, { queries, keys }) => sum + queries.length * keys.length, 0);
  return { pairs: count(seen), allPairs: count(all), jobs: planAttention(kernel).jobs.map(jobMap) };
};

export const jobMap = (job: Job): JobMap => {
  const { tiles, groupBlocks } = job;
  const tileSlots = tiles.kind === "resident" ? 16 : 16 * tiles.warps;
  const keySlots = slotCount(job.key.layout);
  const count = Math.ceil(slotCount(job.query.layout) / tileSlots);
  const blocks = Math.ceil(keySlots / tiles.span);
  const width = (block: number): number => Math.min(tiles.span, keySlots - block * tiles.span);
  const computedOf = (met: Meetings): number =>
    met
      .flatMap((row) => row.map((meeting, block) => (meeting === "skipped" ? 0 : tileSlots * width(block))))
      .reduce((sum, each) => sum + each, 0);
  const kinds = meetingsOf(job, count, blocks);
  const [most] = kinds.toSorted((a, b) => b.groupBlocks.length - a.groupBlocks.length);
  return {
    queries: job.queries,
    groupBlocks,
    tileSlots,
    blockSlots: tiles.span,
    tiles: count,
    blocks,
    met: most?.met ?? [],
    computed: kinds.reduce((sum, kind) => sum + kind.groupBlocks.length * computedOf(kind.met), 0),
    tokenPairs: tokenPairs(job, kinds, tileSlots),
  };
};

/** Thread blocks that meet the same. */
type MeetingKind = { readonly met: Meetings; readonly groupBlocks: readonly number[] };

export const meetingsOf = (job: Job, tiles: number, blocks: number): readonly MeetingKind[] => {
  const { schedule, groups, groupsPerBlock } = job;
  const all = Array.from({ length: job.groupBlocks }, (_, index) => index);
  const rowsOf = (variables: Variables): Meetings =>
    Array.from({ length: tiles }, (_, tile) => meetings(schedule, tile, blocks, variables));
  const read = schedule.kind === "closed" ? variablesOf(schedule.count) : new Set<string>();
  const decisive = groups.axes.map(({ axis }) => partName(axis)).filter((name) => read.has(name));
  if (decisive.length === 0) return [{ met: rowsOf({}), groupBlocks: all }];
  const kinds = new Map<string, { readonly met: Meetings; readonly groupBlocks: number[] }>();
  const known = new Map<string, Meetings>();
  for (const index of all) {
    const parts = Object.fromEntries(partsAt(groups, index * groupsPerBlock));
    const place = decisive.map((name) => parts[name]).join();
    const met = known.get(place) ?? rowsOf(parts);
    known.set(place, met);
    const kind = kinds.get(met.flat().join()) ?? { met, groupBlocks: [] };
    kinds.set(met.flat().join(), kind);
    kind.groupBlocks.push(index);
  }
  return [...kinds.values()];
};

/** Pairs of tokens in tiles and blocks that meet, thread block by thread block. */
const tokenPairs = (job: Job, kinds: readonly MeetingKind[], tileSlots: number): number => {
  const queriesIn = tokenCounter(job.query, tileSlots);
  const keysIn = tokenCounter(job.key, job.tiles.span);
  let pairs = 0;
  for (const { met, groupBlocks } of kinds)
    for (const index of groupBlocks) {
      const first = index * job.groupsPerBlock;
      const parts = partsAt(job.groups, first);
      const [queries, keys] = [queriesIn(first, parts), keysIn(first, parts)];
      for (const [tile, row] of met.entries())
        for (const [block, meeting] of row.entries())
          if (meeting !== "skipped") pairs += (queries[tile] ?? 0) * (keys[block] ?? 0);
    }
  return pairs;
};

/** How many of each run of `size` slots of a thread block hold a token. */
const tokenCounter = (
  { slot, layout }: Side,
  size: number,
): ((first: number, parts: ReadonlyMap<string, number>) => readonly number[]) => {
  const names = ["slot", "place", "first", ...Object.keys(slot.ranges).filter((name) => name.startsWith("part."))];
  const compiled = (expr: Scalar): CompiledScalar => compileScalar(expr, { variable: (name) => names.indexOf(name) });
  const [exists, place] = [compiled(slot.exists), compiled(slot.place)];
  const values = new Float64Array(names.length);
  return (first, parts) => {
    for (const [i, name] of names.entries()) values[i] = parts.get(name) ?? 0;
    values[2] = first;
    const counts: number[] = [];
    for (let at = 0; at < slotCount(layout); at++) {
      values[0] = at;
      values[1] = place(values);
      const run = Math.floor(at / size);
      counts[run] = (counts[run] ?? 0) + (exists(values) === 0 ? 0 : 1);
    }
    return counts;
  };
};

/** The part of each axis that a group is, by the name of its variable. */
const partsAt = ({ axes }: Groups, group: number): ReadonlyMap<string, number> => {
  const parts = new Map<string, number>();
  let rest = group;
  for (const { axis, count } of axes.toReversed()) {
    parts.set(partName(axis), rest % count);
    rest = Math.floor(rest / count);
  }
  return parts;
};

type Variables = { readonly [name: string]: number };

const meetings = (schedule: BlockSchedule, tile: number, blocks: number, parts: Variables): readonly Meeting[] => {
  const row: Meeting[] = Array.from({ length: blocks }, () => "skipped");
  switch (schedule.kind) {
    case "dense":
      return row.map((_, block) => (schedule.partialTail && block === blocks - 1 ? "partial" : "full"));
    case "table":
      for (const entry of schedule.entries.slice(schedule.starts[tile], schedule.starts[tile + 1]))
        row[entry >> 1] = (entry & 1) === 1 ? "full" : "partial";
      return row;
    case "closed": {
      const count = evaluateScalar(schedule.count, { variables: { ...parts, tile } });
      for (let i = 0; i < count; i++) {
        const block = evaluateScalar(schedule.block, { variables: { ...parts, tile, i } });
        row[block] =
          evaluateScalar(schedule.full, { variables: { ...parts, tile, i, block } }) === 0 ? "partial" : "full";
      }
      return row;
    }
  }
};
