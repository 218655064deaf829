import type { Scalar } from "../../../ir/scalar.ts";
import { literal } from "../../../ir/scalarBuild.ts";
import { exactJson } from "../../../ir/programText.ts";
import { simplify } from "../../../ir/scalarSimplify.ts";
import { variablesOf, walkScalar } from "../../../ir/scalarWalk.ts";
import type { AttentionKernel } from "../kernels.ts";
import { usualTarget, type Target } from "../target.ts";
import { classify, slotCount, type SlotLayout } from "./blocks.ts";
import { groupRanges, groupsOf, irregular, tokensOf, type Groups, type GroupTokens } from "./groups.ts";
import { jobLengths, type JobLengths } from "./jobLengths.ts";
import { isNumber, keepOf, pairRanges } from "./keep.ts";
import { divide, type Division } from "./partition.ts";
import { biasBytes, biasPlaces, relativeBias, type BiasPlaces, type RelativeBias } from "./relative.ts";
import { meanBlocks, mostBlocks, pairsOf, scheduleOf, type BlockSchedule } from "./schedule.ts";
import { sideOf, type Side } from "./side.ts";
import {
  chooseTiles,
  minBlocks,
  rowBytes,
  sharedBytes,
  sharingBytes,
  valueColumnsOf,
  type ResidentTiles,
  type Tiles,
} from "./tiles.ts";
import { tileSchedule } from "./tileSchedule.ts";
import { loadCost, tilings } from "./tiling.ts";
import { turnsOf } from "./turns.ts";

/** How an attention is cut up: one job, or one for the grid's queries and one for the prefix tokens'. */
export type AttentionPlan = {
  readonly jobs: readonly Job[];
  readonly warps: number;
  readonly minBlocks: number;
  readonly sharedBytes: number;
  /** What the choice of tiles could count on. */
  readonly target: Target;
  /** Value columns of a thread block; several share out a row of values that is wider. */
  readonly valueColumns: number;
  readonly valueParts: number;
  /** Whether a token's value is its key, so that one row serves as both. */
  readonly valuesAreKeys: boolean;
};

export type Job = {
  readonly queries: Division["queries"];
  readonly groups: Groups;
  readonly tiles: Tiles;
  /** Groups of a thread block. */
  readonly groupsPerBlock: number;
  /** Thread blocks of a head of an example. */
  readonly groupBlocks: number;
  readonly queryTiles: number;
  readonly query: Side;
  readonly key: Side;
  /** Whether a query sees a key of its own group that exists, in variables `q.AXIS`, `k.AXIS`, `q.isPrefix`, `k.isPrefix`. */
  readonly keep: Scalar;
  /** What the score adds to scaled products by the places of query and key; null where it is computed pair by pair. */
  readonly bias: RelativeBias | null;
  /** A key that does not exist is hidden; where scores are read from tables, it and a query that does not exist have no score either. */
  readonly guardsQueries: boolean;
  readonly schedule: BlockSchedule;
  /** Where tokens behind a length take no part, and the thread block's tokens share one: it loops over no more of them. */
  readonly lengths: JobLengths | null;
  /** Keys as chunks of so many blocks of the schedule, each chunk a thread block's own; null: they are not split. */
  readonly split: KeySplit | null;
  /** In variables `part.AXIS`: where it holds no block is seen whole, though the schedule says so. Elsewhere a group that is taken in turn is. */
  readonly irregular: Scalar;
};

export type KeySplit = { readonly chunks: number; readonly blocks: number };

export const planAttention = (kernel: AttentionKernel, target: Target = usualTarget): AttentionPlan =>
  attentionPlans(kernel, target).reduce((best, each) => (workOf(each, kernel) < workOf(best, kernel) ? each : best));

