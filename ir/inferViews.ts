import { inGridOrder } from "./broadcast.ts";
import { GraphError } from "./errors.ts";
import type { AxisSize, Ops } from "./graph.ts";
import { extentOf, positive, sameTokens, withoutPrefix } from "./inferCompute.ts";
import { reservedNames } from "./layout.ts";
import { type Extent, noPrefix, sizeOf, type TensorType } from "./types.ts";
import { printType } from "./typeText.ts";

/** Types of views: ops that name the same elements in another way. */

export const inferGrid = (x: TensorType): TensorType => ({ ...x, prefix: noPrefix });

export const inferPrefix = (x: TensorType): TensorType => {
  const { count, over } = x.prefix;
  if (count === 0) throw new GraphError(`prefix: ${printType(x)} has no prefix tokens`);
  const axes = over.map((axis) => extentOf("prefix", x, axis));
  return { ...x, prefix: noPrefix, axes: [...axes, { axis: "prefix", size: count }] };
};

export const inferWithPrefix = (x: TensorType, prefix: TensorType): TensorType => {
  withoutPrefix("withPrefix", x);
  const over = prefix.axes.slice(0, -1);
  const last = prefix.axes.at(-1);
  if (last?.axis !== "prefix" || prefix.prefix.count > 0) {
    throw new GraphError(`withPrefix puts tokens on the axis "prefix" in front, not ${printType(prefix)}`);
  }
  const fits =
    prefix.channels === x.channels &&
    over.every(({ axis, size }) => sizeOf(x, axis) === size) &&
    inGridOrder(new Set(over.map(({ axis }) => axis)), x.axes).join() === over.map(({ axis }) => axis).join();
  if (!fits) {
    throw new GraphError(
      `withPrefix cannot put ${printType(prefix)} in front of ${printType(x)}: it wants the same channels, and axes of the grid in their order`,
    );
  }
  return {
    ...x,
    batch: x.batch || prefix.batch,
    prefix: { count: last.size, over: over.map(({ axis }) => axis) },
  };
};

export const inferRepeatPrefix = (x: TensorType, { over }: Ops["repeatPrefix"]["attrs"]): TensorType => {
  if (x.prefix.count === 0) throw new GraphError(`repeatPrefix: ${printType(x)} has no prefix tokens`);
  for (const axis of over) {
    extentOf("repeatPrefix", x, axis);
    if (x.prefix.over.includes(axis))
      throw new GraphError(`repeatPrefix: the prefix of ${printType(x)} is repeated over "${axis}" already`);
  }
  return { ...x, prefix: { ...x.prefix, over: inGridOrder(new Set([...x.prefix.over, ...over]), x.axes) } };
};

export const inferMeanPrefix = (x: TensorType, { over }: Ops["meanPrefix"]["attrs"]): TensorType => {
  const missing = over.find((axis) => !x.prefix.over.includes(axis));
  if (missing !== undefined)
    throw new GraphError(`meanPrefix: the prefix of ${printType(x)} is not repeated over "${missing}"`);
  return { ...x, prefix: { ...x.prefix, over: x.prefix.over.filter((axis) => !over.includes(axis)) } };
};

export const inferChannels = (x: TensorType, { groups, start, width }: Ops["channels"]["attrs"]): TensorType => {
  positive("channels", "groups", groups);
  positive("channels", "the width", width);
  const run = x.channels / groups;
  if (!Number.isInteger(run))
    throw new GraphError(`channels: ${groups} groups do not divide the channels of ${printType(x)}`);
  if (!Number.isInteger(start) || start < 0 || start + width > run) {
    throw new GraphError(
      `channels ${start} to ${start + width - 1} are not among the ${run} of each of ${groups} groups of ${printType(x)}`,
    );
  }
  return { ...x, channels: groups * width };
};

export const inferConcat = (inputs: readonly TensorType[], { over }: Ops["concat"]["attrs"]): TensorType => {
  const [first] = inputs;
  if (first === undefined) throw new GraphError("concat reads at least one input");
  const joined: TensorType = {
    ...first,
    element: inputs.some(({ element }) => element === "float") ? "float" : "int",
    batch: inputs.some(({ batch }) => batch),
  };
  const refuse = (input: TensorType, what: string): never => {
    throw new GraphError(`concat: ${printType(first)} and ${printType(input)} differ in ${what}`);
  };
  if (over === "channels") {
    for (const input of inputs) if (!sameTokens(first, input)) refuse(input, "tokens");
    return { ...joined, channels: inputs.reduce((sum, { channels }) => sum + channels, 0) };
  }
  let size = 0;
  for (const input of inputs) {
    withoutPrefix("concat", input);
    const along = extentOf("concat", input, over.axis);
    const other = { ...input, axes: resized(input.axes, [extentOf("concat", first, over.axis)]) };
    if (!sameTokens(first, other)) refuse(input, `axes other than "${over.axis}"`);
    if (input.channels !== first.channels) refuse(input, "channels");
    size += along.size;
  }
  return { ...joined, axes: resized(first.axes, [{ axis: over.axis, size }]) };
};

export const inferMerge = (x: TensorType, { size }: Ops["merge"]["attrs"]): TensorType => {
  withoutPrefix("merge", x);
  const blocks = distinct("merge", size).map(({ axis, size: block }) => ({
    axis,
    size: Math.ceil(extentOf("merge", x, axis).size / block),
  }));
  return { ...x, axes: resized(x.axes, blocks), channels: x.channels * product(size) };
};

