import type { SampleAttrs } from "./graph.ts";
import { extentsOf, sizeOfAll } from "./inferSample.ts";
import { tokensOf } from "./tokens.ts";
import { type Extent, rowsOf, sizeOf, type TensorType } from "./types.ts";
import { exampleOf, mapExamples, rowMap, type Value } from "./value.ts";

/** What sampling means, point by point. `type` is the result's. */
export const evaluateSample = (
  [points, weights, ...maps]: readonly [points: Value, weights: Value, ...maps: readonly Value[]],
  attrs: SampleAttrs,
  type: TensorType,
  batch: number,
): Value => {
  const heads = extentsOf(points.type, attrs.heads);
  const headCount = sizeOfAll(heads);
  const width = type.channels / headCount;
  const rows = rowsOf(points.type);
  const headOf = flatAlong(points.type, heads);
  const levelOf = flatAlong(points.type, extentsOf(points.type, attrs.levels));
  const resultRow = rowMap(type, points.type);
  const weightRow = rowMap(weights.type, points.type);
  const origin = new Int32Array(rows);
  const sampled = maps.map((map) => {
    const [first, second] = attrs.axes.map((axis) => ({
      size: sizeOf(map.type, axis) ?? 1,
      step: stepOf(map.type, axis),
    }));
    const rowsOfMap = rowMap(map.type, points.type, (axis) => (attrs.axes.includes(axis) ? origin : undefined));
    return { first: first ?? none, second: second ?? none, rows: rowsOfMap };
  });
  return mapExamples(type, batch, (result, example) => {
    const at = exampleOf(points, example);
    const given = exampleOf(weights, example);
    const group = (row: number): number => (resultRow[row] ?? 0) * headCount + (headOf[row] ?? 0);
    const raw = Float64Array.from(weightRow, (row) => given[row] ?? Number.NaN);
    const weight = attrs.normalize === "none" ? raw : softmaxOf(raw, group, rowsOf(type) * headCount);
    const values = maps.map((map) => exampleOf(map, example));
    for (let row = 0; row < rows; row++) {
      const level = levelOf[row] ?? 0;
      const map = sampled[level];
      const from = values[level];
      if (map === undefined || from === undefined) continue;
      const to = (resultRow[row] ?? 0) * type.channels + (headOf[row] ?? 0) * width;
      for (const a of cornersOf(at[row * 2] ?? Number.NaN, map.first.size, attrs)) {
        for (const b of cornersOf(at[row * 2 + 1] ?? Number.NaN, map.second.size, attrs)) {
          const share = a.weight * b.weight * (weight[row] ?? 0);
          if (share === 0) continue;
          const source = (map.rows[row] ?? 0) + a.index * map.first.step + b.index * map.second.step;
          const start = source * type.channels + (headOf[row] ?? 0) * width;
          for (let c = 0; c < width; c++) result[to + c] = (result[to + c] ?? 0) + share * (from[start + c] ?? 0);
        }
      }
    }
  });
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
