import { assertNever } from "../../diagnostics.ts";
import type { Pattern } from "../../../ir/patterns.ts";
import { readsPrefix, windowOn } from "../../../ir/predicate.ts";
import { sizeOf, type TensorType } from "../../../ir/types.ts";

/** How the positions of an axis fall into parts that a pattern never joins. */
export type AxisPartition =
  /** Every position for itself. */
  | { readonly kind: "same" }
  /** Runs of `size` positions of the axis rolled back by `shift`. */
  | { readonly kind: "window"; readonly size: number; readonly shift: number }
  /** Positions congruent modulo `stride`. */
  | { readonly kind: "residue"; readonly stride: number }
  /** Runs of `size` queries of those congruent modulo `stride`, and the run of keys that holds all that they see. */
  | { readonly kind: "tile"; readonly size: number; readonly stride: number; readonly keys: KeyRun };

/**
 * Keys of a tile that starts at place p of its congruent positions: `count` of them, from max(0, min(p - before, last)) on.
 * A tile's neighbours are keys of other tiles too: it parts queries and not keys.
 */
export type KeyRun = { readonly count: number; readonly before: number; readonly last: number; readonly reach: Reach };

/**
 * How far the keys of a query lie on an axis of n positions: from max(0, min(q - before, n - 1 - fromEnd)) to
 * min(n - 1, max(q + after, fromStart)). `fromEnd` and `fromStart` are more where neighbourhoods are moved inwards.
 */
export type Reach = {
  readonly before: number;
  readonly after: number;
  readonly fromEnd: number;
  readonly fromStart: number;
};

/** By axis; an axis that is missing is one part. Tokens that see each other agree in their part of every axis that is not tiled. */
export type Partition = ReadonlyMap<string, AxisPartition>;

export type TokenKind = "grid" | "prefix";
export type Ends = { readonly query: TensorType; readonly key: TensorType };

/** What some queries and the keys they see have in common; "none" where they see no key at all. */
export type Relation = Partition | "none";

/**
 * The finest partition that the pattern respects between queries and keys of these kinds. A prefix token has no position
 * on the axes that its prefix does not repeat over, so that nothing is said of those.
 */
const relationOf = (pattern: Pattern, from: TokenKind, to: TokenKind, ends: Ends): Relation => {
  const shared = sharedAxes(ends);
  switch (pattern.kind) {
    case "all":
      return new Map();
    case "where":
      return readsPrefix(pattern.predicate) || (from === "grid" && to === "grid") ? new Map() : "none";
    case "prefix": {
      if (from === "grid" && to === "grid") return "none";
      return new Map(positionedAxes(from, to, ends).map((axis) => [axis, { kind: "same" }]));
    }
    case "union":
      return pattern.patterns.map((each) => relationOf(each, from, to, ends)).reduce(join, "none");
    case "intersect": {
      const [first, ...rest] = pattern.patterns.map((each) => relationOf(each, from, to, ends));
      return first === undefined ? new Map() : rest.reduce(meet, first);
    }
    default:
      return from === "prefix" || to === "prefix" ? "none" : gridRelation(pattern, shared, ends);
  }
};

type AxisPattern = Exclude<Pattern, { readonly kind: "all" | "where" | "prefix" | "union" | "intersect" }>;

const gridRelation = (pattern: AxisPattern, shared: readonly string[], ends: Ends): Relation => {
  const of = (axes: readonly string[], part: (axis: string) => AxisPartition | undefined): Partition =>
    new Map(
      axes.flatMap((axis) => {
        const found = shared.includes(axis) ? part(axis) : undefined;
        return found === undefined ? [] : [[axis, found]];
      }),
    );
  switch (pattern.kind) {
    case "along":
      return of(
        shared.filter((axis) => !pattern.axes.includes(axis)),
        () => ({ kind: "same" }),
      );
    case "same":
      return of(pattern.axes, () => ({ kind: "same" }));
    case "window":
      return of(Object.keys(pattern.size), (axis) => windowPartition(pattern, axis, ends));
    case "near":
      return of(Object.keys(pattern.radius), () => residuePartition(pattern.dilation));
    case "every":
      return pattern.phase === "query"
        ? of(Object.keys(pattern.stride), (axis) => residuePartition(pattern.stride[axis] ?? 1))
        : new Map();
    case "causal":
      return new Map();
    default:
      return assertNever(pattern);
  }
};

/** A window over the whole axis divides nothing. */
export const windowPartition = (
  pattern: Pattern & { readonly kind: "window" },
  axis: string,
  ends: Ends,
): AxisPartition | undefined => {
  const extent = sizeOf(ends.query, axis) ?? 0;
  const { size, shift } = windowOn(pattern, axis, extent);
  if (size >= extent) return undefined;
  // Where windows tile the axis, only the borders count.
  return size === 1 ? { kind: "same" } : { kind: "window", size, shift: extent % size === 0 ? shift % size : shift };
};

