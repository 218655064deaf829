import { GraphError } from "./errors.ts";
import { extentOf, positive, withoutPrefix } from "./inferCompute.ts";
import { sizeOf, type TensorType } from "./types.ts";
import { printType } from "./typeText.ts";

/** Types of the ops that look at many elements for each of their results. */

export const inferTopK = (x: TensorType, count: number, axes: readonly string[]): TensorType => {
  positive("topK", "the count", count);
  const type = withAxis("topK", x, axes, "rank", count);
  const there = axes.reduce((all, axis) => all * extentOf("topK", x, axis).size, 1);
  if (count > there)
    throw new GraphError(`topK: there are ${there} elements over ${axes.join(", ")} of ${printType(x)}, not ${count}`);
  return type;
};

export const inferHistogram = (x: TensorType, bins: number, axes: readonly string[]): TensorType => {
  positive("histogram", "the number of bins", bins);
  if (x.element !== "int") throw new GraphError(`histogram counts whole numbers, and ${printType(x)} holds others`);
  return withAxis("histogram", x, axes, "bin", bins);
};

export const inferTake = (x: TensorType, numbers: TensorType, axis: string): TensorType => {
  for (const each of [x, numbers]) withoutPrefix("take", each);
  extentOf("take", x, axis);
  if (numbers.channels !== 1)
    throw new GraphError(`take: one number names a position, and a token of ${printType(numbers)} holds more`);
  for (const other of x.axes)
    if (other.axis !== axis && sizeOf(numbers, other.axis) !== other.size)
      throw new GraphError(
        `take: ${printType(x)} has an axis "${other.axis}" of ${other.size}, and the numbers ${printType(numbers)} have none such`,
      );
  return { ...numbers, element: x.element, batch: x.batch || numbers.batch, channels: x.channels };
};

const withAxis = (op: string, x: TensorType, axes: readonly string[], axis: string, size: number): TensorType => {
  withoutPrefix(op, x);
  for (const each of axes) extentOf(op, x, each);
  const rest = x.axes.filter((extent) => !axes.includes(extent.axis));
  if (axes.length === 0) throw new GraphError(`${op} names no axis to look along`);
  if (sizeOf({ ...x, axes: rest }, axis) !== undefined)
    throw new GraphError(`${op}: ${printType(x)} has an axis "${axis}" already`);
  return { ...x, axes: [...rest, { axis, size }] };
};
