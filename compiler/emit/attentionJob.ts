import type { AttentionPlan, Job } from "../schedule/attention/plan.ts";
import type { Side } from "../schedule/attention/side.ts";
import { headFactor } from "../schedule/attention/headFactor.ts";
import { recordFloats, recordsBefore } from "../schedule/attention/split.ts";
import { rowBytes } from "../schedule/attention/tiles.ts";
import type { AttentionKernel } from "../schedule/kernels.ts";
import { distance, rowAccess, tokenRanges, type Role, type RowAccess } from "./attentionAccess.ts";
import { invariant } from "../diagnostics.ts";
import { blocksOf, blockView, digitsOf, type BlockView } from "./attentionBlock.ts";
import { rowsView, type RowsView } from "./attentionRows.ts";
import { irregularText, scheduleView, type ScheduleView } from "./attentionSchedule.ts";
import { biasView, type BiasView } from "./attentionBias.ts";
import { positionsView, type PositionsView } from "./attentionPositions.ts";
import { factorText, keepText, lengthText, scoreText } from "./attentionScore.ts";
import { functionText, type JobText } from "./attentionText.ts";
import { tokenView, type TokenView } from "./attentionTokens.ts";
import { floatLiteral, printCuda } from "./cudaScalar.ts";
import type { CudaScope } from "./cudaTypes.ts";

/** One job of an attention kernel: a struct that the templates' loops take as an argument. Fields are C++ text or numbers. */
export type JobView = {
  readonly name: string;
  readonly comment: string;
  readonly headDim: number;
  readonly valueDim: number;
  readonly querySlots: number;
  /** Slots of queries of a thread block where its keys are resident. */
  readonly tileSlots: number;
  readonly keySlots: number;
  readonly slotsComment: string;
  readonly span: number;
  /** Tiles of queries that a warp has room for. */
  readonly queryBuffers: number;
  readonly hasScore: boolean;
  /** Whether products are scaled before anything else; softmax alone takes the scale into its exponent. */
  readonly scaledFirst: boolean;
  readonly scale: string;
  readonly log2Scale: string;
  readonly block: BlockView;
  readonly query: TokenView;
  readonly key: TokenView;
  readonly functions: readonly string[];
  /** Null where the score reads no products. */
  readonly loadQueries: RowsView | null;
  readonly loadKeys: RowsView | null;
  /** Null where a value's row is copied with its key's, or is its key's. */
  readonly loadValues: RowsView | null;
  /** Null where results are left to a combining kernel. */
  readonly store: RowsView | null;
  /** Null where the bias' codes say it. */
  readonly keep: string | null;
  /** Groups that a thread block takes one after the other, of how many; null where it takes its groups at once. */
  readonly turns: { readonly count: number; readonly groups: number; readonly masked: string } | null;
  readonly score: string | null;
  readonly bias: BiasView | null;
  readonly biasCount: number;
  readonly positions: PositionsView | null;
  readonly epilogue: string | null;
  readonly schedule: ScheduleView;
  readonly valuesAreKeys: boolean;
  /** Blocks of keys of a chunk that the thread block sums up and leaves to a combining kernel; 0: all keys are its own. */
  readonly chunkBlocks: number;
  readonly loop: "attend_resident" | "attend_in_turn" | "attend_stream";
  /** Thread blocks of an example. */
  readonly blocks: number;
};

export const jobView = (
  whole: AttentionKernel,
  plan: AttentionPlan,
  job: Job,
  name: string,
  operandNames: ReadonlyMap<number, string>,
): JobView => {
  const needs = { block: new Set<string>(), q: new Set<string>(), k: new Set<string>() };
  // Tokens behind a length are no concern of the score.
  const kernel = job.lengths === null ? whole : { ...whole, score: job.lengths.score };
  const text: JobText = { kernel, plan, job, operandNames, needs, pointers: new Map(), functions: [] };
  const { tiles } = job;
  // Functions come in the order of what they serve: rows, scores.
  const loadQueries = kernel.headDim === 0 ? null : rowsView(text, accessOf(text, "q"), kernel.headDim);
  const { loadKeys, loadValues } = keyRows(text, accessOf(text, "k"), accessOf(text, "v"));
  const store = job.split === null ? rowsView(text, accessOf(text, "out"), plan.valueColumns) : null;
  if (job.split !== null) recordPointer(text);
  const bias = biasView(text);
  const inTurn = tiles.kind === "resident" && tiles.turns > 1;
  const keep = bias === null || inTurn ? keepText(text) : null;
  const identity = kernel.score.kind === "variable" && kernel.score.name === "s";
  const factor = headFactor(kernel.score);
  const score = identity || factor !== null || bias !== null ? null : scoreText(text);
  const scale = factor === null ? null : factorText(text, name, factor);
  const positions = positionsView(text);
  // A bias that products start from is divided by the scale instead.
  const scaledFirst =
    (!identity && !inTurn) || positions !== null || kernel.scale <= 0 || kernel.normalize !== "softmax";
  const length = job.lengths === null ? null : lengthText(text, name, job.lengths);
  const schedule = scheduleView(text);
  const turns = inTurn ? { count: tiles.turns, groups: job.groups.count, masked: irregularText(text) } : null;
  const [query, key] = [tokenView(text, "q"), tokenView(text, "k")];
  return {
    name,
    comment: jobComment(job),
    headDim: kernel.headDim,
    valueDim: plan.valueColumns,
    querySlots: job.query.layout.units * job.query.layout.unitSlots,
    tileSlots: tiles.kind === "resident" ? tiles.units * tiles.tileSlots : 16 * plan.warps,
    keySlots: job.key.layout.units * job.key.layout.unitSlots,
    slotsComment: slotsComment(job),
    span: tiles.span,
    queryBuffers: tiles.kind === "resident" ? tiles.queryBuffers : 1,
    hasScore: score !== null,
    scaledFirst,
    scale: floatLiteral(kernel.scale),
    log2Scale: floatLiteral((scaledFirst ? 1 : kernel.scale) * Math.LOG2E),
    block: blockView(text, [scale, length]),
    query,
    key,
    functions: text.functions,
    loadQueries,
    loadKeys,
    loadValues,
    store,
    keep,
    turns,
    score,
    bias,
    biasCount: bias?.count ?? 0,
    positions,
    epilogue: epilogueText(kernel),
    schedule,
    valuesAreKeys: plan.valuesAreKeys,
    chunkBlocks: job.split?.blocks ?? 0,
    loop: inTurn ? "attend_in_turn" : tiles.kind === "resident" ? "attend_resident" : "attend_stream",
    blocks: blocksOf(digitsOf(text)),
  };
};

