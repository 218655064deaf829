import type { Scalar } from "../../../ir/scalar.ts";
import { add, literal, mul, variable } from "../../../ir/scalarBuild.ts";
import { fromForm } from "../../../ir/scalarLinear.ts";
import { below, type Interval, rangeOf, type Ranges } from "../../../ir/scalarRange.ts";
import { linearForm, simplify } from "../../../ir/scalarSimplify.ts";
import { substitute, variablesOf } from "../../../ir/scalarWalk.ts";
import type { AttentionKernel } from "../kernels.ts";

/**
 * A bias that depends on how a query and a key lie to each other: s + table[place(q) - place(k)]. Each token has a code,
 * its place and what `keep` compares, so that the difference of two codes is the bias' place in bytes where the query
 * sees the key, and no place of the table where it does not: a score costs a subtraction and a look into shared memory,
 * and hiding a key a minimum.
 */
export type RelativeBias = BiasPlaces & {
  /** The codes of tokens that there are, in variables `q.AXIS` and `q.group`, `k.AXIS` and `k.group`. */
  readonly query: Scalar;
  readonly key: Scalar;
  /** The codes of those that there are not: they see nothing, and nothing sees them. */
  readonly noQuery: number;
  readonly noKey: number;
};

/** The bias of a score: where it lies, and the places of tokens, whose difference counts its elements. */
export type BiasPlaces = {
  readonly table: number;
  /** Elements of a head, from each to the next, and from a head to the next. */
  readonly count: number;
  readonly stride: number;
  readonly headStep: number;
  readonly placeOfQuery: Scalar;
  readonly placeOfKey: Scalar;
};

/** Shared memory: the codes of the keys, the table, and behind it the bias that hides. */
export const biasBytes = (keySlots: number, count: number): number => (count === 0 ? 0 : 4 * (keySlots + count + 1));

/** What the score adds to s, where that is an element of a table of differences; null where it is something else. */
export const biasPlaces = (kernel: AttentionKernel, tokens: Ranges): BiasPlaces | null => {
  const { score, heads } = kernel;
  const ranges: Ranges = { ...tokens, head: below(heads) };
  if (score.kind !== "binary" || score.op !== "add") return null;
  const [s, element] = score.left.kind === "load" ? [score.right, score.left] : [score.left, score.right];
  if (s.kind !== "variable" || s.name !== "s" || element.kind !== "load") return null;
  const access = kernel.tables[element.table];
  const operand = access && kernel.operands[access.operand];
  if (operand?.storage !== "f32" || access?.valid.kind !== "number" || access.valid.value !== 1) return null;
  const offset = substitute(access.offset, Object.fromEntries(element.index.map((index, i) => [`i${i}`, index])));
  const form = linearForm(offset, ranges);
  const sides = { q: [] as (typeof form.terms)[number][], k: [] as (typeof form.terms)[number][] };
  let headStep = 0;
  for (const term of form.terms) {
    const names = [...variablesOf(term.atom)];
    if (term.atom.kind === "variable" && term.atom.name === "head") headStep = term.coefficient;
    else if (names.every((name) => name.startsWith("q."))) sides.q.push(term);
    else if (names.every((name) => name.startsWith("k."))) sides.k.push(term);
    else return null;
  }
  const stride = [...sides.q, ...sides.k].reduce((all, { coefficient }) => divisor(all, Math.abs(coefficient)), 0);
  if (stride === 0 || headStep < 0 || form.constant % stride !== 0 || !Number.isInteger(stride)) return null;
  const part = (terms: typeof form.terms, constant: number, sign: number): Scalar =>
    fromForm({
      constant: constant / stride,
      terms: terms.map((term) => ({ ...term, coefficient: (sign * term.coefficient) / stride })),
    });
  return {
    table: element.table,
    count: Math.floor((operand.exampleSize - 1 - headStep * (heads - 1)) / stride) + 1,
    stride,
    headStep,
    placeOfQuery: part(sides.q, form.constant, 1),
    placeOfKey: part(sides.k, 0, -1),
  };
};

const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b));

/** `groups`: of a thread block, whose tokens do not see each other's. Null where `keep` compares no numbers of small range. */
export const relativeBias = (places: BiasPlaces, keep: Scalar, groups: number, tokens: Ranges): RelativeBias | null => {
  const ranges: Ranges = { ...tokens, "q.group": below(groups), "k.group": below(groups) };
  const compared = comparisons(keep);
  if (compared === null) return null;
  let parts = groups;
  let [query, key]: readonly Scalar[] = groups > 1 ? [variable("q.group"), variable("k.group")] : [];
  query ??= literal(0);
  key ??= literal(0);
  for (const sides of compared) {
    const [ofQuery, ofKey] = [rangeOf(sides.query, ranges), rangeOf(sides.key, ranges)];
    const least = Math.min(ofQuery.min, ofKey.min);
    const count = Math.max(ofQuery.max, ofKey.max) - least + 1;
    if (!Number.isInteger(count)) return null;
    query = add(mul(query, count), sides.query, -least);
    key = add(mul(key, count), sides.key, -least);
    parts *= count;
  }
  const { placeOfQuery, placeOfKey } = places;
  const radix = radixOf(places.count, rangeOf(placeOfQuery, ranges), rangeOf(placeOfKey, ranges));
  if (!((parts + 2) * radix < 2 ** 31)) return null;
  const code = (part: Scalar, place: Scalar): Scalar => simplify(add(mul(part, radix), mul(place, 4)), ranges);
  return {
    ...places,
    query: code(query, placeOfQuery),
    key: code(key, placeOfKey),
    noQuery: (parts + 1) * radix,
    noKey: parts * radix,
  };
};

/** So far apart are codes of different parts that no difference of theirs is a place of the table. */
const radixOf = (count: number, query: Interval, key: Interval): number => {
  const [least, most] = [4 * (query.min - key.max), 4 * (query.max - key.min)];
  const needed = Math.max(4 * count - least, most + 1, 4 * query.max + 1, 4 * (key.max + count));
  return 2 ** Math.ceil(Math.log2(needed));
};

type Compared = { readonly query: Scalar; readonly key: Scalar };

/** The terms of `keep`, each of them that something of the query equals something of the key. */
const comparisons = (keep: Scalar): readonly Compared[] | null => {
  if (keep.kind === "number") return keep.value === 0 ? null : [];
  if (keep.kind !== "binary") return null;
  const { op, left, right } = keep;
  if (op === "and") {
    const [first, second] = [comparisons(left), comparisons(right)];
    return first === null || second === null ? null : [...first, ...second];
  }
  if (op !== "eq") return null;
  if (isOf(left, "q.") && isOf(right, "k.")) return [{ query: left, key: right }];
  return isOf(left, "k.") && isOf(right, "q.") ? [{ query: right, key: left }] : null;
};

const isOf = (expr: Scalar, side: string): boolean => [...variablesOf(expr)].every((name) => name.startsWith(side));
