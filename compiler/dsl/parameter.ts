import type { ValueId } from "../../ir/graph.ts";
import type { Layout } from "../../ir/layout.ts";
import type { Resizing } from "../../ir/resizing.ts";
import { type Extent, noPrefix, type TensorType } from "../../ir/types.ts";
import { type Axis, extentsOf, positive, product, type Sizes } from "./axes.ts";
import { type Grid, gridOf, type PrefixSource } from "./grid.ts";
import { append, appendOnce, currentTrace, fail } from "./trace.ts";

/** A part of an extent that `split` has taken. */
type Range = { readonly start: number; readonly size: number };
type Dimension = { readonly size: number; readonly range: Range | null };
/** How the dimensions of the checkpoint's tensor fall into those of a view. */
type View = { readonly base: Parameter; readonly groups: readonly (readonly Dimension[])[] };

/**
 * A tensor of the checkpoint, named by the path of the field that holds it. Inside a lambda `at` reads one number of
 * it; outside, `grid` makes it a value. `view` and `split` name the same numbers in another way.
 */
export class Parameter implements PrefixSource {
  /** The extents of this view. */
  readonly sizes: readonly number[];
  /** @internal */
  readonly viewed: View;
  /** How it is made from one of another size. @internal */
  readonly resizing: Resizing | null;

  /** @internal */
  constructor(sizes: readonly number[], viewed?: View, resizing: Resizing | null = null) {
    this.sizes = sizes;
    this.resizing = resizing;
    this.viewed = viewed ?? { base: this, groups: sizes.map((size) => [{ size, range: null }]) };
  }

  /** One number, an index for each extent; only inside a lambda. */
  at(...index: readonly number[]): number {
    return fail(
      "bad-argument",
      { op: "at", problem: `at(${index.join(", ")}) is read inside a lambda only` },
      "parameter.grid({ … }) gives all of its numbers as a value",
    );
  }

  /**
   * Says that published weights of another size can be resized to this one, and how: the rows, which are the extent before
   * the channels, are a grid of these extents after `leading` rows that stay as they are. `resizeWeights` of the runtime
   * does it, and `fovea convert-weights --for`.
   */
  resizable(mode: Resizing["mode"], grid: readonly number[], options: { readonly leading?: number } = {}): Parameter {
    const { leading = 0 } = options;
    const rows = this.sizes.at(-2) ?? 1;
    if (leading + product(grid) !== rows)
      fail("bad-argument", {
        op: "resizable",
        problem: `[${this.sizes.join(", ")}] has ${rows} rows, and ${leading > 0 ? `${leading} before ` : ""}a grid of ${grid.join(" x ")} is ${leading + product(grid)}`,
      });
    return new Parameter(this.sizes, undefined, { mode, grid, leading });
  }

  /** The same numbers with other extents: one extent taken apart, or extents of one added and left out. */
  view(...sizes: readonly number[]): Parameter {
    const from = `[${this.sizes.join(", ")}]`;
    const to = `[${sizes.join(", ")}]`;
    if (product(sizes) !== product(this.sizes))
      fail("bad-argument", {
        op: "view",
        problem: `${from} has ${product(this.sizes)} numbers, and ${to} ${product(sizes)}`,
      });
    if (this.viewed.groups.flat().some(({ range }) => range !== null))
      fail("bad-argument", { op: "view", problem: "this is a part of a parameter" }, "view first, then split");
    const groups = takeApart(this.viewed.base.sizes, sizes);
    if (groups === undefined)
      return fail("bad-argument", {
        op: "view",
        problem: `${from} cannot be read as ${to}: an extent may be taken apart, not joined with another`,
      });
    return new Parameter(sizes, {
      base: this.viewed.base,
      groups: groups.map((group) => group.map((size) => ({ size, range: null }))),
    });
  }

