import { GraphError } from "./errors.ts";
import type { AxisNumbers, Pattern } from "./patterns.ts";
import { add, and, eq, floorDiv, ge, le, literal, lt, max, min, mod, not, or, sub, variable } from "./scalarBuild.ts";
import type { Scalar } from "./scalar.ts";
import { variablesOf } from "./scalarWalk.ts";
import { sizeOf, type TensorType } from "./types.ts";
import { printType } from "./typeText.ts";

/**
 * Whether a query sees a key: the one meaning of each pattern. Variables are `q.AXIS`, `k.AXIS` (0 for a prefix token
 * that is not repeated over the axis), `q.isPrefix`, `k.isPrefix` (of types that have prefix tokens), and in a `where`
 * `q.prefix`, `k.prefix`, the index of a prefix token. Throws a GraphError on an axis that the pattern needs and a type lacks.
 */
export const predicate = (pattern: Pattern, query: TensorType, key: TensorType): Scalar => {
  switch (pattern.kind) {
    case "all":
      return literal(1);
    case "prefix":
      return prefixRelation(query, key);
    case "union":
      return or(...pattern.patterns.map((each) => predicate(each, query, key)));
    case "intersect":
      return and(...pattern.patterns.map((each) => predicate(each, query, key)));
    case "where":
      return readsPrefix(pattern.predicate) ? pattern.predicate : and(bothOnGrid(query, key), pattern.predicate);
    default:
      return and(bothOnGrid(query, key), ...axisRelations(pattern, query, key).values());
  }
};

export const readsPrefix = (expr: Scalar): boolean => {
  const names = variablesOf(expr);
  return names.has("q.isPrefix") || names.has("k.isPrefix");
};

/** The variable that tells prefix tokens, 0 for a type that has none. */
const isPrefix = (side: "q" | "k", type: TensorType): Scalar =>
  type.prefix.count > 0 ? variable(`${side}.isPrefix`) : literal(0);

const bothOnGrid = (query: TensorType, key: TensorType): Scalar =>
  and(not(isPrefix("q", query)), not(isPrefix("k", key)));

const prefixRelation = (query: TensorType, key: TensorType): Scalar => {
  const queryIsPrefix = isPrefix("q", query);
  const keyIsPrefix = isPrefix("k", key);
  const axesOf = (type: TensorType): readonly string[] => type.axes.map(({ axis }) => axis);
  const shared = (a: readonly string[], b: readonly string[]): Scalar =>
    and(...a.filter((axis) => b.includes(axis)).map((axis) => eq(variable(`q.${axis}`), variable(`k.${axis}`))));
  return or(
    and(keyIsPrefix, not(queryIsPrefix), shared(key.prefix.over, axesOf(query))),
    and(queryIsPrefix, not(keyIsPrefix), shared(query.prefix.over, axesOf(key))),
    and(queryIsPrefix, keyIsPrefix, shared(query.prefix.over, key.prefix.over)),
  );
};

export type AxisPattern = Extract<
  Pattern,
  { readonly kind: "along" | "same" | "window" | "near" | "every" | "causal" }
>;

/**
 * What an axis pattern asks of the coordinates `q.AXIS` and `k.AXIS`, axis by axis; a key is seen where all hold.
 * Axes that are not named are free.
 */
