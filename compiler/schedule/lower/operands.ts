import type { ValueId } from "../../../ir/graph.ts";
import { layoutOffset } from "../../../ir/layoutOffset.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import { literal, lt, select, sub, variable } from "../../../ir/scalarBuild.ts";
import type { Ranges } from "../../../ir/scalarRange.ts";
import { simplify } from "../../../ir/scalarSimplify.ts";
import { substitute } from "../../../ir/scalarWalk.ts";
import { prefixRows, rowsOf, type TensorType } from "../../../ir/types.ts";
import type { Access, Operand } from "../kernels.ts";
import { choose, prefixAxes, rowElement, unflatten, type Coordinates, type Place, type View } from "../view.ts";
import { layoutView, type Context, type RootMemory } from "./context.ts";
import type { BufferId, Source } from "./memory.ts";
import { sameRows } from "./roles.ts";

/** Collects a kernel's operands: each piece of memory once, whatever is read of it. */
export const createOperands = (context: Context): Operands => {
  const operands: Operand[] = [];
  const sources: Source[] = [];
  const keys: string[] = [];
  const numberOf = (key: string, memory: RootMemory): number => {
    const known = keys.indexOf(key);
    if (known >= 0) return known;
    keys.push(key);
    operands.push(memory.operand);
    sources.push(memory.source);
    return keys.length - 1;
  };
  return {
    operands,
    sources,
    access: (place, ranges, fill = 0) => ({
      operand: numberOf(place.root, context.root(place.root)),
      offset: simplify(place.offset, ranges),
      valid: simplify(place.valid, ranges),
      fill,
    }),
    port: (space, index, memory) => numberOf(`${space} ${index}`, memory),
  };
};
export type Operands = {
  readonly operands: readonly Operand[];
  readonly sources: readonly Source[];
  readonly access: (place: Place, ranges: Ranges, fill?: number) => Access;
  readonly port: (space: "output" | "kept", index: number, memory: RootMemory) => number;
};

export const buffersOf = (sources: readonly Source[]): readonly BufferId[] =>
  sources.flatMap((source) => (source.kind === "buffer" ? [source.buffer] : []));

/** The ranges of `r` and `n` in a value's row space. */
export const rowRanges = (type: TensorType, columns: number = type.channels): Ranges => ({
  r: { min: 0, max: rowsOf(type) - 1 },
  n: { min: 0, max: columns - 1 },
});

/** The element of an input that a result's element (r, n) reads: axes, prefix repetitions and channels it lacks are repeated. */
export const broadcastElement = (view: View, result: TensorType, r: Scalar, n: Scalar): Place => {
  const { type } = view;
  const c = type.channels === 1 ? literal(0) : n;
  if (sameRows(type, result)) return oneRoot(rowElement(view, r, c));
  if (prefixRows(type) === 0 && type.axes.length === 0) return view.grid({}, c);
  const prefixed = prefixRows(result);
  if (prefixed === 0) return view.grid(unflatten(result.axes, r), c);
  const front = view.prefix(unflatten(prefixAxes(result), r), c);
  return oneRoot(choose(lt(r, prefixed), front, view.grid(unflatten(result.axes, sub(r, prefixed)), c)));
};

/** A pointwise body with the coordinates of its result's tokens and channels as arithmetic on r and n. */
export const bodyAt = (body: Scalar, type: TensorType, r: Scalar, n: Scalar): Scalar => {
  const prefixed = prefixRows(type);
  const isPrefix = prefixed === 0 ? literal(0) : lt(r, prefixed);
  const front = unflatten(prefixAxes(type), r);
  const behind = unflatten(type.axes, sub(r, prefixed));
  const at = (axis: string): Scalar =>
    prefixed === 0 ? (behind[axis] ?? literal(0)) : select(isPrefix, front[axis] ?? 0, behind[axis] ?? 0);
  const coordinates = ["prefix", ...type.axes.map(({ axis }) => axis)].map((axis) => [`x.${axis}`, at(axis)] as const);
  const all = { ...Object.fromEntries(coordinates), "x.isPrefix": isPrefix, channel: n };
  return simplify(substitute(body, all), rowRanges(type));
};

export const oneRoot = (place: Place | "two roots"): Place => {
  if (place === "two roots") throw new Error("internal: prefix and grid tokens of one value lie in two places");
  return place;
};

/** Coordinates of a result's grid token as variables of their own names. */
export const namedCoordinates = (type: TensorType): Coordinates =>
  Object.fromEntries([...prefixAxes(type), ...type.axes].map(({ axis }) => [axis, variable(axis)]));

/** Where a kernel puts a value: in its buffer, if another kernel reads it, and in every port that asks for it. */
export const storesOf = (context: Context, value: ValueId, into: Operands): readonly Access[] => {
  const { type } = context.roles.node(value);
  const ranges = rowRanges(type);
  const r = variable("r");
  const n = variable("n");
  const stores: Access[] = [];
  const read = (context.uses.get(value) ?? []).some((use) => use !== "output");
  if (read || context.memory.has(value))
    stores.push(into.access(oneRoot(rowElement(context.view(value), r, n)), ranges));
  for (const port of portsOf(context, value)) stores.push(portStore(type, port, into));
  return stores;
};

/** A value's element (r, n) in an array that the caller gets. */
export const portStore = (type: TensorType, { space, index, layout }: PortUse, into: Operands): Access => {
  const { exampleStride, exampleSize } = layoutOffset(layout, type);
  const operand = into.port(space, index, {
    source: { kind: "port", space, index },
    operand: { storage: type.element === "int" ? "i32" : "f32", exampleStride, exampleSize },
  });
  const place = oneRoot(rowElement(layoutView(type, "port", layout), variable("r"), variable("n")));
  return { operand, offset: simplify(place.offset, rowRanges(type)), valid: literal(1), fill: 0 };
};

export type PortUse = {
  readonly space: "output" | "kept";
  readonly index: number;
  readonly layout: Parameters<typeof layoutOffset>[0];
};
export const portsOf = (context: Context, value: ValueId): readonly PortUse[] => [
  ...context.graph.outputs.flatMap((port, index) =>
    port.value === value ? [{ space: "output" as const, index, layout: port.layout }] : [],
  ),
  ...context.graph.kept.flatMap((port, index) =>
    port.value === value ? [{ space: "kept" as const, index, layout: port.layout }] : [],
  ),
];
