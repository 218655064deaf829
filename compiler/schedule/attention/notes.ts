import { rowsOf } from "../../../ir/types.ts";
import type { AttentionKernel } from "../kernels.ts";
import type { AttentionPlan, Job } from "./plan.ts";
import { mostResidentKeys, sharingBytes } from "./tiles.ts";

/** The tiles and the reasons for them, a sentence a line. */
export const planNotes = (kernel: AttentionKernel, plan: AttentionPlan): readonly string[] => [
  ...plan.jobs.flatMap((job) => [tileNote(job, plan), scheduleNote(job), ...splitNote(job, plan)]),
  ...(kernel.blindQueries > 0 ? [blindNote(kernel)] : []),
  ...(plan.valueParts > 1
    ? [
        `The ${kernel.valueDim} value columns are shared out to ${plan.valueParts} thread blocks of ${plan.valueColumns}: the sums of more do not fit into registers.`,
      ]
    : []),
  ...(plan.valuesAreKeys ? ["A token's key is its value: one row in shared memory is both."] : []),
  `${plan.warps} warps with ${Math.ceil(plan.sharedBytes / 1024)} KiB of shared memory; registers leave room for ${plan.minBlocks} thread blocks on a multiprocessor.`,
];

/** Of the kernel that combines chunks of keys. */
export const combineNotes = (plan: AttentionPlan): readonly string[] =>
  plan.jobs.flatMap(({ split, key }) =>
    split === null
      ? []
      : [
          `Sums over ${split.chunks} chunks of ${key.tokens.count} keys are brought to one maximum and added in a fixed order: a thread block a row, of whose warps each takes every fourth chunk.`,
        ],
  );

/** Allowed, and seldom meant. */
export const blindNote = ({ blindQueries, query }: AttentionKernel): string =>
  `${blindQueries} of ${rowsOf(query)} queries see no key: their results are zeros.`;

const tileNote = (job: Job, plan: AttentionPlan): string => {
  const { tiles, query, key, groups, groupsPerBlock } = job;
  const who = job.queries === "all" ? "" : job.queries === "grid" ? "Grid: " : "Prefix tokens: ";
  if (tiles.kind === "stream") {
    const box = boxNote(job);
    if (box !== null)
      return `${who}${box}: ${16 * plan.warps} queries a thread block meet them in blocks of ${tiles.span}.`;
    return `${who}${16 * plan.warps} queries a thread block meet ${key.tokens.count} keys in blocks of ${tiles.span}: ${streamReason(job, plan)}.`;
  }
  const box = boxNote(job);
  if (box !== null) return `${who}${box}, a box a thread block: all its keys are in shared memory.`;
  const packed = tiles.groupsPerUnit > 1 ? `, ${tiles.groupsPerUnit} groups side by side in a tile of 16` : "";
  const several = groupsPerBlock > 1 ? `${groupsPerBlock} groups a thread block${packed}` : `a group a thread block`;
  if (tiles.turns > 1)
    return `${who}${groups.count} groups of ${query.tokens.count} queries and ${key.tokens.count} keys, ${tiles.turns} a thread block, one after the other: q, k and v are read once, and the bias once for all of them; it stays in registers, where products start from it.`;
  const where = plan.sharedBytes > sharingBytes ? ` (${limitOf(plan)})` : "";
  const inTiles = `a thread block takes ${tiles.tileSlots} queries`;
  const how = job.queryTiles > 1 ? `${inTiles}, past which its keys weigh little` : several;
  const once = job.queryTiles > 1 ? "" : ", and q, k and v are read once";
  return `${who}${groups.count} groups of ${query.tokens.count} queries and ${key.tokens.count} keys, ${how}: all keys are in shared memory${where}${once}.`;
};

/** Of neighbourhoods whose queries are taken in boxes: how large those are, and how often a key is read. */
const boxNote = ({ groups, query, key }: Job): string | null => {
  const tiled = groups.axes.flatMap(({ axis, part }) => (part.kind === "tile" ? [{ axis, part }] : []));
  if (tiled.length === 0) return null;
  const sizes = (of: (tile: (typeof tiled)[number]["part"]) => number): string =>
    tiled.map(({ part }) => of(part)).join(" x ");
  const axes = tiled.map(({ axis }) => axis).join(" x ");
  const often = (key.tokens.count / query.tokens.count).toFixed(1);
  return `${groups.count} boxes of ${sizes(({ size }) => size)} queries (${axes}), each with the ${sizes(({ keys }) => keys.count)} keys that they see between them, ${often} keys a query`;
};

const streamReason = (job: Job, plan: AttentionPlan): string => {
  if (job.queryTiles === 1) return "all queries of a group meet them at once, and q, k and v are read once";
  if (job.key.tokens.count > mostResidentKeys)
    return `a thread block that kept more than ${mostResidentKeys} of them would have too much to do alone`;
  return `too many to hold in shared memory at once (${limitOf(plan)})`;
};

const limitOf = ({ target }: AttentionPlan): string =>
  `a thread block has ${Math.floor(target.sharedBytes / 1024)} KiB at most on ${target.leastOn}`;

const splitNote = ({ split, tiles }: Job, { target }: AttentionPlan): readonly string[] =>
  split === null
    ? []
    : [
        `Keys are split into ${split.chunks} chunks of ${split.blocks * tiles.span}, a thread block each, so that ${target.multiprocessors} multiprocessors stream them side by side: a chunk's sums, maxima and sums of weights are left to a combining kernel.`,
      ];

const scheduleNote = ({ schedule, tiles, irregular }: Job): string => {
  if (tiles.kind === "resident" && tiles.turns > 1)
    return irregular.kind === "number"
      ? "No key is tested: the bias of those that there are not hides them."
      : "Keys are tested in groups at the end of an axis alone; elsewhere the bias of those that there are not hides them.";
  const edge = irregular.kind === "number" ? "" : " Groups at the end of an axis test every key.";
  switch (schedule.kind) {
    case "dense":
      return `Every query meets every step of ${tiles.span} keys${schedule.partialTail ? "; keys are tested in the last step alone" : ""}.${edge}`;
    case "closed":
      if (schedule.full.kind === "number" && schedule.full.value === 0)
        return `Which steps of ${tiles.span} keys a tile of queries meets is computed; every key of them is tested.${edge}`;
      return `Which steps of ${tiles.span} keys a tile of queries meets, and which of them it sees whole, is computed.${edge}`;
    case "table":
      return `Which steps of ${tiles.span} keys a tile of queries meets is read from a table of ${schedule.entries.length} entries.${edge}`;
  }
};
