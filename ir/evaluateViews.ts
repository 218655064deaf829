import type { AxisSize, Ops } from "./graph.ts";
import { tokensOf } from "./tokens.ts";
import { prefixRows, rowsOf, sizeOf, type TensorType } from "./types.ts";
import { exampleOf, mapExamples, rowMap, type Value } from "./value.ts";

/** What views mean: every element of the result is one of an input's, or zero. `type` is the result's. */

type Copy = {
  /** For each row of the result the row it is copied from; -1 leaves it zero. */
  readonly rows: ArrayLike<number>;
  readonly width: number;
  /** The first channel that is read and the first that is written; for each row, or the same for all. */
  readonly from: ArrayLike<number> | number;
  readonly to: number;
};

const copyRows = (
  x: Float64Array,
  channels: number,
  result: Float64Array,
  resultChannels: number,
  copy: Copy,
): void => {
  const { rows, width, from, to } = copy;
  for (let row = 0; row < rows.length; row++) {
    const source = rows[row] ?? -1;
    if (source < 0) continue;
    const start = source * channels + (typeof from === "number" ? from : (from[row] ?? 0));
    result.set(x.subarray(start, start + width), row * resultChannels + to);
  }
};

const copied = (x: Value, type: TensorType, batch: number, copies: readonly Copy[]): Value =>
  mapExamples(type, batch, (result, example) => {
    for (const copy of copies) copyRows(exampleOf(x, example), x.type.channels, result, type.channels, copy);
  });

/** All channels of other rows. */
export const evaluateRows = (
  x: Value,
  type: TensorType,
  batch: number,
  along?: (axis: string) => ArrayLike<number> | undefined,
): Value => copied(x, type, batch, [{ rows: rowMap(x.type, type, along), width: type.channels, from: 0, to: 0 }]);

export const evaluatePrefix = (x: Value, type: TensorType, batch: number): Value => {
  const rows = Int32Array.from({ length: prefixRows(x.type) }, (_, row) => row);
  return copied(x, type, batch, [{ rows, width: type.channels, from: 0, to: 0 }]);
};

export const evaluateWithPrefix = (x: Value, prefix: Value, type: TensorType, batch: number): Value =>
  mapExamples(type, batch, (result, example) => {
    const front = exampleOf(prefix, example);
    result.set(front);
    result.set(exampleOf(x, example), front.length);
  });

export const evaluateRename = (x: Value, type: TensorType): Value => ({ ...x, type });

export const evaluateChannels = (
  x: Value,
  { groups, start, width }: Ops["channels"]["attrs"],
  type: TensorType,
  batch: number,
): Value => {
  const rows = rowMap(x.type, type);
  const run = x.type.channels / groups;
  const copies = Array.from({ length: groups }, (_, group) => ({
    rows,
    width,
    from: group * run + start,
    to: group * width,
  }));
  return copied(x, type, batch, copies);
};

export const evaluateConcat = (
  inputs: readonly Value[],
  { over }: Ops["concat"]["attrs"],
  type: TensorType,
  batch: number,
): Value => {
  let start = 0;
  const parts = inputs.map((x) => {
    const before = start;
    start += over === "channels" ? x.type.channels : (sizeOf(x.type, over.axis) ?? 0);
    const rows =
      over === "channels"
        ? rowMap(x.type, type)
        : rowMap(x.type, type, shifted(type, over.axis, before, sizeOf(x.type, over.axis) ?? 0));
    return { x, copy: { rows, width: x.type.channels, from: 0, to: over === "channels" ? before : 0 } };
  });
  return mapExamples(type, batch, (result, example) => {
    for (const { x, copy } of parts) copyRows(exampleOf(x, example), x.type.channels, result, type.channels, copy);
  });
};

type Along = (axis: string) => ArrayLike<number> | undefined;

/** Each coordinate as a function of the result's. */
const moved = (
  type: TensorType,
  axes: readonly string[],
  move: (axis: string, coordinate: number) => number,
): Along => {
  const { coordinates } = tokensOf(type);
  const changed = new Map(axes.map((axis) => [axis, coordinates.get(axis)?.map((at) => move(axis, at))]));
  return (axis) => changed.get(axis);
};

