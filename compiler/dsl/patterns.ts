import type { AxisNumbers, Pattern as PatternData } from "../../ir/patterns.ts";
import type { TensorType } from "../../ir/types.ts";
import { type At, type Axis, positive, sizeAlong, type Sizes } from "./axes.ts";
import { AnyGrid } from "./grid.ts";
import { lowerLambda, position } from "./lambda.ts";
import { isShort, type NumberTable, runsOf, withoutLoads } from "./numberLists.ts";
import { Parameter } from "./parameter.ts";
import { fail } from "./trace.ts";

/** The grids that a pattern relates. */
type Grids = { readonly query: TensorType; readonly key: TensorType };

/**
 * Which keys a query sees. `Q` and `K` are the axes that it names on the query's and on the key's grid.
 * A pattern over axes relates grid tokens to grid tokens; prefix tokens take part through `prefix()` and `all()` alone.
 */
export class Pattern<out Q extends Axis, out K extends Axis = Q> {
  declare protected readonly queryAxes: Q;
  declare protected readonly keyAxes: K;
  /** @internal */
  readonly lower: (grids: Grids) => PatternData;

  /** @internal */
  constructor(lower: (grids: Grids) => PatternData) {
    this.lower = lower;
  }
}
export type AnyPattern = Pattern<Axis, Axis>;

/** Every key, prefix tokens included. */
export const all = (): Pattern<never> => new Pattern(() => ({ kind: "all" }));

/** Keys that differ from the query along these axes only. */
export function along<B extends Q & K, Q extends Axis = B, K extends Axis = Q>(
  ...axes: readonly [B, ...B[]]
): Pattern<Q, K> {
  return overAxes("along", axes, () => ({ kind: "along", axes }));
}

/** Keys at the query's own position on these axes. */
export function same<B extends Q & K, Q extends Axis = B, K extends Axis = Q>(
  ...axes: readonly [B, ...B[]]
): Pattern<Q, K> {
  return overAxes("same", axes, () => ({ kind: "same", axes }));
}

/**
 * Keys in the query's window. The grid is rolled by `shift` first; a window that wraps falls into its parts (arXiv 2103.14030).
 * A window that is not shorter than its axis is the whole of it, and is not shifted, as published.
 */
export function window<B extends Q & K, Q extends Axis = B, K extends Axis = Q>(
  size: Sizes<B>,
  options: { readonly shift?: Partial<Sizes<NoInfer<B>>> } = {},
): Pattern<Q, K> {
  const sizes = numbers("window", size);
  const shift: AxisNumbers = { ...Object.fromEntries(Object.keys(sizes).map((axis) => [axis, 0])), ...options.shift };
  for (const [axis, by] of Object.entries(shift))
    if (!Number.isInteger(by) || by < 0 || by >= (sizes[axis] ?? 0))
      fail(
        "bad-argument",
        { op: "window", problem: `the shift of "${axis}" is ${by}, and its window is ${sizes[axis] ?? 0}` },
        "a shift is at least 0 and less than the window",
      );
  return overAxes("window", Object.keys(sizes), ({ key }) => {
    for (const [axis, side] of Object.entries(sizes)) {
      const [extent, by] = [sizeAlong("window", key, axis), shift[axis] ?? 0];
      if (side > extent && by >= extent)
        fail(
          "bad-argument",
          {
            op: "window",
            problem: `the window of "${axis}" is ${side} and its shift ${by}, and the axis has ${extent}`,
          },
          "a window of the whole axis is not shifted: shift less than the axis, or not at all",
        );
    }
    return { kind: "window", size: sizes, shift };
  });
}

/** Keys at most `radius` steps of `dilation` away on each axis named; at the border the neighbourhood is cut, or moved inwards whole. */
export function near<B extends Q & K, Q extends Axis = B, K extends Axis = Q>(
  radius: Sizes<B>,
  options: { readonly border?: "cut" | "inwards"; readonly dilation?: number } = {},
): Pattern<Q, K> {
  const { border = "cut", dilation = 1 } = options;
  for (const [axis, steps] of Object.entries<number>(radius))
    if (!Number.isInteger(steps) || steps < 0)
      fail("bad-argument", {
        op: "near",
        problem: `the radius of "${axis}" is ${steps}, and must be a whole number from 0`,
      });
  positive("near", "the dilation", dilation);
  return overAxes("near", Object.keys(radius), () => ({ kind: "near", radius: { ...radius }, dilation, border }));
}

