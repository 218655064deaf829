import type { Ops } from "./graph.ts";
import { inferReduce } from "./inferCompute.ts";
import { tokensOf } from "./tokens.ts";
import { rowsOf, sizeOf, type TensorType } from "./types.ts";
import { exampleOf, mapExamples, rowMap, type Value } from "./value.ts";

/** What ops mean that look at many elements for each of their results. `type` is the result's. */

/** The rows of x that share a row of what is left when axes are dropped, and where each lies on these axes, flattened. */
const setsOver = (
  x: TensorType,
  axes: readonly string[],
): { readonly sets: readonly number[][]; readonly places: Int32Array } => {
  const rest = inferReduce(x, { kind: "sum", axes });
  const { coordinates, rows } = tokensOf(x);
  const sets = Array.from({ length: rowsOf(rest) }, (): number[] => []);
  const places = new Int32Array(rows);
  for (const [row, set] of rowMap(rest, x).entries()) {
    sets[set]?.push(row);
    for (const axis of x.axes.filter((extent) => axes.includes(extent.axis)))
      places[row] = (places[row] ?? 0) * axis.size + (coordinates.get(axis.axis)?.[row] ?? 0);
  }
  return { sets, places };
};

export const evaluateArgmax = (x: Value, axes: readonly string[], type: TensorType, batch: number): Value => {
  const { sets, places } = setsOver(x.type, axes);
  const { channels } = type;
  return mapExamples(type, batch, (result, example) => {
    const from = exampleOf(x, example);
    for (const [set, rows] of sets.entries())
      for (let c = 0; c < channels; c++) {
        let [most, where] = [-Infinity, 0];
        for (const row of rows.toSorted((a, b) => (places[a] ?? 0) - (places[b] ?? 0))) {
          const value = from[row * channels + c] ?? Number.NaN;
          if (value > most) [most, where] = [value, places[row] ?? 0];
        }
        result[set * channels + c] = where;
      }
  });
};

export const evaluateTopK = (
  x: Value,
  { count, axes }: Ops["topK"]["attrs"],
  type: TensorType,
  batch: number,
): Value => {
  const { sets } = setsOver(x.type, axes);
  const { channels } = type;
  return mapExamples(type, batch, (result, example) => {
    const from = exampleOf(x, example);
    for (const [set, rows] of sets.entries())
      for (let c = 0; c < channels; c++) {
        const sorted = Float64Array.from(rows, (row) => from[row * channels + c] ?? Number.NaN).toSorted();
        // Numbers that are none sort behind all others: they are the largest.
        for (let k = 0; k < count; k++)
          result[(set * count + k) * channels + c] = sorted[sorted.length - 1 - k] ?? Number.NaN;
      }
  });
};

export const evaluateHistogram = (
  x: Value,
  { bins, axes }: Ops["histogram"]["attrs"],
  type: TensorType,
  batch: number,
): Value => {
  const { sets } = setsOver(x.type, axes);
  const { channels } = type;
  return mapExamples(type, batch, (result, example) => {
    const from = exampleOf(x, example);
    for (const [set, rows] of sets.entries())
      for (const row of rows)
        for (let c = 0; c < channels; c++) {
          const bin = from[row * channels + c] ?? -1;
          const at = (set * bins + bin) * channels + c;
          if (bin >= 0 && bin < bins) result[at] = (result[at] ?? 0) + 1;
        }
  });
};

export const evaluateTake = (x: Value, numbers: Value, axis: string, type: TensorType, batch: number): Value => {
  const extent = sizeOf(x.type, axis) ?? 0;
  const named = rowMap(numbers.type, type);
  return mapExamples(type, batch, (result, example) => {
    const [from, positions] = [exampleOf(x, example), exampleOf(numbers, example)];
    const chosen = Array.from(named, (row) => positions[row] ?? -1);
    const along = chosen.map((at) => (Number.isInteger(at) && at >= 0 && at < extent ? at : -1));
    for (const [row, source] of rowMap(x.type, type, (each) => (each === axis ? along : undefined)).entries())
      if (source >= 0)
        result.set(from.subarray(source * type.channels, (source + 1) * type.channels), row * type.channels);
  });
};
