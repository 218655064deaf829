import { and, ge, literal, lt, select } from "../../ir/scalarBuild.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { mapScalar } from "../../ir/scalarWalk.ts";

/** An array of numbers captured by a lambda, of one extent or nested evenly: its elements with the last index fastest. */
export type NumberTable = { readonly sizes: readonly number[]; readonly values: readonly number[] };

/** Choices that a kernel still makes faster than it would look a number up. */
const mostRuns = 1024;

/** How often neighbouring elements differ, row by row. */
export const runsOf = ({ sizes, values }: NumberTable): number => {
  const row = sizes.at(-1) ?? 1;
  return values.reduce((runs, value, i) => (i % row === 0 || value !== values[i - 1] ? runs + 1 : runs), 0);
};

export const isShort = (table: NumberTable): boolean => runsOf(table) <= mostRuns;

/**
 * The expression with reads of these tables written out as choices between their elements, so that intervals of indices
 * are intervals of elements. Outside of a table is no number, as JavaScript's undefined: no comparison holds of it.
 */
export const withoutLoads = (expr: Scalar, tables: ReadonlyMap<number, NumberTable>): Scalar =>
  mapScalar(expr, (part) => {
    const table = part.kind === "load" ? tables.get(part.table) : undefined;
    if (part.kind !== "load" || table === undefined) return undefined;
    const index = part.index.map((each) => withoutLoads(each, tables));
    const within = and(...index.flatMap((each, axis) => [ge(each, 0), lt(each, table.sizes[axis] ?? 1)]));
    const element = elementOf(table.values, table.sizes, index);
    return select(within, element, literal(Number.NaN));
  });

const elementOf = (values: readonly number[], sizes: readonly number[], index: readonly Scalar[]): Scalar => {
  const [size = 1, ...inner] = sizes;
  const [first = literal(0), ...rest] = index;
  const width = values.length / size;
  const parts = Array.from({ length: size }, (_, i) => values.slice(i * width, (i + 1) * width));
  // Neighbours that are alike are one choice.
  const starts = parts.flatMap((part, i) => (i > 0 && part.join() === parts[i - 1]?.join() ? [] : [i]));
  const choose = (from: number, to: number): Scalar => {
    const start = starts[from] ?? 0;
    if (to - from === 1) {
      const part = parts[start] ?? [];
      return inner.length === 0 ? literal(part[0] ?? 0) : elementOf(part, inner, rest);
    }
    const middle = Math.floor((from + to) / 2);
    return select(lt(first, starts[middle] ?? 0), choose(from, middle), choose(middle, to));
  };
  return choose(0, starts.length);
};
