import type { ValueId, WindowAxis } from "../../ir/graph.ts";
import { add, argument, div, mul, sub, unary } from "../../ir/scalarBuild.ts";
import { type Axis, extentsOf, positive, sizeAlong, type Sizes } from "./axes.ts";
import { type Grid, gridOf } from "./grid.ts";
import { Layer } from "./module.ts";
import { type Parameter, parameter, unused } from "./parameter.ts";
import { gelu } from "./pointwise.ts";
import { append, fail } from "./trace.ts";

/**
 * `out` channels from however many there are. A checkpoint's extents of one do not count: the weight of a convolution
 * of one position loads too.
 */
export class Linear extends Layer<{ readonly out: number; readonly bias: boolean }> {
  weight: Parameter | undefined;
  bias: Parameter | undefined;

  constructor(out: number, options: { readonly bias?: boolean } = {}) {
    super({ out: positive("Linear", "the number of channels", out), bias: options.bias ?? true });
  }
  override forward<A extends Axis>(x: Grid<A>): Grid<A> {
    const { out, bias } = this.config;
    const { channels } = x.type;
    this.weight ??= parameter(out, channels);
    checkChannels("Linear", this.weight.sizes[1], channels);
    const y = append("linear", [x.value, this.weight.named("out c")], {});
    if (!bias) return gridOf(y);
    this.bias ??= parameter(out);
    return gridOf(addChannels(y, this.bias));
  }
}

/** A row of a table for each token, by a number that it holds: `count` rows of `out` channels. */
export class Embedding extends Layer<{ readonly count: number; readonly out: number }> {
  weight: Parameter = parameter(this.config.count, this.config.out);

  constructor(count: number, out: number) {
    super({ count, out });
  }
  override forward<A extends Axis>(x: Grid<A>): Grid<A> {
    if (x.type.channels !== 1)
      fail("bad-argument", {
        op: "Embedding",
        problem: `a token holds ${x.type.channels} numbers, and one names a row`,
      });
    return gridOf(append("take", [this.weight.named("row c"), x.value], { axis: "row" }));
  }
}

/** Each token's channels less their mean, by their standard deviation, then scaled and shifted by channel (arXiv 1607.06450). */
export class LayerNorm extends Layer<{ readonly eps: number; readonly affine: boolean }> {
  weight: Parameter | undefined;
  bias: Parameter | undefined;

  constructor(options: { readonly eps?: number; readonly affine?: boolean } = {}) {
    super({ eps: options.eps ?? 1e-5, affine: options.affine ?? true });
  }
  override forward<A extends Axis>(x: Grid<A>): Grid<A> {
    const { eps, affine } = this.config;
    const y = append("normalize", [x.value], { eps, groups: 1, axes: [] });
    if (!affine) return gridOf(y);
    const { channels } = x.type;
    checkChannels("LayerNorm", this.weight?.sizes[0], channels);
    this.weight ??= parameter(channels);
    this.bias ??= parameter(channels);
    return gridOf(scaleAndShift(y, this.weight.named("c"), this.bias.named("c")));
  }
}

/** `groups` runs of channels, each normalised over the run and over axes of the grid, all unless some are named (arXiv 1803.08494). */
export class GroupNorm extends Layer<{
  readonly groups: number;
  readonly eps: number;
  readonly axes?: readonly Axis[];
}> {
  weight: Parameter | undefined;
  bias: Parameter | undefined;

  constructor(groups: number, options: { readonly eps?: number; readonly axes?: readonly Axis[] } = {}) {
    super({ eps: 1e-5, ...options, groups: positive("GroupNorm", "the number of groups", groups) });
  }
  override forward<A extends Axis>(x: Grid<A>): Grid<A> {
    const { groups, eps } = this.config;
    const { channels } = x.type;
    const axes = this.config.axes ?? x.type.axes.map(({ axis }) => axis);
    for (const axis of axes) sizeAlong("GroupNorm", x.type, axis);
    if (channels % groups !== 0) fail("not-divisible", { what: "the number of channels", size: channels, by: groups });
    checkChannels("GroupNorm", this.weight?.sizes[0], channels);
    this.weight ??= parameter(channels);
    this.bias ??= parameter(channels);
    const y = append("normalize", [x.value], { eps, groups, axes });
    return gridOf(scaleAndShift(y, this.weight.named("c"), this.bias.named("c")));
  }
}

/** Batch normalisation as it is at inference: by the running mean and variance of the checkpoint (arXiv 1502.03167). */
export class BatchNorm extends Layer<{ readonly eps: number }> {
  weight: Parameter | undefined;
  bias: Parameter | undefined;
  running_mean: Parameter | undefined;
  running_var: Parameter | undefined;
  num_batches_tracked: typeof unused = unused;

  constructor(options: { readonly eps?: number } = {}) {
    super({ eps: options.eps ?? 1e-5 });
  }
  override forward<A extends Axis>(x: Grid<A>): Grid<A> {
    const { channels } = x.type;
    checkChannels("BatchNorm", this.weight?.sizes[0], channels);
    this.weight ??= parameter(channels);
    this.bias ??= parameter(channels);
    this.running_mean ??= parameter(channels);
    this.running_var ??= parameter(channels);
    // What is known of it becomes one scale and one shift, when weights are loaded.
    const [weight, bias, mean, variance] = [this.weight, this.bias, this.running_mean, this.running_var].map((each) =>
      each.named("c"),
    ) as [ValueId, ValueId, ValueId, ValueId];
    const deviation = unary("sqrt", add(argument(1), this.config.eps));
    const scale = append("pointwise", [weight, variance], { body: div(argument(0), deviation) });
    const shift = append("pointwise", [bias, mean, scale], {
      body: sub(argument(0), mul(argument(1), argument(2))),
    });
    return gridOf(scaleAndShift(x.value, scale, shift));
  }
}