export const inferUnmerge = (x: TensorType, { size }: Ops["unmerge"]["attrs"]): TensorType => {
  withoutPrefix("unmerge", x);
  const grown = distinct("unmerge", size).map(({ axis, size: block }) => ({
    axis,
    size: extentOf("unmerge", x, axis).size * block,
  }));
  return { ...x, axes: resized(x.axes, grown), channels: dividedChannels("unmerge", x, size) };
};

export const inferPad = (x: TensorType, { before, after }: Ops["pad"]["attrs"]): TensorType => {
  const axes = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  const padded = axes.map((axis) => {
    prefixIsElsewhere("pad", x, axis);
    const size = extentOf("pad", x, axis).size + (before[axis] ?? 0) + (after[axis] ?? 0);
    positive("pad", `the extent left along "${axis}"`, size);
    return { axis, size };
  });
  return { ...x, axes: resized(x.axes, padded) };
};

export const inferUnpack = (x: TensorType, { sizes }: Ops["unpack"]["attrs"]): TensorType => {
  withoutPrefix("unpack", x);
  newAxes(
    "unpack",
    x,
    distinct("unpack", sizes).map(({ axis }) => axis),
  );
  return { ...x, axes: [...x.axes, ...sizes], channels: dividedChannels("unpack", x, sizes) };
};

export const inferPack = (x: TensorType, { axes }: Ops["pack"]["attrs"]): TensorType => {
  withoutPrefix("pack", x);
  const packed = distinct(
    "pack",
    axes.map((axis) => extentOf("pack", x, axis)),
  );
  return { ...x, axes: x.axes.filter(({ axis }) => !axes.includes(axis)), channels: x.channels * product(packed) };
};

export const inferRename = (x: TensorType, { axes }: Ops["rename"]["attrs"]): TensorType => {
  for (const axis of Object.keys(axes)) extentOf("rename", x, axis);
  const renamed = (axis: string): string => (Object.hasOwn(axes, axis) ? (axes[axis] ?? axis) : axis);
  const names = x.axes.map(({ axis }) => renamed(axis));
  for (const name of Object.values(axes)) checkName("rename", name);
  if (new Set(names).size < names.length)
    throw new GraphError(`rename: ${printType(x)} would have an axis twice: ${names.join(", ")}`);
  return {
    ...x,
    prefix: { ...x.prefix, over: x.prefix.over.map(renamed) },
    axes: x.axes.map(({ axis, size }) => ({ axis: renamed(axis), size })),
  };
};

export const inferExpand = (x: TensorType, { sizes }: Ops["expand"]["attrs"]): TensorType => {
  newAxes(
    "expand",
    x,
    distinct("expand", sizes).map(({ axis }) => axis),
  );
  return { ...x, axes: [...sizes, ...x.axes] };
};

export const inferSlice = (x: TensorType, { axis, start, step, size }: Ops["slice"]["attrs"]): TensorType => {
  const extent = extentOf("slice", x, axis).size;
  prefixIsElsewhere("slice", x, axis);
  positive("slice", "the step", step);
  positive("slice", "the size", size);
  const last = start + (size - 1) * step;
  if (!Number.isInteger(start) || start < 0 || last >= extent) {
    throw new GraphError(`slice: positions ${start} to ${last} along "${axis}" are not all in ${printType(x)}`);
  }
  return { ...x, axes: resized(x.axes, [{ axis, size }]) };
};

export const inferResize = (x: TensorType, { to, mode }: Ops["resize"]["attrs"]): TensorType => {
  for (const { axis } of distinct("resize", to)) {
    extentOf("resize", x, axis);
    prefixIsElsewhere("resize", x, axis);
  }
  return { ...x, element: mode === "nearest" ? x.element : "float", axes: resized(x.axes, to) };
};

const resized = (axes: readonly Extent[], to: readonly Extent[]): readonly Extent[] =>
  axes.map((extent) => to.find(({ axis }) => axis === extent.axis) ?? extent);

const product = (sizes: readonly AxisSize[]): number => sizes.reduce((all, { size }) => all * size, 1);

const dividedChannels = (op: string, x: TensorType, sizes: readonly AxisSize[]): number => {
  const channels = x.channels / product(sizes);
  if (Number.isInteger(channels)) return channels;
  throw new GraphError(
    `${op}: ${sizes.map(({ axis, size }) => `${axis} ${size}`).join(" x ")} does not divide the channels of ${printType(x)}`,
  );
};

const distinct = (op: string, sizes: readonly AxisSize[]): readonly AxisSize[] => {
  for (const { axis, size } of sizes) positive(op, `"${axis}"`, size);
  if (new Set(sizes.map(({ axis }) => axis)).size < sizes.length) throw new GraphError(`${op}: an axis is named twice`);
  return sizes;
};

const newAxes = (op: string, x: TensorType, axes: readonly string[]): void => {
  for (const axis of axes) {
    checkName(op, axis);
    if (sizeOf(x, axis) !== undefined) throw new GraphError(`${op}: ${printType(x)} has an axis "${axis}" already`);
  }
};

const checkName = (op: string, axis: string): void => {
  if (reservedNames.has(axis))
    throw new GraphError(`${op}: no axis can be called "${axis}" (the batch is "b", the channels are "c")`);
};

/** Prefix tokens with a coordinate on an axis would have to change with it. */
const prefixIsElsewhere = (op: string, x: TensorType, axis: string): void => {
  if (x.prefix.over.includes(axis)) withoutPrefix(op, x);
};
