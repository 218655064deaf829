import { reservedNames } from "../../ir/layout.ts";
import { sizeOf, type Extent, type TensorType } from "../../ir/types.ts";
import { didYouMean } from "../diagnostics.ts";
import { fail } from "./trace.ts";

/** The name of an axis: "t", "h", "w", "n", … Free to choose; sizes are checked when the model is traced. */
export type Axis = string;
export type Sizes<A extends Axis> = { readonly [X in A]: number };
/** A position: `q.t`, `k.h`. Coordinates of a prefix token are 0 on axes that it is not repeated over. */
export type At<A extends Axis> = { readonly [X in A]: number } & { readonly isPrefix: boolean };

/** `b` and `c` are the batch and the channels of a layout; the others are fields of a position. */
const reserved = new Set([...reservedNames, "isPrefix", "channel"]);

/** The extents of `sizes`, in the order in which they are named. */
export function extentsOf(op: string, sizes: Sizes<Axis>): readonly Extent[] {
  return Object.entries(sizes).map(([axis, size]) => {
    if (reserved.has(axis) || !/^[A-Za-z][A-Za-z0-9]*$/.test(axis))
      fail(
        "bad-argument",
        { op, problem: `"${axis}" cannot name an axis` },
        "a name is letters and digits, and not b or c",
      );
    return { axis, size: positive(op, axis, size) };
  });
}

export function positive(op: string, what: string, size: number): number {
  if (!Number.isInteger(size) || size < 1)
    fail("bad-argument", { op, problem: `${what} is ${size}, and must be a whole number of at least one` });
  return size;
}

/** The extent of an axis that must be there. */
export function sizeAlong(op: string, type: TensorType, axis: string): number {
  const size = sizeOf(type, axis);
  if (size !== undefined) return size;
  const axes = type.axes.map((extent) => extent.axis);
  return fail("unknown-axis", { op, axis, axes }, didYouMean(axis, axes));
}

export const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);
