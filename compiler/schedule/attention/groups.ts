import type { Scalar } from "../../../ir/scalar.ts";
import { add, floorDiv, ge, literal, lt, max, min, mod, mul, select, sub, variable } from "../../../ir/scalarBuild.ts";
import { below, type Interval, type Ranges } from "../../../ir/scalarRange.ts";
import { evaluateScalar } from "../../../ir/scalarEvaluate.ts";
import { simplify } from "../../../ir/scalarSimplify.ts";
import { sizeOf, type TensorType } from "../../../ir/types.ts";
import type { AxisPartition, Division, Ends } from "./partition.ts";

/** The parts of the axes that a division names; a group is one part of each, numbered with the last axis fastest. */
export type Groups = { readonly axes: readonly GroupAxis[]; readonly count: number };
export type GroupAxis = {
  readonly axis: string;
  readonly part: AxisPartition;
  readonly count: number;
  /** The parts from this one on are irregular: cut off by the end of the axis, or wrapped around it. */
  readonly regular: number;
};

export const groupsOf = (division: Division, ends: Ends): Groups => {
  const axes = ends.query.axes.flatMap(({ axis, size }): GroupAxis[] => {
    const part = division.partition.get(axis);
    if (part === undefined) return [];
    return [
      { axis, part, count: partCount(part, size), regular: regularParts(part, size, sizeOf(ends.key, axis) ?? size) },
    ];
  });
  return { axes, count: axes.reduce((product, { count }) => product * count, 1) };
};

const partCount = (part: AxisPartition, size: number): number => {
  switch (part.kind) {
    case "same":
      return size;
    case "window":
      return Math.ceil(size / part.size);
    case "residue":
      return Math.min(part.stride, size);
    case "tile":
      return part.stride * Math.ceil(congruent(size, part.stride).most / part.size);
  }
};

/** How many positions are congruent to each other: they may differ by one. */
export const congruent = (size: number, stride: number): { readonly least: number; readonly most: number } => ({
  least: Math.floor(size / stride),
  most: Math.ceil(size / stride),
});

const regularParts = (part: AxisPartition, querySize: number, keySize: number): number => {
  switch (part.kind) {
    case "same":
      return Math.min(querySize, keySize);
    case "window": {
      const seam = (querySize - part.shift) / part.size;
      return Math.min(
        Math.floor(querySize / part.size),
        part.shift > 0 && !Number.isInteger(seam) ? Math.floor(seam) : Infinity,
      );
    }
    case "residue": {
      const most = Math.min(part.stride, querySize);
      return Math.min(...[querySize, keySize].map((size) => (size % part.stride === 0 ? most : size % part.stride)));
    }
    case "tile":
      return part.stride * Math.floor(congruent(querySize, part.stride).least / part.size);
  }
};

/** The variable that holds the part of an axis, and the one of its position within. */
export const partName = (axis: string): string => `part.${axis}`;

/** The tokens of one side of a group, by their index in it: prefix tokens first, then the grid's, the last axis fastest. */
export type GroupTokens = {
  readonly type: TensorType;
  /** Prefix tokens of a group; 0 where they take no part. */
  readonly prefixCount: number;
  readonly count: number;
  readonly axes: readonly TokenAxis[];
  readonly hasPrefix: boolean;
};
export type TokenAxis = {
  readonly axis: string;
  readonly size: number;
  readonly part: TokenPart | undefined;
  /** Positions of a group. */
  readonly local: number;
  /** Of its grid tokens: positions fastest first have the smallest step; 0: no grid tokens. */
  readonly gridStep: number;
  /** Of its prefix tokens; 0 where the prefix does not repeat over the axis. */
  readonly prefixStep: number;
};

export type Tile = Extract<AxisPartition, { readonly kind: "tile" }>;
/** What a group takes of an axis: of a tiled one, other positions of keys than of queries. */
export type TokenPart = AxisPartition | { readonly kind: "keys"; readonly of: Tile };

const partOfSide = (part: AxisPartition | undefined, side: "query" | "key"): TokenPart | undefined =>
  part?.kind === "tile" && side === "key" ? { kind: "keys", of: part } : part;

