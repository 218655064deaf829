import type {
  AttentionKernel,
  EmittedKernel,
  KernelFamily,
  KernelHeader,
  KernelParameter,
} from "../schedule/kernels.ts";
import { planAttention, type AttentionPlan } from "../schedule/attention/plan.ts";
import type { Target } from "../schedule/target.ts";
import { planNotes } from "../schedule/attention/notes.ts";
import { jobView, type JobView } from "./attentionJob.ts";
import { cudaElement } from "./attentionText.ts";
import { headerComment } from "./headerComment.ts";
import { renderTemplate } from "./render.ts";

/** What templates/attention/attention.cu.njk prints. Fields are C++ text or numbers. */
export type AttentionView = {
  readonly header: string;
  readonly name: string;
  readonly includes: readonly string[];
  readonly element: string;
  readonly normalize: AttentionKernel["normalize"];
  readonly slab: "TensorSlab" | "ExactSlab";
  readonly warps: number;
  readonly threads: number;
  readonly minBlocks: number;
  readonly sharedBytes: number;
  readonly parameters: readonly string[];
  readonly jobs: readonly JobView[];
  /** Statements that find `index`, the thread block within its example, and `example`. */
  readonly place: readonly string[];
  readonly alone: boolean;
  readonly firstBlocks: number;
};

/**
 * Attention by pattern: tensor cores for bf16 and f16 (sm_80 and later), float32 arithmetic for f32. A group's keys stay
 * in shared memory where they fit, or pass by in blocks; scores are never stored.
 */
export const emitAttention: KernelFamily<AttentionKernel> = (
  kernel: AttentionKernel,
  header: KernelHeader,
  target?: Target,
): EmittedKernel => {
  const plan = planAttention(kernel, target);
  const names = operandNames(kernel, plan);
  const view = attentionView(kernel, header, plan, names);
  const blocks = view.jobs.reduce((sum, job) => sum + job.blocks, 0);
  const one = { factor: 1, fixed: 1, perExample: 0, divisor: 1 };
  return {
    source: renderTemplate("attention/attention.cu.njk", view),
    threads: view.threads,
    sharedBytes: view.sharedBytes,
    grid: [
      kernel.batched ? { factor: blocks, fixed: 0, perExample: 1, divisor: 1 } : { ...one, factor: blocks },
      one,
      one,
    ],
    parameters: [...names.keys()].map((operand): KernelParameter => ({ kind: "operand", operand })),
    notes: planNotes(kernel, plan),
  };
};

const attentionView = (
  kernel: AttentionKernel,
  header: KernelHeader,
  plan: AttentionPlan,
  names: ReadonlyMap<number, string>,
): AttentionView => {
  const titles = plan.jobs.length === 1 ? ["Attention"] : ["GridAttention", "PrefixAttention"];
  const jobs = plan.jobs.map((job, i) => jobView(kernel, plan, job, titles[i] ?? "Attention", names));
  const loopOf: { readonly [L in JobView["loop"]]: string } = {
    attend_resident: "resident",
    attend_in_turn: "turns",
    attend_stream: "stream",
  };
  const loops = new Set(jobs.map(({ loop }) => loopOf[loop]));
  const exact = kernel.precision === "f32";
  const blocks = jobs.reduce((sum, job) => sum + job.blocks, 0);
  const several = jobs.length > 1;
  const reads = (name: string): boolean =>
    jobs.some(({ block }) =>
      [...block.locals, ...block.members].some(({ value }) => new RegExp(`\\b${name}\\b`).test(value)),
    );
  return {
    header: headerComment(header, planNotes(kernel, plan)),
    name: header.name,
    includes: [
      ...[...loops].toSorted().map((loop) => `attention/${loop}.cuh`),
      exact ? "attention/exact.cuh" : "attention/tensor.cuh",
      "lib/math.cuh",
    ],
    element: cudaElement[kernel.precision],
    normalize: kernel.normalize,
    slab: exact ? "ExactSlab" : "TensorSlab",
    warps: plan.warps,
    threads: plan.warps * 32,
    minBlocks: plan.minBlocks,
    sharedBytes: plan.sharedBytes,
    parameters: [...names].map(([operand, name]) => parameterText(kernel, operand, name)),
    jobs,
    place: [
      ...(reads("example") ? [`const int64_t example = blockIdx.x / ${blocks};`] : []),
      ...(several || reads("index")
        ? [`${several ? "" : "const "}int index = (int)(blockIdx.x${kernel.batched ? ` % ${blocks}` : ""});`]
        : []),
    ],
    alone: !several,
    firstBlocks: jobs[0]?.blocks ?? 0,
  };
};

const parameterText = (kernel: AttentionKernel, operand: number, name: string): string => {
  const { out, split } = kernel;
  const written = [out.grid.operand, out.prefix?.operand, split?.partials].includes(operand);
  return `${written ? "" : "const "}${cudaElement[kernel.operands[operand]?.storage ?? kernel.precision]}* __restrict__ ${name}`;
};

/** Names of the operands by what they hold: `qkv` where q, k and v are columns of one. */
const operandNames = (kernel: AttentionKernel, plan: AttentionPlan): ReadonlyMap<number, string> => {
  const held = new Map<number, string>();
  const note = (operand: number, name: string): void => void held.set(operand, (held.get(operand) ?? "") + name);
  for (const role of ["q", "k", "v"] as const) note(kernel[role].grid.operand, role);
  for (const role of ["q", "k", "v"] as const) {
    const prefix = kernel[role].prefix;
    if (prefix !== null && !held.has(prefix.operand)) note(prefix.operand, `${role}_prefix`);
  }
  for (const role of ["query", "key", "value"] as const) {
    const table = kernel.positions?.[role] ?? null;
    if (table !== null && !held.has(table.operand)) note(table.operand, `${role}_positions`);
  }
  for (const [i, table] of kernel.tables.entries()) if (!held.has(table.operand)) note(table.operand, `table${i}`);
  // Where all keys are split, another kernel writes the results.
  const { split } = kernel;
  if (plan.jobs.some((job) => job.split === null)) {
    note(kernel.out.grid.operand, "out");
    const prefix = kernel.out.prefix;
    if (prefix !== null && !held.has(prefix.operand)) note(prefix.operand, "out_prefix");
  }
  if (split !== null) note(split.partials, "partials");
  return new Map([...held].toSorted(([a], [b]) => a - b));
};
