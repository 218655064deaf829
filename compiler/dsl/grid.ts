import type { ValueId } from "../../ir/graph.ts";
import type { AxisNumbers } from "../../ir/patterns.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { add, argument, div, mul, sub } from "../../ir/scalarBuild.ts";
import { sizeOf, type TensorType } from "../../ir/types.ts";
import { printType } from "../../ir/typeText.ts";
import { type Axis, extentsOf, positive, product, sizeAlong, type Sizes } from "./axes.ts";
import { append, currentTrace, fail } from "./trace.ts";

/** A grid, whatever its axes. */
export abstract class AnyGrid {
  /** The value in the graph. @internal */
  readonly value: ValueId;
  /** How many equal runs of channels `split` works within. @internal */
  readonly runs: number;

  /** @internal */
  constructor(value: ValueId, runs: number) {
    this.value = value;
    this.runs = runs;
  }

  /** @internal */
  get type(): TensorType {
    return currentTrace().builder.type(this.value);
  }
}

/** What stands in front of a grid: tokens, or a parameter that holds them. */
export type PrefixSource = { tokens(): Grid<"prefix"> };

export const gridOf = <A extends Axis>(value: ValueId, runs = 1): Grid<A> => new Grid<A>(value, runs);

/**
 * Tokens laid out along named axes, each with a run of channels, for each example of the batch; prefix tokens (class,
 * global) ride in front. `A` is the names of the axes; extents, channels and prefix are known when the model is traced.
 */
export class Grid<in out A extends Axis> extends AnyGrid {
  // Two phantoms, so that an axis too many and one that is missing are both named by the type error.
  declare protected readonly axes: A;
  declare protected readonly extents: Sizes<A>;

  /** How many tokens lie along an axis. */
  extent(axis: A): number {
    return sizeAlong("extent", this.type, axis);
  }
  /** How many channels a token has. */
  get channels(): number {
    return this.type.channels;
  }

