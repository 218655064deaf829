import type { Scalar } from "../../ir/scalar.ts";
import { add, argument, div, literal, mul, select, unary, variable, max, gt } from "../../ir/scalarBuild.ts";
import type { At, Axis } from "./axes.ts";
import { AnyGrid, type Grid, gridOf } from "./grid.ts";
import { lowerLambda, type Meaning, scalar } from "./lambda.ts";
import { append, fail } from "./trace.ts";

/** Where an element is: its token's coordinates and its channel. */
export type ElementAt<A extends Axis> = At<A> & { readonly channel: number };

/**
 * Any function of the elements at one position, read from its source: of one grid, or of several, of which the first
 * has all the axes. `at` is where they are.
 */
export function pointwise<A extends Axis>(x: Grid<A>, f: (x: number, at: ElementAt<A>) => number): Grid<A>;
export function pointwise<A extends Axis, B extends A>(
  xs: readonly [Grid<A>, Grid<B>],
  f: (x: number, y: number, at: ElementAt<A>) => number,
): Grid<A>;
export function pointwise<A extends Axis, B extends A, C extends A>(
  xs: readonly [Grid<A>, Grid<B>, Grid<C>],
  f: (x: number, y: number, z: number, at: ElementAt<A>) => number,
): Grid<A>;
export function pointwise<A extends Axis>(
  given: AnyGrid | readonly AnyGrid[],
  f: (...args: never[]) => number,
): Grid<A> {
  const grids = given instanceof AnyGrid ? [given] : given;
  const axes = grids[0]?.type.axes.map(({ axis }) => axis) ?? [];
  const fields = Object.fromEntries([...axes, "isPrefix"].map((axis) => [axis, variable(`x.${axis}`)]));
  const at: Meaning = { kind: "position", fields: { ...fields, channel: variable("channel") } };
  const { body, tables } = lowerLambda(f, [...grids.map((_, index) => scalar(argument(index))), at]);
  if (tables.length > 0)
    fail(
      "bad-argument",
      { op: "pointwise", problem: "it reads one number of a parameter" },
      "hand the parameter over as a grid: pointwise([x, slope.grid({})], (x, slope) => ...)",
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
