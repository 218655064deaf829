import type { ValueId } from "../../ir/graph.ts";
import type { Layout } from "../../ir/layout.ts";
import { add, argument, eq, ge, select, variable } from "../../ir/scalarBuild.ts";
import { noPrefix, type ElementKind, type TensorType } from "../../ir/types.ts";
import { printType } from "../../ir/typeText.ts";
import { type Axis, extentsOf, positive, type Sizes } from "./axes.ts";
import { type AnyGrid, type Grid, gridOf } from "./grid.ts";
import { append, currentTrace, fail } from "./trace.ts";

/** The same number everywhere. */
export function full<A extends Axis>(
  sizes: Sizes<A>,
  value: number,
  options: { readonly channels?: number; readonly element?: ElementKind } = {},
): Grid<A> {
  const { channels = 1, element = "float" } = options;
  const type: TensorType = { element, batch: false, prefix: noPrefix, axes: [], channels };
  const values = Array.from({ length: positive("full", "the number of channels", channels) }, () => value);
  const one = append("constant", [], { values, type });
  const extents = extentsOf("full", sizes);
  return gridOf(extents.length === 0 ? one : append("expand", [one], { sizes: extents }));
}

/** The nearest whole number, halves up: a result that callers receive as integers. */
export function round<A extends Axis>(x: Grid<A>): Grid<A> {
  return gridOf(append("round", [x.value], {}));
}

type Grids = { readonly [name: string]: AnyGrid };
export type LoopOptions<S extends Grids, E extends Grids> = {
  /** The states at the first step. */
  readonly first: S;
  /** As many steps are taken at most. */
  readonly atMost: number;
  /** One step; `number` counts from 0. */
  readonly step: (state: S, number: Grid<never>) => LoopStep<NoInfer<S>, E>;
};
export type LoopStep<S extends Grids, E extends Grids> = {
  /** The states at the step that follows, or when the loop has ended. */
  readonly next: S;
  /** One number of each example: not 0 where it is done. By default none is until all steps are taken. */
  readonly done?: Grid<never>;
  /** One number of each example: 0 where the step has changed nothing, so that no other would. By default it has. */
  readonly progress?: Grid<never>;
  /** What is wanted of every step. */
  readonly each?: E;
};
export type Loop<S extends Grids, E extends Grids> = {
  /** The states when the loop has ended. */
  readonly last: S;
  /** What was wanted of every step, on the axis `step`: zeros at steps that were not taken. */
  readonly each: { readonly [N in keyof E]: E[N] extends Grid<infer A> ? Grid<A | "step"> : never };
  /** How many steps were taken: a whole number. */
  readonly steps: Grid<never>;
};

/**
 * Takes steps on the device until every example is done, or none that is not makes progress, or `atMost` were taken; one
 * at least. Examples go on together: `next` of one that is done should leave it as it is. Values that `keep` publishes in
 * a step get the axis `step` in front. A model has one loop.
 */
