import { emitAttention } from "../../compiler/emit/attention.ts";
import { emitCombine } from "../../compiler/emit/combine.ts";
import { partialsOperand } from "../../compiler/schedule/attention/split.ts";
import { usualTarget } from "../../compiler/schedule/target.ts";
import type { AttentionKernel } from "../../compiler/schedule/kernels.ts";
import { attentionReference, attentionValues, header } from "./attentionCase.ts";
import { launch, type Checks, type LaunchResult } from "./harness.ts";

/** The same attention with its keys in so many chunks, job by job. */
export const splitInto = (kernel: AttentionKernel, chunks: readonly number[]): AttentionKernel => {
  const split = { ...kernel, split: { chunks, partials: kernel.operands.length } };
  return { ...split, operands: [...kernel.operands, partialsOperand(split, usualTarget)] };
};

export type SplitOutcome = {
  /** The largest error relative to the largest value. */
  readonly worst: number;
  readonly out: Float64Array;
  readonly attended: LaunchResult;
  readonly source: string;
};

/** Attends chunk by chunk, combines, and compares with the reference. */
export const runSplit = async (
  kernel: AttentionKernel,
  batch: number,
  checks: Checks = {},
  given: readonly (Float64Array | null)[] = attentionValues(kernel, batch),
): Promise<SplitOutcome> => {
  const { split, operands } = kernel;
  if (split === null) throw new Error("no keys are split");
  const first = emitAttention(kernel, header("attention_0"));
  const values = given.map((data, i) => (i === split.partials ? null : data));
  const settings = { counters: 0, ...checks };
  const attended = await launch({ name: "attention_0", kernel: first, operands, values, batch }, settings);
  const out = kernel.out.grid.operand;
  const left = operands.map((_, i) => (i === split.partials || i === out ? (attended.values[i] ?? null) : null));
  const second = emitCombine(
    { kind: "combine", precision: kernel.precision, operands, attention: kernel },
    header("combine_0"),
  );
  const combined = await launch({ name: "combine_0", kernel: second, operands, values: left, batch }, settings);
  const got = combined.values[out] ?? new Float64Array(0);
  const expected = attentionReference(kernel, values, batch).get(out) ?? new Float64Array(0);
  const most = expected.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const worst = expected.reduce((a, b, i) => Math.max(a, Math.abs((got[i] ?? Number.NaN) - b) / most), 0);
  return { worst: Number.isNaN(worst) ? Infinity : worst, out: got, attended, source: first.source };
};
