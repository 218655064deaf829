import type { SampleAttrs } from "./graph.ts";
import { extentsOf, sampledOf, sizeOfAll } from "./inferSample.ts";
import { tokensOf } from "./tokens.ts";
import { type Extent, rowsOf, sizeOf, type TensorType } from "./types.ts";
import { exampleOf, mapExamples, rowMap, type Value } from "./value.ts";

/** What sampling means, point by point. `type` is the result's. */
export const evaluateSample = (
  [points, weights, ...rest]: readonly [points: Value, weights: Value, ...rest: readonly Value[]],
  attrs: SampleAttrs,
  type: TensorType,
  batch: number,
): Value => {
  const { query, keys, maps } = sampledOf(rest, attrs);
  const heads = extentsOf(points.type, attrs.heads);
  const headCount = sizeOfAll(heads);
  const rows = rowsOf(points.type);
  const headOf = flatAlong(points.type, heads);
  const levelOf = flatAlong(points.type, extentsOf(points.type, attrs.levels));
  const resultRow = rowMap(type, points.type);
  const weightRow = rowMap(weights.type, points.type);
  const queryRow = query === null ? resultRow : rowMap(query.type, points.type);
  const samplers = { maps: maps.map(samplerOf), keys: keys.map(samplerOf) };
  function samplerOf({ type: map }: Value): Sampler {
    return sampler(map, points.type, attrs, headCount);
  }
  return mapExamples(type, batch, (result, example) => {
    const at = exampleOf(points, example);
    const given = exampleOf(weights, example);
    const asked = query === null ? null : exampleOf(query, example);
    const group = (row: number): number => (resultRow[row] ?? 0) * headCount + (headOf[row] ?? 0);
    const valuesOf = (each: readonly Value[]): readonly Float64Array[] => each.map((map) => exampleOf(map, example));
    const sampleInto = (
      to: Float64Array,
      start: number,
      row: number,
      [from, by]: readonly [readonly Float64Array[], readonly Sampler[]],
      weight: number,
    ): void => {
      const level = levelOf[row] ?? 0;
      const [map, values] = [by[level], from[level]];
      if (map === undefined || values === undefined) return;
      const place = [at[row * 2] ?? Number.NaN, at[row * 2 + 1] ?? Number.NaN] as const;
      map({ row, place, head: headOf[row] ?? 0, weight, from: values, to, start });
    };
    const [keysAt, mapsAt] = [valuesOf(keys), valuesOf(maps)];
    const width = asked === null ? 0 : (query?.type.channels ?? 0) / headCount;
    const key = new Float64Array(width);
    const scoreOf = (row: number): number => {
      if (asked === null) return 0;
      key.fill(0);
      sampleInto(key, 0, row, [keysAt, samplers.keys], 1);
      const start = ((queryRow[row] ?? 0) * headCount + (headOf[row] ?? 0)) * width;
      return (attrs.scale ?? 0) * key.reduce((sum, each, c) => sum + each * (asked[start + c] ?? Number.NaN), 0);
    };
    const raw = Float64Array.from(weightRow, (from, row) => (given[from] ?? Number.NaN) + scoreOf(row));
    const weight = attrs.normalize === "none" ? raw : softmaxOf(raw, group, rowsOf(type) * headCount);
    const perHead = type.channels / headCount;
    for (let row = 0; row < rows; row++) {
      const start = (resultRow[row] ?? 0) * type.channels + (headOf[row] ?? 0) * perHead;
      sampleInto(result, start, row, [mapsAt, samplers.maps], weight[row] ?? 0);
    }
  });
};

/** Adds `weight` times a map's pixels around a place to `to`, from `start` on. */
type Sampler = (point: {
  readonly row: number;
  readonly place: readonly [first: number, second: number];
  readonly head: number;
  readonly weight: number;
  readonly from: Float64Array;
  readonly to: Float64Array;
  readonly start: number;
}) => void;

const sampler = (map: TensorType, points: TensorType, attrs: SampleAttrs, heads: number): Sampler => {
  const width = map.channels / heads;
  const origin = new Int32Array(rowsOf(points));
  const [first = none, second = none] = attrs.axes.map((axis) => ({
    size: sizeOf(map, axis) ?? 1,
    step: stepOf(map, axis),
  }));
  const rows = rowMap(map, points, (axis) => (attrs.axes.includes(axis) ? origin : undefined));
  return ({ row, place, head, weight, from, to, start }) => {
    for (const a of cornersOf(place[0], first.size, attrs)) {
      for (const b of cornersOf(place[1], second.size, attrs)) {
        const share = a.weight * b.weight * weight;
        if (share === 0) continue;
        const pixel = (rows[row] ?? 0) + a.index * first.step + b.index * second.step;
        const source = pixel * map.channels + head * width;
        for (let c = 0; c < width; c++) to[start + c] = (to[start + c] ?? 0) + share * (from[source + c] ?? 0);
      }
    }
  };
};

const none = { size: 1, step: 0 };

type Corner = { readonly index: number; readonly weight: number };

/** The pixels on both sides of a position on one axis. */
const cornersOf = (coordinate: number, size: number, { coordinates, padding }: SampleAttrs): readonly Corner[] => {
  let position = coordinate;
  if (coordinates === "edges") position = coordinate * size - 0.5;
  if (coordinates === "centres") position = coordinate * (size - 1);
  if (padding === "border") position = Math.min(size - 1, Math.max(0, position));
  if (!Number.isFinite(position)) return [];
  const below = Math.floor(position);
  return [
    { index: below, weight: below + 1 - position },
    { index: below + 1, weight: position - below },
  ].filter(({ index, weight }) => index >= 0 && index < size && weight > 0);
};

const softmaxOf = (scores: Float64Array, group: (row: number) => number, groups: number): Float64Array => {
  const most = new Float64Array(groups).fill(-Infinity);
  const sums = new Float64Array(groups);
  for (const [row, score] of scores.entries()) most[group(row)] = Math.max(most[group(row)] ?? -Infinity, score);
  const exps = scores.map((score, row) => (score === -Infinity ? 0 : Math.exp(score - (most[group(row)] ?? 0))));
  for (const [row, exp] of exps.entries()) sums[group(row)] = (sums[group(row)] ?? 0) + exp;
  return exps.map((exp, row) => (exp === 0 ? 0 : exp / (sums[group(row)] ?? 1)));
};

/** For each row, the flat position along some of its axes. */
const flatAlong = (type: TensorType, axes: readonly Extent[]): Int32Array => {
  const { coordinates, rows } = tokensOf(type);
  const flat = new Int32Array(rows);
  for (const { axis, size } of axes)
    for (let row = 0; row < rows; row++) flat[row] = (flat[row] ?? 0) * size + (coordinates.get(axis)?.[row] ?? 0);
  return flat;
};

/** Rows between neighbours along an axis. */
const stepOf = (type: TensorType, axis: string): number => {
  const at = type.axes.findIndex((extent) => extent.axis === axis);
  return type.axes.slice(at + 1).reduce((step, { size }) => step * size, 1);
};
