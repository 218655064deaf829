import { lengthsOf, type Lengths } from "../../../ir/lengths.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import { literal, variable } from "../../../ir/scalarBuild.ts";
import { substitute, variablesOf } from "../../../ir/scalarWalk.ts";
import type { AttentionKernel } from "../kernels.ts";
import { partName, type Groups, type GroupTokens } from "./groups.ts";

/** Lengths of what a thread block attends. */
export type JobLengths = Omit<Lengths, "index"> & {
  /** Of the table, in variables `part.AXIS`. */
  readonly index: readonly Scalar[];
  /** Whether slots of queries are positions on the axis that has a length. */
  readonly boundsQueries: boolean;
};
/** Lengths that all tokens of a group share, whose keys are the positions of one axis. */
export const jobLengths = (
  kernel: AttentionKernel,
  groups: Groups,
  query: GroupTokens,
  key: GroupTokens,
): JobLengths | null => {
  const found = lengthsOf(kernel.score);
  if (found === null || query.prefixCount + key.prefixCount > 0) return null;
  const isLine = (tokens: GroupTokens, axis: string): boolean =>
    tokens.axes.every(
      (each) => (each.axis === axis && each.part === undefined && each.local === each.size) || each.local === 1,
    );
  if (!isLine(key, found.keyAxis)) return null;
  const parts: { [name: string]: Scalar } = {};
  for (const { axis, part } of groups.axes) if (part.kind === "same") parts[`k.${axis}`] = variable(partName(axis));
  for (const { axis, size } of kernel.key.axes) if (size === 1) parts[`k.${axis}`] = literal(0);
  const index = found.index.map((each) => substitute(each, parts));
  if (index.some((each) => [...variablesOf(each)].some((name) => !name.startsWith("part.")))) return null;
  return { ...found, index, boundsQueries: found.queryAxis !== null && isLine(query, found.queryAxis) };
};
