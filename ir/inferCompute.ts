import { GraphError } from "./errors.ts";
import type { AttendAttrs, Ops, WindowAxis } from "./graph.ts";
import { type Positions, positionTables } from "./positions.ts";
import { type Extent, noPrefix, sizeOf, type TensorType } from "./types.ts";
import { printType } from "./typeText.ts";

/** Types of the ops that compute: products, norms, reductions and attention. */

export const inferLinear = (x: TensorType, weight: TensorType): TensorType => {
  const [out, second] = weight.axes;
  if (out?.axis !== "out" || second !== undefined || weight.batch || weight.prefix.count > 0) {
    throw new GraphError(`the weight of linear has the one axis "out", not ${printType(weight)}`);
  }
  if (x.channels !== weight.channels) {
    throw new GraphError(
      `linear reads ${printType(x)} with a weight ${printType(weight)}: ${x.channels} channels meet ${weight.channels}`,
    );
  }
  return { ...x, element: "float", channels: out.size };
};

export const inferConv = (x: TensorType, weight: TensorType, attrs: Ops["conv"]["attrs"]): TensorType => {
  const { window, groups } = attrs;
  const wanted = ["out", ...window.map(({ axis }) => axis)].toSorted().join(" ");
  const there = weight.axes.map(({ axis }) => axis);
  if (there.toSorted().join(" ") !== wanted || weight.batch || weight.prefix.count > 0) {
    throw new GraphError(`the weight of conv has the axes ${wanted}, not ${printType(weight)}`);
  }
  for (const { axis, size } of window) {
    if (sizeOf(weight, axis) === size) continue;
    throw new GraphError(
      `the window is ${size} along "${axis}", and the weight ${printType(weight)} is ${sizeOf(weight, axis)}`,
    );
  }
  const out = sizeOf(weight, "out") ?? 1;
  positive("conv", "groups", groups);
  if (x.channels !== weight.channels * groups || out % groups !== 0) {
    throw new GraphError(
      `conv reads ${printType(x)} in ${groups} groups with a weight ${printType(weight)}: it wants ${weight.channels * groups} channels, and a number of outputs that ${groups} divides`,
    );
  }
  return { ...windowed("conv", x, window), element: "float", channels: out };
};

export const inferPool = (x: TensorType, { kind, window }: Ops["pool"]["attrs"]): TensorType => {
  for (const { axis, size, dilation, before, after } of window) {
    const reach = dilation * (size - 1) + 1;
    if (before >= reach || after >= reach) {
      throw new GraphError(
        `pool: a window of ${size} along "${axis}" would lie in the padding (${before} before, ${after} after)`,
      );
    }
  }
  return { ...windowed("pool", x, window), element: kind === "max" ? x.element : "float" };
};

/** The extents of a sliding window's positions. */
const windowed = (op: string, x: TensorType, window: readonly WindowAxis[]): TensorType => {
  withoutPrefix(op, x);
  if (new Set(window.map(({ axis }) => axis)).size < window.length) {
    throw new GraphError(`${op}: an axis of the window is named twice`);
  }
  for (const { axis } of window) extentOf(op, x, axis);
  const axes = x.axes.map((extent) => {
    const along = window.find(({ axis }) => axis === extent.axis);
    if (along === undefined) return extent;
    const { axis, size, stride, dilation, before, after } = along;
    positive(op, `the size along "${axis}"`, size);
    positive(op, `the stride along "${axis}"`, stride);
    positive(op, `the dilation along "${axis}"`, dilation);
    const room = extent.size + before + after - dilation * (size - 1) - 1;
    if (room < 0) {
      throw new GraphError(
        `${op}: a window of ${size} along "${axis}" (dilation ${dilation}) does not fit ${printType(x)} with ${before} + ${after} of padding`,
      );
    }
    return { axis, size: Math.floor(room / stride) + 1 };
  });
  return { ...x, axes };
};

export const inferNormalize = (x: TensorType, { groups, axes }: Ops["normalize"]["attrs"]): TensorType => {
  positive("normalize", "groups", groups);
  if (x.channels % groups !== 0)
    throw new GraphError(`normalize: ${groups} groups do not divide the channels of ${printType(x)}`);
  overAxes("normalize", x, axes);
  return { ...x, element: "float" };
};