/** As the pattern divides the tokens, then with the queries of neighbourhoods in boxes: what the plan is chosen from. */
export const attentionPlans = (
  kernel: AttentionKernel,
  target: Target = usualTarget,
): readonly [AttentionPlan, ...AttentionPlan[]] => {
  const valueColumns = valueColumnsOf(kernel.valueDim, kernel.precision);
  const divisions = divide(kernel.pattern, kernel);
  const planned = jobsOf(kernel, divisions, valueColumns, target);
  const apart = prefixApart(divisions, planned.jobs);
  const lines = apart === null ? planned : jobsOf(kernel, apart, valueColumns, target);
  const [first, ...rest] = divisions;
  const tiled = first === undefined ? [] : tilings(kernel, first, valueColumns);
  const ofPrefix: readonly Division[] =
    first?.queries === "all" && kernel.query.prefix.count > 0 ? [{ ...first, queries: "prefix" }] : [];
  const boxes = tiled.map((boxed) => jobsOf(kernel, [boxed, ...ofPrefix, ...rest], valueColumns, target));
  return [planOf(kernel, lines, target), ...boxes.map((jobs) => planOf(kernel, jobs, target))];
};

const planOf = (kernel: AttentionKernel, { warps, jobs: whole }: Jobs, target: Target): AttentionPlan => {
  const valueColumns = valueColumnsOf(kernel.valueDim, kernel.precision);
  const jobs = whole.map((job, i) => ({ ...job, split: splitInto(job, kernel.split?.chunks[i] ?? 1) }));
  const problem = memoryProblem(kernel, valueColumns);
  return {
    jobs,
    warps,
    minBlocks: minBlocks(problem, {
      warps,
      span: Math.max(...jobs.map(({ tiles }) => tiles.span)),
      readsPairs: jobs.some(({ bias, guardsQueries }) => bias === null && guardsQueries),
    }),
    sharedBytes: Math.max(
      ...jobs.map(({ tiles, bias }) => sharedBytes({ ...problem, biasCount: bias?.count ?? 0 }, tiles)),
    ),
    target,
    valueColumns,
    valueParts: Math.ceil(kernel.valueDim / valueColumns),
    valuesAreKeys: problem.valuesAreKeys,
  };
};

/**
 * Pairs that are multiplied, steps included, and keys that are loaded, as so many pairs. Fewer thread blocks than two for
 * each multiprocessor (of an A100, as gemmTiles.ts) at eight examples take as long as if there were so many.
 */
const workOf = (plan: AttentionPlan, { heads }: AttentionKernel): number =>
  plan.jobs.reduce((sum, { tiles, schedule, query, groupBlocks, queryTiles }) => {
    const tileSlots = tiles.kind === "resident" ? 16 : 16 * tiles.warps;
    const met = Math.ceil(slotCount(query.layout) / tileSlots) * meanBlocks(schedule);
    const loaded = tiles.kind === "resident" ? queryTiles * tiles.units * tiles.keySlots : met * tiles.span;
    const ofGroup = met * tileSlots * (tiles.span + stepCost) + loadCost * loaded;
    const blocks = 8 * heads * groupBlocks * queryTiles * plan.valueParts;
    return sum + ofGroup * groupBlocks * Math.max(1, (2 * 108) / blocks);
  }, 0);

/** Chunks of as many blocks each, all of which have one. */
const splitInto = ({ tiles, schedule }: Job, chunks: number): KeySplit | null => {
  if (tiles.kind !== "stream" || chunks <= 1) return null;
  const all = mostBlocks(schedule);
  const blocks = Math.ceil(all / chunks);
  return blocks >= all ? null : { chunks: Math.ceil(all / blocks), blocks };
};

/** Whether keys and values are the same elements, all of them summed by one thread block. */
const areOne = ({ k, v, headDim, valueDim }: AttentionKernel, valueColumns: number): boolean =>
  valueColumns === valueDim && headDim === valueDim && exactJson(k) === exactJson(v);

/** What shared memory depends on, besides tiles and biases. */
const memoryProblem = (
  kernel: AttentionKernel,
  valueColumns: number,
): Omit<Parameters<typeof sharedBytes>[0], "biasCount"> => ({
  precision: kernel.precision,
  headDim: kernel.headDim,
  valueColumns,
  positionBytes: positionBytesOf(kernel, valueColumns),
  valuesAreKeys: areOne(kernel, valueColumns),
});

type Jobs = { readonly warps: number; readonly jobs: readonly Job[] };