export const axisRelations = (
  pattern: AxisPattern,
  query: TensorType,
  key: TensorType,
): ReadonlyMap<string, Scalar> => {
  const extent = (axis: string): number => {
    const ofQuery = sizeOf(query, axis);
    const ofKey = sizeOf(key, axis);
    if (ofKey === undefined) throw lacks(pattern, "keys", key, axis);
    if (ofQuery === undefined) throw lacks(pattern, "queries", query, axis);
    return ofKey;
  };
  /** Windows and neighbourhoods of queries are places on the keys' axis. */
  const sameExtent = (axis: string): number => {
    const size = extent(axis);
    if (sizeOf(query, axis) === size) return size;
    throw new GraphError(
      `the pattern "${pattern.kind}" relates equal extents, but "${axis}" is ${sizeOf(query, axis)} in the queries ${printType(query)} and ${size} in the keys ${printType(key)}`,
    );
  };
  const relate = (
    axes: readonly string[],
    relation: (q: Scalar, k: Scalar, axis: string) => Scalar,
  ): Map<string, Scalar> =>
    new Map(axes.map((axis) => [axis, relation(variable(`q.${axis}`), variable(`k.${axis}`), axis)]));

  switch (pattern.kind) {
    case "along": {
      for (const axis of pattern.axes) if (sizeOf(key, axis) === undefined) throw lacks(pattern, "keys", key, axis);
      const shared = key.axes.map(({ axis }) => axis).filter((axis) => sizeOf(query, axis) !== undefined);
      return relate(
        shared.filter((axis) => !pattern.axes.includes(axis)),
        eq,
      );
    }
    case "same":
      pattern.axes.forEach(extent);
      return relate(pattern.axes, eq);
    case "window":
      return relate(Object.keys(pattern.size), (q, k, axis) =>
        sameWindow(q, k, windowOn(pattern, axis, sameExtent(axis)), extent(axis)),
      );
    case "near":
      return relate(Object.keys(pattern.radius), (q, k, axis) =>
        near(pattern, q, k, numberOn(pattern.radius, axis), sameExtent(axis)),
      );
    case "every":
      return relate(Object.keys(pattern.stride), (q, k, axis) => {
        const stride = numberOn(pattern.stride, axis);
        if (pattern.phase !== "query") {
          if (sizeOf(key, axis) === undefined) throw lacks(pattern, "keys", key, axis);
          return eq(mod(k, stride), mod(pattern.phase, stride));
        }
        extent(axis);
        return eq(mod(q, stride), mod(k, stride));
      });
    case "causal":
      extent(pattern.axis);
      return relate([pattern.axis], (q, k) => le(k, q));
  }
};

const lacks = (pattern: Pattern, what: string, type: TensorType, axis: string): GraphError =>
  new GraphError(`the pattern "${pattern.kind}" names the axis "${axis}", which the ${what} ${printType(type)} lack`);

const numberOn = (numbers: AxisNumbers, axis: string): number =>
  Object.hasOwn(numbers, axis) ? (numbers[axis] ?? 0) : 0;

/** Size and shift of a window on an axis of this extent: a window that would hold the whole axis does, and is not shifted. */
export const windowOn = (
  pattern: Extract<Pattern, { readonly kind: "window" }>,
  axis: string,
  extent: number,
): { readonly size: number; readonly shift: number } => {
  const size = numberOn(pattern.size, axis);
  if (size >= extent) return { size: extent, shift: 0 };
  const shift = numberOn(pattern.shift, axis) % extent;
  return { size, shift: shift < 0 ? shift + extent : shift };
};

const sameWindow = (
  q: Scalar,
  k: Scalar,
  { size, shift }: { readonly size: number; readonly shift: number },
  extent: number,
): Scalar => {
  if (size >= extent) return literal(1);
  // Where windows tile the axis, a shift only moves their borders: the window that wraps falls into the two parts at the ends.
  if (extent % size === 0) {
    const lead = (size - (shift % size)) % size;
    return eq(floorDiv(add(q, lead), size), floorDiv(add(k, lead), size));
  }
  const window = (p: Scalar): Scalar => floorDiv(shift === 0 ? p : mod(add(p, extent - shift), extent), size);
  const rolled = shift === 0 ? literal(1) : eq(lt(q, shift), lt(k, shift));
  return and(rolled, eq(window(q), window(k)));
};

/** On the positions congruent to the query's, `dilation` apart, the `radius` before and after; or, moved inwards, 2 radius + 1 of them. */
const near = (
  { dilation, border }: Extract<Pattern, { readonly kind: "near" }>,
  q: Scalar,
  k: Scalar,
  radius: number,
  extent: number,
): Scalar => {
  const congruent = eq(mod(q, dilation), mod(k, dilation));
  if (border === "cut") {
    const reach = radius * dilation;
    return and(congruent, le(k, add(q, reach)), le(q, add(k, reach)));
  }
  const place = floorDiv(q, dilation);
  const places = add(floorDiv(sub(extent - 1, mod(q, dilation)), dilation), 1);
  const first = max(min(sub(place, radius), sub(places, 2 * radius + 1)), 0);
  const at = floorDiv(k, dilation);
  return and(congruent, ge(at, first), le(at, add(first, 2 * radius)));
};
