import type { Ops, WindowAxis } from "./graph.ts";
import { multiplyRows } from "./matmul.ts";
import { compileScalar } from "./scalarEvaluate.ts";
import { variablesOf } from "./scalarWalk.ts";
import { tokensOf } from "./tokens.ts";
import { rowsOf, sizeOf, type TensorType } from "./types.ts";
import { exampleOf, mapExamples, rowMap, type Value } from "./value.ts";
import { tokenVariable } from "./visibleKeys.ts";

/** What products and pointwise ops mean. `type` is the result's. */

export const evaluateLinear = (x: Value, weight: Value, type: TensorType): Value => {
  const rows = x.examples * rowsOf(x.type);
  const inner = x.type.channels;
  const data = new Float64Array(rows * type.channels);
  multiplyRows(
    { data: x.data, start: 0, stride: inner, count: rows },
    { data: weight.data, start: 0, stride: inner, count: type.channels },
    inner,
    { data, start: 0, stride: type.channels },
  );
  return { type, examples: x.examples, data };
};

/** For each position of the window, its coordinates and the row of x that each row of the result has there; -1 in the padding. */
export const windowRows = (
  x: TensorType,
  window: readonly WindowAxis[],
  type: TensorType,
): readonly { readonly at: ReadonlyMap<string, number>; readonly rows: Int32Array }[] => {
  const { coordinates } = tokensOf(type);
  let positions: readonly ReadonlyMap<string, number>[] = [new Map()];
  for (const { axis, size } of window) {
    positions = positions.flatMap((position) =>
      Array.from({ length: size }, (_, at) => new Map([...position, [axis, at]])),
    );
  }
  return positions.map((at) => ({
    at,
    rows: rowMap(x, type, (axis) => {
      const along = window.find((each) => each.axis === axis);
      if (along === undefined) return undefined;
      const offset = (at.get(axis) ?? 0) * along.dilation - along.before;
      const extent = sizeOf(x, axis) ?? 0;
      return coordinates.get(axis)?.map((position) => {
        const source = position * along.stride + offset;
        return source < extent ? Math.max(-1, source) : -1;
      });
    }),
  }));
};

/** Rows of patches that are multiplied at once. */
const patchRows = 256;

export const evaluateConv = (
  x: Value,
  weight: Value,
  { window, groups }: Ops["conv"]["attrs"],
  type: TensorType,
  batch: number,
): Value => {
  const taps = windowRows(x.type, window, type);
  const width = weight.type.channels;
  const inner = taps.length * width;
  const outs = type.channels / groups;
  const rows = rowsOf(type);
  // The weight as [out][tap][channel].
  const ordered = new Float64Array(type.channels * inner);
  const weightTokens = tokensOf(weight.type);
  const filters: TensorType = { ...weight.type, axes: [{ axis: "out", size: type.channels }] };
  for (const [tap, { at }] of taps.entries()) {
    const source = rowMap(weight.type, filters, (axis) => {
      const fixed = at.get(axis);
      return fixed === undefined ? undefined : new Int32Array(weightTokens.rows).fill(fixed);
    });
    for (const [out, row] of source.entries()) {
      ordered.set(weight.data.subarray(row * width, (row + 1) * width), out * inner + tap * width);
    }
  }
  const patches = new Float64Array(patchRows * inner);
  return mapExamples(type, batch, (result, example) => {
    const from = exampleOf(x, example);
    for (let start = 0; start < rows; start += patchRows) {
      const count = Math.min(patchRows, rows - start);
      for (let group = 0; group < groups; group++) {
        patches.fill(0);
        for (const [tap, source] of taps.entries()) {
          for (let row = 0; row < count; row++) {
            const at = source.rows[start + row] ?? -1;
            if (at < 0) continue;
            const first = at * x.type.channels + group * width;
            patches.set(from.subarray(first, first + width), row * inner + tap * width);
          }
        }
        multiplyRows(
          { data: patches, start: 0, stride: inner, count },
          { data: ordered, start: group * outs * inner, stride: inner, count: outs },
          inner,
          { data: result, start: start * type.channels + group * outs, stride: type.channels },
        );
      }
    }
  });
};

export const evaluatePointwise = (
  inputs: readonly Value[],
  { body }: Ops["pointwise"]["attrs"],
  type: TensorType,
  batch: number,
): Value => {
  const tokens = tokensOf(type);
  const names = [...variablesOf(body)];
  const compiled = compileScalar(body, {
    argument: (index) => index,
    variable: (name) => inputs.length + names.indexOf(name),
  });
  const channelSlot = names.includes("channel") ? inputs.length + names.indexOf("channel") : -1;
  const coordinates = names.map((name) => (name === "channel" ? undefined : tokenVariable(tokens, name.slice(2))));
  const maps = inputs.map((input) => rowMap(input.type, type));
  const widths = inputs.map((input) => input.type.channels);
  const slots = new Float64Array(inputs.length + names.length);
  const starts = new Float64Array(inputs.length);
  return mapExamples(type, batch, (result, example) => {
    const sources = inputs.map((input) => exampleOf(input, example));
    for (let row = 0; row < tokens.rows; row++) {
      for (const [name, values] of coordinates.entries()) slots[inputs.length + name] = values?.[row] ?? 0;
      for (const [input, map] of maps.entries()) starts[input] = (map[row] ?? 0) * (widths[input] ?? 1);
      for (let c = 0; c < type.channels; c++) {
        if (channelSlot >= 0) slots[channelSlot] = c;
        for (let input = 0; input < sources.length; input++) {
          const at = (starts[input] ?? 0) + (widths[input] === 1 ? 0 : c);
          slots[input] = sources[input]?.[at] ?? Number.NaN;
        }
        result[row * type.channels + c] = compiled(slots);
      }
    }
  });
};