const jobsOf = (
  kernel: AttentionKernel,
  divisions: readonly Division[],
  valueColumns: number,
  target: Target,
): Jobs => {
  const drafts = divisions.map((division) => draftJob(kernel, division, valueColumns, target));
  const problem = memoryProblem(kernel, valueColumns);
  // The jobs of a kernel share its thread blocks' size: the largest that leaves each of them enough shared memory.
  let warps = Math.max(...drafts.map(({ tiles }) => tiles.warps));
  const takes = ({ tiles, places }: Draft): number =>
    sharedBytes({ ...problem, biasCount: places?.count ?? 0 }, { ...tiles, warps });
  while (warps > 1 && drafts.some((draft) => takes(draft) > target.sharedBytes)) warps--;
  return { warps, jobs: drafts.map((draft) => bestJob(kernel, { ...draft, tiles: { ...draft.tiles, warps } })) };
};

/**
 * Prefix tokens that see a long sequence beside tokens that see little of it are a job of their own: the tile that they
 * share with others would be at work long after all the rest.
 */
const prefixApart = ([division, other]: readonly Division[], [job]: readonly Job[]): readonly Division[] | null => {
  if (division === undefined || other !== undefined || job === undefined) return null;
  const { schedule, tiles, query } = job;
  if (query.tokens.prefixCount === 0 || tiles.kind !== "stream" || schedule.kind === "dense") return null;
  const most = mostBlocks(schedule);
  if (most * tiles.span < 2048 || most < 4 * meanBlocks(schedule)) return null;
  return [
    { ...division, queries: "grid" },
    { ...division, queries: "prefix" },
  ];
};

type Draft = {
  readonly division: Division;
  readonly groups: Groups;
  readonly query: GroupTokens;
  readonly key: GroupTokens;
  readonly places: BiasPlaces | null;
  readonly tiles: Tiles;
  /** Shared memory that its thread blocks may take. */
  readonly mostBytes: number;
};

const draftJob = (kernel: AttentionKernel, division: Division, valueColumns: number, target: Target): Draft => {
  const groups = groupsOf(division, kernel);
  const tiled = isTiled(division);
  const mostBytes = tiled ? Math.min(target.sharedBytes, sharingBytes) : target.sharedBytes;
  const { query, key } = groupTokens(kernel, division, tiled ? untiled(kernel, division) : []);
  const found = biasPlaces(kernel, pairRanges(query, key));
  // Codes of all keys and the table lie in shared memory, whether the keys do or not.
  const places = found !== null && biasBytes(key.count, found.count) <= mostBiasBytes ? found : null;
  const chosen = chooseTiles({
    ...kernel,
    valueColumns,
    // The keys that a box of queries meets depend on where it lies: it has a thread block to itself.
    groups: tiled ? 1 : groups.count,
    queries: query.count,
    keys: Math.max(1, key.count),
    biasCount: places?.count ?? 0,
    // Others multiply while one loads: a box is never so large that it has a multiprocessor to itself.
    target: { ...target, sharedBytes: mostBytes },
    positionBytes: positionBytesOf(kernel, valueColumns),
    valuesAreKeys: areOne(kernel, valueColumns),
  });
  const more = tiled && chosen.kind === "resident" ? withMoreWarps(chosen) : chosen;
  const problem = { ...memoryProblem(kernel, valueColumns), biasCount: places?.count ?? 0 };
  const tiles = sharedBytes(problem, more) <= mostBytes ? more : chosen;
  return { division, groups, query, key, places, tiles, mostBytes };
};

/** The keys of a box leave room for few thread blocks: rather a warp more than a second tile of queries for each. */
const withMoreWarps = (tiles: ResidentTiles): ResidentTiles => {
  const slabs = (tiles.units * tiles.tileSlots) / 16;
  const warps = slabs <= 8 ? slabs : tiles.warps;
  return { ...tiles, warps };
};

