import { predicate } from "../../../ir/predicate.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import { and, not, or, select, variable } from "../../../ir/scalarBuild.ts";
import { below, type Ranges } from "../../../ir/scalarRange.ts";
import { simplify } from "../../../ir/scalarSimplify.ts";
import { printScalar } from "../../../ir/scalarText.ts";
import { substitute } from "../../../ir/scalarWalk.ts";
import type { AttentionKernel } from "../kernels.ts";
import type { Groups, GroupTokens } from "./groups.ts";
import type { Division } from "./partition.ts";
import { reducePattern } from "./reduce.ts";

/** The ranges of what a predicate of two tokens of one group reads. */
export const pairRanges = (query: GroupTokens, key: GroupTokens): Ranges => {
  const side = (tokens: GroupTokens, name: string): Ranges => ({
    ...Object.fromEntries(tokens.axes.map(({ axis, size }) => [`${name}.${axis}`, below(size)])),
    [`${name}.isPrefix`]: {
      min: tokens.prefixCount === tokens.count && tokens.count > 0 ? 1 : 0,
      max: tokens.prefixCount > 0 ? 1 : 0,
    },
  });
  return { ...side(query, "q"), ...side(key, "k") };
};

/** The pattern between tokens of one group: what the division says already is left out. */
export const keepOf = (
  kernel: AttentionKernel,
  division: Division,
  groups: Groups,
  query: GroupTokens,
  key: GroupTokens,
): Scalar => {
  const reduced = predicate(reducePattern(kernel.pattern, division.partition, kernel), kernel.query, kernel.key);
  const same = groups.axes.filter(({ part }) => part.kind === "same").map(({ axis }) => axis);
  // Grid tokens of a group have one position on such an axis; so have prefix tokens that are repeated over it.
  const positioned = (tokens: GroupTokens, axis: string): boolean =>
    tokens.prefixCount === 0 || tokens.type.prefix.over.includes(axis);
  const one = Object.fromEntries(
    same
      .filter((axis) => positioned(query, axis) && positioned(key, axis))
      .map((axis) => [`k.${axis}`, variable(`q.${axis}`)]),
  );
  return byPrefix(substitute(reduced, one), pairRanges(query, key));
};

/** The predicate simplified for prefix and grid tokens apart: what holds of either kind alone is seen to hold of both. */
const byPrefix = (keep: Scalar, ranges: Ranges): Scalar => {
  const given = (name: string, of: Scalar, rest: Ranges, then: (of: Scalar, rest: Ranges) => Scalar): Scalar => {
    const { min, max } = ranges[name] ?? { min: 0, max: 0 };
    const when = (value: number): Scalar =>
      then(substitute(of, { [name]: value }), { ...rest, [name]: { min: value, max: value } });
    if (min === max) return when(min);
    const [yes, no] = [when(1), when(0)];
    return printScalar(yes) === printScalar(no) ? no : choose(variable(name), yes, no);
  };
  return given("q.isPrefix", keep, ranges, (query, rest) => given("k.isPrefix", query, rest, simplify));
};

/** A choice between two conditions. */
export const isNumber = (expr: Scalar, value: number): boolean => expr.kind === "number" && expr.value === value;
const choose = (test: Scalar, yes: Scalar, no: Scalar): Scalar => {
  if (isNumber(yes, 1)) return or(test, no);
  if (isNumber(yes, 0)) return and(not(test), no);
  if (isNumber(no, 1)) return or(not(test), yes);
  return isNumber(no, 0) ? and(test, yes) : select(test, yes, no);
};