  /** The sum with a grid that has this grid's axes or fewer: along those that it lacks it is repeated. */
  add<B extends A>(other: Grid<B>): Grid<A> {
    return this.#combine("add", other, add);
  }
  sub<B extends A>(other: Grid<B>): Grid<A> {
    return this.#combine("sub", other, sub);
  }
  mul<B extends A>(other: Grid<B> | number): Grid<A> {
    return this.#combine("mul", other, mul);
  }
  div<B extends A>(other: Grid<B> | number): Grid<A> {
    return this.#combine("div", other, div);
  }
  #combine(op: string, other: AnyGrid | number, body: (a: Scalar, b: Scalar | number) => Scalar): Grid<A> {
    if (typeof other === "number") return gridOf(append("pointwise", [this.value], { body: body(argument(0), other) }));
    checkCombines(op, this.type, other.type);
    return gridOf(append("pointwise", [this.value, other.value], { body: body(argument(0), argument(1)) }));
  }

  /** The mean over these axes, which go. Prefix tokens repeated over them are averaged too. */
  mean<X extends A>(...axes: readonly X[]): Grid<Exclude<A, X>> {
    return this.#reduce("mean", axes);
  }
  sum<X extends A>(...axes: readonly X[]): Grid<Exclude<A, X>> {
    return this.#reduce("sum", axes);
  }
  max<X extends A>(...axes: readonly X[]): Grid<Exclude<A, X>> {
    return this.#reduce("max", axes);
  }
  /** Where the first of the largest lies: its position on these axes, in the order of the grid's, the last fastest; a whole number. */
  argmax<X extends A>(...axes: readonly X[]): Grid<Exclude<A, X>> {
    return this.#reduce("argmax", axes);
  }
  /** The `count` largest over these axes, which go, on the axis `rank`: the largest first. */
  topK<X extends A>(count: number, ...axes: readonly X[]): Grid<Exclude<A, X> | "rank"> {
    for (const axis of axes) sizeAlong("topK", this.type, axis);
    return gridOf(append("topK", [this.value], { count, axes }));
  }
  /** How often each of the numbers 0 … bins - 1 occurs over these axes, which go, on the axis `bin`: of whole numbers. */
  histogram<X extends A>(bins: number, ...axes: readonly X[]): Grid<Exclude<A, X> | "bin"> {
    for (const axis of axes) sizeAlong("histogram", this.type, axis);
    return gridOf(append("histogram", [this.value], { bins, axes }));
  }
  /**
   * The tokens at the positions along an axis that `numbers` name, one of each of theirs: a row of a table for each token.
   * The numbers have the other axes of this grid, and any of their own; one that names no position gives zeros.
   */
  take<X extends A, B extends Axis>(axis: X, numbers: Grid<Exclude<A, X> | B>): Grid<Exclude<A, X> | B> {
    sizeAlong("take", this.type, axis);
    return gridOf(append("take", [this.value, numbers.value], { axis }));
  }
  #reduce<X extends A>(kind: "mean" | "sum" | "max" | "argmax", axes: readonly X[]): Grid<Exclude<A, X>> {
    for (const axis of axes) sizeAlong(kind, this.type, axis);
    return gridOf(append("reduce", [this.value], { kind, axes }));
  }

  /** Softmax over these axes, or, without any, over the channels. */
  softmax(...axes: readonly A[]): Grid<A> {
    for (const axis of axes) sizeAlong("softmax", this.type, axis);
    return gridOf(append("softmax", [this.value], { over: axes.length === 0 ? "channels" : axes }));
  }

  /** Blocks of neighbouring tokens side by side in the channels, the last axis named fastest; short blocks are filled with zeros. */
  merge(size: Partial<Sizes<A>>): Grid<A> {
    return gridOf(append("merge", [this.value], { size: this.#sizes("merge", size) }));
  }
  /** The inverse of `merge`: channels (…size, rest) become positions. */
  unmerge(size: Partial<Sizes<A>>): Grid<A> {
    return gridOf(append("unmerge", [this.value], { size: this.#sizes("unmerge", size) }));
  }

  /** Zero tokens around the grid: so many at both ends of each axis named. */
  pad(width: Partial<Sizes<A>>): Grid<A> {
    const widths = Object.fromEntries(this.#sizes("pad", width).map(({ axis, size }) => [axis, size]));
    return gridOf(append("pad", [this.value], { before: widths, after: widths }));
  }
  /** Zero tokens at the end of each axis named, up to a multiple. */
  padTo(multiple: Partial<Sizes<A>>): Grid<A> {
    const after = this.#sizes("padTo", multiple).map(({ axis, size }) => {
      const extent = sizeAlong("padTo", this.type, axis);
      return [axis, Math.ceil(extent / size) * size - extent] as const;
    });
    return this.#pad(Object.fromEntries(after));
  }
  /** The first tokens of each axis, as many as `like` has. */
  crop(like: Grid<A>): Grid<A> {
    const after = this.type.axes.map(({ axis, size }) => {
      const extent = sizeAlong("crop", like.type, axis);
      if (extent > size)
        fail("bad-argument", { op: "crop", problem: `axis "${axis}" has ${size} tokens, and ${extent} are wanted` });
      return [axis, extent - size] as const;
    });
    return this.#pad(Object.fromEntries(after));
  }
  #pad(after: AxisNumbers): Grid<A> {
    const widths = Object.entries(after).filter(([, width]) => width !== 0);
    if (widths.length === 0) return this;
    return gridOf(append("pad", [this.value], { before: {}, after: Object.fromEntries(widths) }));
  }

  /** Runs of channels: that many equal ones, or by width. Of each head where the channels are read as heads. */
  split<const N extends number>(parts: N): Repeated<Grid<A>, N>;
  split<const W extends readonly [number, number, ...number[]]>(...widths: W): { [I in keyof W]: Grid<A> };
  split(...given: number[]): Grid<A>[] {
    const { channels } = this.type;
    const width = channels / this.runs;
    const [parts = 1] = given;
    if (given.length === 1 && width % positive("split", "the number of parts", parts) !== 0)
      fail("not-divisible", { what: "the number of channels", size: width, by: parts });
    const widths = given.length > 1 ? given : Array.from({ length: parts }, () => width / parts);
    for (const each of widths) positive("split", "the width of a part", each);
    const total = widths.reduce((sum, each) => sum + each, 0);
    if (total !== width) {
      const there = this.runs > 1 ? `a head has ${width} channels` : `there are ${width} channels`;
      fail("bad-argument", { op: "split", problem: `${widths.join(" + ")} is ${total}, and ${there}` });
    }
    let start = 0;
    return widths.map((each) => {
      const part = append("channels", [this.value], { groups: this.runs, start, width: each });
      start += each;
      return gridOf(part, this.runs);
    });
  }
  /** Channels read as (head, rest): `split` then works within each head, and `attend` knows how many there are. */
  heads(count: number): Grid<A> {
    const { channels } = this.type;
    if (channels % positive("heads", "the number of heads", count) !== 0)
      fail("not-divisible", { what: "the number of channels", size: channels, by: count });
    return gridOf(this.value, count);
  }

  /** Channels (…sizes, rest) become axes: `x.unpack({ head: 8, point: 4 })`. */
  unpack<B extends Axis>(sizes: Sizes<B>): Grid<A | B> {
    const extents = extentsOf("unpack", sizes);
    const count = product(extents.map(({ size }) => size));
    if (this.type.channels % count !== 0)
      fail("not-divisible", { what: "the number of channels", size: this.type.channels, by: count });
    return gridOf(append("unpack", [this.value], { sizes: extents }));
  }
  /** Axes become channels, in front of those there are. */
  pack<X extends A>(...axes: readonly X[]): Grid<Exclude<A, X>> {
    for (const axis of axes) sizeAlong("pack", this.type, axis);
    return gridOf(append("pack", [this.value], { axes }));
  }
  rename<X extends A, Y extends Axis>(axis: X, to: Y): Grid<Exclude<A, X> | Y> {
    extentsOf("rename", { [to]: sizeAlong("rename", this.type, axis) });
    return gridOf(append("rename", [this.value], { axes: { [axis]: to } }));
  }
  /** The same tokens at every position of new axes. */
  expand<B extends Axis>(sizes: Sizes<B>): Grid<A | B> {
    return gridOf(append("expand", [this.value], { sizes: extentsOf("expand", sizes) }));
  }
  /** Every `step`-th position of an axis from `start` to before `end`. */
  slice(axis: A, start: number, end: number, step = 1): Grid<A> {
    const extent = sizeAlong("slice", this.type, axis);
    if (!Number.isInteger(start) || start < 0 || start >= end || end > extent)
      fail("bad-argument", {
        op: "slice",
        problem: `axis "${axis}" has positions 0 to ${extent - 1}, not ${start} to ${end - 1}`,
      });
    const size = Math.ceil((end - start) / positive("slice", "the step", step));
    return gridOf(append("slice", [this.value], { axis, start, step, size }));
  }
  /**
   * Inside a score alone: the element where a position is, of the first channel unless another is named. The grid has
   * axes of the position alone, and no prefix tokens.
   */
  of(position: Sizes<A>, channel = 0): number {
    return fail(
      "bad-argument",
      { op: "of", problem: `of(${JSON.stringify(position)}, ${channel}) is read inside a score only` },
      "attend(q, k, v, { score: (s, q, k) => (mask.of(k) > 0 ? s : -Infinity) })",
    );
  }
  /** Inside a score alone: the element at these coordinates, one for each axis in the grid's order, then the channel. */
  element(...index: readonly number[]): number {
    return fail(
      "bad-argument",
      { op: "element", problem: `element(${index.join(", ")}) is read inside a score only` },
      "attend(q, k, v, { score: (s, q, k, head) => s + bias.element(q.n, k.n, head) })",
    );
  }

  /** The tokens at one position of an axis, which goes. */
  at<X extends A>(axis: X, index: number): Grid<Exclude<A, X>> {
    return this.slice(axis, index, index + 1).pack(axis);
  }
  /** Other extents of the axes named. The source position of output i is floor(i * in / out) for "nearest". */
  resize(to: Partial<Sizes<A>>, options: ResizeOptions = {}): Grid<A> {
    const changed = this.#sizes("resize", to).filter(({ axis, size }) => sizeOf(this.type, axis) !== size);
    if (changed.length === 0) return this;
    const { mode = "nearest", alignCorners = false } = options;
    return gridOf(append("resize", [this.value], { to: changed, mode, alignCorners }));
  }

  /** The tokens without the prefix. */
  get grid(): Grid<A> {
    return this.type.prefix.count === 0 ? this : gridOf(append("grid", [this.value], {}));
  }
  /** The prefix tokens alone, on the axis `prefix`. */
  get prefix(): Grid<"prefix"> {
    const { over } = this.type.prefix;
    if (over.length > 0) {
      const axes = over.map((axis) => `"${axis}"`).join(", ");
      fail(
        "bad-argument",
        { op: "prefix", problem: `the prefix tokens are repeated over ${axes}` },
        `x.prefixOver(${axes}) keeps the copies apart, x.meanPrefix(${axes}) averages them`,
      );
    }
    return this.#prefix();
  }
  /** The prefix tokens that were repeated over these axes, on the axes and the axis `prefix`. */
  prefixOver<X extends A>(...axes: readonly X[]): Grid<X | "prefix"> {
    const { over } = this.type.prefix;
    if (over.length !== axes.length || axes.some((axis) => !over.includes(axis)))
      fail("bad-argument", {
        op: "prefixOver",
        problem: `the prefix tokens are repeated over [${over.join(", ")}], not [${axes.join(", ")}]`,
      });
    return this.#prefix();
  }
  #prefix<P extends Axis>(): Grid<P> {
    if (this.type.prefix.count === 0)
      fail("bad-argument", { op: "prefix", problem: `${printType(this.type)} has no prefix tokens` });
    return gridOf(append("prefix", [this.value], {}));
  }
  /** Puts `tokens` in front, in place of a prefix that is there; one for each position of the axes that they have besides `prefix`. */
  withPrefix<P extends A | "prefix">(tokens: Grid<P> | PrefixSource): Grid<A> {
    const front = tokens instanceof AnyGrid ? tokens : tokens.tokens();
    sizeAlong("withPrefix", front.type, "prefix");
    return gridOf(append("withPrefix", [this.grid.value, front.value], {}));
  }
  /** Each position along `axes` gets its own copy of the prefix tokens. */
  repeatPrefix(...axes: readonly A[]): Grid<A> {
    for (const axis of axes) sizeAlong("repeatPrefix", this.type, axis);
    return gridOf(append("repeatPrefix", [this.value], { over: axes }));
  }
  /** The copies made by `repeatPrefix`, averaged. */
  meanPrefix(...axes: readonly A[]): Grid<A> {
    for (const axis of axes) sizeAlong("meanPrefix", this.type, axis);
    return gridOf(append("meanPrefix", [this.value], { over: axes }));
  }

  #sizes(op: string, sizes: Partial<Sizes<A>>): { readonly axis: string; readonly size: number }[] {
    return Object.entries<number | undefined>(sizes).flatMap(([axis, size]) => {
      if (size === undefined) return [];
      sizeAlong(op, this.type, axis);
      return [{ axis, size: positive(op, axis, size) }];
    });
  }
}

export type ResizeOptions = { readonly mode?: "nearest" | "bilinear" | "bicubic"; readonly alignCorners?: boolean };
type Repeated<T, N extends number, R extends T[] = []> = number extends N
  ? T[]
  : R["length"] extends N
    ? R
    : Repeated<T, N, [...R, T]>;

/** Side by side in the channels, or end to end along an axis. */
export function concat<A extends Axis>(
  grids: readonly Grid<A>[],
  over: "channels" | { readonly axis: A } = "channels",
): Grid<A> {
  const [first] = grids;
  if (first === undefined) return fail("bad-argument", { op: "concat", problem: "there is nothing to put together" });
  if (over !== "channels") for (const each of grids) sizeAlong("concat", each.type, over.axis);
  return gridOf(
    append(
      "concat",
      grids.map(({ value }) => value),
      { over },
    ),
  );
}

/** Refuses two operands of which the second cannot be repeated over the first. */
export function checkCombines(op: string, left: TensorType, right: TensorType): void {
  const params = { op, left: printType(left), right: printType(right) };
  for (const { axis, size } of right.axes) {
    const there = sizeOf(left, axis);
    if (there === size) continue;
    const label =
      there === undefined
        ? `only the right has the axis "${axis}"`
        : `axis "${axis}" is ${there} on the left and ${size} on the right`;
    fail("shape-mismatch", params, "", label);
  }
  if (right.channels !== left.channels && right.channels !== 1 && left.channels !== 1)
    fail(
      "shape-mismatch",
      params,
      `a layer makes them alike: new Linear(${left.channels}) on the right`,
      `${left.channels} channels on the left and ${right.channels} on the right`,
    );
  const everywhere = right.axes.length === 0 && right.prefix.count === 0;
  if (!everywhere && right.prefix.count !== left.prefix.count)
    fail(
      "shape-mismatch",
      params,
      "x.grid leaves the prefix tokens out; y.withPrefix(x.prefix) puts them back",
      `${left.prefix.count} prefix tokens on the left and ${right.prefix.count} on the right`,
    );
}
