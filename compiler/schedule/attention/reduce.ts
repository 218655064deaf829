import type { Pattern } from "../../../ir/patterns.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import { and, eq, lt, not, variable } from "../../../ir/scalarBuild.ts";
import { sizeOf } from "../../../ir/types.ts";
import { samePartition, windowPartition, type Ends, type Partition } from "./partition.ts";

/** What is left of a pattern between tokens of one group: terms that the division already answers are gone. */
export const reducePattern = (pattern: Pattern, partition: Partition, ends: Ends): Pattern => {
  const open = (axis: string): boolean => partition.get(axis)?.kind !== "same";
  switch (pattern.kind) {
    case "union":
    case "intersect":
      return { kind: pattern.kind, patterns: pattern.patterns.map((each) => reducePattern(each, partition, ends)) };
    case "along": {
      const rest = ends.query.axes
        .map(({ axis }) => axis)
        .filter((axis) => sizeOf(ends.key, axis) !== undefined && !pattern.axes.includes(axis) && open(axis));
      return rest.length === 0 ? betweenGridTokens : { kind: "same", axes: rest };
    }
    case "same": {
      const rest = pattern.axes.filter(open);
      return rest.length === 0 ? betweenGridTokens : { kind: "same", axes: rest };
    }
    case "causal":
      return open(pattern.axis) ? pattern : betweenGridTokens;
    case "every": {
      if (pattern.phase !== "query") return pattern;
      const rest = Object.entries(pattern.stride).filter(
        ([axis, stride]) => open(axis) && !isResidue(partition, axis, stride),
      );
      return rest.length === 0 ? betweenGridTokens : { ...pattern, stride: Object.fromEntries(rest) };
    }
    case "window":
      return reduceWindow(pattern, partition, ends);
    case "near": {
      const axes = Object.keys(pattern.radius);
      // Within a residue class steps of the dilation are all the steps there are.
      if (
        pattern.border !== "cut" ||
        pattern.dilation === 1 ||
        !axes.every((axis) => isResidue(partition, axis, pattern.dilation))
      )
        return pattern;
      return {
        ...pattern,
        dilation: 1,
        radius: Object.fromEntries(
          Object.entries(pattern.radius).map(([axis, radius]) => [axis, radius * pattern.dilation]),
        ),
      };
    }
    default:
      return pattern;
  }
};

const isResidue = (partition: Partition, axis: string, stride: number): boolean => {
  const part = partition.get(axis);
  return (part?.kind === "residue" || part?.kind === "tile") && part.stride === stride;
};

const bothInGrid: Scalar = and(not(variable("q.isPrefix")), not(variable("k.isPrefix")));
const betweenGridTokens: Pattern = { kind: "where", predicate: bothInGrid };

/** In a window of the division there remain the parts of one that wraps around: on each axis, both before the end or both after. */
const reduceWindow = (pattern: Pattern & { readonly kind: "window" }, partition: Partition, ends: Ends): Pattern => {
  const left: string[] = [];
  let parts = bothInGrid;
  for (const axis of Object.keys(pattern.size)) {
    const window = windowPartition(pattern, axis, ends);
    const part = partition.get(axis);
    if (window === undefined || part?.kind === "same") continue;
    if (part === undefined || !samePartition(part, window)) left.push(axis);
    else if (part.kind === "window" && part.shift > 0)
      parts = and(parts, eq(lt(variable(`q.${axis}`), part.shift), lt(variable(`k.${axis}`), part.shift)));
  }
  const answered: Pattern = { kind: "where", predicate: parts };
  if (left.length === 0) return answered;
  const pick = (numbers: { readonly [axis: string]: number }): { readonly [axis: string]: number } =>
    Object.fromEntries(Object.entries(numbers).filter(([axis]) => left.includes(axis)));
  const rest: Pattern = { ...pattern, size: pick(pattern.size), shift: pick(pattern.shift) };
  return { kind: "intersect", patterns: [answered, rest] };
};
