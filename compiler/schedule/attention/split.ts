import type { AttentionKernel, Operand } from "../kernels.ts";
import type { Target } from "../target.ts";
import { planAttention, type AttentionPlan, type Job } from "./plan.ts";
import { mostBlocks } from "./schedule.ts";
import { rowBytes } from "./tiles.ts";

/** Keys that are fewer are not worth a second kernel, whatever the device. */
const fewestKeys = 2048;
/** What a second launch costs, as so many bytes that a multiprocessor could have streamed: some 2 us at 32 bytes a ns. */
const launchBytes = 64 * 1024;
/** Warps that keep a multiprocessor busy. */
const busyWarps = 8;

/**
 * Into how many chunks to split the keys, job by job, so that few queries that meet many keys fill a device of so many
 * multiprocessors; null where nothing is to be split. It does not depend on the batch: what an example's result is,
 * bit by bit, is not for its neighbours to decide.
 */
export const chooseSplit = (kernel: AttentionKernel, target: Target): readonly number[] | null => {
  const plan = planAttention(kernel, target);
  const chunks = plan.jobs.map((job) => chunksOf(kernel, plan, job));
  return chunks.some((count) => count > 1) ? chunks : null;
};

/** Whether it is worth asking: planning takes time. */
export const maySplit = (keys: number): boolean => keys >= fewestKeys;

const chunksOf = (kernel: AttentionKernel, plan: AttentionPlan, job: Job): number => {
  const { tiles, schedule, queryTiles, groupBlocks } = job;
  const { multiprocessors } = plan.target;
  const blocks = mostBlocks(schedule);
  if (tiles.kind !== "stream" || blocks * tiles.span < fewestKeys) return 1;
  const others = queryTiles * groupBlocks * kernel.heads * plan.valueParts;
  const beside = Math.min(
    plan.minBlocks,
    Math.max(1, Math.floor(plan.target.sharedBytes / plan.sharedBytes)),
    Math.ceil(busyWarps / plan.warps),
  );
  const places = multiprocessors * beside;
  const columns = plan.valuesAreKeys ? 0 : plan.valueColumns;
  const blockBytes = tiles.span * (rowBytes(kernel.headDim, kernel.precision) + rowBytes(columns, kernel.precision));
  const queryBytes = 16 * plan.warps * rowBytes(kernel.headDim, "f32");
  // All in bytes that pass through the busiest multiprocessor: each of its rounds loads queries and streams a chunk, after
  // a block's delay, and its share of the partial sums is written and read again.
  const cost = (chunks: number): number => {
    const rounds = Math.ceil((others * chunks) / places) * beside;
    const streamed = rounds * (queryBytes + (Math.ceil(blocks / chunks) + 1) * blockBytes);
    if (chunks === 1) return streamed;
    return streamed + (2 * others * chunks * recordBytes(plan)) / multiprocessors + launchBytes;
  };
  let [best, least] = [1, cost(1)];
  for (let chunks = 2; chunks <= Math.min(blocks, 2 * places); chunks++)
    if (cost(chunks) < least) [best, least] = [chunks, cost(chunks)];
  return best;
};

/** Floats that a thread block leaves of a chunk: sums of its queries' values, then a maximum and a sum of weights for each. */
export const recordFloats = ({ warps, valueColumns }: Pick<AttentionPlan, "warps" | "valueColumns">): number =>
  16 * warps * (valueColumns + 2);
const recordBytes = (plan: AttentionPlan): number => 4 * recordFloats(plan);

/** Thread blocks of a job that leave records. */
const recordsOf = (kernel: AttentionKernel, plan: AttentionPlan, job: Job): number =>
  job.split === null ? 0 : job.queryTiles * plan.valueParts * job.split.chunks * kernel.heads * job.groupBlocks;

/** Records of an example that lie in front of a job's. */
export const recordsBefore = (kernel: AttentionKernel, plan: AttentionPlan, job: Job): number =>
  plan.jobs.slice(0, plan.jobs.indexOf(job)).reduce((sum, each) => sum + recordsOf(kernel, plan, each), 0);

/** The operand that holds the records of all chunks. */
export const partialsOperand = (kernel: AttentionKernel, target: Target): Operand => {
  const plan = planAttention(kernel, target);
  const records = plan.jobs.reduce((sum, job) => sum + recordsOf(kernel, plan, job), 0);
  const floats = records * recordFloats(plan);
  return { storage: "f32", exampleStride: kernel.batched ? floats : 0, exampleSize: floats };
};
