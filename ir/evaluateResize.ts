import { evaluateRows } from "./evaluateViews.ts";
import type { Ops } from "./graph.ts";
import { cubicSteps, cubicWeight } from "./resizing.ts";
import { tokensOf } from "./tokens.ts";
import { sizeOf, type TensorType } from "./types.ts";
import { exampleOf, mapExamples, rowMap, type Value } from "./value.ts";

/** Axis by axis: interpolation is separable. */
export const evaluateResize = (
  x: Value,
  { to, mode, alignCorners }: Ops["resize"]["attrs"],
  type: TensorType,
  batch: number,
): Value => {
  if (mode === "nearest") {
    const { coordinates } = tokensOf(type);
    return evaluateRows(x, type, batch, (axis) => {
      const target = to.find((extent) => extent.axis === axis);
      const size = sizeOf(x.type, axis) ?? 1;
      return target && coordinates.get(axis)?.map((at) => Math.floor((at * size) / target.size));
    });
  }
  return to.reduce((value, { axis, size }) => {
    const axes = value.type.axes.map((extent) => (extent.axis === axis ? { axis, size } : extent));
    return resizeAxis(value, axis, { ...type, axes }, batch, (position) => taps(mode, position), alignCorners);
  }, x);
};

/** What is read for a position: so many steps from the element at or below it, with these weights. */
type Tap = { readonly step: number; readonly weight: number };

const taps = (mode: "bilinear" | "bicubic", fraction: number): readonly Tap[] =>
  mode === "bilinear"
    ? [
        { step: 0, weight: 1 - fraction },
        { step: 1, weight: fraction },
      ]
    : cubicSteps.map((step) => ({ step, weight: cubicWeight(fraction - step) }));

const resizeAxis = (
  x: Value,
  axis: string,
  type: TensorType,
  batch: number,
  tapsAt: (fraction: number) => readonly Tap[],
  alignCorners: boolean,
): Value => {
  const { coordinates, prefixRows } = tokensOf(type);
  const before = sizeOf(x.type, axis) ?? 1;
  const after = sizeOf(type, axis) ?? 1;
  const source = (at: number): number => {
    if (alignCorners) return after === 1 ? 0 : (at * (before - 1)) / (after - 1);
    return ((at + 0.5) * before) / after - 0.5;
  };
  const own = coordinates.get(axis) ?? new Int32Array(0);
  const passes = tapsAt(0).map((_, tap) => {
    const at = (coordinate: number): { readonly index: number; readonly weight: number } => {
      const position = source(coordinate);
      const { step, weight } = tapsAt(position - Math.floor(position))[tap] ?? { step: 0, weight: 0 };
      return { index: Math.min(before - 1, Math.max(0, Math.floor(position) + step)), weight };
    };
    const rows = rowMap(x.type, type, (name) => (name === axis ? own.map((each) => at(each).index) : undefined));
    const weights = Float64Array.from(own, (each) => at(each).weight);
    // Prefix tokens pass as they are.
    weights.fill(tap === 0 ? 1 : 0, 0, prefixRows);
    return { rows, weights };
  });
  const { channels } = type;
  return mapExamples(type, batch, (result, example) => {
    const from = exampleOf(x, example);
    for (const { rows, weights } of passes) {
      for (const [row, sourceRow] of rows.entries()) {
        const weight = weights[row] ?? 0;
        for (let c = 0; c < channels; c++) {
          const at = row * channels + c;
          result[at] = (result[at] ?? 0) + weight * (from[sourceRow * channels + c] ?? 0);
        }
      }
    }
  });
};
