import { GraphError } from "./errors.ts";
import type { SampleAttrs } from "./graph.ts";
import { extentOf, withoutPrefix } from "./inferCompute.ts";
import { type Extent, noPrefix, sizeOf, type TensorType } from "./types.ts";
import { printType } from "./typeText.ts";

type SampleTypes = readonly [points: TensorType, weights: TensorType, ...maps: readonly TensorType[]];

/** What a sampling reads besides points and weights. */
export type Sampled<T> = { readonly query: T | null; readonly keys: readonly T[]; readonly maps: readonly T[] };
export const sampledOf = <T>(maps: readonly T[], { scale }: SampleAttrs): Sampled<T> => {
  if (scale === null) return { query: null, keys: [], maps };
  const levels = Math.floor((maps.length - 1) / 2);
  return { query: maps[0] ?? null, keys: maps.slice(1, 1 + levels), maps: maps.slice(1 + levels) };
};

export const inferSample = (inputs: SampleTypes, attrs: SampleAttrs): TensorType => {
  const [points, weights, ...rest] = inputs;
  const { query, keys, maps } = sampledOf(rest, attrs);
  for (const type of inputs) withoutPrefix("sample", type);
  const first = maps[0];
  if (first === undefined) throw new GraphError("sample reads one map or more");
  checkPoints(points, attrs);
  checkWeights(weights, points);
  const levels = extentsOf(points, attrs.levels);
  if (sizeOfAll(levels) !== maps.length) {
    throw new GraphError(
      `sample: ${printType(points)} has points in ${sizeOfAll(levels)} maps${levels.length > 0 ? ` (${textOf(levels)})` : ""}, and there are ${maps.length}`,
      "the axes that number the maps have as many positions as there are maps",
    );
  }
  const heads = sizeOfAll(extentsOf(points, attrs.heads));
  for (const map of maps) checkMap(map, first, points, heads, attrs);
  const named = [...attrs.heads, ...attrs.levels, ...attrs.over];
  for (const [level, key] of keys.entries()) {
    checkMap(key, keys[0] ?? key, points, heads, attrs);
    checkKey(key, maps[level] ?? key, query ?? key, attrs);
  }
  if (query !== null) checkQuery(query, points, named);
  return {
    element: "float",
    batch: inputs.some(({ batch }) => batch),
    prefix: noPrefix,
    axes: points.axes.filter(({ axis }) => !named.includes(axis)),
    channels: first.channels,
  };
};

/** The extents of the points' axes named. */
export const extentsOf = (points: TensorType, axes: readonly string[]): readonly Extent[] =>
  axes.map((axis) => extentOf("sample", points, axis));

export const sizeOfAll = (extents: readonly Extent[]): number => extents.reduce((all, { size }) => all * size, 1);

const textOf = (extents: readonly Extent[]): string => extents.map(({ axis, size }) => `${axis} ${size}`).join(", ");

const checkPoints = (points: TensorType, { axes, heads, levels, over }: SampleAttrs): void => {
  if (axes.length !== 2 || axes[0] === axes[1])
    throw new GraphError(`sample: maps are sampled on two axes, not on [${axes.join(", ")}]`);
  if (points.channels !== 2) {
    throw new GraphError(
      `sample: a point is a position on "${axes[0]}" and one on "${axes[1]}", and ${printType(points)} has ${points.channels} channels`,
      "unpack the heads, levels and points of a projection: offsets.unpack({ head, level, point }) leaves two channels",
    );
  }
  const named = [...heads, ...levels, ...over];
  for (const axis of named) extentOf("sample", points, axis);
  const twice = named.find((axis, index) => named.indexOf(axis) !== index);
  if (twice !== undefined) throw new GraphError(`sample: the axis "${twice}" is named twice`);
};

const checkWeights = (weights: TensorType, points: TensorType): void => {
  if (weights.channels !== 1) {
    throw new GraphError(
      `sample: a point has one weight, and ${printType(weights)} has ${weights.channels} channels`,
      "unpack the heads, levels and points of a projection: weights.unpack({ head, level, point }) leaves one channel",
    );
  }
  for (const { axis, size } of weights.axes) {
    if (sizeOf(points, axis) === size) continue;
    throw new GraphError(
      `sample: weights ${printType(weights)} and points ${printType(points)} differ along "${axis}"`,
    );
  }
};

const checkKey = (key: TensorType, map: TensorType, query: TensorType, { axes }: SampleAttrs): void => {
  if (key.channels !== query.channels)
    throw new GraphError(`sample: a query ${printType(query)} and keys ${printType(key)} differ in channels`);
  for (const axis of axes)
    if (sizeOf(key, axis) !== sizeOf(map, axis))
      throw new GraphError(`sample: keys ${printType(key)} and values ${printType(map)} differ along "${axis}"`);
};

const checkQuery = (query: TensorType, points: TensorType, named: readonly string[]): void => {
  for (const { axis, size } of query.axes) {
    if (!named.includes(axis) && sizeOf(points, axis) === size) continue;
    throw new GraphError(
      `sample: a query ${printType(query)} has the axis "${axis}", which the result of points ${printType(points)} does not have so`,
      "a query has a run of channels for each head, and no axis of heads, levels or points",
    );
  }
};

const checkMap = (
  map: TensorType,
  first: TensorType,
  points: TensorType,
  heads: number,
  { axes, heads: headAxes, levels }: SampleAttrs,
): void => {
  for (const axis of axes) extentOf("sample", map, axis);
  if (map.channels !== first.channels)
    throw new GraphError(`sample: maps ${printType(first)} and ${printType(map)} differ in channels`);
  if (map.channels % heads !== 0)
    throw new GraphError(`sample: ${heads} heads do not divide the channels of ${printType(map)}`);
  for (const { axis, size } of map.axes) {
    if (axes.includes(axis)) continue;
    const there = headAxes.includes(axis) || levels.includes(axis) ? undefined : sizeOf(points, axis);
    if (there === size) continue;
    throw new GraphError(
      `sample: a map ${printType(map)} has the axis "${axis}", which points ${printType(points)} do not have so`,
    );
  }
};
