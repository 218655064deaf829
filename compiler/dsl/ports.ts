import { GraphError } from "../../ir/errors.ts";
import type { UpTo } from "../../ir/graph.ts";
import { type Layout, parseLayout } from "../../ir/layout.ts";
import { layoutShape } from "../../ir/layoutOffset.ts";
import { type ElementKind, noPrefix, type TensorType } from "../../ir/types.ts";
import type { CodePlace } from "../codeFrame.ts";
import { compileError } from "../diagnostics.ts";
import { type Axis, extentsOf, positive, type Sizes } from "./axes.ts";
import type { AnyGrid, Grid } from "./grid.ts";
import { authorPlace } from "./place.ts";
import { currentTrace } from "./trace.ts";

/** An input, whatever its axes. */
abstract class AnyInput {
  /** @internal */
  readonly type: TensorType;
  /** @internal */
  readonly layout: Layout;
  /** @internal */
  readonly place: CodePlace | null;

  /** @internal */
  constructor(type: TensorType, layout: Layout, place: CodePlace | null) {
    this.type = type;
    this.layout = layout;
    this.place = place;
  }
}
/** An array that callers hand in. */
export class Input<in out A extends Axis> extends AnyInput {
  declare protected readonly axes: A;
}
export type Inputs = { readonly [name: string]: AnyInput };
/** What `forward` receives for them. */
export type GridsOf<I> = { readonly [N in keyof I]: I[N] extends Input<infer A> ? Grid<A> : never };

export type InputOptions = {
  /** How the caller's array holds the elements, as "b c t h w": by default the batch, the channels, then the axes as they are named. */
  readonly layout?: string;
  readonly element?: ElementKind;
};
/** The grid of an input: its extents and its channels. */
export function grid<A extends Axis>(sizes: Sizes<A>, channels: number, options: InputOptions = {}): Input<A> {
  const axes = extentsOf("grid", sizes);
  const type: TensorType = {
    element: options.element ?? "float",
    batch: true,
    prefix: noPrefix,
    axes,
    channels: positive("grid", "the number of channels", channels),
  };
  return new Input(
    type,
    readLayout(options.layout ?? ["b", "c", ...axes.map(({ axis }) => axis)].join(" "), type),
    authorPlace(),
  );
}

/** A result of `forward` with the layout that callers receive. */
export class Output {
  /** @internal */
  readonly grid: AnyGrid;
  /** @internal */
  readonly layout: Layout;
  /** @internal */
  readonly upTo: UpTo | null;

  /** @internal */
  constructor(value: AnyGrid, layout: Layout, upTo: UpTo | null) {
    this.grid = value;
    this.layout = layout;
    this.upTo = upTo;
  }
}
/**
 * Says how callers receive a result: `{ features: output(x, "b c t h w") }`. By default tokens first, channels last.
 * Where the length of an axis is a result too, `upTo` names the axis and the output that counts it:
 * `{ found: output(x, "b k c", { axis: "k", count: "number" }), number: output(n, "b") }`.
 */
export function output(x: AnyGrid, layout: string, upTo: UpTo | null = null): Output {
  return new Output(x, readLayout(layout, x.type), upTo);
}
export type Outputs = { readonly [name: string]: AnyGrid | Output };

/**
 * Keeps a value under the name that published code has for it, to be compared or looked at: relative to the module that
 * runs, whose own result has the name "". Costs nothing where it is not asked for. Gives the value back.
 */
export function keep<A extends Axis>(name: string, x: Grid<A>, layout: string): Grid<A> {
  const { path, keep: publish } = currentTrace();
  const full = [path, name].filter((part) => part !== "").join(".");
  // What a whole network gives is an output.
  if (full !== "") publish(full, x.value, readLayout(layout, x.type));
  return x;
}

/** Tokens first, channels last: `b c`, `b t h w c`, `b (prefix | t h w) c`. */
export function defaultLayout(type: TensorType): Layout {
  const axes = type.axes.map(({ axis }) => axis).join(" ");
  const tokens = type.prefix.count > 0 ? `(prefix | ${axes})` : axes;
  return readLayout([...(type.batch ? ["b"] : []), tokens, "c"].join(" "), type);
}

const readLayout = (text: string, type: TensorType): Layout =>
  inLayout(text, () => {
    const layout = parseLayout(text);
    layoutShape(layout, type);
    return layout;
  });

/** What cannot be laid out so is the author's mistake, at the author's place. */
function inLayout<R>(text: string, run: () => R): R {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof GraphError)) throw error;
    const problem = error.message.replace(/^the layout ".*?" /, "");
    throw compileError("bad-layout", { layout: text, problem }, { span: authorPlace(), hint: error.hint ?? "" });
  }
}
