import type { Scalar } from "./scalar.ts";
import { and, literal, lt, select, variable } from "./scalarBuild.ts";
import { printScalar } from "./scalarText.ts";

/** What a score says of ragged sets: tokens of an axis at or behind a length, which a table holds, take no part. */
export type Lengths = {
  readonly table: number;
  /** Of the table, in variables `k.AXIS`. */
  readonly index: readonly Scalar[];
  readonly keyAxis: string;
  /** Null where queries have no length. */
  readonly queryAxis: string | null;
  /** The score of those that do. */
  readonly score: Scalar;
};

/** Keys, and queries if they have such an axis, end at a length: the others have no score. */
export const withLengths = (
  score: Scalar,
  length: Scalar,
  { keyAxis, queryAxis }: Pick<Lengths, "keyAxis" | "queryAxis">,
): Scalar => {
  const key = lt(variable(`k.${keyAxis}`), length);
  const test = queryAxis === null ? key : and(key, lt(variable(`q.${queryAxis}`), length));
  return select(test, score, literal(-Infinity));
};

/** Reads `k.n < length ? score : -Infinity` and `k.n < length && q.n < length ? score : -Infinity`; null for anything else. */
export const lengthsOf = (score: Scalar): Lengths | null => {
  if (score.kind !== "select" || score.else.kind !== "number" || score.else.value !== -Infinity) return null;
  const test = score.if;
  const both = test.kind === "binary" && test.op === "and";
  const [key, query] = both ? [bound(test.left), bound(test.right)] : [bound(test), null];
  if (key === null || !key.name.startsWith("k.")) return null;
  if (both && (query === null || !query.name.startsWith("q.") || printScalar(query.length) !== printScalar(key.length)))
    return null;
  return {
    table: key.length.table,
    index: key.length.index,
    keyAxis: key.name.slice(2),
    queryAxis: query?.name.slice(2) ?? null,
    score: score.then,
  };
};

type Load = Extract<Scalar, { readonly kind: "load" }>;

const bound = (test: Scalar): { readonly name: string; readonly length: Load } | null =>
  test.kind === "binary" && test.op === "lt" && test.left.kind === "variable" && test.right.kind === "load"
    ? { name: test.left.name, length: test.right }
    : null;
