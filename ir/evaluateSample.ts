import type { SampleAttrs } from "./graph.ts";
import { extentsOf, sampledOf, sizeOfAll } from "./inferSample.ts";
import { tokensOf } from "./tokens.ts";
import { type Extent, rowsOf, sizeOf, type TensorType } from "./types.ts";
import { exampleOf, mapExamples, rowMap, type Value } from "./value.ts";

type SampleValues = readonly [points: Value, weights: Value, ...rest: readonly Value[]];

/** What sampling means, point by point. `type` is the result's. */
export const evaluateSample = (inputs: SampleValues, attrs: SampleAttrs, type: TensorType, batch: number): Value => {
  const [points, , ...rest] = inputs;
  const { maps } = sampledOf(rest, attrs);
  const rowsOfPoints = pointRows(points.type, attrs, type);
  const { headCount, headOf, resultRow } = rowsOfPoints;
  const sample = sampleLevels(points, maps, attrs, rowsOfPoints);
  const weightsIn = sampleWeights(inputs, attrs, type);
  const width = type.channels / headCount;
  return mapExamples(type, batch, (result, example) => {
    const weights = weightsIn(example);
    const sampleInto = sample(example);
    for (const [row, weight] of weights.entries())
      sampleInto(result, (resultRow[row] ?? 0) * type.channels + (headOf[row] ?? 0) * width, row, weight);
  });
};

/** What each point of an example is weighed with, by row of the points: its share, where weights and scores are logits. */
export const sampleWeights = (
  [points, weights, ...rest]: SampleValues,
  attrs: SampleAttrs,
  type: TensorType,
): ((example: number) => Float64Array) => {
  const { query, keys } = sampledOf(rest, attrs);
  const rowsOfPoints = pointRows(points.type, attrs, type);
  const { headCount, headOf, resultRow } = rowsOfPoints;
  const weightRow = rowMap(weights.type, points.type);
  const queryRow = query === null ? resultRow : rowMap(query.type, points.type);
  const sample = sampleLevels(points, keys, attrs, rowsOfPoints);
  const group = (row: number): number => (resultRow[row] ?? 0) * headCount + (headOf[row] ?? 0);
  const width = (query?.type.channels ?? 0) / headCount;
  return (example) => {
    const given = exampleOf(weights, example);
    const asked = query === null ? null : exampleOf(query, example);
    const sampleInto = sample(example);
    const key = new Float64Array(width);
    const scoreOf = (row: number): number => {
      if (asked === null) return 0;
      key.fill(0);
      sampleInto(key, 0, row, 1);
      const start = ((queryRow[row] ?? 0) * headCount + (headOf[row] ?? 0)) * width;
      return (attrs.scale ?? 0) * key.reduce((sum, each, c) => sum + each * (asked[start + c] ?? Number.NaN), 0);
    };
    const raw = Float64Array.from(weightRow, (from, row) => (given[from] ?? Number.NaN) + scoreOf(row));
    return attrs.normalize === "none" ? raw : softmaxOf(raw, group, rowsOf(type) * headCount);
  };
};

/** Of each row of the points: its head, its map, and the row of the result that it is summed into. */
type PointRows = {
  readonly headCount: number;
  readonly headOf: Int32Array;
  readonly levelOf: Int32Array;
  readonly resultRow: Int32Array;
};
const pointRows = (points: TensorType, attrs: SampleAttrs, result: TensorType): PointRows => {
  const heads = extentsOf(points, attrs.heads);
  return {
    headCount: sizeOfAll(heads),
    headOf: flatAlong(points, heads),
    levelOf: flatAlong(points, extentsOf(points, attrs.levels)),
    resultRow: rowMap(result, points),
  };
};

/** Of an example: adds `weight` times the pixels around a row's place to `to`, from `start` on. */
type SampleInto = (to: Float64Array, start: number, row: number, weight: number) => void;

const sampleLevels = (
  points: Value,
  maps: readonly Value[],
  attrs: SampleAttrs,
  { headCount, headOf, levelOf }: PointRows,
): ((example: number) => SampleInto) => {
  const samplers = maps.map((map) => sampler(map.type, points.type, attrs, headCount));
  return (example) => {
    const at = exampleOf(points, example);
    const pixels = maps.map((map) => exampleOf(map, example));
    return (to, start, row, weight) => {
      const level = levelOf[row] ?? 0;
      const [sample, from] = [samplers[level], pixels[level]];
      if (sample === undefined || from === undefined) return;
      const place = [at[row * 2] ?? Number.NaN, at[row * 2 + 1] ?? Number.NaN] as const;
      sample({ row, place, head: headOf[row] ?? 0, weight, from, to, start });
    };
  };
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
