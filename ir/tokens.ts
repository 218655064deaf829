import { gridRows, prefixRows, rowsOf, sizeOf, type TensorType } from "./types.ts";

/** The coordinates of each row of an example. */
export type Tokens = {
  readonly rows: number;
  readonly prefixRows: number;
  /** By axis of the type, one number a row; 0 where a prefix token has no coordinate on the axis. */
  readonly coordinates: ReadonlyMap<string, Int32Array>;
  /** The index of a prefix token, 0 for grid tokens. */
  readonly prefixIndex: Int32Array;
};

export const tokensOf = (type: TensorType): Tokens => {
  const rows = rowsOf(type);
  const front = prefixRows(type);
  const coordinates = new Map<string, Int32Array>();
  let step = gridRows(type);
  for (const { axis, size } of type.axes) {
    step /= size;
    const values = new Int32Array(rows);
    for (let row = front; row < rows; row++) values[row] = Math.floor((row - front) / step) % size;
    coordinates.set(axis, values);
  }
  const prefixIndex = new Int32Array(rows);
  const { count, over } = type.prefix;
  for (let row = 0; row < front; row++) prefixIndex[row] = row % count;
  step = front;
  for (const axis of over) {
    const size = sizeOf(type, axis) ?? 1;
    step /= size;
    const values = coordinates.get(axis) ?? new Int32Array(0);
    for (let row = 0; row < front; row++) values[row] = Math.floor(row / step) % size;
  }
  return { rows, prefixRows: front, coordinates, prefixIndex };
};
