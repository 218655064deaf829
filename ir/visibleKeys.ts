import type { Pattern } from "./patterns.ts";
import { axisRelations, type AxisPattern, predicate } from "./predicate.ts";
import { literal } from "./scalarBuild.ts";
import { compileScalar } from "./scalarEvaluate.ts";
import type { Scalar } from "./scalar.ts";
import { variablesOf } from "./scalarWalk.ts";
import { type Tokens, tokensOf } from "./tokens.ts";
import { type Extent, sizeOf, type TensorType } from "./types.ts";

/** Queries that see the same keys, and these keys: rows in rising order. */
export type VisibleKeys = { readonly queries: Int32Array; readonly keys: Int32Array };

/**
 * Which keys every query sees, by the meaning of `predicate`. Patterns over axes are not asked pair by pair: their keys
 * are products of coordinates, so that the cost is that of the answer.
 */
export const visibleKeys = (pattern: Pattern, query: TensorType, key: TensorType): readonly VisibleKeys[] => {
  const rule = keyRule(pattern, { query, key, queries: tokensOf(query), keys: tokensOf(key) });
  const groups = new Map<string, { readonly queries: number[]; readonly keys: Int32Array }>();
  const byList = new Map<Int32Array, { readonly queries: number[]; readonly keys: Int32Array }>();
  const rows = tokensOf(query).rows;
  for (let row = 0; row < rows; row++) {
    const keys = rule(row);
    let group = byList.get(keys);
    if (group === undefined) {
      const text = keys.join();
      group = groups.get(text) ?? { queries: [], keys };
      groups.set(text, group);
      byList.set(keys, group);
    }
    group.queries.push(row);
  }
  return [...groups.values()].map(({ queries, keys }) => ({ queries: Int32Array.from(queries), keys }));
};

type Ends = {
  readonly query: TensorType;
  readonly key: TensorType;
  readonly queries: Tokens;
  readonly keys: Tokens;
};
/** The keys of a query's row, rising; equal lists are often the same object. */
type KeyRule = (queryRow: number) => Int32Array;

const keyRule = (pattern: Pattern, ends: Ends): KeyRule => {
  switch (pattern.kind) {
    case "all": {
      const every = Int32Array.from({ length: ends.keys.rows }, (_, row) => row);
      return () => every;
    }
    case "union":
      return unionRule(pattern.patterns.map((each) => keyRule(each, ends)));
    case "intersect":
      return intersectRule(pattern.patterns, ends);
    case "prefix":
    case "where":
      return askingRule(predicate(pattern, ends.query, ends.key), ends);
    default:
      return gridRule([...axisRelations(pattern, ends.query, ends.key)], ends);
  }
};

const isAxisPattern = (pattern: Pattern): pattern is AxisPattern =>
  pattern.kind !== "all" &&
  pattern.kind !== "union" &&
  pattern.kind !== "intersect" &&
  pattern.kind !== "prefix" &&
  pattern.kind !== "where";

/** Axis patterns are one product of coordinates; the others are asked about the keys in it. */
const intersectRule = (patterns: readonly Pattern[], ends: Ends): KeyRule => {
  const overAxes = patterns.filter(isAxisPattern);
  const others = patterns.filter((pattern) => !isAxisPattern(pattern));
  const candidates =
    overAxes.length > 0
      ? gridRule(
          overAxes.flatMap((pattern) => [...axisRelations(pattern, ends.query, ends.key)]),
          ends,
        )
      : keyRule({ kind: "all" }, ends);
  if (others.length === 0) return candidates;
  const condition = predicate({ kind: "intersect", patterns: others }, ends.query, ends.key);
  const sees = pairTest(condition, ends);
  return (row) => candidates(row).filter((key) => sees(row, key));
};

/** The union of rising lists, remembered by the lists it was made of. */
const unionRule = (rules: readonly KeyRule[]): KeyRule => {
  const numbers = new Map<Int32Array, number>();
  const numberOf = (list: Int32Array): number => {
    const number = numbers.get(list) ?? numbers.size;
    numbers.set(list, number);
    return number;
  };
  const made = new Map<string, Int32Array>();
  return (row) => {
    const lists = rules.map((rule) => rule(row));
    const name = lists.map(numberOf).join();
    const known = made.get(name);
    if (known !== undefined) return known;
    const merged = Int32Array.from(new Set(lists.flatMap((list) => [...list]))).toSorted();
    made.set(name, merged);
    return merged;
  };
};