export function loop<S extends Grids, E extends Grids = Record<never, never>>({
  first,
  atMost,
  step,
}: LoopOptions<S, E>): Loop<S, E> {
  const trace = currentTrace();
  if (trace.hasLoop) fail("bad-argument", { op: "loop", problem: "there is one already, and a model has one loop" });
  trace.hasLoop = true;
  positive("loop", "the largest number of steps", atMost);
  const dotted = Object.keys(first).find((name) => name.includes("."));
  if (dotted !== undefined) fail("bad-argument", { op: "loop", problem: `no state can be called "${dotted}"` });

  const states: State[] = [];
  const begin = (name: string, from: ValueId): ValueId => append("state", [from], { name });
  const own = Object.entries(first).map(([name, { value }]) => [name, begin(name, value)] as const);
  const number = begin("step.number", full({}, 0, { element: "int" }).value);
  /** A value of every step, as a state that each step writes its own part of. */
  const record = (name: string, x: AnyGrid): ValueId => {
    const { prefix, axes, channels, element } = x.type;
    if (prefix.count > 0)
      fail("bad-argument", { op: "loop", problem: `"${name}" has prefix tokens, which no step keeps` }, "keep x.grid");
    const sizes = Object.fromEntries(axes.map(({ axis, size }) => [axis, size]));
    const state = begin(name, full({ step: atMost, ...sizes }, 0, { channels, element }).value);
    const body = select(eq(variable("x.step"), argument(1)), argument(2), argument(0));
    const written = append("pointwise", [state, number, x.value], { body });
    states.push({ name, state, next: element === "int" ? append("round", [written], {}) : written });
    return state;
  };

  const kept: { readonly name: string; readonly state: ValueId; readonly layout: Layout }[] = [];
  const keep = trace.keep;
  trace.keep = (name, value, layout) =>
    kept.push({ name, state: record(`keep.${kept.length}`, gridOf(value)), layout });
  const made = step(
    Object.fromEntries(own.map(([name, state]) => [name, gridOf(state)])) as unknown as S,
    gridOf(number),
  );
  trace.keep = keep;

  for (const [name, state] of own) states.push({ name, state, next: nextOf(name, state, made.next) });
  const counted = append("round", [append("pointwise", [number], { body: add(argument(0), 1) })], {});
  states.push({ name: "step.number", state: number, next: counted });
  const each = Object.entries(made.each ?? {}).map(([name, x]) => [name, record(`each.${name}`, x)] as const);
  const done = made.done ?? gridOf(append("pointwise", [number], { body: ge(argument(0), atMost - 1) }));
  const ended = append("loop", [flagOf(done, made.progress), ...states.map(({ next }) => next)], {
    states: states.map(({ name }) => name),
    atMost,
  });
  const after = (state: ValueId): ValueId => append("after", [ended, state], {});
  for (const { name, state, layout } of kept) trace.keep(name, after(state), [[["step"]], ...layout]);
  const allAfter = (list: readonly (readonly [string, ValueId])[]): { readonly [name: string]: AnyGrid } =>
    Object.fromEntries(list.map(([name, state]) => [name, gridOf(after(state))]));
  return {
    last: allAfter(own) as unknown as S,
    each: allAfter(each) as unknown as Loop<S, E>["each"],
    steps: gridOf(after(number)),
  };
}

type State = { readonly name: string; readonly state: ValueId; readonly next: ValueId };

function nextOf(name: string, state: ValueId, next: Grids): ValueId {
  const x = next[name];
  if (x === undefined)
    return fail("bad-argument", { op: "loop", problem: `a step does not say what "${name}" becomes` });
  const [is, becomes] = [currentTrace().builder.type(state), { ...x.type, batch: true }].map(printType);
  if (is !== becomes)
    fail(
      "bad-argument",
      { op: "loop", problem: `the state "${name}" is ${is}, and becomes ${becomes}` },
      "a state is at every step what it is at the first: round(x) makes whole numbers, full(sizes, 0, { channels }) begins with several channels",
    );
  return x.value;
}

/** 0 where an example is done, 1 where it goes on, 2 where that would change nothing. */
function flagOf(done: Grid<never>, progress: Grid<never> | undefined): ValueId {
  for (const [name, grid] of [
    ["done", done],
    ["progress", progress],
  ] as const) {
    if (grid === undefined) continue;
    const { axes, channels, prefix } = grid.type;
    if (axes.length > 0 || channels !== 1 || prefix.count > 0)
      fail(
        "bad-argument",
        { op: "loop", problem: `"${name}" is ${printType(grid.type)}, and must be one number of each example` },
        'x.max("n", "h") is the largest of all',
      );
  }
  const goesOn = progress === undefined ? 1 : select(eq(argument(1), 0), 2, 1);
  const body = select(eq(argument(0), 0), goesOn, 0);
  const inputs = progress === undefined ? [done.value] : [done.value, progress.value];
  return append("round", [append("pointwise", inputs, { body })], {});
}
