import type { BlockCount } from "../../ir/program.ts";
import type { Ranges } from "../../ir/scalarRange.ts";
import { isDivisible } from "../../ir/scalarRuns.ts";
import { bytesOf } from "../../ir/types.ts";
import { invariant } from "../diagnostics.ts";
import { operandOf } from "./elementRuns.ts";
import type { Access, Operand, SampleKernel, SampleLevel } from "./kernels.ts";
import { exampleBlocks } from "./mapPlan.ts";

/** How a sampling kernel is laid out: an item is a head of a row of the result. */
export type SamplePlan = {
  readonly threads: number;
  /** Items of a block. */
  readonly items: number;
  readonly itemsPerExample: number;
  readonly blocksPerExample: number;
  /** Channels of a thread: one access of up to 16 bytes for each corner. */
  readonly run: number;
  /** Channels of keys that a thread takes, and threads that share a point's: a power of two. */
  readonly keyRun: number;
  readonly keyLanes: number;
  /** Points of an item. */
  readonly points: number;
  readonly sharedBytes: number;
  readonly ranges: Ranges;
  readonly notes: readonly string[];
};

/** Four weights and an address; the address of the keys, and the score. */
const pointBytes = 20;
const scoredBytes = 8;
/** So many blocks share a multiprocessor that latencies overlap. */
const sharedGoal = 24 * 1024;
/** A block of every GPU from sm_80 on may have as much. */
const sharedMost = 99 * 1024;
/** Points of a head of a row, over all levels. */
export const mostPoints = (scored: boolean): number => Math.floor(sharedMost / bytesOfPoint(scored));
const bytesOfPoint = (scored: boolean): number => pointBytes + (scored ? scoredBytes : 0);

export function planSample(kernel: SampleKernel): SamplePlan {
  const { heads, width, space } = kernel;
  const points = kernel.points * kernel.levels.length;
  const ranges: Ranges = {
    r: { min: 0, max: space.rows - 1 },
    h: { min: 0, max: heads - 1 },
    g: { min: 0, max: kernel.levels.length - 1 },
    p: { min: 0, max: kernel.points - 1 },
    n: { min: 0, max: heads * width - 1 },
  };
  const threads = 128;
  const run = runOf(kernel, kernel.levels, kernel.width, ranges);
  const keyRun = keyRunOf(kernel, ranges);
  const keyRuns = (kernel.scores?.width ?? 1) / keyRun;
  const scored = kernel.scores !== null;
  const each = bytesOfPoint(scored);
  const itemsPerExample = space.rows * heads;
  invariant(itemsPerExample < 2 ** 31, "an example has more results than fovea counts");
  let items = 1;
  while (items < 64 && items < itemsPerExample && 2 * items * points * each <= sharedGoal) items *= 2;
  // A row of the table is odd, so that threads which write neighbouring points meet different banks.
  const sharedBytes = points * (items | 1) * each;
  invariant(
    points <= mostPoints(scored),
    `an item has ${points} points, and shared memory holds ${mostPoints(scored)}`,
  );
  return {
    threads,
    items,
    itemsPerExample,
    blocksPerExample: Math.ceil(itemsPerExample / items),
    run,
    keyRun,
    keyLanes: Math.min(32, 2 ** Math.ceil(Math.log2(keyRuns))),
    points,
    sharedBytes,
    ranges,
    notes: [
      `A block computes ${items} heads of rows. First a thread takes a point: its position, its weight, and where the four corners lie; ` +
        `the ${points} points of a head go to shared memory.`,
      ...(!scored
        ? []
        : ["Then threads multiply the query and the key at each point, and its score goes to shared memory, too."]),
      `Then a thread takes ${run === 1 ? "a channel" : `${run} neighbouring channels`} of a head, and adds up the corners of all points in their order.`,
    ],
  };
}

/** The longest run of channels that every map holds side by side, whatever the point. */
function runOf({ operands }: SampleKernel, levels: readonly SampleLevel[], width: number, ranges: Ranges): number {
  const runs = levels.map(({ values, steps, channelStep }) => {
    const operand = operandOf(operands, values);
    if (channelStep !== 1 || operand.storage === "i32" || operand.storage === "u8") return 1;
    return alignedRun(values, operand, [width, ...steps], ranges);
  });
  return Math.min(...runs);
}

function keyRunOf(kernel: SampleKernel, ranges: Ranges): number {
  const { scores, operands } = kernel;
  if (scores === null) return 1;
  // Queries are read where keys are, a run at a time, by accesses of their own width.
  if (scores.queryStep !== 1) return 1;
  const query = alignedRun(scores.query, operandOf(operands, scores.query), [scores.width], ranges);
  return Math.min(query, runOf(kernel, scores.keys, scores.width, ranges));
}

/** The longest run of up to 16 bytes that begins at multiples of itself, and at multiples of which these steps end. */
function alignedRun(access: Access, operand: Operand, steps: readonly number[], ranges: Ranges): number {
  let run = 16 / bytesOf[operand.storage];
  const fits = (length: number): boolean =>
    [operand.exampleStride, ...steps].every((each) => each % length === 0) &&
    isDivisible(access.offset, length, ranges);
  while (run > 1 && !fits(run)) run /= 2;
  return run;
}

export const sampleGrid = (
  { blocksPerExample }: SamplePlan,
  { space }: SampleKernel,
): readonly [BlockCount, BlockCount, BlockCount] => {
  const one: BlockCount = { factor: 1, fixed: 1, perExample: 0, divisor: 1 };
  return [exampleBlocks(blocksPerExample, space.batched), one, one];
};