export const epilogueText = ({ epilogue }: AttentionKernel): string | null => {
  if (epilogue.kind === "argument") return null;
  const scope: CudaScope = { variables: {}, arguments: [{ type: "float", text: "x" }] };
  return functionText("static DEV_FN float epilogue(float x)", [`return ${printCuda(epilogue, scope, "float")};`]);
};

const accessOf = ({ kernel, plan, job }: JobText, role: Role): RowAccess => {
  const ofQuery = role === "q" || role === "out";
  const ofValue = role === "v" || role === "out";
  const step = kernel.valueDim % plan.valueColumns === 0 ? plan.valueColumns : "ragged";
  const shape = { type: ofQuery ? kernel.query : kernel.key, columns: ofValue ? kernel.valueDim : kernel.headDim };
  return rowAccess(kernel, role, shape, ofValue ? step : 0, usedTokens(ofQuery ? job.query : job.key));
};

/** Which tokens a side has. */
export const usedTokens = ({ tokens }: Side): { readonly grid: boolean; readonly prefix: boolean } => ({
  grid: tokens.count > tokens.prefixCount || tokens.count === 0,
  prefix: tokens.prefixCount > 0,
});

/** Where a thread block leaves the sums of its chunk: a record each, in the order of thread blocks. */
const recordPointer = ({ kernel, plan, job, operandNames, pointers }: JobText): void => {
  const { split } = kernel;
  invariant(split !== null, "keys are split");
  const floats = recordFloats(plan);
  const before = recordsBefore(kernel, plan, job);
  const stride = kernel.operands[split.partials]?.exampleStride ?? 0;
  const terms = [
    operandNames.get(split.partials) ?? "?",
    ...(kernel.batched && stride > 0 ? [`example * ${stride}`] : []),
    ...(before === 0 ? [] : [`${before * floats}`]),
    `(int64_t)index * ${floats}`,
  ];
  pointers.set("record", { type: "float*", name: "record", value: terms.join(" + ") });
};

/** Keys and values are copied together where their rows are alike and lie at one distance. */
const keyRows = (text: JobText, k: RowAccess, v: RowAccess): Pick<JobView, "loadKeys" | "loadValues"> => {
  const { kernel, plan } = text;
  if (kernel.headDim === 0) return { loadKeys: null, loadValues: rowsView(text, v, plan.valueColumns) };
  if (plan.valuesAreKeys) return { loadKeys: rowsView(text, k, kernel.headDim), loadValues: null };
  const alike =
    plan.valueParts === 1 &&
    kernel.headDim === kernel.valueDim &&
    rowBytes(kernel.headDim, kernel.precision) === rowBytes(kernel.valueDim, kernel.precision);
  const apart = alike ? distance(k, v, tokenRanges(kernel.key, kernel.heads, kernel.headDim)) : undefined;
  return {
    loadKeys: rowsView(text, k, kernel.headDim, apart),
    loadValues: apart === undefined ? rowsView(text, v, plan.valueColumns) : null,
  };
};

const jobComment = ({ queries, groups }: Job): string => {
  const who = { all: "All queries", grid: "The grid's queries", prefix: "The queries of prefix tokens" }[queries];
  if (groups.axes.length === 0) return `${who}, in one group.`;
  const parts = groups.axes.flatMap(({ axis, part }): readonly string[] => {
    switch (part.kind) {
      case "same":
        return [`one ${axis}`];
      case "window":
        return [`a window of ${part.size} on ${axis}`];
      case "residue":
        return [`the ${axis} congruent modulo ${part.stride}`];
      case "tile":
        return part.stride === 1 ? [] : [`the ${axis} congruent modulo ${part.stride}`];
    }
  });
  const near = groups.axes.flatMap(({ axis, part }) => (part.kind === "tile" ? [`${part.size} on ${axis}`] : []));
  const shared = parts.length === 0 ? "" : `; tokens of a group share ${parts.join(", ")}`;
  return near.length === 0
    ? `${who}${shared}.`
    : `${who}, in boxes of ${near.join(", ")} and with the keys that a box sees${shared}.`;
};

const slotsComment = ({ query, key, groupsPerBlock }: Job): string => {
  const [queries, keys] = [query.tokens.count, key.tokens.count];
  const tokens = queries === keys ? `${queries} tokens` : `${queries} queries and ${keys} keys`;
  return groupsPerBlock === 1 ? `${tokens} in steps of 16` : `${groupsPerBlock} groups of ${tokens}`;
};