/** Tokens in the order of their type, or with the axes that the pattern leaves free inside the others: the fewer tiles meet. */
const bestJob = (kernel: AttentionKernel, draft: Draft): Job => {
  const { job, cost } = planJob(kernel, draft);
  if (isTiled(draft.division)) return job;
  const read = variablesOf(job.keep);
  const free = kernel.query.axes
    .map(({ axis }) => axis)
    .filter((axis) => !read.has(`q.${axis}`) && !read.has(`k.${axis}`));
  if (free.length === 0 || job.schedule.kind === "dense" || job.groupsPerBlock > 1) return job;
  const other = planJob(kernel, { ...draft, ...groupTokens(kernel, draft.division, free) });
  return other.cost < cost ? other.job : job;
};

const isTiled = ({ partition }: Division): boolean => [...partition.values()].some(({ kind }) => kind === "tile");

/** Axes of either side that are not tiled: their positions lie inside those of the others. */
const untiled = ({ query, key }: AttentionKernel, { partition }: Division): readonly string[] =>
  [...query.axes, ...key.axes].map(({ axis }) => axis).filter((axis) => partition.get(axis)?.kind !== "tile");

const groupTokens = (
  kernel: AttentionKernel,
  division: Division,
  inner: readonly string[] = [],
): Pick<Draft, "query" | "key"> => {
  const { queries, keys } = division;
  return {
    query: tokensOf("query", kernel.query, division, { grid: queries !== "prefix", prefix: queries !== "grid" }, inner),
    key: tokensOf("key", kernel.key, division, { grid: keys.has("grid"), prefix: keys.has("prefix") }, inner),
  };
};

/** Bytes of a row of all tables of relative positions. */
const positionBytesOf = ({ positions, headDim, precision }: AttentionKernel, valueColumns: number): number => {
  const { query = null, key = null, value = null } = positions ?? {};
  const [ofKeys, ofValues] = [rowBytes(headDim, precision), rowBytes(valueColumns, precision)];
  return (query === null ? 0 : ofKeys) + (key === null ? 0 : ofKeys) + (value === null ? 0 : ofValues);
};

/** Half of what a thread block takes where two share a multiprocessor. */
const mostBiasBytes = 48 * 1024;

const queryTilesOf = (tiles: Tiles): number =>
  Math.ceil(tiles.querySlots / (tiles.kind === "resident" ? tiles.tileSlots : 16 * tiles.warps));

