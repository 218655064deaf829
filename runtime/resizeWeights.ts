import type { ParameterSlot, Program } from "../ir/program.ts";
import { bicubicTaps, nearestTaps, type Resizing } from "../ir/resizing.ts";
import type { Checkpoint, CheckpointTensor } from "./checkpoint.ts";
import { publishedGrid } from "./publishedGrid.ts";
import * as values from "./values.ts";

/**
 * The checkpoint with every table of positions that has another size resized to the program's, as the model says its
 * authors do: relative biases and absolute positions of Swin bicubically (arXiv 2103.14030), positions and times of
 * TimeSformer to the nearest (arXiv 2102.05095). Computed in float64 when it is read. What can't be resized stays as it
 * is: loading names it.
 */
export const resizeWeights = (program: Pick<Program, "parameters">, checkpoint: Checkpoint): Checkpoint => {
  const slots = new Map(program.parameters.map((slot) => [slot.name, slot]));
  const tensors = [...checkpoint.tensors].map(([name, tensor]) => {
    const slot = slots.get(name);
    return [name, slot === undefined ? tensor : resizedTensor(slot, tensor)] as const;
  });
  return { source: checkpoint.source, tensors: new Map(tensors) };
};

/** The same tensor where it fits, or can't be made to. */
const resizedTensor = (slot: ParameterSlot, tensor: CheckpointTensor): CheckpointTensor => {
  const { resizing, shape } = slot;
  const from = publishedGrid(slot, tensor.shape);
  if (resizing === null || from === null || values.countOf(shape) === values.countOf(tensor.shape)) return tensor;
  return {
    shape,
    values: () => resizeTable(new Float64Array(tensor.values()), from, resizing),
  };
};

/** Rows of channels on a grid of extents `from`, after the leading ones, brought to the grid that `resizing` names. */
export const resizeTable = (
  data: Float64Array,
  from: readonly number[],
  { mode, grid, leading }: Resizing,
): Float64Array => {
  const channels = data.length / (leading + values.countOf(from));
  const front = data.subarray(0, leading * channels);
  const taps = mode === "bicubic" ? bicubicTaps : nearestTaps;
  let table: values.Values = { shape: [...from, channels], data: data.subarray(leading * channels) };
  for (const [axis, size] of grid.entries()) {
    const before = from[axis] ?? 1;
    if (before === size) continue;
    const { index, weights } = taps(before, size);
    table = values.interpolate(table, axis, index, weights);
  }
  const result = new Float64Array(front.length + table.data.length);
  result.set(front);
  result.set(table.data, front.length);
  return result;
};