export const inferSoftmax = (x: TensorType, { over }: Ops["softmax"]["attrs"]): TensorType => {
  if (over !== "channels") overAxes("softmax", x, over);
  return { ...x, element: "float" };
};

/** Statistics over axes: prefix tokens have no part in them. */
const overAxes = (op: string, x: TensorType, axes: readonly string[]): void => {
  for (const axis of axes) extentOf(op, x, axis);
  if (axes.length > 0) withoutPrefix(op, x);
};

export const inferReduce = (x: TensorType, { kind, axes }: Ops["reduce"]["attrs"]): TensorType => {
  for (const axis of axes) extentOf("reduce", x, axis);
  return {
    ...x,
    element: kind === "argmax" ? "int" : kind === "max" ? x.element : "float",
    prefix: { ...x.prefix, over: x.prefix.over.filter((axis) => !axes.includes(axis)) },
    axes: x.axes.filter(({ axis }) => !axes.includes(axis)),
  };
};

export const inferAttend = (
  [q, k, v, ...tables]: readonly [q: TensorType, k: TensorType, v: TensorType, ...tables: readonly TensorType[]],
  { heads, positions }: AttendAttrs,
): TensorType => {
  positive("attend", "heads", heads);
  if (q.channels !== k.channels) {
    throw new GraphError(
      `attend: q ${printType(q)} and k ${printType(k)} have ${q.channels} and ${k.channels} channels`,
    );
  }
  for (const [name, type] of [
    ["q", q],
    ["v", v],
  ] as const) {
    if (type.channels % heads !== 0)
      throw new GraphError(`attend: ${heads} heads do not divide the channels of ${name} ${printType(type)}`);
  }
  if (!sameTokens(k, v))
    throw new GraphError(`attend: k ${printType(k)} and v ${printType(v)} are not the same tokens`);
  for (const table of tables) {
    if (table.prefix.count > 0)
      throw new GraphError(`attend: a table has no prefix tokens, but one is ${printType(table)}`);
  }
  if (positions !== null) checkPositions(positions, { query: q, key: k, value: v }, tables);
  return { ...q, element: "float", batch: [q, k, v, ...tables].some(({ batch }) => batch), channels: v.channels };
};

const checkPositions = (
  positions: Positions,
  types: { readonly [R in "query" | "key" | "value"]: TensorType },
  tables: readonly TensorType[],
): void => {
  const { axis } = positions;
  const { size } = extentOf("attend", types.query, axis);
  const keys = extentOf("attend", types.key, axis).size;
  if (keys !== size)
    throw new GraphError(
      `attend: relative positions want as many keys as queries along "${axis}", not ${keys} and ${size}`,
    );
  for (const type of [types.query, types.key]) withoutPrefix("attend with relative positions", type);
  for (const { role, table } of positionTables(positions)) {
    const type = tables[table];
    if (type === undefined) throw new GraphError(`attend: there is no table ${table}, which holds positions`);
    const { channels } = types[role];
    const rows = type.axes.length === 1 ? type.axes[0]?.size : undefined;
    if (rows !== 2 * size - 1 || type.channels !== channels || type.batch)
      throw new GraphError(
        `attend: ${printType(type)} holds no ${role} positions along "${axis} ${size}": these are ${2 * size - 1} rows of ${channels} channels`,
      );
  }
};

export const sameTokens = (a: TensorType, b: TensorType): boolean => tokensText(a) === tokensText(b);
const tokensText = ({ prefix, axes }: TensorType): string =>
  printType({ element: "float", batch: false, prefix: prefix.count > 0 ? prefix : noPrefix, axes, channels: 1 });

export const extentOf = (op: string, x: TensorType, axis: string): Extent => {
  const size = sizeOf(x, axis);
  if (size === undefined) throw new GraphError(`${op}: ${printType(x)} has no axis "${axis}"`);
  return { axis, size };
};

export const withoutPrefix = (op: string, x: TensorType): void => {
  if (x.prefix.count === 0) return;
  throw new GraphError(
    `${op} reads a grid, and ${printType(x)} has prefix tokens`,
    "x.grid leaves them out; withPrefix puts them back",
  );
};

export const positive = (op: string, what: string, value: number): void => {
  if (!Number.isInteger(value) || value < 1)
    throw new GraphError(`${op}: ${what} is ${value}, not a positive whole number`);
};