export type ConvOptions = {
  /** The window, its axes in the order of the checkpoint's extents. */
  readonly size: Sizes<Axis>;
  readonly stride?: Sizes<Axis>;
  readonly dilation?: Sizes<Axis>;
  /** Zero positions around the grid: as many on both sides, or [before, after]. None by default. */
  readonly pad?: { readonly [axis: Axis]: number | readonly [before: number, after: number] };
  readonly groups?: number;
  readonly bias?: boolean;
};
/** A convolution (cross-correlation) over the axes named in `size`. */
export class Conv extends Layer<ConvOptions & { readonly out: number }> {
  weight: Parameter | undefined;
  bias: Parameter | undefined;

  constructor(out: number, options: ConvOptions) {
    super({ out: positive("Conv", "the number of channels", out), ...options });
  }
  override forward<A extends Axis>(x: Grid<A>): Grid<A> {
    const { out, groups = 1, bias = true } = this.config;
    const { channels } = x.type;
    for (const size of [channels, out])
      if (size % groups !== 0) fail("not-divisible", { what: "the number of channels", size, by: groups });
    const window = windowOf("Conv", x, this.config);
    this.weight ??= parameter(out, channels / groups, ...window.map(({ size }) => size));
    checkChannels("Conv", (this.weight.sizes[1] ?? 1) * groups, channels);
    const weight = this.weight.named(["out", "c", ...window.map(({ axis }) => axis)].join(" "));
    const y = append("conv", [x.value, weight], { window, groups });
    if (!bias) return gridOf(y);
    this.bias ??= parameter(out);
    return gridOf(addChannels(y, this.bias));
  }
}

export type PoolOptions = Pick<ConvOptions, "size" | "stride" | "pad"> & {
  /** Whether the mean divides by the whole window at the border too. */
  readonly countPadding?: boolean;
};
type Pool = <A extends Axis>(x: Grid<A>) => Grid<A>;
const pool =
  (kind: "mean" | "max") =>
  (options: PoolOptions): Pool =>
  (x) => {
    const window = windowOf(`${kind}Pool`, x, { ...options, stride: { ...options.size, ...options.stride } });
    return gridOf(append("pool", [x.value], { kind, window, countPadding: options.countPadding ?? true }));
  };
/** The largest of each window, which by default moves by its own size; the border counts as minus infinity. */
export const maxPool: (options: PoolOptions) => Pool = pool("max");
export const meanPool: (options: PoolOptions) => Pool = pool("mean");

function windowOf<A extends Axis>(
  op: string,
  x: Grid<A>,
  options: Pick<ConvOptions, "size" | "stride" | "dilation" | "pad">,
): readonly WindowAxis[] {
  for (const named of [options.stride, options.dilation, options.pad])
    for (const axis of Object.keys(named ?? {}))
      if (!(axis in options.size))
        fail("unknown-axis", { op, axis, axes: Object.keys(options.size) }, "size names the window's axes");
  return extentsOf(op, options.size).map(({ axis, size }) => {
    const there = sizeAlong(op, x.type, axis);
    const pad = options.pad?.[axis] ?? 0;
    const [before, after] = typeof pad === "number" ? [pad, pad] : pad;
    const dilation = positive(op, `the dilation of "${axis}"`, options.dilation?.[axis] ?? 1);
    const stride = positive(op, `the stride of "${axis}"`, options.stride?.[axis] ?? 1);
    if ((size - 1) * dilation + 1 > there + before + after)
      fail(
        "bad-argument",
        { op, problem: `its window is longer than the ${there} positions of "${axis}"` },
        "pad says how many zero positions stand around the grid",
      );
    return { axis, size, stride, dilation, before, after };
  });
}

export type Stage = Layer<never> | (<A extends Axis>(x: Grid<A>) => Grid<A>);
/** Stages one after the other, named by number as published code does; functions have a number and no parameters. */
export class Sequential extends Layer<readonly Stage[]> {
  constructor(...stages: readonly Stage[]) {
    super(stages);
    Object.assign(this, stages);
  }
  override forward<A extends Axis>(x: Grid<A>): Grid<A> {
    return this.config.reduce<Grid<A>>((y, stage) => (stage as <B extends Axis>(x: Grid<B>) => Grid<B>)(y), x);
  }
}

/** Two linear layers and what stands between them: exact GELU unless another is given. */
export class Mlp extends Layer<{ readonly hidden: number; readonly out: number; readonly activation?: Stage }> {
  fc1: Linear = new Linear(this.config.hidden);
  fc2: Linear = new Linear(this.config.out);

  override forward<A extends Axis>(x: Grid<A>): Grid<A> {
    const activation = (this.config.activation ?? gelu) as <B extends Axis>(x: Grid<B>) => Grid<B>;
    return this.fc2(activation(this.fc1(x)));
  }
}

const addChannels = (y: ValueId, bias: Parameter): ValueId =>
  append("pointwise", [y, bias.named("c")], { body: add(argument(0), argument(1)) });

const scaleAndShift = (y: ValueId, scale: ValueId, shift: ValueId): ValueId =>
  append("pointwise", [y, scale, shift], { body: add(mul(argument(0), argument(1)), argument(2)) });

/** A layer that is called again must meet as many channels as before. */
function checkChannels(op: string, before: number | undefined, now: number): void {
  if (before !== undefined && before !== now)
    fail(
      "bad-argument",
      { op, problem: `this layer read ${before} channels before, and ${now} now` },
      "give each width a layer of its own",
    );
}
