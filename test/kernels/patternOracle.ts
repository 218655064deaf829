import type { Pattern } from "../../ir/patterns.ts";
import { evaluateScalar } from "../../ir/scalarEvaluate.ts";
import { variablesOf } from "../../ir/scalarWalk.ts";
import { sizeOf, type TensorType } from "../../ir/types.ts";

/** A token: its coordinates on the axes where it has one. */
type Place = { readonly at: ReadonlyMap<string, number>; readonly isPrefix: boolean; readonly prefix: number };

/**
 * Which keys each query sees, by rows, from what each pattern is said to be: axes are rolled, cut and labelled as lists,
 * neighbours and strides walked step by step, and every pair is asked. Nothing of the compiler is used but a `where`'s
 * own predicate.
 */
export const seenPairs = (pattern: Pattern, query: TensorType, key: TensorType): SeenPairs => {
  const sees = relation(pattern, query, key);
  const [queries, keys] = [placesOf(query), placesOf(key)];
  const seen = queries.map((q) => Uint8Array.from(keys, (k) => (sees(q, k) ? 1 : 0)));
  return (q, k) => seen[q]?.[k] === 1;
};
export type SeenPairs = (query: number, key: number) => boolean;

type Sees = (q: Place, k: Place) => boolean;

const placesOf = (type: TensorType): readonly Place[] => {
  const walk = (axes: readonly string[]): readonly ReadonlyMap<string, number>[] =>
    axes.reduce<readonly ReadonlyMap<string, number>[]>(
      (places, axis) =>
        places.flatMap((place) => upTo(sizeOf(type, axis) ?? 1).map((at) => new Map([...place, [axis, at]]))),
      [new Map()],
    );
  return [
    ...walk(type.prefix.over).flatMap((at) =>
      upTo(type.prefix.count).map((prefix): Place => ({ at, isPrefix: true, prefix })),
    ),
    ...walk(type.axes.map(({ axis }) => axis)).map((at): Place => ({ at, isPrefix: false, prefix: 0 })),
  ];
};

const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i);

const relation = (pattern: Pattern, query: TensorType, key: TensorType): Sees => {
  const extent = (axis: string): number => sizeOf(key, axis) ?? 1;
  /** Grid tokens whose coordinates are related on each of these axes. */
  const onEach = (axes: readonly string[], related: (axis: string) => (q: number, k: number) => boolean): Sees => {
    const tests = axes.map((axis) => ({ axis, test: related(axis) }));
    return (q, k) =>
      !q.isPrefix &&
      !k.isPrefix &&
      tests.every(({ axis, test }) => test(q.at.get(axis) ?? 0, k.at.get(axis) ?? Number.NaN));
  };
  const table = (seen: (q: number) => readonly number[], size: number): ((q: number, k: number) => boolean) => {
    const sets = upTo(size).map((q) => new Set(seen(q)));
    return (q, k) => sets[q]?.has(k) ?? false;
  };
  switch (pattern.kind) {
    case "all":
      return () => true;
    case "union":
    case "intersect": {
      const parts = pattern.patterns.map((part) => relation(part, query, key));
      return pattern.kind === "union"
        ? (q, k) => parts.some((sees) => sees(q, k))
        : (q, k) => parts.every((sees) => sees(q, k));
    }
    case "prefix":
      // Where both have a coordinate that a prefix is repeated over, it is the same.
      return (q, k) =>
        (q.isPrefix || k.isPrefix) &&
        [...(q.isPrefix ? query.prefix.over : []), ...(k.isPrefix ? key.prefix.over : [])].every(
          (axis) => !q.at.has(axis) || !k.at.has(axis) || q.at.get(axis) === k.at.get(axis),
        );
    case "along":
      return onEach(
        key.axes
          .map(({ axis }) => axis)
          .filter((axis) => sizeOf(query, axis) !== undefined && !pattern.axes.includes(axis)),
        () => (q, k) => q === k,
      );
    case "same":
      return onEach(pattern.axes, () => (q, k) => q === k);
    case "causal":
      return onEach([pattern.axis], () => (q, k) => k <= q);
    case "window":
      return onEach(Object.keys(pattern.size), (axis) => {
        const labels = windowLabels(extent(axis), pattern.size[axis] ?? 1, pattern.shift[axis] ?? 0);
        return (q, k) => labels[q] === labels[k];
      });
    case "near":
      return onEach(Object.keys(pattern.radius), (axis) =>
        table((q) => neighbours(extent(axis), q, pattern.radius[axis] ?? 0, pattern), extent(axis)),
      );
    case "every":
      return onEach(Object.keys(pattern.stride), (axis) => {
        const stride = pattern.stride[axis] ?? 1;
        const { phase } = pattern;
        const from = (start: number): readonly number[] =>
          upTo(extent(axis)).filter((k) => Number.isInteger((k - start) / stride));
        return table((q) => from(phase === "query" ? q : phase), Math.max(extent(axis), sizeOf(query, axis) ?? 1));
      });
    case "where":
      return whereRelation(pattern);
  }
};

/** As published: roll the axis back by the shift, cut it into windows, and tell apart what the roll has brought round. */
const windowLabels = (extent: number, size: number, shift: number): readonly string[] => {
  if (size >= extent) return upTo(extent).map(() => "all");
  const positions = upTo(extent);
  const by = ((shift % extent) + extent) % extent;
  const rolled = [...positions.slice(by), ...positions.slice(0, by)];
  const labels: string[] = [];
  for (const [place, position] of rolled.entries())
    labels[position] = `${Math.floor(place / size)}${position < by ? " from the start" : ""}`;
  return labels;
};

const neighbours = (
  extent: number,
  q: number,
  radius: number,
  { dilation, border }: Extract<Pattern, { readonly kind: "near" }>,
): readonly number[] => {
  const line = upTo(extent).filter((k) => (k - q) % dilation === 0);
  const own = line.indexOf(q);
  if (border === "cut") return line.filter((_, i) => Math.abs(i - own) <= radius);
  const first = Math.max(0, Math.min(own - radius, line.length - (2 * radius + 1)));
  return line.slice(first, first + 2 * radius + 1);
};

const whereRelation = ({ predicate }: Extract<Pattern, { readonly kind: "where" }>): Sees => {
  const names = [...variablesOf(predicate)];
  const asked = names.some((name) => name.endsWith(".isPrefix"));
  const valueOf = (place: Place, field: string): number =>
    field === "isPrefix" ? Number(place.isPrefix) : field === "prefix" ? place.prefix : (place.at.get(field) ?? 0);
  return (q, k) => {
    if (!asked && (q.isPrefix || k.isPrefix)) return false;
    const variables = Object.fromEntries(
      names.map((name) => [name, valueOf(name.startsWith("q.") ? q : k, name.slice(2))]),
    );
    return evaluateScalar(predicate, { variables }) !== 0;
  };
};
