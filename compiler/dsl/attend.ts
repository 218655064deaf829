import type { ValueId } from "../../ir/graph.ts";
import { withLengths } from "../../ir/lengths.ts";
import type { Positions } from "../../ir/positions.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { literal, load, or, select, variable } from "../../ir/scalarBuild.ts";
import { noPrefix, type TensorType } from "../../ir/types.ts";
import { printType } from "../../ir/typeText.ts";
import { type At, type Axis, positive, sizeAlong } from "./axes.ts";
import { AnyGrid, type Grid, gridOf } from "./grid.ts";
import { lowerLambda, position, readsVariable, scalar, type Table } from "./lambda.ts";
import { Parameter } from "./parameter.ts";
import { type AnyPattern, all, fieldsOf, type Pattern } from "./patterns.ts";
import { append, appendOnce, fail } from "./trace.ts";

/** A score from the scaled product `s` and the two positions. */
export type Score<Q extends Axis, K extends Axis = Q> = (s: number, q: At<Q>, k: At<K>, head: number) => number;

/** Marks a score that is written outside of `attend`, so that its source is read. */
export const score = <Q extends Axis, K extends Axis = Q>(f: Score<Q, K>): Score<Q, K> => f;

export type AttendOptions<Q extends Axis, K extends Axis> = {
  /** How many heads the channels are read as; by default what `heads` said, else one. */
  readonly heads?: number;
  /** Which keys a query sees: all of them by default. */
  readonly keys?: Pattern<NoInfer<Q>, NoInfer<K>>;
  /** What q · k is multiplied with: 1/√(channels of a head) by default. */
  readonly scale?: number;
  /** The score in place of `s`, read from its source. Prefix tokens keep `s` unless it reads `isPrefix`. */
  readonly score?: Score<NoInfer<Q>, NoInfer<K>>;
  /** How long each set is, of those that lie side by side padded to one size. */
  readonly lengths?: SetLengths<NoInfer<K>>;
  /** Softmax over the keys, or the weighted sum divided by the number of keys seen, or the sum as it is. */
  readonly normalize?: "softmax" | "count" | "none";
  /** Terms of how far a query lies behind a key, added to the score and to the values. */
  readonly positions?: RelativePositions<NoInfer<Q> & NoInfer<K>>;
};

/**
 * Keys at or behind their set's length on the axis are not seen; with `queries`, queries behind it see nothing and give
 * zeros, as those of an empty set do. Work follows the lengths, which are of axes of the keys: one number for each set.
 */
export type SetLengths<K extends Axis> = {
  readonly axis: K;
  readonly of: AnyGrid;
  /** Whether queries are points of the same sets. */
  readonly queries?: boolean;
};

/**
 * Terms of relative positions along an axis of n positions, q_i · Q[i - j] + k_j · K[j - i], and v_j + V[i - j] in place
 * of v_j (arXiv 2003.07853, equation 4). A table has one axis, whose row n - 1 + d of 2 n - 1 is for positions d apart,
 * and the channels of q, k or v, head by head.
 */
export type RelativePositions<A extends Axis> = {
  readonly axis: A;
  readonly query?: AnyGrid;
  readonly key?: AnyGrid;
  readonly value?: AnyGrid;
};

/**
 * normalize(score(scale · q kᵀ)) v over the keys that `keys` names; the heads are side by side again in the result.
 * A query that sees no key gives zeros.
 */
export function attend<Q extends Axis, K extends Axis>(
  q: Grid<Q>,
  k: Grid<K>,
  v: Grid<NoInfer<K>>,
  options: AttendOptions<Q, K> = {},
): Grid<Q> {
  const heads = positive("attend", "the number of heads", options.heads ?? q.runs);
  const [query, key, value] = [q.type, k.type, v.type];
  if (query.channels !== key.channels)
    fail(
      "shape-mismatch",
      { op: "attend", left: printType(query), right: printType(key) },
      "",
      `q has ${query.channels} channels and k has ${key.channels}`,
    );
  for (const { channels } of [query, value])
    if (channels % heads !== 0)
      fail(
        "not-divisible",
        { what: "the number of channels", size: channels, by: heads },
        `heads that divide them: ${nearestDivisors(channels, heads).join(" or ")}`,
        `${heads} heads`,
      );
  // Either may be the same for all examples.
  if (printType({ ...key, channels: 0, batch: false }) !== printType({ ...value, channels: 0, batch: false }))
    fail(
      "shape-mismatch",
      { op: "attend", left: printType(key), right: printType(value) },
      "",
      "k and v must lie on one grid",
    );

  const keys: AnyPattern = options.keys ?? all();
  const ofScore = lowerScore(options.score, q, k);
  const { body, tables } = options.lengths === undefined ? ofScore : endAtLengths(ofScore, options.lengths, q, k);
  const attrs = {
    heads,
    scale: options.scale ?? 1 / Math.sqrt(query.channels / heads),
    pattern: keys.lower({ query, key }),
    score: body,
    normalize: options.normalize ?? "softmax",
    positions: lowerPositions(options.positions, { query, key, value }, tables.length),
  };
  const { query: ofQuery, key: ofKey, value: ofValue } = options.positions ?? {};
  const ofPositions = [ofQuery, ofKey, ofValue].flatMap((table) => table?.value ?? []);
  return gridOf(append("attend", [q.value, k.value, v.value, ...tables.map(tableValue), ...ofPositions], attrs));
}