/** Keys on every n-th position: counted from the query's own, or from a fixed phase. */
export function every<B extends Q & K, Q extends Axis = B, K extends Axis = Q>(
  stride: Sizes<B>,
  options: { readonly phase?: "query" | number } = {},
): Pattern<Q, K> {
  const strides = numbers("every", stride);
  const { phase = "query" } = options;
  return overAxes("every", Object.keys(strides), () => ({ kind: "every", stride: strides, phase }));
}

/** Keys not after the query on this axis. */
export function causal<B extends Q & K, Q extends Axis = B, K extends Axis = Q>(axis: B): Pattern<Q, K> {
  return overAxes("causal", [axis], () => ({ kind: "causal", axis }));
}

/** Prefix tokens are keys of every query and see every key; repeated over axes, of the queries and keys at their own place. */
export const prefix = (): Pattern<never> => new Pattern(() => ({ kind: "prefix" }));

/** Keys that one of the patterns names; a key counts once. */
export function union<Q extends Axis, K extends Axis = Q>(
  ...patterns: readonly Pattern<NoInfer<Q>, NoInfer<K>>[]
): Pattern<Q, K> {
  return new Pattern((grids) => ({ kind: "union", patterns: patterns.map((each) => each.lower(grids)) }));
}
/** Keys that all of the patterns name. */
export function intersect<Q extends Axis, K extends Axis = Q>(
  ...patterns: readonly Pattern<NoInfer<Q>, NoInfer<K>>[]
): Pattern<Q, K> {
  return new Pattern((grids) => ({ kind: "intersect", patterns: patterns.map((each) => each.lower(grids)) }));
}

/**
 * Any predicate of two positions, read from its source: numbers and arrays of numbers that it captures are known when the
 * kernel is made. Prefix tokens are asked about only where it reads `isPrefix`.
 */
export function where<Q extends Axis, K extends Axis = Q>(sees: (q: At<Q>, k: At<K>) => boolean): Pattern<Q, K> {
  return new Pattern(({ query, key }) => {
    const { body, tables } = lowerLambda(sees, [position("q", fieldsOf(query)), position("k", fieldsOf(key))]);
    const lists = new Map<number, NumberTable>();
    for (const [index, table] of tables.entries()) {
      if (table instanceof Parameter || table instanceof AnyGrid)
        fail(
          "bad-argument",
          { op: "where", problem: `it reads ${table instanceof Parameter ? "a parameter" : "a grid"}` },
          "what is seen may depend on positions and on numbers that are known when the kernel is made; hide keys by data in the score: score: (s, q, k) => (table.at(k.h) > 0 ? s : -Infinity)",
        );
      if (!isShort(table))
        fail(
          "bad-argument",
          { op: "where", problem: `its array changes ${runsOf(table)} times, and is written out in the kernel` },
          "compute it of the positions, or read it in the score: score: (s, q, k) => (array[k.h] > 0 ? s : -Infinity)",
        );
      lists.set(index, table);
    }
    return { kind: "where", predicate: withoutLoads(body, lists) };
  });
}

/** The fields of a position on this grid. */
export const fieldsOf = (type: TensorType): readonly string[] => [...type.axes.map(({ axis }) => axis), "isPrefix"];

function overAxes<Q extends Axis, K extends Axis>(
  op: string,
  axes: readonly string[],
  data: (grids: Grids) => PatternData,
): Pattern<Q, K> {
  return new Pattern(({ query, key }) => {
    for (const axis of axes) {
      sizeAlong(`${op} (on the query)`, query, axis);
      sizeAlong(`${op} (on the key)`, key, axis);
    }
    return data({ query, key });
  });
}

function numbers(op: string, sizes: Sizes<Axis>): AxisNumbers {
  return Object.fromEntries(Object.entries(sizes).map(([axis, size]) => [axis, positive(op, `"${axis}"`, size)]));
}
