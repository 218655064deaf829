import type { Layout } from "./layout.ts";
import type { AxisNumbers, Pattern } from "./patterns.ts";
import type { Positions } from "./positions.ts";
import type { Resizing } from "./resizing.ts";
import type { Scalar } from "./scalar.ts";
import type { TensorType } from "./types.ts";

/**
 * What a model computes: values in order of definition, each made by one op from earlier ones.
 *
 * Meaning: real numbers without rounding (the evaluator computes in float64). Inputs of a pointwise op that lack the
 * batch, an axis or a prefix repetition of the result are repeated along it; one channel is repeated over all.
 * A query that sees no key gives zeros. A score of -Infinity is a key that is not seen.
 *
 * A graph has one loop at most. What depends on a `state` is computed anew at every step, what depends on `loop` or
 * `after` once when the loop has ended, and everything else once before it.
 */
export type Graph = {
  readonly name: string;
  readonly nodes: readonly Node[];
  readonly outputs: readonly Output[];
  /** Values that are wanted as they stand, by the published name (verification, inspection). */
  readonly kept: readonly Output[];
  /** Parameters of the checkpoint that the model knows and does not read. */
  readonly unused: readonly string[];
  /** Parameters that can be made from published ones of another size, by name. */
  readonly resizing: { readonly [name: string]: Resizing };
};
export type Output = {
  readonly name: string;
  readonly value: ValueId;
  readonly layout: Layout;
  /** Of an axis that is as long as it can become: how much of it callers get. Null: all. */
  readonly upTo: UpTo | null;
};
/** The first positions of `axis`, as many as the whole number in the output `count` says (the largest, of several examples). */
export type UpTo = { readonly axis: string; readonly count: string };

declare const valueId: unique symbol;
/** Only the builder makes them; printed as `%3`. */
export type ValueId = number & { readonly [valueId]: true };

/**
 * Every op: what it reads and what it is told at compile time. Adding an op starts here. Ops that read nothing are told
 * their type; all others have the one that infer.ts finds.
 */
