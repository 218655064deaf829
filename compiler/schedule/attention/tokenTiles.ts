import type { Scalar } from "../../../ir/scalar.ts";
import { compileScalar } from "../../../ir/scalarEvaluate.ts";
import { variablesOf } from "../../../ir/scalarWalk.ts";
import { prefixRows, rowsOf, sizeOf, type TensorType } from "../../../ir/types.ts";
import type { AttentionKernel } from "../kernels.ts";
import { slotCount } from "./blocks.ts";
import { partsOfGroup } from "./groups.ts";
import { type Meeting, jobMap, meetingsOf } from "./patternMap.ts";
import { type Job, planAttention } from "./plan.ts";
import type { Side } from "./side.ts";

/**
 * Where the tokens of one job lie: which tile a query is in, and which keys each thread block meets it with. Thread blocks
 * that do not meet the same are entries of their own; each has no queries and keys of the others.
 */
export type TokenTiles = {
  /** Tile by tile, block by block of keys. */
  readonly met: readonly (readonly Meeting[])[];
  /** Keys of a block of them. */
  readonly blockSlots: number;
  /** By row of the queries: number of the thread block times the tiles, plus the tile; -1 for a query of another entry. */
  readonly queries: Int32Array;
  /** By thread block, slot by slot: the row of a key, or -1. */
  readonly keys: readonly Int32Array[];
  /** By thread block: none of its groups is whole, so that no block of keys is seen without a test. */
  readonly irregular: readonly boolean[];
};

export const tokenTiles = (kernel: AttentionKernel): readonly TokenTiles[] =>
  planAttention(kernel).jobs.flatMap((job) => tilesOfJob(job, kernel));

const tilesOfJob = (job: Job, kernel: AttentionKernel): readonly TokenTiles[] => {
  const { blockSlots, tileSlots, tiles, blocks } = jobMap(job);
  const queryRows = slotRows(job, job.query, kernel.query);
  const keyRows = slotRows(job, job.key, kernel.key);
  const irregular = compiled(job.irregular);
  return meetingsOf(job, tiles, blocks).map(({ met, groupBlocks }) => {
    const queries = new Int32Array(rowsOf(kernel.query)).fill(-1);
    const own = new Set(groupBlocks);
    for (const block of groupBlocks)
      for (const [slot, row] of queryRows(block).entries())
        if (row >= 0) queries[row] = block * tiles + Math.floor(slot / tileSlots);
    return {
      met,
      blockSlots,
      queries,
      keys: Array.from({ length: job.groupBlocks }, (_, block) => (own.has(block) ? keyRows(block) : new Int32Array())),
      irregular: Array.from(
        { length: job.groupBlocks },
        (_, block) => irregular(partsOf(job, block * job.groupsPerBlock)) !== 0,
      ),
    };
  });
};

/** The rows of the tokens in a thread block's slots; -1 where a slot holds none. */
const slotRows = (job: Job, { slot, tokens, layout }: Side, type: TensorType): ((block: number) => Int32Array) => {
  const [exists, isPrefix, prefix, group, place] = [
    slot.exists,
    slot.isPrefix,
    slot.prefix,
    slot.group,
    slot.place,
  ].map(compiled) as [Evaluate, Evaluate, Evaluate, Evaluate, Evaluate];
  const at = tokens.type.axes.map(
    ({ axis }) => [axis, compiled(slot.at[axis] ?? { kind: "number", value: 0 })] as const,
  );
  return (block) => {
    const first = block * job.groupsPerBlock;
    return Int32Array.from({ length: slotCount(layout) }, (_, index) => {
      const named = { slot: index, first, place: 0 };
      const own = partsOf(job, first + group(named));
      const variables = { ...named, ...own, place: place({ ...named, ...own }) };
      if (exists(variables) === 0) return -1;
      const coordinates = new Map(at.map(([axis, evaluate]) => [axis, evaluate(variables)]));
      const flat = (axes: readonly string[]): number =>
        axes.reduce((sum, axis) => sum * (sizeOf(type, axis) ?? 1) + (coordinates.get(axis) ?? 0), 0);
      return isPrefix(variables) !== 0
        ? flat(type.prefix.over) * type.prefix.count + prefix(variables)
        : prefixRows(type) + flat(type.axes.map(({ axis }) => axis));
    });
  };
};

type Variables = { readonly [name: string]: number };
type Evaluate = (variables: Variables) => number;

const compiled = (expr: Scalar): Evaluate => {
  const names = [...variablesOf(expr)];
  const run = compileScalar(expr, { variable: (name) => names.indexOf(name) });
  const slots = new Float64Array(names.length);
  return (variables) => {
    for (const [index, name] of names.entries()) slots[index] = variables[name] ?? 0;
    return run(slots);
  };
};

/** The parts of the axes that make up a group, as variables. */
const partsOf = ({ groups }: Job, group: number): Variables =>
  Object.fromEntries(
    Object.entries(partsOfGroup(groups, { kind: "number", value: group }, {})).map(([name, part]) => [
      name,
      compiled(part)({}),
    ]),
  );
