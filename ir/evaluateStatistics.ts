import { windowRows } from "./evaluateCompute.ts";
import type { Ops } from "./graph.ts";
import { inferReduce } from "./inferCompute.ts";
import { rowsOf, type TensorType } from "./types.ts";
import { exampleOf, mapExamples, rowMap, type Value } from "./value.ts";

/** What norms, softmax and reductions mean: statistics over the elements that share a cell. */

/** For each row the cell it belongs to: rows that differ along `axes` only share one. */
const cellsOver = (
  type: TensorType,
  axes: readonly string[],
): { readonly cells: Int32Array; readonly count: number } => {
  const reduced = inferReduce(type, { kind: "sum", axes });
  return { cells: rowMap(reduced, type), count: rowsOf(reduced) };
};

export const evaluateNormalize = (x: Value, { eps, groups, axes }: Ops["normalize"]["attrs"], batch: number): Value => {
  const { type } = x;
  const { cells, count } = cellsOver(type, axes);
  const width = type.channels / groups;
  const each = (rowsOf(type) / count) * width;
  return mapExamples(type, batch, (result, example) => {
    const from = exampleOf(x, example);
    // The mean first, then the squares of what is left: no digits are lost to a large mean.
    const means = new Float64Array(count * groups);
    const variances = new Float64Array(count * groups);
    const cellOf = (row: number, c: number): number => (cells[row] ?? 0) * groups + Math.floor(c / width);
    const visit = (fold: (cell: number, value: number, at: number) => void): void => {
      for (let row = 0; row < cells.length; row++)
        for (let c = 0; c < type.channels; c++)
          fold(cellOf(row, c), from[row * type.channels + c] ?? 0, row * type.channels + c);
    };
    visit((cell, value) => {
      means[cell] = (means[cell] ?? 0) + value / each;
    });
    visit((cell, value) => {
      variances[cell] = (variances[cell] ?? 0) + (value - (means[cell] ?? 0)) ** 2 / each;
    });
    visit((cell, value, at) => {
      result[at] = (value - (means[cell] ?? 0)) / Math.sqrt((variances[cell] ?? 0) + eps);
    });
  });
};

export const evaluateSoftmax = (x: Value, { over }: Ops["softmax"]["attrs"], batch: number): Value => {
  const { type } = x;
  const { channels } = type;
  const { cells, count } = cellsOver(type, over === "channels" ? [] : over);
  const perCell = over === "channels" ? 1 : channels;
  return mapExamples(type, batch, (result, example) => {
    const from = exampleOf(x, example);
    const tops = new Float64Array(count * perCell).fill(-Infinity);
    const sums = new Float64Array(count * perCell);
    const cellOf = (at: number): number => {
      const row = cells[Math.floor(at / channels)] ?? 0;
      return over === "channels" ? row : row * channels + (at % channels);
    };
    for (const [at, value] of from.entries()) tops[cellOf(at)] = Math.max(tops[cellOf(at)] ?? 0, value);
    for (const [at, value] of from.entries()) {
      const cell = cellOf(at);
      const weight = value === -Infinity ? 0 : Math.exp(value - (tops[cell] ?? 0));
      result[at] = weight;
      sums[cell] = (sums[cell] ?? 0) + weight;
    }
    for (const [at, weight] of result.entries()) result[at] = weight === 0 ? 0 : weight / (sums[cellOf(at)] ?? 1);
  });
};

export const evaluateReduce = (
  x: Value,
  { kind }: Pick<Ops["reduce"]["attrs"], "kind">,
  type: TensorType,
  batch: number,
): Value => {
  const cells = rowMap(type, x.type);
  const counts = new Float64Array(rowsOf(type));
  for (const cell of cells) counts[cell] = (counts[cell] ?? 0) + 1;
  const { channels } = type;
  return mapExamples(type, batch, (result, example) => {
    const from = exampleOf(x, example);
    if (kind === "max") result.fill(-Infinity);
    for (const [row, cell] of cells.entries()) {
      for (let c = 0; c < channels; c++) {
        const value = from[row * channels + c] ?? 0;
        const at = cell * channels + c;
        const sum = result[at] ?? 0;
        result[at] = kind === "max" ? Math.max(sum, value) : sum + value / (kind === "mean" ? (counts[cell] ?? 1) : 1);
      }
    }
  });
};

export const evaluatePool = (
  x: Value,
  { kind, window, countPadding }: Ops["pool"]["attrs"],
  type: TensorType,
  batch: number,
): Value => {
  const taps = windowRows(x.type, window, type);
  const { channels } = type;
  return mapExamples(type, batch, (result, example) => {
    const from = exampleOf(x, example);
    if (kind === "max") result.fill(-Infinity);
    const rows = rowsOf(type);
    for (let row = 0; row < rows; row++) {
      const sources = taps.map((tap) => tap.rows[row] ?? -1).filter((source) => source >= 0);
      const count = countPadding ? taps.length : sources.length;
      for (const source of sources) {
        for (let c = 0; c < channels; c++) {
          const at = row * channels + c;
          const value = from[source * channels + c] ?? 0;
          result[at] = kind === "max" ? Math.max(result[at] ?? 0, value) : (result[at] ?? 0) + value / count;
        }
      }
    }
  });
};
