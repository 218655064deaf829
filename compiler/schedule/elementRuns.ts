import { add, variable } from "../../ir/scalarBuild.ts";
import type { Ranges } from "../../ir/scalarRange.ts";
import { linearIn, runLength } from "../../ir/scalarRuns.ts";
import { bytesOf } from "../../ir/types.ts";
import { runWidth } from "./gemmMap.ts";
import type { Access, Operand } from "./kernels.ts";

/**
 * How a thread that computes a run of neighbouring results meets an array: `run`: its elements lie side by side, one
 * access of up to 16 bytes moves four or eight; `same`: one element serves all; `each`: every result has its own access.
 */
export type RunForm = "run" | "same" | "each";

export function runForm(access: Access, operand: Operand, along: string, width: number, ranges: Ranges): RunForm {
  if (width === 1) return "each";
  if (moves(operand) && runWidth(access, along, operand.exampleStride, ranges, width) === width) return "run";
  // What stays the same within a run advances by one when the variable is added to it.
  const steady = [access.offset, access.valid].every(
    (each) => runLength(add(each, variable(along)), along, ranges, width) === width,
  );
  return steady ? "same" : "each";
}

/** Integers are moved one by one: runs go through floats, which do not hold them all. */
const moves = ({ storage }: Operand): boolean => storage !== "i32" && storage !== "u8";

/**
 * The longest run along a variable that 16 bytes of the narrowest array which lies along it hold, such that every array
 * which does lie along it can be met in whole runs. 1 where none does.
 */
export function chooseRunWidth(
  accesses: readonly Access[],
  operands: readonly Operand[],
  along: string,
  ranges: Ranges,
): number {
  const lying = accesses
    .filter(({ offset }) => strideAlong(offset, along, ranges) === 1)
    .map((access) => ({ access, operand: operandOf(operands, access) }));
  if (lying.length === 0 || lying.some(({ operand }) => !moves(operand))) return 1;
  const narrowest = Math.min(...lying.map(({ operand }) => bytesOf[operand.storage]));
  return lying.reduce(
    (width, { access, operand }) => Math.min(width, runWidth(access, along, operand.exampleStride, ranges, width)),
    16 / narrowest,
  );
}

/** How far apart neighbours along a variable lie; undefined where that differs from place to place, or there are none. */
export function strideAlong(offset: Access["offset"], along: string, ranges: Ranges): number | undefined {
  if (ranges[along]?.max === ranges[along]?.min) return undefined;
  const line = linearIn(offset, along, ranges);
  if (line !== undefined) return line.coefficient;
  if (runLength(offset, along, ranges, 2) === 2) return 1;
  return runLength(add(offset, variable(along)), along, ranges, 2) === 2 ? 0 : undefined;
}

export function operandOf(operands: readonly Operand[], access: Access): Operand {
  const operand = operands[access.operand];
  if (operand === undefined) throw new Error(`internal: there is no operand ${access.operand}`);
  return operand;
}
