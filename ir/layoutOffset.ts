import { GraphError } from "./errors.ts";
import { type Layout, type LayoutPart, printLayout } from "./layout.ts";
import { add, literal, mul, variable } from "./scalarBuild.ts";
import type { Scalar } from "./scalar.ts";
import { gridRows, prefixRows, sizeOf, type TensorType } from "./types.ts";
import { printType } from "./typeText.ts";

/** Elements of a dimension: a number, or `batchTimes` for each example of the batch. */
export type LayoutSize = number | { readonly batchTimes: number };

/** The extents of the dense array. Throws a GraphError where the layout does not hold the type's elements, each once. */
export const layoutShape = (layout: Layout, type: TensorType): readonly LayoutSize[] => {
  checkLayout(layout, type);
  return layout.map((parts) => {
    const sizes = parts.map((part) => partSize(part, type));
    const size = sizes.reduce((sum, each) => sum + each, 0);
    return parts.some((part) => part.includes("b")) ? { batchTimes: size } : size;
  });
};

/** The dimension whose last factor an axis is, and the extent of the axis; null where it is the last of none. */
export const countedDimension = (
  layout: Layout,
  type: TensorType,
  axis: string,
): { readonly dimension: number; readonly extent: number } | null => {
  const dimension = layout.findIndex((parts) => parts.length === 1 && parts[0]?.at(-1) === axis);
  const extent = sizeOf(type, axis);
  return dimension < 0 || extent === undefined ? null : { dimension, extent };
};

/**
 * Where a token's elements lie in the dense array: the sum of `steps[factor] * coordinate`, plus `start`. Factors are
 * axes, `c`, and `prefix` for the index of a prefix token. One step of the batch is `exampleStride`, 0 where the
 * elements of an example are not together (see `interleaved`).
 */
export type LayoutSteps = { readonly start: number; readonly steps: ReadonlyMap<string, number> };
export type LayoutPlaces = {
  readonly grid: LayoutSteps;
  readonly prefix: LayoutSteps | null;
  /** Elements from one example to the next. */
  readonly batchStep: number;
  /** Whether elements of other examples lie between those of one. */
  readonly interleaved: boolean;
};

/** The places of grid tokens and prefix tokens, for a batch of `batch` examples (it matters only if interleaved). */
export const layoutPlaces = (layout: Layout, type: TensorType, batch: number): LayoutPlaces => {
  const shape = layoutShape(layout, type).map((size) => (typeof size === "number" ? size : size.batchTimes * batch));
  const grid = { start: 0, steps: new Map<string, number>() };
  const prefix = { start: 0, steps: new Map<string, number>() };
  const hasPrefix = type.prefix.count > 0;
  let batchStep = 0;
  let interleaved = false;
  let stride = 1;
  for (const [index, parts] of [...layout.entries()].toReversed()) {
    let start = 0;
    for (const part of parts) {
      const isPrefixPart = hasPrefix && part.includes("prefix");
      const tokens = parts.length === 1 ? [grid, prefix] : isPrefixPart ? [prefix] : [grid];
      let step = stride;
      for (const [place, factor] of [...part.entries()].toReversed()) {
        if (factor === "b") {
          batchStep = step;
          const outside = [...part.slice(0, place).map((name) => factorSize(name, type)), ...shape.slice(0, index)];
          interleaved = parts.length > 1 || outside.some((size) => size !== 1);
          step *= batch;
          continue;
        }
        for (const { steps } of tokens) steps.set(factor, step);
        step *= factorSize(factor, type);
      }
      for (const token of tokens) token.start += start * stride;
      start += partSize(part, type);
    }
    stride *= shape[index] ?? 1;
  }
  return { grid, prefix: hasPrefix ? prefix : null, batchStep, interleaved };
};

export type LayoutOffset = {
  /** Elements from one example to the next; 0 where the type has no batch. */
  readonly exampleStride: number;
  readonly exampleSize: number;
  /** The element of a grid token within its example, in variables `AXIS` and `c`. */
  readonly grid: Scalar;
  /** The element of a prefix token, in variables `AXIS` for each axis it is repeated over, `prefix` and `c`; null if there are none. */
  readonly prefix: Scalar | null;
};

/**
 * Element offsets within one example. The elements of an example must lie together, so that they have a base address:
 * throws a GraphError where `b` is not the outermost factor.
 */
export const layoutOffset = (layout: Layout, type: TensorType): LayoutOffset => {
  const { grid, prefix, batchStep, interleaved } = layoutPlaces(layout, type, 2);
  if (interleaved) {
    throw new GraphError(
      `the layout "${printLayout(layout)}" mixes the elements of different examples`,
      `put "b" first: "(b t) c" rather than "(t b) c"`,
    );
  }
  const offset = ({ start, steps }: LayoutSteps): Scalar => {
    const terms = [...steps].toSorted(([, a], [, b]) => b - a).map(([factor, step]) => mul(variable(factor), step));
    return terms.length === 0 ? literal(start) : start === 0 ? add(...terms) : add(...terms, start);
  };
  return {
    exampleStride: batchStep,
    exampleSize: (gridRows(type) + prefixRows(type)) * type.channels,
    grid: offset(grid),
    prefix: prefix === null ? null : offset(prefix),
  };
};

const factorSize = (factor: string, type: TensorType): number => {
  if (factor === "b") return 1;
  if (factor === "c") return type.channels;
  return sizeOf(type, factor) ?? (factor === "prefix" ? type.prefix.count : 1);
};
const partSize = (part: LayoutPart, type: TensorType): number =>
  part.reduce((size, factor) => size * factorSize(factor, type), 1);

/** Each kind of token must be placed by its own coordinates, each once. */
const checkLayout = (layout: Layout, type: TensorType): void => {
  const fail = (problem: string): never => {
    throw new GraphError(`the layout "${printLayout(layout)}" does not fit ${printType(type)}: ${problem}`);
  };
  const hasPrefix = type.prefix.count > 0;
  const path = (prefixPart: boolean): readonly string[] =>
    layout
      .flatMap((parts) => (parts.length === 1 ? parts : parts.filter((part) => part.includes("prefix") === prefixPart)))
      .flat();
  const need = (found: readonly string[], wanted: readonly string[], tokens: string): void => {
    for (const factor of wanted) {
      const times = found.filter((name) => name === factor).length;
      if (times === 0) fail(`${tokens} have "${factor}", which it lacks`);
      if (times > 1) fail(`it has "${factor}" twice`);
    }
    const extra = found.find((name) => !wanted.includes(name) && name !== "c");
    if (extra !== undefined) fail(`${tokens} have no "${extra}"`);
  };
  const common = [...(type.batch ? ["b"] : []), ...(type.channels > 1 ? ["c"] : [])];
  const axes = type.axes.map(({ axis }) => axis);
  if (layout.some((parts) => parts.length > 1) && !hasPrefix) fail("it has no prefix tokens");
  need(path(false), [...common, ...axes], "grid tokens");
  if (hasPrefix) need(path(true), [...common, ...type.prefix.over, "prefix"], "prefix tokens");
};
