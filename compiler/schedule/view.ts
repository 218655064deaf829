import type { NodeOf, Op } from "../../ir/graph.ts";
import { add, and, floorDiv, ge, literal, lt, mod, mul, select, sub } from "../../ir/scalarBuild.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { prefixRows, sizeOf, type Extent, type TensorType } from "../../ir/types.ts";

/**
 * Address maps. A view says where each element of a value lies, as integer arithmetic on its coordinates; the view ops of
 * the graph (slices, repeats, pads, merges, …) are functions from views to views, so none of them ever moves a byte.
 */
export type View = {
  readonly type: TensorType;
  /** The element at a grid token's coordinates. */
  readonly grid: (at: Coordinates, channel: Scalar) => Place;
  /** The element of a prefix token: coordinates on the axes it repeats over, and `prefix`, its index. */
  readonly prefix: (at: Coordinates, channel: Scalar) => Place;
  /** The element of row `r` of an example, where that is simpler than by coordinates. */
  readonly rows: ((row: Scalar, channel: Scalar) => Place) | null;
};
export type Coordinates = { readonly [axis: string]: Scalar };

/** An element's place in the storage of a root: a value that has memory of its own. */
export type Place = {
  readonly root: Root;
  /** Elements from the start of an example. */
  readonly offset: Scalar;
  /** 0: there is no such element; it reads as zero. */
  readonly valid: Scalar;
  /** The average of `count` elements, `step` apart. */
  readonly mean: { readonly count: number; readonly step: Scalar } | null;
};

/** Names a piece of memory: a buffer, a port, a prepared weight. */
export type Root = string;

const zero = literal(0);

/** Row-major position of coordinates. */
export const flatten = (axes: readonly Extent[], at: Coordinates): Scalar =>
  axes.reduce<Scalar>((flat, { axis, size }) => add(mul(flat, literal(size)), at[axis] ?? zero), zero);

/** Coordinates of a row-major position, the last axis fastest. */
export const unflatten = (axes: readonly Extent[], flat: Scalar): Coordinates => {
  const at: { [axis: string]: Scalar } = {};
  let rest = flat;
  for (const [i, { axis, size }] of axes.toReversed().entries()) {
    at[axis] = size === 1 ? zero : i === axes.length - 1 ? rest : mod(rest, literal(size));
    rest = floorDiv(rest, literal(size));
  }
  return at;
};

/** The axes of a type's prefix rows: those it repeats over, then the index. */
export const prefixAxes = (type: TensorType): readonly Extent[] => [
  ...type.axes.filter((extent) => type.prefix.over.includes(extent.axis)),
  { axis: "prefix", size: type.prefix.count },
];

/** The element of row `r`, whichever way the view is defined. */
export const rowElement = (view: View, row: Scalar, channel: Scalar): Place | "two roots" => {
  if (view.rows) return view.rows(row, channel);
  const prefixed = prefixRows(view.type);
  if (prefixed === 0) return view.grid(unflatten(view.type.axes, row), channel);
  const front = view.prefix(unflatten(prefixAxes(view.type), row), channel);
  const behind = view.grid(unflatten(view.type.axes, sub(row, literal(prefixed))), channel);
  return choose(lt(row, literal(prefixed)), front, behind);
};

/** One place or another of the same root. */
export const choose = (condition: Scalar, yes: Place, no: Place): Place | "two roots" => {
  if (yes.root !== no.root) return "two roots";
  const mean =
    yes.mean || no.mean
      ? { count: Math.max(yes.mean?.count ?? 1, no.mean?.count ?? 1), step: yes.mean?.step ?? no.mean?.step ?? zero }
      : null;
  return {
    root: yes.root,
    offset: select(condition, yes.offset, no.offset),
    valid: select(condition, yes.valid, no.valid),
    mean,
  };
};

type ViewOps =
  | "grid"
  | "prefix"
  | "withPrefix"
  | "repeatPrefix"
  | "meanPrefix"
  | "channels"
  | "merge"
  | "unmerge"
  | "pad"
  | "unpack"
  | "pack"
  | "rename"
  | "expand"
  | "slice"
  | "resize";
export type ViewNode = { [K in ViewOps]: NodeOf<K> }[ViewOps];

const viewOps: readonly Op[] = [
  "grid",
  "prefix",
  "withPrefix",
  "repeatPrefix",
  "meanPrefix",
  "channels",
  "merge",
  "unmerge",
  "pad",
  "unpack",
  "pack",
  "rename",
  "expand",
  "slice",
  "resize",
];
export const isViewOp = (op: Op): op is ViewOps => viewOps.includes(op);

