import { GraphError } from "./errors.ts";
import type { Extent, Prefix, TensorType } from "./types.ts";
import { printType } from "./typeText.ts";

/**
 * The type of a pointwise result: every axis of every input, those of the input that has most of them first. Throws a
 * GraphError where extents, channels or prefix tokens don't go together.
 */
export const broadcastTypes = (inputs: readonly TensorType[]): TensorType => {
  const [first] = inputs;
  if (first === undefined) throw new GraphError("pointwise reads at least one input");
  const most = inputs.reduce((a, b) => (b.axes.length > a.axes.length ? b : a), first);
  const axes = joinAxes([most, ...inputs]);
  const channels = Math.max(...inputs.map((input) => input.channels));
  const result: TensorType = {
    element: "float",
    batch: inputs.some(({ batch }) => batch),
    prefix: joinPrefixes([most, ...inputs], axes),
    axes,
    channels,
  };
  for (const input of inputs) {
    if (input.channels !== channels && input.channels !== 1) throw clash(inputs, "channels");
    if (result.prefix.count === 0 || input.prefix.count > 0) continue;
    const missing = input.axes.find(({ axis }) => !result.prefix.over.includes(axis));
    if (missing === undefined) continue;
    throw new GraphError(
      `${printType(input)} says nothing of the prefix tokens of ${inputs.map(printType).join(" and ")}`,
      "x.grid leaves the prefix tokens out; withPrefix puts them back",
    );
  }
  return result;
};

const clash = (inputs: readonly TensorType[], what: string): GraphError =>
  new GraphError(`${inputs.map(printType).join(" and ")} differ in ${what}`);

const joinAxes = (inputs: readonly TensorType[]): readonly Extent[] => {
  const axes = new Map<string, number>();
  for (const { axis, size } of inputs.flatMap((input) => input.axes)) {
    if ((axes.get(axis) ?? size) !== size) throw clash(inputs.slice(1), `the axis "${axis}"`);
    axes.set(axis, size);
  }
  return [...axes].map(([axis, size]) => ({ axis, size }));
};

const joinPrefixes = (inputs: readonly TensorType[], axes: readonly Extent[]): Prefix => {
  const prefixes = inputs.map(({ prefix }) => prefix).filter(({ count }) => count > 0);
  const count = prefixes[0]?.count ?? 0;
  if (prefixes.some((prefix) => prefix.count !== count)) throw clash(inputs.slice(1), "the number of prefix tokens");
  return { count, over: inGridOrder(new Set(prefixes.flatMap(({ over }) => over)), axes) };
};

/** The axes that a prefix is repeated over, in the order of the grid's. */
export const inGridOrder = (over: ReadonlySet<string>, axes: readonly Extent[]): readonly string[] =>
  axes.map(({ axis }) => axis).filter((axis) => over.has(axis));