const inside = (coordinate: number, extent: number): number =>
  coordinate >= 0 && coordinate < extent ? coordinate : -1;

const shifted = (type: TensorType, axis: string, by: number, extent: number): Along =>
  moved(type, [axis], (_, at) => inside(at - by, extent));

export const evaluatePad = (x: Value, { before }: Ops["pad"]["attrs"], type: TensorType, batch: number): Value => {
  const axes = x.type.axes.map(({ axis }) => axis);
  const along = moved(type, axes, (axis, at) => inside(at - (before[axis] ?? 0), sizeOf(x.type, axis) ?? 0));
  return evaluateRows(x, type, batch, along);
};

export const evaluateSlice = (x: Value, attrs: Ops["slice"]["attrs"], type: TensorType, batch: number): Value =>
  evaluateRows(
    x,
    type,
    batch,
    moved(type, [attrs.axis], (_, at) => attrs.start + at * attrs.step),
  );

/** All coordinates of a block, in order, the last axis fastest. */
const blockPositions = (size: readonly AxisSize[]): readonly ReadonlyMap<string, number>[] =>
  size.reduce<readonly ReadonlyMap<string, number>[]>(
    (positions, { axis, size: count }) =>
      positions.flatMap((position) => Array.from({ length: count }, (_, at) => new Map([...position, [axis, at]]))),
    [new Map()],
  );

export const evaluateMerge = (x: Value, { size }: Ops["merge"]["attrs"], type: TensorType, batch: number): Value => {
  const sizes = new Map(size.map((each) => [each.axis, each.size]));
  const copies = blockPositions(size).map((position, index) => {
    const along = moved(type, [...sizes.keys()], (axis, at) =>
      inside(at * (sizes.get(axis) ?? 1) + (position.get(axis) ?? 0), sizeOf(x.type, axis) ?? 0),
    );
    return { rows: rowMap(x.type, type, along), width: x.type.channels, from: 0, to: index * x.type.channels };
  });
  return copied(x, type, batch, copies);
};

export const evaluateUnmerge = (
  x: Value,
  { size }: Ops["unmerge"]["attrs"],
  type: TensorType,
  batch: number,
): Value => {
  const sizes = new Map(size.map((each) => [each.axis, each.size]));
  const along = moved(type, [...sizes.keys()], (axis, at) => Math.floor(at / (sizes.get(axis) ?? 1)));
  const from = channelStarts(type, size, (at, count) => at % count);
  return copied(x, type, batch, [{ rows: rowMap(x.type, type, along), width: type.channels, from, to: 0 }]);
};

export const evaluateUnpack = (x: Value, { sizes }: Ops["unpack"]["attrs"], type: TensorType, batch: number): Value => {
  const from = channelStarts(type, sizes, (at) => at);
  return copied(x, type, batch, [{ rows: rowMap(x.type, type), width: type.channels, from, to: 0 }]);
};

/** The first channel of each row where coordinates were channels: flat(coordinates of `sizes`) * channels. */
const channelStarts = (
  type: TensorType,
  sizes: readonly AxisSize[],
  part: (coordinate: number, size: number) => number,
): Int32Array => {
  const { coordinates } = tokensOf(type);
  return Int32Array.from({ length: rowsOf(type) }, (_, row) => {
    const flat = sizes.reduce((all, { axis, size }) => all * size + part(coordinates.get(axis)?.[row] ?? 0, size), 0);
    return flat * type.channels;
  });
};

export const evaluatePack = (x: Value, { axes }: Ops["pack"]["attrs"], type: TensorType, batch: number): Value => {
  const rows = rowsOf(type);
  const sizes = axes.map((axis) => ({ axis, size: sizeOf(x.type, axis) ?? 1 }));
  const copies = blockPositions(sizes).map((position, index) => {
    const along: Along = (axis) => {
      const at = position.get(axis);
      return at === undefined ? undefined : new Int32Array(rows).fill(at);
    };
    return { rows: rowMap(x.type, type, along), width: x.type.channels, from: 0, to: index * x.type.channels };
  });
  return copied(x, type, batch, copies);
};