export type Ops = {
  input: { inputs: readonly []; attrs: { readonly name: string; readonly layout: Layout; readonly type: TensorType } };
  /** A checkpoint's tensor; `layout` says how its dimensions (`shape`) become axes and channels. */
  parameter: {
    inputs: readonly [];
    attrs: {
      readonly name: string;
      readonly shape: readonly number[];
      readonly layout: Layout;
      readonly type: TensorType;
    };
  };
  /** `values` row by row, in the order of the type's rows. */
  constant: { inputs: readonly []; attrs: { readonly values: readonly number[]; readonly type: TensorType } };

  /** y[n] = sum over channels of x[c] * weight[n, c]; the weight has the one axis `out`. */
  linear: { inputs: readonly [x: ValueId, weight: ValueId]; attrs: Record<never, never> };
  /** Cross-correlation over the axes of `window`; the weight has the axes `out` and the window's, channels / groups channels. */
  conv: {
    inputs: readonly [x: ValueId, weight: ValueId];
    attrs: { readonly window: readonly WindowAxis[]; readonly groups: number };
  };
  /**
   * Each output element from the inputs' elements at the same position (`argument`); may read coordinates: `x.AXIS` (0 for
   * a prefix token without one), `x.isPrefix`, `x.prefix`, `channel`. Axes of the result: those of the input that has most, then
   * others as they come. An input without prefix tokens is read at the result's prefix tokens if its axes are repeated over by them.
   */
  pointwise: { inputs: readonly ValueId[]; attrs: { readonly body: Scalar } };
  /** Whole numbers: the nearest, halves up. */
  round: { inputs: readonly [x: ValueId]; attrs: Record<never, never> };
  /** (x - mean) / sqrt(variance + eps) over each of `groups` runs of channels, and over the axes named. */
  normalize: {
    inputs: readonly [x: ValueId];
    attrs: { readonly eps: number; readonly groups: number; readonly axes: readonly string[] };
  };
  softmax: { inputs: readonly [x: ValueId]; attrs: { readonly over: "channels" | readonly string[] } };
  /**
   * Drops the axes named, of the grid and of the prefix's repetitions; prefix tokens that are not repeated over them stay.
   * `argmax` is where the first of the largest lies: the position on the axes named, in the order of the
   * grid's, the last fastest.
   */
  reduce: {
    inputs: readonly [x: ValueId];
    attrs: { readonly kind: "mean" | "sum" | "max" | "argmax"; readonly axes: readonly string[] };
  };
  /** The `count` largest over the axes named, which go, on the axis `rank` behind the others: the largest first. */
  topK: { inputs: readonly [x: ValueId]; attrs: { readonly count: number; readonly axes: readonly string[] } };
  /** How often each of the whole numbers 0 … bins - 1 occurs over the axes named, which go, on the axis `bin` behind the others; others are not counted. */
  histogram: { inputs: readonly [x: ValueId]; attrs: { readonly bins: number; readonly axes: readonly string[] } };
  /**
   * Of x the positions along an axis that numbers name, one a token: the axis goes, and the numbers' come in its place. What
   * other axes x has are among those. A number that names no position gives zeros.
   */
  take: { inputs: readonly [x: ValueId, numbers: ValueId]; attrs: { readonly axis: string } };
  pool: {
    inputs: readonly [x: ValueId];
    attrs: { readonly kind: "mean" | "max"; readonly window: readonly WindowAxis[]; readonly countPadding: boolean };
  };
  /**
   * normalize(score(scale * q kT) + positions) v over the keys that `pattern` names; tables are what `score` loads from,
   * and those of relative positions.
   */
  attend: { inputs: readonly [q: ValueId, k: ValueId, v: ValueId, ...tables: ValueId[]]; attrs: AttendAttrs };
  /**
   * Maps sampled at points that are data, weighted and summed: y[at] = sum over levels and `over` of weight * map(point).
   * The points' axes are those of the result, and those named in the attributes; a map has the two sampled ones, and any
   * of the points' others. Weights lack the axes that they are the same along. With a `scale`, the first of the maps is a
   * query, and those of keys stand in front of as many of values: scale * query · key(point) is added to a point's weight.
   */
  sample: { inputs: readonly [points: ValueId, weights: ValueId, ...maps: ValueId[]]; attrs: SampleAttrs };

  /** What the loop's steps hand on: `first` at the first step, and then what the step before made of it. */
  state: { inputs: readonly [first: ValueId]; attrs: { readonly name: string } };
  /**
   * Takes steps, `atMost` so many; `next` are the states named, in order, at the step that follows. `flag` is one whole
   * number of each example: 1 where it wants another step, 0 where it is done, 2 where a step changes nothing any more.
   * No step follows one that no example wants another after. The value is the flag after the last step.
   */
  loop: {
    inputs: readonly [flag: ValueId, ...next: ValueId[]];
    attrs: { readonly states: readonly string[]; readonly atMost: number };
  };
  /** A state when the loop has ended. */
  after: { inputs: readonly [loop: ValueId, state: ValueId]; attrs: Record<never, never> };

  // Views: another way to name the same elements. None of them is a kernel of its own. Those that change the channels or
  // an axis that prefix tokens are repeated over want a value without prefix tokens; others leave prefix tokens as they are.
  /** The grid tokens alone. */
  grid: { inputs: readonly [x: ValueId]; attrs: Record<never, never> };
  /** The prefix tokens as a grid: the axes they repeat over, then the axis `prefix`. */
  prefix: { inputs: readonly [x: ValueId]; attrs: Record<never, never> };
  /** Puts tokens (a grid with the axis `prefix`, and the axes it repeats over) in front of a grid that has none. */
  withPrefix: { inputs: readonly [x: ValueId, prefix: ValueId]; attrs: Record<never, never> };
  /** A copy of the prefix tokens at each position of these axes too. */
  repeatPrefix: { inputs: readonly [x: ValueId]; attrs: { readonly over: readonly string[] } };
  /** The mean of a repeated prefix over these axes. */
  meanPrefix: { inputs: readonly [x: ValueId]; attrs: { readonly over: readonly string[] } };
  /** Of each of `groups` equal runs of channels, `width` channels from `start`. */
  channels: {
    inputs: readonly [x: ValueId];
    attrs: { readonly groups: number; readonly start: number; readonly width: number };
  };
  /** Side by side in the channels, or end to end along an axis. */
  concat: { inputs: readonly ValueId[]; attrs: { readonly over: "channels" | { readonly axis: string } } };
  /** Positions of a block of tokens side by side in the channels, the last axis of `size` fastest; short blocks are filled with zeros. */
  merge: { inputs: readonly [x: ValueId]; attrs: { readonly size: readonly AxisSize[] } };
  /** The inverse of merge: channels (…size, rest) become positions. */
  unmerge: { inputs: readonly [x: ValueId]; attrs: { readonly size: readonly AxisSize[] } };
  /** Zero tokens around the grid; negative widths cut. */
  pad: { inputs: readonly [x: ValueId]; attrs: { readonly before: AxisNumbers; readonly after: AxisNumbers } };
  /** Channels (…sizes, rest) become axes, behind those there are. */
  unpack: { inputs: readonly [x: ValueId]; attrs: { readonly sizes: readonly AxisSize[] } };
  /** Axes become channels in front of those there are. */
  pack: { inputs: readonly [x: ValueId]; attrs: { readonly axes: readonly string[] } };
  rename: { inputs: readonly [x: ValueId]; attrs: { readonly axes: { readonly [from: string]: string } } };
  /** The same value at every position of new axes, which come in front of those there are. */
  expand: { inputs: readonly [x: ValueId]; attrs: { readonly sizes: readonly AxisSize[] } };
  /** Every `step`-th position of an axis from `start`, `size` of them. */
  slice: {
    inputs: readonly [x: ValueId];
    attrs: { readonly axis: string; readonly start: number; readonly step: number; readonly size: number };
  };
  /**
   * Another extent of some axes; the source position of output i is floor(i * in / out) for nearest. Of the others it is
   * (i + 1/2) * in / out - 1/2, or i * (in - 1) / (out - 1) with `alignCorners`; positions outside read the border.
   * Bicubic is the convolution of Keys with a = -3/4.
   */
  resize: {
    inputs: readonly [x: ValueId];
    attrs: {
      readonly to: readonly AxisSize[];
      readonly mode: "nearest" | "bilinear" | "bicubic";
      readonly alignCorners: boolean;
    };
  };
};
export type Op = keyof Ops;

