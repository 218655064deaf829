import { planAttention, type AttentionPlan, type Job } from "../schedule/attention/plan.ts";
import { combineNotes } from "../schedule/attention/notes.ts";
import { recordFloats, recordsBefore } from "../schedule/attention/split.ts";
import type { AttentionKernel, CombineKernel, EmittedKernel, KernelFamily, KernelHeader } from "../schedule/kernels.ts";
import type { Target } from "../schedule/target.ts";
import { invariant } from "../diagnostics.ts";
import { rowAccess } from "./attentionAccess.ts";
import { blocksOf, blockView, digitsOf, type BlockView } from "./attentionBlock.ts";
import { epilogueText, usedTokens } from "./attentionJob.ts";
import { rowsView } from "./attentionRows.ts";
import { cudaElement, type JobText } from "./attentionText.ts";
import { tokenView, type TokenView } from "./attentionTokens.ts";
import { headerComment } from "./headerComment.ts";
import { renderTemplate } from "./render.ts";

/** What templates/attention/combine.cu.njk prints. Fields are C++ text or numbers. */
type CombineView = {
  readonly header: string;
  readonly name: string;
  readonly element: string;
  readonly normalize: AttentionKernel["normalize"];
  readonly warps: number;
  readonly threads: number;
  readonly parameters: readonly string[];
  /** Statements that find `row`, the number of a row of results within its example, and `example`. */
  readonly place: readonly string[];
  readonly jobs: readonly CombineJobView[];
};
type CombineJobView = {
  readonly name: string;
  readonly block: BlockView;
  readonly query: TokenView;
  readonly functions: readonly string[];
  /** Null where results are stored as they are. */
  readonly epilogue: string | null;
  readonly querySlots: number;
  /** Queries of a record, and columns of their values. */
  readonly rows: number;
  readonly columns: number;
  readonly chunks: number;
  /** Floats from a record to that of the next chunk. */
  readonly chunkStep: number;
  /** Rows of an example that are computed; there may be some without a query. */
  readonly allRows: number;
  /** The record of the first chunk, in `index`, the number of a thread block of the attention if keys were not split. */
  readonly record: string;
};

/** Warps that share out the chunks of a row; their sums are added in the order of the warps. */
const warps = 4;

/** Puts together what an attention has summed up chunk by chunk of keys: a thread block a row of results. */
export const emitCombine: KernelFamily<CombineKernel> = (
  { attention }: CombineKernel,
  header: KernelHeader,
  target?: Target,
): EmittedKernel => {
  const { split } = attention;
  invariant(split !== null, "keys are split");
  const plan = planAttention(attention, target);
  const names = new Map([
    [split.partials, "partials"],
    [attention.out.grid.operand, "out"],
    ...(attention.out.prefix === null || attention.out.prefix.operand === attention.out.grid.operand
      ? []
      : [[attention.out.prefix.operand, "out_prefix"] as const]),
  ]);
  const found = plan.jobs.filter((job) => job.split !== null);
  const titles = plan.jobs.length === 1 ? ["Combine"] : ["CombineGrid", "CombinePrefix"];
  const jobs = found.map((job) => jobView(attention, plan, job, titles[plan.jobs.indexOf(job)] ?? "Combine", names));
  const rows = jobs.reduce((sum, { allRows }) => sum + allRows, 0);
  const notes = combineNotes(plan);
  const one = { factor: 1, fixed: 1, perExample: 0, divisor: 1 };
  const view: CombineView = {
    header: headerComment(header, notes),
    name: header.name,
    element: cudaElement[attention.precision],
    normalize: attention.normalize,
    warps,
    threads: 32 * warps,
    parameters: [...names].map(([operand, name]) => {
      const storage = attention.operands[operand]?.storage ?? attention.precision;
      return `${name === "partials" ? "const " : ""}${cudaElement[storage]}* __restrict__ ${name}`;
    }),
    place: [
      ...(attention.batched ? [`const int64_t example = blockIdx.x / ${rows};`] : []),
      `int row = (int)(blockIdx.x${attention.batched ? ` % ${rows}` : ""});`,
    ],
    jobs,
  };
  return {
    source: renderTemplate("attention/combine.cu.njk", view),
    threads: view.threads,
    sharedBytes: 4 * warps * (plan.valueColumns + 1),
    grid: [
      attention.batched ? { factor: rows, fixed: 0, perExample: 1, divisor: 1 } : { ...one, factor: rows },
      one,
      one,
    ],
    parameters: [...names.keys()].map((operand) => ({ kind: "operand", operand })),
    notes,
  };
};

const jobView = (
  kernel: AttentionKernel,
  plan: AttentionPlan,
  job: Job,
  name: string,
  operandNames: ReadonlyMap<number, string>,
): CombineJobView => {
  const needs = { block: new Set<string>(), q: new Set<string>(), k: new Set<string>() };
  const text: JobText = { kernel, plan, job, operandNames, needs, pointers: new Map(), functions: [] };
  // Rows are few: each element finds its own place.
  const shape = { type: kernel.query, columns: kernel.valueDim };
  rowsView(text, rowAccess(kernel, "out", shape, "ragged", usedTokens(job.query)), plan.valueColumns);
  const query = tokenView(text, "q");
  const chunks = job.split?.chunks ?? 1;
  const floats = recordFloats(plan);
  const digits = digitsOf(text);
  const unsplit = digits.map((digit) => (digit.name === "chunk" ? { ...digit, count: 1 } : digit));
  const chunkPlace = digits.findIndex((digit) => digit.name === "chunk");
  const inner = blocksOf(digits.slice(0, chunkPlace));
  const split = kernel.split;
  const stride = (split === null ? undefined : kernel.operands[split.partials]?.exampleStride) ?? 0;
  const before = recordsBefore(kernel, plan, job) * floats;
  const number = inner === 1 ? `index * ${chunks}` : `index / ${inner} * ${inner * chunks} + index % ${inner}`;
  const record = [
    "partials",
    ...(kernel.batched && stride > 0 ? [`example * ${stride}`] : []),
    ...(before === 0 ? [] : [String(before)]),
    `(int64_t)(${number}) * ${floats}`,
  ].join(" + ");
  needs.block.add("tile");
  return {
    name,
    block: blockView({ ...text, job: { ...job, split: null } }, []),
    query,
    functions: text.functions,
    epilogue: epilogueText(kernel),
    querySlots: job.query.layout.units * job.query.layout.unitSlots,
    rows: 16 * plan.warps,
    columns: plan.valueColumns,
    chunks,
    chunkStep: inner * floats,
    allRows: blocksOf(unsplit) * 16 * plan.warps,
    record,
  };
};