/** `inner`: axes whose positions of the grid follow each other fastest; otherwise the last axis is the fastest. */
export const tokensOf = (
  side: "query" | "key",
  type: TensorType,
  division: Division,
  kinds: { readonly grid: boolean; readonly prefix: boolean },
  inner: readonly string[] = [],
): GroupTokens => {
  const partOf = (axis: string): TokenPart | undefined => partOfSide(division.partition.get(axis), side);
  const local = (axis: string, size: number): number => {
    const part = partOf(axis);
    return part === undefined ? size : localCount(part, size);
  };
  let gridCount = 1;
  const gridSteps = new Map<string, number>();
  const isInner = ({ axis }: { readonly axis: string }): number => (inner.includes(axis) ? 1 : 0);
  for (const { axis, size } of type.axes.toSorted((a, b) => isInner(a) - isInner(b)).toReversed()) {
    gridSteps.set(axis, gridCount);
    gridCount *= local(axis, size);
  }
  let prefixCount = type.prefix.count;
  const prefixSteps = new Map<string, number>();
  for (const axis of type.prefix.over.toReversed()) {
    prefixSteps.set(axis, prefixCount);
    prefixCount *= local(axis, sizeOf(type, axis) ?? 1);
  }
  const prefix = kinds.prefix && type.prefix.count > 0;
  return {
    type,
    prefixCount: prefix ? prefixCount : 0,
    count: (prefix ? prefixCount : 0) + (kinds.grid ? gridCount : 0),
    hasPrefix: prefix,
    axes: type.axes.map(({ axis, size }) => ({
      axis,
      size,
      part: partOf(axis),
      local: local(axis, size),
      gridStep: kinds.grid ? (gridSteps.get(axis) ?? 1) : 0,
      prefixStep: prefix ? (prefixSteps.get(axis) ?? 0) : 0,
    })),
  };
};

const localCount = (part: TokenPart, size: number): number => {
  switch (part.kind) {
    case "same":
      return 1;
    case "window":
      return part.size;
    case "residue":
      return Math.ceil(size / part.stride);
    case "tile":
      return part.size;
    case "keys":
      return part.of.keys.count;
  }
};

/** A part of a tiled axis is a number of a tile for each class of congruent positions. */
const tileOf = (own: Scalar, { size, stride }: Tile): { readonly start: Scalar; readonly phase: Scalar } => ({
  start: mul(stride === 1 ? own : floorDiv(own, stride), size),
  phase: stride === 1 ? literal(0) : mod(own, stride),
});

/** Where the tile of a part starts among congruent positions, and where the run of its keys does. */
export const startsOf = (own: Scalar, tile: Tile): { readonly queries: Scalar; readonly keys: Scalar } => {
  const { start } = tileOf(own, tile);
  const { before, last } = tile.keys;
  return { queries: start, keys: max(min(sub(start, before), last), 0) };
};

/** Where position `local` of part `part` of an axis lies, before it is known to exist. */
const positionOf = ({ axis, part, size }: TokenAxis, local: Scalar): Scalar => {
  if (part === undefined) return local;
  const own = variable(partName(axis));
  switch (part.kind) {
    case "same":
      return own;
    case "window": {
      const rolled = add(mul(own, part.size), local);
      return part.shift === 0 ? rolled : mod(add(rolled, part.shift), size);
    }
    case "residue":
      return add(mul(local, part.stride), own);
    case "tile": {
      const { start, phase } = tileOf(own, part);
      return add(mul(add(start, local), part.stride), phase);
    }
    case "keys": {
      const { phase } = tileOf(own, part.of);
      return add(mul(add(startsOf(own, part.of).keys, local), part.of.stride), phase);
    }
  }
};

/** Whether it exists: the last window and some residues may be cut off by the end of the axis. */
const existsOf = ({ axis, part, size }: TokenAxis, local: Scalar, position: Scalar): Scalar => {
  if (part === undefined) return literal(1);
  if (part.kind === "window") return lt(add(mul(variable(partName(axis)), part.size), local), size);
  return lt(position, size);
};

/** A token of a group in the variables `local`, `place` (its index among the grid tokens, if it is one of a group with prefix tokens) and `part.AXIS`. */
export type TokenMap = {
  readonly exists: Scalar;
  readonly isPrefix: Scalar;
  /** Index among the prefix tokens of one position. */
  readonly prefix: Scalar;
  readonly at: { readonly [axis: string]: Scalar };
};

