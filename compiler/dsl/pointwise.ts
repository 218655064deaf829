import type { Scalar } from "../../ir/scalar.ts";
import { add, argument, div, literal, mul, select, unary, variable, max, gt } from "../../ir/scalarBuild.ts";
import type { At, Axis } from "./axes.ts";
import { type AnyGrid, checkCombines, type Grid, gridOf } from "./grid.ts";
import { type Lowered, lowerLambda, type Meaning, scalar } from "./lambda.ts";
import { append, fail } from "./trace.ts";

/** Where an element is: its token's coordinates and its channel. */
export type ElementAt<A extends Axis> = At<A> & { readonly channel: number };

/** Any function of one element, read from its source; `at` is where the element is. */
export function pointwise<A extends Axis>(x: Grid<A>, f: (x: number, at: ElementAt<A>) => number): Grid<A> {
  const fields = [...x.type.axes.map(({ axis }) => axis), "isPrefix"];
  const coordinates = Object.fromEntries(fields.map((field) => [field, variable(`x.${field}`)]));
  const at: Meaning = { kind: "position", fields: { ...coordinates, channel: variable("channel") } };
  return elementwise([x], lowerLambda(f, [scalar(argument(0)), at]));
}

/**
 * Any function of the elements of several grids at one position, read from its source. The others have the axes of `x`
 * or fewer: along those that they lack they are repeated, and one channel is repeated over all.
 */
export function combine<A extends Axis, const Others extends readonly AnyGrid[]>(
  x: Grid<A>,
  others: Others,
  f: (x: number, ...others: { [I in keyof Others]: number }) => number,
): Grid<A> {
  const grids = [x, ...others];
  for (const other of others) checkCombines("combine", x.type, other.type);
  return elementwise(
    grids,
    lowerLambda(
      f,
      grids.map((_, index) => scalar(argument(index))),
    ),
  );
}

function elementwise<A extends Axis>(grids: readonly AnyGrid[], { body, tables }: Lowered): Grid<A> {
  if (tables.length > 0)
    fail(
      "bad-argument",
      { op: "pointwise", problem: "it reads one number of a parameter or of an array" },
      "hand parameters over as grids: combine(x, [slope.grid({})], (x, slope) => ...)",
    );
  return gridOf(
    append(
      "pointwise",
      grids.map(({ value }) => value),
      { body },
    ),
  );
}

type Pointwise = <A extends Axis>(x: Grid<A>) => Grid<A>;
const x = argument(0);
const named =
  (body: Scalar): Pointwise =>
  (input) =>
    gridOf(append("pointwise", [input.value], { body }));

export const relu: Pointwise = named(max(x, 0));
/** x Φ(x), by the error function. */
export const gelu: Pointwise = named(mul(mul(0.5, x), add(1, unary("erf", mul(x, Math.SQRT1_2)))));
/** The approximation by tanh: x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2. */
export const geluTanh: Pointwise = named(
  mul(mul(0.5, x), add(1, unary("tanh", mul(Math.sqrt(2 / Math.PI), add(x, mul(0.044715, mul(x, mul(x, x)))))))),
);
/** x · sigmoid(x). */
export const silu: Pointwise = named(mul(x, unary("sigmoid", x)));
export const sigmoid: Pointwise = named(unary("sigmoid", x));
export const tanh: Pointwise = named(unary("tanh", x));
export const exp: Pointwise = named(unary("exp", x));
export const abs: Pointwise = named(unary("abs", x));
export const sqrt: Pointwise = named(unary("sqrt", x));
/** log(1 + eˣ), as max(x, 0) + log(1 + e^-|x|) so that nothing overflows. */
export const softplus: Pointwise = named(
  add(max(x, 0), unary("log", add(1, unary("exp", unary("neg", unary("abs", x)))))),
);
export const leakyRelu = (slope: number): Pointwise => named(select(gt(x, 0), x, mul(slope, x)));
export const elu: Pointwise = named(select(gt(x, 0), x, add(unary("exp", x), literal(-1))));
/** 1 / x. */
export const reciprocal: Pointwise = named(div(1, x));
