import type { Scalar } from "../../../ir/scalar.ts";
import { type CompiledScalar, compileScalar, evaluateScalar } from "../../../ir/scalarEvaluate.ts";
import { visibleKeys } from "../../../ir/visibleKeys.ts";
import type { AttentionKernel } from "../kernels.ts";
import { slotCount } from "./blocks.ts";
import { partName, type Groups } from "./groups.ts";
import { planAttention, type Job, type Side } from "./plan.ts";
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
  /** Tile by tile, block by block of keys: whether they meet, and whether every query of regular groups sees every key. */
  readonly met: readonly (readonly Meeting[])[];
  /** Pairs of slots that are multiplied. */
  readonly computed: number;
  /** Those of them in which both slots hold a token: the rest is padding. */
  readonly tokenPairs: number;
};
export type Meeting = "skipped" | "partial" | "full";

export const patternMap = (kernel: AttentionKernel): PatternMap => {
  const seen = visibleKeys(kernel.pattern, kernel.query, kernel.key);
  const all = visibleKeys({ kind: "all" }, kernel.query, kernel.key);
  const count = (groups: typeof seen): number =>
    groups.reduce((sum, { queries, keys }) => sum + queries.length * keys.length, 0);
  return { pairs: count(seen), allPairs: count(all), jobs: planAttention(kernel).jobs.map(jobMap) };
};

export const jobMap = (job: Job): JobMap => {
  const { tiles, schedule, groupBlocks } = job;
  const tileSlots = tiles.kind === "resident" ? 16 : 16 * tiles.warps;
  const keySlots = slotCount(job.key.layout);
  const count = Math.ceil(slotCount(job.query.layout) / tileSlots);
  const blocks = Math.ceil(keySlots / tiles.span);
  const met = Array.from({ length: count }, (_, tile) => meetings(schedule, tile, blocks));
  const width = (block: number): number => Math.min(tiles.span, keySlots - block * tiles.span);
  const computed = met
    .flatMap((row) => row.map((meeting, block) => (meeting === "skipped" ? 0 : tileSlots * width(block))))
    .reduce((sum, each) => sum + each, 0);
  return {
    queries: job.queries,
    groupBlocks,
    tileSlots,
    blockSlots: tiles.span,
    tiles: count,
    blocks,
    met,
    computed: computed * groupBlocks,
    tokenPairs: tokenPairs(job, met, tileSlots),
  };
};

/** Pairs of tokens in tiles and blocks that meet, thread block by thread block. */
const tokenPairs = (job: Job, met: JobMap["met"], tileSlots: number): number => {
  const queriesIn = tokenCounter(job.query, tileSlots);
  const keysIn = tokenCounter(job.key, job.tiles.span);
  let pairs = 0;
  for (let index = 0; index < job.groupBlocks; index++) {
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

const meetings = (schedule: BlockSchedule, tile: number, blocks: number): readonly Meeting[] => {
  const row: Meeting[] = Array.from({ length: blocks }, () => "skipped");
  switch (schedule.kind) {
    case "dense":
      return row.map((_, block) => (schedule.partialTail && block === blocks - 1 ? "partial" : "full"));
    case "table":
      for (const entry of schedule.entries.slice(schedule.starts[tile], schedule.starts[tile + 1]))
        row[entry >> 1] = (entry & 1) === 1 ? "full" : "partial";
      return row;
    case "closed": {
      const count = evaluateScalar(schedule.count, { variables: { tile } });
      for (let i = 0; i < count; i++) {
        const block = evaluateScalar(schedule.block, { variables: { tile, i } });
        row[block] = evaluateScalar(schedule.full, { variables: { tile, i, block } }) === 0 ? "partial" : "full";
      }
      return row;
    }
  }
};