export const tokenMap = (tokens: GroupTokens, ranges: Ranges): TokenMap => {
  const local = variable("local");
  const { prefixCount } = tokens;
  const onlyPrefix = prefixCount === tokens.count;
  const isPrefix = simplify(prefixCount === 0 ? literal(0) : onlyPrefix ? literal(1) : lt(local, prefixCount), ranges);
  const inGrid = prefixCount === 0 ? local : variable("place");
  const exists: Scalar[] = [];
  const at: { [axis: string]: Scalar } = {};
  for (const axis of tokens.axes) {
    const within = (index: Scalar, step: number): Scalar =>
      step === 0 || axis.local === 1 ? literal(0) : mod(floorDiv(index, step), axis.local);
    const grid = within(inGrid, axis.gridStep);
    const prefix = within(local, axis.prefixStep);
    // A prefix token that is not repeated over the axis has no position on it: 0, which nobody reads.
    const index = select(isPrefix, prefix, grid);
    const position = positionOf(axis, index);
    const placed = select(
      isPrefix,
      axis.prefixStep === 0 ? literal(0) : positionOf(axis, prefix),
      positionOf(axis, grid),
    );
    at[axis.axis] = simplify(placed, ranges);
    const there = existsOf(axis, index, position);
    exists.push(axis.prefixStep === 0 && prefixCount > 0 ? select(isPrefix, literal(1), there) : there);
  }
  return {
    exists: simplify(
      exists.reduce((all, each) => ({ kind: "binary", op: "and", left: all, right: each }) as Scalar, literal(1)),
      ranges,
    ),
    isPrefix,
    prefix: simplify(tokens.type.prefix.count > 1 ? mod(local, tokens.type.prefix.count) : literal(0), ranges),
    at,
  };
};

export const groupRanges = (groups: Groups): Ranges =>
  Object.fromEntries(groups.axes.map(({ axis, count }) => [partName(axis), below(count)]));

/** The parts of group number `group`. */
export const partsOfGroup = (groups: Groups, group: Scalar, ranges: Ranges): { readonly [axis: string]: Scalar } => {
  let step = 1;
  const parts: { [axis: string]: Scalar } = {};
  for (const { axis, count } of groups.axes.toReversed()) {
    parts[partName(axis)] = simplify(mod(floorDiv(group, step), count), ranges);
    step *= count;
  }
  return parts;
};

/** Whether some part of the group is irregular, in the variables `part.AXIS`. */
export const irregular = (groups: Groups): Scalar =>
  groups.axes.reduce<Scalar>(
    (found, { axis, count, regular }) =>
      regular === count
        ? found
        : { kind: "binary", op: "or", left: found, right: ge(variable(partName(axis)), regular) },
    literal(0),
  );

/** Positions that a run of local positions takes in some parts. */
export const positionsIn = (
  axis: TokenAxis,
  parts: Interval,
  locals: Interval,
): Interval & { readonly missing: "all" | "some" | "none" } => {
  const { part, size } = axis;
  if (part === undefined) return { ...locals, missing: "none" };
  let [least, most, missing, present] = [Infinity, -Infinity, false, false];
  const see = (position: number, there: boolean): void => {
    if (!there) missing = true;
    else [least, most, present] = [Math.min(least, position), Math.max(most, position), true];
  };
  if (part.kind === "same") {
    for (const own of [parts.min, Math.min(parts.max, size - 1), parts.max]) see(own, own < size && own >= parts.min);
  } else {
    for (let own = parts.min; own <= parts.max; own++)
      for (let local = locals.min; local <= locals.max; local++) {
        if (part.kind === "window") see((own * part.size + local + part.shift) % size, own * part.size + local < size);
        else if (part.kind === "residue") see(local * part.stride + own, local * part.stride + own < size);
        else {
          const position = evaluateScalar(positionOf(axis, literal(local)), {
            variables: { [partName(axis.axis)]: own },
          });
          see(position, position < size);
        }
      }
  }
  return { min: present ? least : 0, max: present ? most : 0, missing: present ? (missing ? "some" : "none") : "all" };
};
