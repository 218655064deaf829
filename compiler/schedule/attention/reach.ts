import { assertNever } from "../../diagnostics.ts";
import type { Pattern } from "../../../ir/patterns.ts";
import { readsPrefix, windowOn } from "../../../ir/predicate.ts";
import { add, variable } from "../../../ir/scalarBuild.ts";
import { below, decide, type Ranges } from "../../../ir/scalarRange.ts";
import { simplify } from "../../../ir/scalarSimplify.ts";
import { substitute, variablesOf } from "../../../ir/scalarWalk.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import { sizeOf } from "../../../ir/types.ts";
import type { Ends, Reach } from "./partition.ts";

/** By axis; keys of an axis that is missing may lie anywhere. "none": queries see no key at all. */
export type Reaches = ReadonlyMap<string, Reach> | "none";

const upTo = (before: number, after: number): Reach => ({ before, after, fromEnd: before, fromStart: after });

/** How far queries of the grid see keys of the grid. */
export const reachesOf = (pattern: Pattern, ends: Ends): Reaches => {
  const shared = sharedAxes(ends);
  const on = (axes: readonly string[], reach: (axis: string, extent: number) => Reach): Reaches =>
    new Map(axes.filter((axis) => shared.includes(axis)).map((axis) => [axis, reach(axis, extentOf(ends, axis))]));
  switch (pattern.kind) {
    case "all":
    case "every":
      return new Map();
    case "prefix":
      return "none";
    case "along":
      return on(
        shared.filter((axis) => !pattern.axes.includes(axis)),
        () => upTo(0, 0),
      );
    case "same":
      return on(pattern.axes, () => upTo(0, 0));
    case "window":
      return on(Object.keys(pattern.size), (axis, extent) => {
        const { size } = windowOn(pattern, axis, extent);
        return upTo(size - 1, size - 1);
      });
    case "near":
      return on(Object.keys(pattern.radius), (axis) => {
        const { dilation, border } = pattern;
        const radius = (pattern.radius[axis] ?? 0) * dilation;
        // The neighbours of a query at a border are moved until all of them lie inside.
        return { ...upTo(radius, radius), ...(border === "cut" ? {} : moved(2 * radius + dilation - 1)) };
      });
    case "causal":
      return on([pattern.axis], (_, extent) => upTo(extent - 1, 0));
    case "union":
      return pattern.patterns.map((each) => reachesOf(each, ends)).reduce(either, "none");
    case "intersect":
      return pattern.patterns.map((each) => reachesOf(each, ends)).reduce(both, new Map());
    case "where":
      return on(shared, (axis) => reachOfPredicate(pattern.predicate, axis, ends));
    default:
      return assertNever(pattern);
  }
};

const moved = (by: number): Pick<Reach, "fromEnd" | "fromStart"> => ({ fromEnd: by, fromStart: by });

/** Axes of equal extents: places of queries are then places of keys. */
const sharedAxes = ({ query, key }: Ends): readonly string[] =>
  query.axes.filter(({ axis, size }) => sizeOf(key, axis) === size).map(({ axis }) => axis);
const extentOf = ({ key }: Ends, axis: string): number => sizeOf(key, axis) ?? 1;

/** Where one of two patterns may see a key. */
const either = (a: Reaches, b: Reaches): Reaches => {
  if (a === "none") return b;
  if (b === "none") return a;
  return new Map(
    [...a].flatMap(([axis, one]) => {
      const other = b.get(axis);
      return other === undefined ? [] : [[axis, farther(one, other)] as const];
    }),
  );
};

const farther = (a: Reach, b: Reach): Reach => ({
  before: Math.max(a.before, b.before),
  after: Math.max(a.after, b.after),
  fromEnd: Math.max(a.fromEnd, b.fromEnd),
  fromStart: Math.max(a.fromStart, b.fromStart),
});

/** Where both may: either's bound holds, and the nearer of the two is taken for each side. */
const both = (a: Reaches, b: Reaches): Reaches => {
  if (a === "none" || b === "none") return "none";
  const found = new Map(a);
  for (const [axis, other] of b) {
    const one = found.get(axis);
    found.set(axis, one === undefined ? other : nearer(one, other));
  }
  return found;
};

const nearer = (a: Reach, b: Reach): Reach => {
  const [low, high] = [
    a.before + a.fromEnd <= b.before + b.fromEnd ? a : b,
    a.after + a.fromStart <= b.after + b.fromStart ? a : b,
  ];
  return { before: low.before, fromEnd: low.fromEnd, after: high.after, fromStart: high.fromStart };
};

/** An axis of more positions is not searched for how far a predicate may hold. */
const longestSearch = 1024;

/** By intervals: the farthest distance at which the predicate is not known to fail. */
const reachOfPredicate = (predicate: Scalar, axis: string, ends: Ends): Reach => {
  const extent = extentOf(ends, axis);
  const names = variablesOf(predicate);
  const everywhere = upTo(extent - 1, extent - 1);
  if (extent > longestSearch || !names.has(`q.${axis}`) || !names.has(`k.${axis}`)) return everywhere;
  const onGrid = readsPrefix(predicate) ? substitute(predicate, { "q.isPrefix": 0, "k.isPrefix": 0 }) : predicate;
  const ranges: Ranges = Object.fromEntries([
    ...ends.query.axes.map(({ axis: own, size }) => [`q.${own}`, below(size)] as const),
    ...ends.key.axes.map(({ axis: own, size }) => [`k.${own}`, below(size)] as const),
  ]);
  const farthest = (from: "q" | "k", to: "q" | "k"): number => {
    for (let apart = extent - 1; apart > 0; apart--) {
      const within = { ...ranges, [`${from}.${axis}`]: below(extent - apart) };
      const shifted = substitute(onGrid, { [`${to}.${axis}`]: add(variable(`${from}.${axis}`), apart) });
      if (decide(simplify(shifted, within), within) !== "never") return apart;
    }
    return 0;
  };
  return upTo(farthest("k", "q"), farthest("q", "k"));
};