/** Asks about every pair. */
const askingRule = (condition: Scalar, ends: Ends): KeyRule => {
  // A query is told from another by the variables that the condition reads of it alone.
  const own = ownVariables(condition, ends);
  const sees = pairTest(condition, ends);
  const every = Int32Array.from({ length: ends.keys.rows }, (_, row) => row);
  return remembered(
    (row) => own.map((values) => values[row] ?? 0).join(),
    (row) => every.filter((key) => sees(row, key)),
  );
};

const remembered = (nameOf: (row: number) => string, rule: KeyRule): KeyRule => {
  const known = new Map<string, Int32Array>();
  return (row) => {
    const name = nameOf(row);
    const list = known.get(name) ?? rule(row);
    known.set(name, list);
    return list;
  };
};

const ownVariables = (condition: Scalar, { queries }: Ends): readonly Int32Array[] =>
  [...variablesOf(condition)]
    .filter((name) => name.startsWith("q."))
    .map((name) => tokenVariable(queries, name.slice(2)));

/** A variable of a token as an array by row. */
export const tokenVariable = (tokens: Tokens, field: string): Int32Array => {
  if (field === "isPrefix")
    return Int32Array.from({ length: tokens.rows }, (_, row) => (row < tokens.prefixRows ? 1 : 0));
  if (field === "prefix" && !tokens.coordinates.has("prefix")) return tokens.prefixIndex;
  return tokens.coordinates.get(field) ?? new Int32Array(tokens.rows);
};

const pairTest = (condition: Scalar, { queries, keys }: Ends): ((query: number, key: number) => boolean) => {
  const names = [...variablesOf(condition)];
  const sources = names.map((name) => ({
    isQuery: name.startsWith("q."),
    values: tokenVariable(name.startsWith("q.") ? queries : keys, name.slice(2)),
  }));
  const compiled = compileScalar(condition, { variable: (name) => names.indexOf(name) });
  const slots = new Float64Array(names.length);
  return (query, key) => {
    for (const [slot, { isQuery, values }] of sources.entries()) slots[slot] = values[isQuery ? query : key] ?? 0;
    return compiled(slots) !== 0;
  };
};

/** Keys whose coordinates satisfy every relation: for each axis the coordinates seen from the query's, and their product. */
const gridRule = (relations: readonly (readonly [axis: string, relation: Scalar])[], ends: Ends): KeyRule => {
  const { query, key, queries, keys } = ends;
  const axes = key.axes.map((extent) => {
    const conditions = relations.filter(([axis]) => axis === extent.axis).map(([, relation]) => relation);
    return { extent, lists: coordinateLists(extent, sizeOf(query, extent.axis), conditions) };
  });
  const own = axes
    .filter(({ lists }) => lists.length > 1)
    .map(({ extent }) => queries.coordinates.get(extent.axis) ?? new Int32Array(queries.rows));
  const none = new Int32Array(0);
  const product = remembered(
    (row) => own.map((values) => values[row] ?? 0).join(),
    (row) => {
      let rows: readonly number[] = [0];
      for (const { extent, lists } of axes) {
        const at = lists.length > 1 ? (queries.coordinates.get(extent.axis)?.[row] ?? 0) : 0;
        const list = lists[at] ?? [];
        rows = rows.flatMap((flat) => list.map((coordinate) => flat * extent.size + coordinate));
      }
      return Int32Array.from(rows, (flat) => flat + keys.prefixRows);
    },
  );
  return (row) => (row < queries.prefixRows ? none : product(row));
};

/** The key coordinates that each query coordinate sees; one list where the query's does not matter. */
const coordinateLists = (
  { axis, size }: Extent,
  querySize: number | undefined,
  conditions: readonly Scalar[],
): readonly (readonly number[])[] => {
  const names = [`q.${axis}`, `k.${axis}`];
  const tests = (conditions.length === 0 ? [literal(1)] : conditions).map((condition) =>
    compileScalar(condition, { variable: (name) => names.indexOf(name) }),
  );
  const matters = conditions.some((condition) => variablesOf(condition).has(`q.${axis}`));
  const slots = new Float64Array(2);
  return Array.from({ length: matters ? (querySize ?? 1) : 1 }, (_, query) =>
    Array.from({ length: size }, (__, coordinate) => coordinate).filter((coordinate) => {
      slots[0] = query;
      slots[1] = coordinate;
      return tests.every((test) => test(slots) !== 0);
    }),
  );
};