/** The view that a view op makes of its inputs' views. */
export const transformView = (node: ViewNode, inputs: readonly View[]): View => {
  const x = inputs[0];
  if (!x) throw new Error(`internal: ${node.op} without an input`);
  const type = node.type;
  const noPrefixTokens = (): never => {
    throw new Error(`internal: ${node.op} has no prefix tokens`);
  };
  /** A view whose tokens, grid and prefix alike, are x's at other channels. */
  const otherChannels = (channelOf: (channel: Scalar) => Scalar): View => ({
    type,
    grid: (at, c) => x.grid(at, channelOf(c)),
    prefix: (at, c) => x.prefix(at, channelOf(c)),
    rows: x.rows && ((r, c) => x.rows?.(r, channelOf(c)) ?? noPrefixTokens()),
  });
  /** A view whose grid tokens are x's at other coordinates; prefix tokens stay. */
  const otherTokens = (grid: View["grid"]): View => ({ type, grid, prefix: x.prefix, rows: null });

  switch (node.op) {
    case "grid": {
      const rows = x.rows ?? null;
      const skipped = literal(prefixRows(x.type));
      return { type, grid: x.grid, prefix: noPrefixTokens, rows: rows && ((r, c) => rows(add(r, skipped), c)) };
    }
    case "prefix":
      return { type, grid: x.prefix, prefix: noPrefixTokens, rows: x.rows };
    case "withPrefix": {
      const tokens = inputs[1];
      if (!tokens) throw new Error("internal: withPrefix without tokens");
      return { type, grid: x.grid, prefix: tokens.grid, rows: null };
    }
    case "repeatPrefix":
      return { type, grid: x.grid, prefix: (at, c) => x.prefix(without(at, node.attrs.over), c), rows: null };
    case "meanPrefix":
      return { type, grid: x.grid, prefix: (at, c) => meanOver(x, node.attrs.over, at, c), rows: null };
    case "channels": {
      const { groups, start, width } = node.attrs;
      const run = literal(x.type.channels / groups);
      if (groups === 1) return otherChannels((c) => add(c, literal(start)));
      return otherChannels((c) =>
        add(add(mul(floorDiv(c, literal(width)), run), literal(start)), mod(c, literal(width))),
      );
    }
    case "merge": {
      const width = literal(x.type.channels);
      return otherTokens((at, c) => {
        const inside = unflatten(node.attrs.size, floorDiv(c, width));
        const source: { [axis: string]: Scalar } = { ...at };
        let exists: Scalar = literal(1);
        for (const { axis, size } of node.attrs.size) {
          source[axis] = add(mul(at[axis] ?? zero, literal(size)), inside[axis] ?? zero);
          const extent = sizeOf(x.type, axis) ?? 1;
          if (extent % size !== 0) exists = and(exists, lt(source[axis], literal(extent)));
        }
        return onlyWhere(x.grid(source, mod(c, width)), exists);
      });
    }
    case "unmerge": {
      const width = literal(type.channels);
      return otherTokens((at, c) => {
        const source: { [axis: string]: Scalar } = { ...at };
        const inside: { [axis: string]: Scalar } = {};
        for (const { axis, size } of node.attrs.size) {
          source[axis] = floorDiv(at[axis] ?? zero, literal(size));
          inside[axis] = mod(at[axis] ?? zero, literal(size));
        }
        return x.grid(source, add(mul(flatten(node.attrs.size, inside), width), c));
      });
    }
    case "pad":
      return otherTokens((at, c) => {
        const source: { [axis: string]: Scalar } = { ...at };
        let exists: Scalar = literal(1);
        for (const { axis, size } of x.type.axes) {
          const before = node.attrs.before[axis] ?? 0;
          const after = node.attrs.after[axis] ?? 0;
          source[axis] = sub(at[axis] ?? zero, literal(before));
          if (before > 0) exists = and(exists, ge(source[axis], zero));
          if (after > 0) exists = and(exists, lt(source[axis], literal(size)));
        }
        return onlyWhere(x.grid(source, c), exists);
      });
    case "unpack":
      return otherTokens((at, c) =>
        x.grid(
          without(
            at,
            node.attrs.sizes.map((s) => s.axis),
          ),
          add(mul(flatten(node.attrs.sizes, at), literal(type.channels)), c),
        ),
      );
    case "pack": {
      const packed = node.attrs.axes.map((axis) => ({ axis, size: sizeOf(x.type, axis) ?? 1 }));
      const width = literal(x.type.channels);
      return otherTokens((at, c) => x.grid({ ...at, ...unflatten(packed, floorDiv(c, width)) }, mod(c, width)));
    }
    case "rename": {
      const original = (at: Coordinates): Coordinates => {
        const back = Object.fromEntries(Object.entries(node.attrs.axes).map(([from, to]) => [to, from]));
        return Object.fromEntries(Object.entries(at).map(([axis, value]) => [back[axis] ?? axis, value]));
      };
      return {
        type,
        grid: (at, c) => x.grid(original(at), c),
        prefix: (at, c) => x.prefix(original(at), c),
        rows: x.rows,
      };
    }
    case "expand":
      return otherTokens((at, c) =>
        x.grid(
          without(
            at,
            node.attrs.sizes.map((s) => s.axis),
          ),
          c,
        ),
      );
    case "slice": {
      const { axis, start, step } = node.attrs;
      return otherTokens((at, c) =>
        x.grid({ ...at, [axis]: add(mul(at[axis] ?? zero, literal(step)), literal(start)) }, c),
      );
    }
    case "resize":
      return otherTokens((at, c) => {
        const source: { [axis: string]: Scalar } = { ...at };
        for (const { axis, size } of node.attrs.to)
          source[axis] = floorDiv(mul(at[axis] ?? zero, literal(sizeOf(x.type, axis) ?? 1)), literal(size));
        return x.grid(source, c);
      });
  }
};

const without = (at: Coordinates, axes: readonly string[]): Coordinates =>
  Object.fromEntries(Object.entries(at).filter(([axis]) => !axes.includes(axis)));

const onlyWhere = (place: Place, exists: Scalar): Place => ({ ...place, valid: and(place.valid, exists) });

/** The mean over repetitions of a prefix token; whoever takes it checks that their places lie evenly. */
const meanOver = (x: View, over: readonly string[], at: Coordinates, channel: Scalar): Place => {
  const axis = over[0];
  if (axis === undefined || over.length > 1)
    throw new Error("internal: the mean of a prefix is taken over one axis at a time");
  const count = sizeOf(x.type, axis) ?? 1;
  const place = (position: number): Place => x.prefix({ ...at, [axis]: literal(position) }, channel);
  if (place(0).mean) throw new Error("internal: a mean of a mean of prefix tokens");
  return { ...place(0), mean: { count, step: sub(place(1).offset, place(0).offset) } };
};
