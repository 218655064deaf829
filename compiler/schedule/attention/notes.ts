import type { AttentionKernel } from "../kernels.ts";
import type { AttentionPlan, Job } from "./plan.ts";
import { mostResidentKeys, sharingBytes } from "./tiles.ts";

/** The tiles and the reasons for them, a sentence a line. */
export const planNotes = (kernel: AttentionKernel, plan: AttentionPlan): readonly string[] => [
  ...plan.jobs.flatMap((job) => [tileNote(job, plan), scheduleNote(job)]),
  ...(plan.valueParts > 1
    ? [
        `The ${kernel.valueDim} value columns are shared out to ${plan.valueParts} thread blocks of ${plan.valueColumns}: the sums of more do not fit into registers.`,
      ]
    : []),
  `${plan.warps} warps with ${Math.ceil(plan.sharedBytes / 1024)} KiB of shared memory; registers leave room for ${plan.minBlocks} thread blocks on a multiprocessor.`,
];

const tileNote = (job: Job, plan: AttentionPlan): string => {
  const { tiles, query, key, groups, groupsPerBlock } = job;
  const who = job.queries === "all" ? "" : job.queries === "grid" ? "Grid: " : "Prefix tokens: ";
  if (tiles.kind === "stream") {
    return `${who}${16 * plan.warps} queries a thread block meet ${key.tokens.count} keys in blocks of ${tiles.span}: ${streamReason(job, plan)}.`;
  }
  const packed = tiles.groupsPerUnit > 1 ? `, ${tiles.groupsPerUnit} groups side by side in a tile of 16` : "";
  const several = groupsPerBlock > 1 ? `${groupsPerBlock} groups a thread block${packed}` : `a group a thread block`;
  const where = plan.sharedBytes > sharingBytes ? ` (${limitOf(plan)})` : "";
  return `${who}${groups.count} groups of ${query.tokens.count} queries and ${key.tokens.count} keys, ${several}: all keys are in shared memory${where}, and q, k and v are read once.`;
};

const streamReason = (job: Job, plan: AttentionPlan): string => {
  if (job.queryTiles === 1) return "all queries of a group meet them at once, and q, k and v are read once";
  if (job.key.tokens.count > mostResidentKeys)
    return `a thread block that kept more than ${mostResidentKeys} of them would have too much to do alone`;
  return `too many to hold in shared memory at once (${limitOf(plan)})`;
};

const limitOf = ({ target }: AttentionPlan): string =>
  `a thread block has ${Math.floor(target.sharedBytes / 1024)} KiB at most on ${target.leastOn}`;

const scheduleNote = ({ schedule, tiles, irregular }: Job): string => {
  const edge = irregular.kind === "number" ? "" : " Groups at the end of an axis test every key.";
  switch (schedule.kind) {
    case "dense":
      return `Every query meets every step of ${tiles.span} keys${schedule.partialTail ? "; keys are tested in the last step alone" : ""}.${edge}`;
    case "closed":
      return `Which steps of ${tiles.span} keys a tile of queries meets, and which of them it sees whole, is computed.${edge}`;
    case "table":
      return `Which steps of ${tiles.span} keys a tile of queries meets is read from a table of ${schedule.entries.length} entries.${edge}`;
  }
};