/** Positions' tables stand behind those of the score. */
function lowerPositions(
  given: RelativePositions<Axis> | undefined,
  types: { readonly [R in "query" | "key" | "value"]: TensorType },
  first: number,
): Positions | null {
  if (given === undefined) return null;
  const { axis } = given;
  const size = sizeAlong("attend", types.query, axis);
  const rows = 2 * size - 1;
  let next = first;
  const numbers = (["query", "key", "value"] as const).map((role) => {
    const table = given[role];
    if (table === undefined) return null;
    const [only, ...more] = table.type.axes;
    const { channels } = types[role];
    if (only === undefined || more.length > 0 || only.size !== rows || table.type.channels !== channels)
      fail(
        "shape-mismatch",
        { op: "attend", left: printType(types[role]), right: printType(table.type) },
        `positions along "${axis}", which has ${size}, lie up to ${size - 1} apart either way: ${rows} rows of ${channels} channels`,
        `the table of ${role} positions`,
      );
    return next++;
  });
  const [query = null, key = null, value = null] = numbers;
  return { axis, query, key, value };
}

function lowerScore(
  f: ((...args: never[]) => number) | undefined,
  q: AnyGrid,
  k: AnyGrid,
): { readonly body: Scalar; readonly tables: readonly Table[] } {
  const s = variable("s");
  if (f === undefined) return { body: s, tables: [] };
  const meanings = [
    scalar(s),
    position("q", fieldsOf(q.type)),
    position("k", fieldsOf(k.type)),
    scalar(variable("head")),
  ];
  const { body, tables } = lowerLambda(f, meanings);
  const prefixes = [
    ...(q.type.prefix.count > 0 ? ["q.isPrefix"] : []),
    ...(k.type.prefix.count > 0 ? ["k.isPrefix"] : []),
  ];
  const asked = prefixes.length === 0 || readsVariable(body, ".isPrefix");
  return { body: asked ? body : select(or(...prefixes.map(variable)), s, body), tables };
}

function endAtLengths(
  { body, tables }: ReturnType<typeof lowerScore>,
  { axis, of, queries = false }: SetLengths<Axis>,
  q: AnyGrid,
  k: AnyGrid,
): ReturnType<typeof lowerScore> {
  sizeAlong("attend", k.type, axis);
  if (queries) sizeAlong("attend", q.type, axis);
  const sets = k.type.axes.filter((each) => each.axis !== axis);
  const isOfSets = of.type.axes.every(({ axis: own, size }) =>
    sets.some((each) => each.axis === own && each.size === size),
  );
  if (!isOfSets || of.type.channels !== 1 || q.type.prefix.count + k.type.prefix.count > 0)
    fail(
      "shape-mismatch",
      { op: "attend", left: printType(k.type), right: printType(of.type) },
      `a length along "${axis}" is one number at each position of the keys' other axes, of which lengths have some or all; there are no prefix tokens`,
      "lengths of another shape than the sets",
    );
  const index = of.type.axes.map((each) => variable(`k.${each.axis}`));
  const length = load(tables.length, [...index, literal(0)]);
  return {
    body: withLengths(body, length, { keyAxis: axis, queryAxis: queries ? axis : null }),
    tables: [...tables, of],
  };
}

function tableValue(table: Table): ValueId {
  if (table instanceof Parameter) return table.table();
  if (table instanceof AnyGrid) return table.value;
  const axes = table.sizes.slice(0, -1).map((size, index) => ({ axis: `i${index}`, size }));
  const type = { element: "float", batch: false, prefix: noPrefix, axes, channels: table.sizes.at(-1) ?? 1 } as const;
  return appendOnce(table, "", () => append("constant", [], { values: table.values, type }));
}

/** The divisors of `size` next to a number that is none, below and above. */
function nearestDivisors(size: number, to: number): readonly number[] {
  const divisors = Array.from({ length: size }, (_, index) => index + 1).filter((each) => size % each === 0);
  return [divisors.findLast((each) => each < to), divisors.find((each) => each > to)].filter(
    (each) => each !== undefined,
  );
}