const residuePartition = (stride: number): AxisPartition | undefined =>
  stride > 1 ? { kind: "residue", stride } : undefined;

const sharedAxes = ({ query, key }: Ends): readonly string[] =>
  query.axes.map(({ axis }) => axis).filter((axis) => sizeOf(key, axis) !== undefined);

/** Axes on which both tokens have a position: prefix tokens only on those that their prefix repeats over. */
const positionedAxes = (from: TokenKind, to: TokenKind, ends: Ends): readonly string[] =>
  sharedAxes(ends).filter(
    (axis) =>
      (from === "grid" || ends.query.prefix.over.includes(axis)) &&
      (to === "grid" || ends.key.prefix.over.includes(axis)),
  );

/** What holds of both: the coarser part of each axis that both divide. */
const join = (a: Relation, b: Relation): Relation => {
  if (a === "none") return b;
  if (b === "none") return a;
  return new Map(
    [...a].flatMap(([axis, part]) => {
      const other = b.get(axis);
      const coarser = other === undefined ? undefined : coarserOf(part, other);
      return coarser === undefined ? [] : [[axis, coarser] as const];
    }),
  );
};

/** As `join`, where `b` is silent about the axes that `speaks` does not name. */
const joinWhere = (a: Relation, b: Relation, speaks: readonly string[]): Relation => {
  if (a === "none" || b === "none") return join(a, b);
  const silent = [...a].filter(([axis]) => !speaks.includes(axis));
  const joined = join(a, b);
  return joined === "none" ? joined : new Map([...joined, ...silent]);
};

/** What holds of tokens that both relate: the finer part of each axis. */
const meet = (a: Relation, b: Relation): Relation => {
  if (a === "none" || b === "none") return "none";
  const finer = new Map(a);
  for (const [axis, part] of b) {
    const other = finer.get(axis);
    if (other === undefined || part.kind === "same") finer.set(axis, part);
  }
  return finer;
};

const coarserOf = (a: AxisPartition, b: AxisPartition): AxisPartition | undefined => {
  if (a.kind === "same") return b;
  return b.kind === "same" || samePartition(a, b) ? a : undefined;
};

export const samePartition = (a: AxisPartition, b: AxisPartition): boolean => {
  if (a.kind === "window") return b.kind === "window" && a.size === b.size && a.shift === b.shift;
  if (a.kind === "residue") return b.kind === "residue" && a.stride === b.stride;
  return a.kind === "same" && b.kind === "same";
};

/** Whether tokens in one part of `a` are always in one part of `b`. */
const refines = (a: AxisPartition, b: AxisPartition): boolean => a.kind === "same" || samePartition(a, b);

/** Queries that are attended together, and how their tokens fall into groups. */
export type Division = {
  readonly queries: "all" | TokenKind;
  readonly partition: Partition;
  readonly keys: ReadonlySet<TokenKind>;
};

/**
 * One division where prefix tokens fall into the same groups as the grid's, otherwise one for either: a class token
 * that sees the whole sequence has no place in a group of a window.
 */
export const divide = (pattern: Pattern, ends: Ends): readonly Division[] => {
  const relation = (from: TokenKind, to: TokenKind): Relation =>
    to === "prefix" && ends.key.prefix.count === 0 ? "none" : relationOf(pattern, from, to, ends);
  const divisionOf = (from: TokenKind): Division => {
    const [grid, prefix] = [relation(from, "grid"), relation(from, "prefix")];
    // Prefix keys are in every group of an axis that they have no position on.
    const joined =
      grid === "none"
        ? prefix
        : joinWhere(grid, prefix, from === "grid" ? ends.key.prefix.over : positionedAxes("prefix", "prefix", ends));
    const partition: Partition = joined === "none" ? new Map() : joined;
    return {
      queries: from,
      partition:
        from === "grid" ? partition : new Map([...partition].filter(([axis]) => ends.query.prefix.over.includes(axis))),
      keys: new Set<TokenKind>([
        ...(grid === "none" ? [] : (["grid"] as const)),
        ...(prefix === "none" ? [] : (["prefix"] as const)),
      ]),
    };
  };
  const grid = divisionOf("grid");
  if (ends.query.prefix.count === 0) return [{ ...grid, queries: "all" }];
  const prefix = divisionOf("prefix");
  const together = [...grid.partition].every(([axis, part]) => {
    const own = prefix.partition.get(axis);
    return (
      ends.query.prefix.over.includes(axis) && (prefix.keys.size === 0 || (own !== undefined && refines(own, part)))
    );
  });
  return together
    ? [{ queries: "all", partition: grid.partition, keys: new Set([...grid.keys, ...prefix.keys]) }]
    : [grid, prefix];
};