  /** Parts along the first extent that is longer than one. */
  split<const W extends readonly number[]>(...widths: W): { [I in keyof W]: Parameter };
  split(...widths: number[]): Parameter[] {
    const axis = Math.max(
      0,
      this.sizes.findIndex((size) => size > 1),
    );
    const size = this.sizes[axis] ?? 1;
    const total = widths.reduce((sum, width) => sum + width, 0);
    if (total !== size)
      fail("bad-argument", {
        op: "split",
        problem: `${widths.join(" + ")} is ${total}, and the parameter has ${size}`,
      });
    let start = 0;
    return widths.map((width) => {
      const part = this.#part(axis, { start, size: width });
      start += width;
      return part;
    });
  }
  #part(axis: number, { start, size }: Range): Parameter {
    let index = 0;
    const cut = (dimension: Dimension): Dimension =>
      index++ === axis
        ? { size: dimension.size, range: { start: start + (dimension.range?.start ?? 0), size } }
        : dimension;
    const groups = this.viewed.groups.map((group) => group.map(cut));
    return new Parameter(this.sizes.with(axis, size), { base: this.viewed.base, groups });
  }

  /** As tokens on a grid, the last extent the channels; the first `prefix` tokens are the grid's prefix. */
  grid<A extends Axis>(sizes: Sizes<A>, options: { readonly prefix?: number } = {}): Grid<A> {
    const { prefix = 0 } = options;
    const extents = extentsOf("grid", sizes);
    const wanted = prefix + product(extents.map(({ size }) => size));
    const there = product(this.sizes.slice(0, -1));
    if (wanted !== there)
      fail("bad-argument", {
        op: "grid",
        problem: `[${this.sizes.join(", ")}] holds ${there} tokens, and the grid has ${wanted}`,
      });
    return gridOf(this.#tokens(extents, prefix));
  }
  /** As prefix tokens: all extents but the last count them. */
  tokens(): Grid<"prefix"> {
    return gridOf(this.#tokens([{ axis: "prefix", size: product(this.sizes.slice(0, -1)) }], 0));
  }
  #tokens(extents: readonly Extent[], prefix: number): ValueId {
    const dimensions = this.viewed.groups.flat();
    const lengths = dimensions
      .slice(0, -1)
      .map(({ size, range }, index) => (range?.size ?? size) - (index === firstLong(dimensions) ? prefix : 0));
    const groups = takeApart(
      lengths,
      extents.map(({ size }) => size),
    );
    // A part of an extent is a slice of one axis; of the last extent, which is the channels, it is a run of these.
    const isCut = (index: number): boolean =>
      index < dimensions.length - 1 && (dimensions[index]?.range ?? null) !== null;
    if (groups === undefined || groups.some((group, index) => isCut(index) && (group.length > 1 || prefix > 0)))
      return fail("bad-argument", {
        op: "grid",
        problem: `[${this.sizes.join(", ")}] cannot be laid out along ${extents.map(({ axis, size }) => `${axis} ${size}`).join(", ")}`,
      });
    const rest = [...extents];
    const single: string[] = [];
    const axes = groups.map((group, index) => {
      const named = rest.splice(0, group.length);
      if (!isCut(index)) return named;
      const axis = named[0]?.axis ?? `i${index}`;
      if (named.length === 0) single.push(axis);
      return [{ axis, size: dimensions[index]?.size ?? 1 }];
    });
    const value = readAs(this.viewed, axes, prefix);
    return single.length === 0 ? value : append("pack", [value], { axes: single });
  }

  /** The value with a name for each extent, `c` the channels: "out c h w". For layers. @internal */
  named(layout: string): ValueId {
    const { base } = this.viewed;
    const names = layout.split(" ");
    const axes = names.flatMap((axis, index) => (axis === "c" ? [] : [{ axis, size: base.sizes[index] ?? 1 }]));
    const type = {
      element: "float",
      batch: false,
      prefix: noPrefix,
      axes,
      channels: base.sizes[names.indexOf("c")] ?? 1,
    } as const;
    const attrs = { name: nameOf(base), shape: base.sizes, layout: names.map((name) => [[name]]), type };
    return appendOnce(base, layout, () => append("parameter", [], attrs));
  }

  /** The value that lambdas index: an axis for each extent but the last, which is the channels. @internal */
  table(): ValueId {
    const dimensions = this.viewed.groups.flat().slice(0, -1);
    return readAs(
      this.viewed,
      dimensions.map(({ size }, index) => [{ axis: `i${index}`, size }]),
      0,
    );
  }
}

const firstLong = (dimensions: readonly Dimension[]): number =>
  Math.max(
    0,
    dimensions.findIndex(({ size }) => size > 1),
  );

/**
 * Distributes the extents `to`, in order, over the extents `from`, so that each group's product is the extent it is
 * in; undefined where they don't nest. Extents of one go wherever they stand.
 */
function takeApart(from: readonly number[], to: readonly number[]): readonly (readonly number[])[] | undefined {
  const rest = [...to];
  const groups = from.map((size) => {
    const group: number[] = [];
    while (product(group) < size && rest.length > 0) group.push(rest.shift() ?? 1);
    return group;
  });
  if (groups.some((group, index) => product(group) !== from[index])) return undefined;
  const last = groups.pop() ?? [];
  return [...groups, [...last, ...rest]];
}

/**
 * The parameter as a value: `axes` are those of each of the view's dimensions but the last, which is the channels. The
 * prefix tokens are the first of the first dimension that is longer than one.
 */
function readAs(view: View, axes: readonly (readonly Extent[])[], prefix: number): ValueId {
  const { base, groups } = view;
  const dimensions = groups.flat();
  const front = firstLong(dimensions);
  let next = 0;
  const layout: Layout = groups.map((group) => {
    const indices = group.map(() => next++);
    const part = indices.flatMap((index) =>
      index === dimensions.length - 1 ? ["c"] : (axes[index] ?? []).map(({ axis }) => axis),
    );
    return prefix > 0 && indices.includes(front) ? [["prefix"], part] : [part];
  });
  const type: TensorType = {
    element: "float",
    batch: false,
    prefix: prefix > 0 ? { count: prefix, over: [] } : noPrefix,
    axes: axes.flat(),
    channels: dimensions.at(-1)?.size ?? 1,
  };
  let key = JSON.stringify([layout, axes]);
  let value = appendOnce(base, key, () =>
    append("parameter", [], { name: nameOf(base), shape: base.sizes, layout, type }),
  );
  for (const [index, { range }] of dimensions.entries()) {
    if (range === null) continue;
    const { start, size } = range;
    const axis = axes[index]?.[0]?.axis;
    key += ` ${index}:${start}+${size}`;
    const whole = value;
    value = appendOnce(base, key, () =>
      axis === undefined
        ? append("channels", [whole], { groups: 1, start, width: size })
        : append("slice", [whole], { axis, start, step: 1, size }),
    );
  }
  return value;
}

function nameOf(base: Parameter): string {
  return (
    currentTrace().nameOf(base) ??
    fail(
      "bad-argument",
      { op: "parameter", problem: "this one is not a field of a module" },
      "its name in the checkpoint is the path of the field that holds it: weight = parameter(8)",
    )
  );
}

/** A tensor of the checkpoint with these extents. */
export function parameter(...sizes: readonly number[]): Parameter {
  sizes.forEach((size, index) => positive("parameter", `extent ${index}`, size));
  return new Parameter(sizes);
}

/** Marks a key that published checkpoints hold and nothing reads: `relative_position_index = unused`. */
export const unused: unique symbol = Symbol("unused");