const planJob = (kernel: AttentionKernel, draft: Draft): { readonly job: Job; readonly cost: number } => {
  const { division, groups, query, key } = draft;
  const keep = keepOf(kernel, division, groups, query, key);
  const perBlock = draft.tiles.kind === "resident" ? draft.tiles.units * draft.tiles.groupsPerUnit : 1;
  const bias = draft.places !== null ? relativeBias(draft.places, keep, perBlock, pairRanges(query, key)) : null;
  // With codes, a query that does not exist reads the bias of the last one that does.
  // Sets may have millions of tokens: where every query sees every key, no block need be looked at.
  const noneCut = groups.axes.every(({ count, regular }) => regular === count);
  const seesRest = isNumber(keep, 1) && noneCut && perBlock === 1 && key.count > 0;
  const lengths = seesRest ? jobLengths(kernel, groups, query, key) : null;
  const guardsQueries = bias === null ? readsTables(lengths?.score ?? kernel.score) : perBlock > 1;
  const seesAll = seesRest && !guardsQueries;
  const arrange = (tiles: Tiles): Arrangement => {
    const [units, groupsPerUnit] = tiles.kind === "resident" ? [tiles.units, tiles.groupsPerUnit] : [1, 1];
    const layout = (tokens: GroupTokens, unitSlots: number): SlotLayout => ({
      tokens,
      units,
      groupsPerUnit,
      unitSlots,
    });
    const [queryLayout, keyLayout] = [layout(query, tiles.querySlots), layout(key, tiles.keySlots)];
    const sizes = { tile: tiles.kind === "resident" ? 16 : 16 * tiles.warps, block: tiles.span };
    if (seesAll) {
      const blocks = Math.ceil(tiles.keySlots / tiles.span);
      const schedule = { kind: "dense", blocks, partialTail: key.count < tiles.keySlots } as const;
      const cost = Math.ceil(tiles.querySlots / sizes.tile) * blocks * (tiles.span + stepCost);
      return { tiles, queryLayout, keyLayout, schedule, differs: false, cost };
    }
    if (isTiled(division)) {
      const slots = { queries: tiles.querySlots, tile: sizes.tile, keys: tiles.keySlots, block: sizes.block };
      const schedule = tileSchedule(query, key, groups, slots);
      const cost = Math.ceil(tiles.querySlots / sizes.tile) * schedule.mean * (tiles.span + stepCost);
      return { tiles, queryLayout, keyLayout, schedule, differs: false, cost };
    }
    const met = classify(queryLayout, keyLayout, keep, sizes, groups, { regularOnly: false, guardsQueries });
    const cut = units * groupsPerUnit === 1 && groups.axes.some(({ count, regular }) => regular < count && regular > 0);
    const whole = cut
      ? classify(queryLayout, keyLayout, keep, sizes, groups, { regularOnly: true, guardsQueries })
      : met;
    const schedule = scheduleOf(met, whole, sizes);
    const differs = whole.classes.some((each, i) => each !== met.classes[i]);
    return { tiles, queryLayout, keyLayout, schedule, differs, cost: pairsOf(schedule, met) * (tiles.span + stepCost) };
  };
  const valueColumns = valueColumnsOf(kernel.valueDim, kernel.precision);
  const valuesAreKeys = areOne(kernel, valueColumns);
  const problem = { ...memoryProblem(kernel, valueColumns), biasCount: draft.places?.count ?? 0 };
  const best = bestSpan(draft.tiles, arrange, (tiles) => sharedBytes(problem, tiles) <= draft.mostBytes);
  const { queryLayout, keyLayout, schedule, differs, cost } = best;
  const turns =
    bias === null || best.tiles.kind === "stream"
      ? 1
      : turnsOf({ kernel, groups, query, key, keep, bias, tiles: best.tiles, valuesAreKeys });
  const tiles: Tiles = best.tiles.kind === "stream" ? best.tiles : { ...best.tiles, turns };
  const groupsPerBlock = queryLayout.units * queryLayout.groupsPerUnit;
  const job: Job = {
    queries: division.queries,
    groups,
    tiles,
    groupsPerBlock,
    groupBlocks: Math.ceil(groups.count / groupsPerBlock),
    queryTiles: queryTilesOf(tiles),
    query: sideOf(query, queryLayout, groups),
    key: sideOf(key, keyLayout, groups, lengths?.keyAxis),
    keep,
    bias,
    guardsQueries,
    schedule,
    lengths,
    split: null,
    irregular: differs || turns > 1 ? simplify(irregular(groups), groupRanges(groups)) : literal(0),
  };
  return { job, cost };
};

type Arrangement = {
  readonly tiles: Tiles;
  readonly queryLayout: SlotLayout;
  readonly keyLayout: SlotLayout;
  readonly schedule: BlockSchedule;
  readonly differs: boolean;
  readonly cost: number;
};
/** What a step costs apart from its keys, as so many of them: softmax bookkeeping and the queries' fragments. */
const stepCost = 16;

/** Resident keys that not every query meets are taken in steps that waste the least; a wider one may take more slots. */
const bestSpan = (
  tiles: Tiles,
  arrange: (tiles: Tiles) => Arrangement,
  fits: (tiles: Tiles) => boolean,
): Arrangement => {
  const first = arrange(tiles);
  if (tiles.kind === "stream" || tiles.units > 1 || first.schedule.kind === "dense") return first;
  const spans = [64, 48, 32, 16].filter((span) => span <= tiles.span);
  const whole = spans.map((span) => ({ ...tiles, span, keySlots: Math.ceil(tiles.keySlots / span) * span }));
  // Steps of 16 take no more slots than there are.
  const fitting = whole.filter((each) => each.span === 16 || fits(each)).map(arrange);
  return fitting.reduce((best, each) => (each.cost < best.cost ? each : best));
};

/** Whether it reads tables at places of tokens. */
const readsTables = (score: Scalar): boolean => {
  let found = false;
  walkScalar(score, (part) => {
    if (part.kind === "load" && part.index.some((index) => [...variablesOf(index)].some((name) => name !== "head")))
      found = true;
  });
  return found;
};
