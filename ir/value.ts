import { GraphError } from "./errors.ts";
import { type Layout, printLayout } from "./layout.ts";
import { layoutPlaces, type LayoutSteps } from "./layoutOffset.ts";
import { tokensOf } from "./tokens.ts";
import { gridRows, prefixRows, rowsOf, sizeOf, type TensorType } from "./types.ts";
import { printType } from "./typeText.ts";

/** A value that has been computed: examples (one, where the type has no batch), each its rows, each its channels. */
export type Value = { readonly type: TensorType; readonly examples: number; readonly data: Float64Array };

const createValue = (type: TensorType, batch: number): Value => {
  const examples = type.batch ? batch : 1;
  return { type, examples, data: new Float64Array(examples * rowsOf(type) * type.channels) };
};

/** The elements of one example; of the only one, where all examples share it. */
export const exampleOf = ({ type, examples, data }: Value, example: number): Float64Array => {
  const size = rowsOf(type) * type.channels;
  const start = examples === 1 ? 0 : example * size;
  return data.subarray(start, start + size);
};

export const mapExamples = (
  type: TensorType,
  batch: number,
  compute: (result: Float64Array, example: number) => void,
): Value => {
  const value = createValue(type, batch);
  for (let example = 0; example < value.examples; example++) compute(exampleOf(value, example), example);
  return value;
};

/**
 * For each row of `to` the row of `from` at the same coordinates, -1 where there is none. `along` may say which
 * coordinate of `from` each row of `to` has on an axis (-1: outside); by default it is the row's own.
 * A prefix row is a prefix row of `from`, or, if that has none, the grid row at its coordinates.
 */
export const rowMap = (
  from: TensorType,
  to: TensorType,
  along: (axis: string) => ArrayLike<number> | undefined = () => undefined,
): Int32Array => {
  const tokens = tokensOf(to);
  const map = new Int32Array(tokens.rows);
  const front = prefixRows(from);
  const add = (axis: string, step: number, start: number, end: number): void => {
    const own = tokens.coordinates.get(axis);
    const changed = start >= tokens.prefixRows ? along(axis) : undefined;
    const coordinates = changed ?? own ?? new Int32Array(tokens.rows);
    for (let row = start; row < end; row++) {
      const coordinate = coordinates[row] ?? 0;
      map[row] = coordinate < 0 || (map[row] ?? 0) < 0 ? -1 : (map[row] ?? 0) + coordinate * step;
    }
  };
  const addGrid = (start: number, end: number): void => {
    map.fill(front, start, end);
    let step = gridRows(from);
    for (const { axis, size } of from.axes) add(axis, (step /= size), start, end);
  };
  addGrid(tokens.prefixRows, tokens.rows);
  if (from.prefix.count === 0) {
    addGrid(0, tokens.prefixRows);
    return map;
  }
  for (let row = 0; row < tokens.prefixRows; row++) map[row] = tokens.prefixIndex[row] ?? 0;
  let step = front;
  for (const axis of from.prefix.over) add(axis, (step /= sizeOf(from, axis) ?? 1), 0, tokens.prefixRows);
  return map;
};

/** An array in a layout, as rows and channels. */
export const fromLayout = (
  array: ArrayLike<number>,
  layout: Layout,
  type: TensorType,
  batch: number,
  name: string,
): Value => {
  const value = createValue(type, batch);
  if (array.length !== value.data.length) {
    const examples = type.batch ? ` for ${batch} examples` : "";
    throw new GraphError(
      `"${name}" has ${array.length} elements; ${printType(type)} laid out as "${printLayout(layout)}" has ${value.data.length}${examples}`,
    );
  }
  const offsets = elementOffsets(layout, type, batch);
  for (let index = 0; index < value.data.length; index++) value.data[index] = array[offsets(index)] ?? Number.NaN;
  return value;
};

/** A value as a dense array in a layout. */
export const toLayout = (value: Value, layout: Layout, batch: number): Float64Array => {
  const array = new Float64Array(value.data.length);
  const offsets = elementOffsets(layout, value.type, batch);
  for (let index = 0; index < value.data.length; index++) array[offsets(index)] = value.data[index] ?? Number.NaN;
  return array;
};

/** Where in the array each element of a value lies. */
const elementOffsets = (layout: Layout, type: TensorType, batch: number): ((index: number) => number) => {
  const { grid, prefix, batchStep } = layoutPlaces(layout, type, batch);
  const tokens = tokensOf(type);
  const offset = ({ start, steps }: LayoutSteps, row: number): number => {
    let sum = start;
    for (const [factor, step] of steps) {
      const coordinate = tokens.coordinates.get(factor)?.[row] ?? (factor === "prefix" ? tokens.prefixIndex[row] : 0);
      sum += (coordinate ?? 0) * step;
    }
    return sum;
  };
  const rows = Float64Array.from({ length: tokens.rows }, (_, row) =>
    offset(prefix !== null && row < tokens.prefixRows ? prefix : grid, row),
  );
  const steps = [prefix?.steps.get("c") ?? 0, grid.steps.get("c") ?? 0];
  const { channels } = type;
  const size = tokens.rows * channels;
  return (index) => {
    const row = Math.floor((index % size) / channels);
    const step = steps[row < tokens.prefixRows ? 0 : 1] ?? 0;
    return Math.floor(index / size) * batchStep + (rows[row] ?? 0) + (index % channels) * step;
  };
};
