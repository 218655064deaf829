import type { BlockCount } from "../../ir/program.ts";
import type { Ranges } from "../../ir/scalarRange.ts";
import { isDivisible } from "../../ir/scalarRuns.ts";
import { bytesOf } from "../../ir/types.ts";
import { invariant } from "../diagnostics.ts";
import { operandOf } from "./elementRuns.ts";
import type { SampleKernel } from "./kernels.ts";
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
  /** Points of an item. */
  readonly points: number;
  readonly sharedBytes: number;
  readonly ranges: Ranges;
  readonly notes: readonly string[];
};

/** Four weights and an address. */
const pointBytes = 20;
/** So many blocks share a multiprocessor that latencies overlap. */
const sharedGoal = 24 * 1024;
/** A block of every GPU from sm_80 on may have as much. */
const sharedMost = 99 * 1024;
/** Points of a head of a row, over all levels. */
export const mostPoints: number = Math.floor(sharedMost / pointBytes);

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
  const run = runOf(kernel, ranges);
  const itemsPerExample = space.rows * heads;
  invariant(itemsPerExample < 2 ** 31, "an example has more results than fovea counts");
  let items = 1;
  while (items < 64 && items < itemsPerExample && 2 * items * points * pointBytes <= sharedGoal) items *= 2;
  // A row of the table is odd, so that threads which write neighbouring points meet different banks.
  const sharedBytes = points * (items | 1) * pointBytes;
  invariant(points <= mostPoints, `an item has ${points} points, and shared memory holds ${mostPoints}`);
  return {
    threads,
    items,
    itemsPerExample,
    blocksPerExample: Math.ceil(itemsPerExample / items),
    run,
    points,
    sharedBytes,
    ranges,
    notes: [
      `A block computes ${items} heads of rows. First a thread takes a point: its position, its weight, and where the four corners lie; ` +
        `the ${points} points of a head go to shared memory.`,
      `Then a thread takes ${run === 1 ? "a channel" : `${run} neighbouring channels`} of a head, and adds up the corners of all points in their order.`,
    ],
  };
}

/** The longest run of channels that every map holds side by side, whatever the point. */
function runOf(kernel: SampleKernel, ranges: Ranges): number {
  const runs = kernel.levels.map(({ values, steps, channelStep }) => {
    const operand = operandOf(kernel.operands, values);
    if (channelStep !== 1 || operand.storage === "i32" || operand.storage === "u8") return 1;
    let run = 16 / bytesOf[operand.storage];
    const fits = (length: number): boolean =>
      [kernel.width, operand.exampleStride, ...steps].every((each) => each % length === 0) &&
      isDivisible(values.offset, length, ranges);
    while (run > 1 && !fits(run)) run /= 2;
    return run;
  });
  return Math.min(...runs);
}

export const sampleGrid = (
  { blocksPerExample }: SamplePlan,
  { space }: SampleKernel,
): readonly [BlockCount, BlockCount, BlockCount] => {
  const one: BlockCount = { factor: 1, fixed: 1, perExample: 0, divisor: 1 };
  return [exampleBlocks(blocksPerExample, space.batched), one, one];
};