export type AxisSize = { readonly axis: string; readonly size: number };
/** One axis of a convolution's or pooling's window; `before` and `after` are zero (or, pooling the maximum, minus infinity) padding. */
export type WindowAxis = {
  readonly axis: string;
  readonly size: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: number;
  readonly after: number;
};

export type AttendAttrs = {
  /** q and k have heads * headDim channels, v and the result heads * valueDim, head by head. */
  readonly heads: number;
  readonly scale: number;
  readonly pattern: Pattern;
  /** Of variables `s` (the scaled product), `head`, `q.AXIS`, `k.AXIS`, `q.isPrefix`, `k.isPrefix` and loads from tables; `s` alone when authors give none. */
  readonly score: Scalar;
  /** Softmax over the keys, or the sum divided by the number of keys seen, or as it is. */
  readonly normalize: "softmax" | "count" | "none";
  readonly positions: Positions | null;
};

/**
 * Sampling is bilinear. A corner of weight zero is not read, so that what lies there does not matter; a point that is not
 * a number has no corners, nor has an infinite one where the padding is zeros.
 */
export type SampleAttrs = {
  /** The two axes of a map that the points' two channels are positions on. */
  readonly axes: readonly string[];
  /** Axes of the points that number the runs of channels, each of which has points of its own. */
  readonly heads: readonly string[];
  /** Axes of the points that number the maps. */
  readonly levels: readonly string[];
  /** Axes of the points that are summed over, besides the levels. */
  readonly over: readonly string[];
  /** Positions count pixels from the centre of the first; or run from 0 to 1 between the map's outer edges, or between its outer pixels' centres. */
  readonly coordinates: "pixels" | "edges" | "centres";
  /** What lies outside of a map: zeros, or the pixels at its border. */
  readonly padding: "zeros" | "border";
  /** Softmax of the weights over levels and `over` together, or the weights as they are. */
  readonly normalize: "softmax" | "none";
  /** Of the products of queries and sampled keys; null where weights alone are given. */
  readonly scale: number | null;
};

/** Where in the author's source a value was made. Lines and columns count from 1. */
export type Span = { readonly file: string; readonly line: number; readonly column: number };

export type NodeOf<K extends Op> = {
  readonly id: ValueId;
  readonly op: K;
  readonly inputs: Ops[K]["inputs"];
  readonly attrs: Ops[K]["attrs"];
  readonly type: TensorType;
  readonly span: Span;
  /** The module that made it, as a path of field names: `model.blocks.0.attn`. */
  readonly path: string;
};
export type Node = { [K in Op]: NodeOf<K> }[Op];
