import type { Node, NodeOf, ValueId } from "../../../ir/graph.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import {
  add,
  and,
  argument,
  eq,
  floorDiv,
  literal,
  max,
  min,
  mod,
  mul,
  select,
  sub,
  variable,
} from "../../../ir/scalarBuild.ts";
import type { Ranges } from "../../../ir/scalarRange.ts";
import { simplify } from "../../../ir/scalarSimplify.ts";
import { substitute } from "../../../ir/scalarWalk.ts";
import { prefixRows, rowsOf, sizeOf, type Extent } from "../../../ir/types.ts";
import type { Access, MapKernel, RowKernel, SelectKernel } from "../kernels.ts";
import { choose, prefixAxes, rowElement, unflatten, type Coordinates, type Place, type View } from "../view.ts";
import { bufferRoot, rowsView, type Context, type Launch } from "./context.ts";
import type { Slot } from "./memory.ts";
import {
  bodyAt,
  broadcastElement,
  buffersOf,
  createOperands,
  oneRoot,
  rowRanges,
  portStore,
  storesOf,
  type Operands,
  type PortUse,
} from "./operands.ts";
import { describe, launchWork, originOf } from "./origin.ts";
import { epilogueOf, insideOf, windowPosition } from "./lowerProduct.ts";

const r = variable("r");
const n = variable("n");
const i = variable("i");

/** A pointwise op that no other kernel takes in. */
export const lowerPointwise = (context: Context, node: NodeOf<"pointwise">): Launch => {
  const into = createOperands(context);
  const ranges = rowRanges(node.type);
  const elements = node.inputs.map((id) => into.access(broadcastElement(context.view(id), node.type, r, n), ranges));
  return mapLaunch(context, node, into, bodyAt(node.attrs.body, node.type, r, n), elements, null, elements.length);
};

/** Whole numbers, with the pointwise op that makes them where nothing else reads it. */
export const lowerRound = (context: Context, node: NodeOf<"round">): Launch => {
  const into = createOperands(context);
  const ranges = rowRanges(node.type);
  const { inputs, body } = inlinedBody(context, node.inputs[0]);
  const elements = inputs.map((id) => into.access(broadcastElement(context.view(id), node.type, r, n), ranges));
  const rounded: Scalar = { kind: "unary", op: "round", of: bodyAt(body, node.type, r, n) };
  return mapLaunch(context, node, into, rounded, elements, null, elements.length);
};

/** A value as an expression of others: of those that a pointwise op reads where that is computed by its reader, else of itself. */
export const inlinedBody = (
  context: Context,
  id: ValueId,
): { readonly inputs: readonly ValueId[]; readonly body: Scalar } => {
  const node = context.roles.node(id);
  return node.op === "pointwise" && context.roles.isInlined(id)
    ? { inputs: node.inputs, body: node.attrs.body }
    : { inputs: [id], body: argument(0) };
};

/** What a state begins with. */
export const lowerFirst = (context: Context, node: NodeOf<"state">): Launch => {
  context.view(node.id); // the memory that it is copied to
  return { ...lowerCopy(context, node.inputs[0], context.memory.slot(node.id)), stage: "before" };
};

/**
 * What becomes of the states at the end of a step: all of it is computed before any of it takes its place. A state that
 * becomes what another one is goes through memory of its own.
 */
export const lowerNext = (context: Context, loop: NodeOf<"loop">): readonly Launch[] => {
  const states = new Map(
    context.graph.nodes.flatMap((node) => (node.op === "state" ? [[node.attrs.name, node] as const] : [])),
  );
  const [, ...next] = loop.inputs;
  const asides: Launch[] = [];
  const moves = next.flatMap((id, index): readonly Launch[] => {
    const state = states.get(loop.attrs.states[index] ?? "");
    if (state === undefined || state.id === id) return [];
    context.view(state.id); // the memory that it is copied to
    const slot = context.memory.slot(state.id);
    const place = oneRoot(rowElement(context.view(id), r, n));
    const isState = [...states.values()].some((each) => place.root === bufferRoot(context.memory.slot(each.id).buffer));
    if (!isState) return [lowerCopy(context, id, slot)];
    const aside = context.aside(state.id);
    asides.push(lowerCopy(context, id, aside));
    return [moveBuffer(context, state, aside, slot)];
  });
  return [...asides, ...moves].map((launch) => ({ ...launch, stage: "step" }));
};

/** Copies a part to its place in an assembled value, for each example of that. */
export const lowerCopy = (context: Context, value: ValueId, slot: Slot): Launch => {
  const node = context.roles.node(value);
  const to = rowsView(node.type, bufferRoot(slot.buffer), slot);
  return copyLaunch(context, node, slot.buffer.batched, (into, ranges) =>
    into.access(oneRoot(rowElement(to, r, n)), ranges),
  );
};

const moveBuffer = (context: Context, node: Node, from: Slot, to: Slot): Launch => {
  const into = createOperands(context);
  const ranges = rowRanges(node.type);
  const at = (slot: Slot): Access =>
    into.access(oneRoot(rowElement(rowsView(node.type, bufferRoot(slot.buffer), slot), r, n)), ranges);
  return mapLaunch(context, node, into, argument(0), [at(from)], null, 0, [at(to)]);
};

/** Copies a value to an array that the caller gets. */
export const lowerPortCopy = (context: Context, value: ValueId, port: PortUse): Launch => {
  const node = context.roles.node(value);
  return copyLaunch(context, node, node.type.batch, (into) => portStore(node.type, port, into));
};

const copyLaunch = (
  context: Context,
  node: Node,
  batched: boolean,
  storeTo: (into: Operands, ranges: Ranges) => Access,
): Launch => {
  const into = createOperands(context);
  const ranges = rowRanges(node.type);
  const element = elementOrMean(context.view(node.id), into, ranges);
  const launch = mapLaunch(context, node, into, argument(0), [element.access], element.fold, 0, [
    storeTo(into, ranges),
  ]);
  const kernel =
    launch.kernel.kind === "map" ? { ...launch.kernel, space: { ...launch.kernel.space, batched } } : launch.kernel;
  return { ...launch, kernel, origin: { ...originOf(context, node, node.id), formula: "copy" } };
};

const elementOrMean = (
  view: View,
  into: Operands,
  ranges: Ranges,
): { readonly access: Access; readonly fold: MapKernel["fold"] } => {
  const place = oneRoot(rowElement(view, r, n));
  if (!place.mean) return { access: into.access(place, ranges), fold: null };
  throw new Error("internal: a mean of prefix tokens is computed before it is copied");
};

/** The mean of repeated prefix tokens, where the reader can't take it itself; the grid tokens stay as they are. */
export const lowerMeanPrefix = (context: Context, node: NodeOf<"meanPrefix">): Launch => {
  const into = createOperands(context);
  const x = context.view(node.inputs[0]);
  const { over } = node.attrs;
  const repeated = x.type.axes.filter(({ axis }) => over.includes(axis));
  const count = extentOf(repeated);
  const prefixed = prefixRows(node.type);
  const front = x.prefix({ ...unflatten(prefixAxes(node.type), r), ...unflatten(repeated, i) }, n);
  const behind = x.grid(unflatten(node.type.axes, sub(r, prefixed)), n);
  const inFront: Scalar = { kind: "binary", op: "lt", left: r, right: literal(prefixed) };
  const place = oneRoot(choose(inFront, front, behind));
  const ranges = { ...rowRanges(node.type), i: { min: 0, max: count - 1 } };
  const once: Scalar = {
    kind: "binary",
    op: "or",
    left: inFront,
    right: { kind: "binary", op: "eq", left: i, right: literal(0) },
  };
  const element = into.access({ ...place, valid: and(place.valid, once) }, ranges);
  return mapLaunch(
    context,
    node,
    into,
    argument(0),
    [element],
    { kind: "mean", over: count, count: select(inFront, count, 1) },
    count,
  );
};

/** A reduction over axes, of grid and prefix alike. */
export const lowerReduce = (context: Context, node: NodeOf<"reduce">): Launch => {
  const input = context.roles.node(node.inputs[0]);
  if (input.op === "pointwise" && context.roles.isInlined(input.id)) return lowerFoldedPointwise(context, node, input);
  const into = createOperands(context);
  const x = context.view(node.inputs[0]);
  const dropped = x.type.axes.filter(({ axis }) => node.attrs.axes.includes(axis));
  const over = extentOf(dropped);
  const ranges = { ...rowRanges(node.type), i: { min: 0, max: over - 1 } };
  const prefixed = prefixRows(node.type);
  const grid = x.grid({ ...unflatten(node.type.axes, sub(r, prefixed)), ...unflatten(dropped, i) }, n);
  const place =
    prefixed === 0
      ? grid
      : oneRoot(
          choose(
            { kind: "binary", op: "lt", left: r, right: literal(prefixed) },
            x.prefix({ ...unflatten(prefixAxes(node.type), r), ...unflatten(dropped, i) }, n),
            grid,
          ),
        );
  const element = into.access(place, ranges);
  return mapLaunch(
    context,
    node,
    into,
    argument(0),
    [element],
    { kind: node.attrs.kind, over, count: literal(over) },
    over,
  );
};

/** A reduction that computes what it reduces, element by element: neither value has a prefix. */
const lowerFoldedPointwise = (context: Context, node: NodeOf<"reduce">, inner: NodeOf<"pointwise">): Launch => {
  const into = createOperands(context);
  const dropped = inner.type.axes.filter(({ axis }) => node.attrs.axes.includes(axis));
  const over = extentOf(dropped);
  const ranges = { ...rowRanges(node.type), i: { min: 0, max: over - 1 } };
  const at: Coordinates = { ...unflatten(node.type.axes, r), ...unflatten(dropped, i) };
  const elements = inner.inputs.map((id) => {
    const view = context.view(id);
    const own = Object.fromEntries(view.type.axes.map(({ axis }) => [axis, at[axis] ?? literal(0)]));
    return into.access(view.grid(own, view.type.channels === 1 ? literal(0) : n), ranges);
  });
  const fold = { kind: node.attrs.kind, over, count: literal(over) };
  const axes = ["prefix", ...inner.type.axes.map(({ axis }) => axis)];
  const coordinates = Object.fromEntries(axes.map((axis) => [`x.${axis}`, at[axis] ?? literal(0)]));
  const position = { ...coordinates, "x.isPrefix": literal(0), channel: n };
  const body = simplify(substitute(inner.attrs.body, position), ranges);
  return mapLaunch(context, node, into, body, elements, fold, (elements.length + 1) * over);
};

export const lowerPool = (context: Context, node: NodeOf<"pool">): Launch => {
  const into = createOperands(context);
  const x = context.view(node.inputs[0]);
  const { window, kind, countPadding } = node.attrs;
  const over = extentOf(window);
  const ranges = { ...rowRanges(node.type), i: { min: 0, max: over - 1 } };
  const out = unflatten(node.type.axes, r);
  const inside = unflatten(window, i);
  const at: { [axis: string]: Scalar } = { ...out };
  let exists: Scalar = literal(1);
  let count: Scalar = literal(1);
  for (const axis of window) {
    const start = windowPosition(axis, out[axis.axis] ?? literal(0), literal(0));
    at[axis.axis] = windowPosition(axis, out[axis.axis] ?? literal(0), inside[axis.axis] ?? literal(0));
    exists = and(exists, insideOf(x.type, node.type, axis, at[axis.axis] ?? literal(0)));
    const extent = sizeOf(x.type, axis.axis) ?? 1;
    if (axis.dilation !== 1) throw new Error("internal: pooling with dilation counts its elements by hand");
    count = mul(count, sub(min(add(start, axis.size), extent), max(start, 0)));
  }
  const place = x.grid(at, n);
  // Outside of the window's grid lies minus infinity, but where the grid itself has holes they are zeros.
  const hasHoles = kind === "max" && simplify(place.valid, ranges).kind !== "number";
  const fill = kind === "max" && !hasHoles ? -Infinity : 0;
  const element = into.access({ ...place, valid: and(place.valid, exists) }, ranges, fill);
  const body = hasHoles ? select(simplify(exists, ranges), argument(0), -Infinity) : argument(0);
  const counted = countPadding || kind === "max" ? literal(over) : simplify(count, ranges);
  return mapLaunch(context, node, into, body, [element], { kind, over, count: counted }, over);
};

/** A convolution in groups: each output channel is a sum over its own group's channels. */
export const lowerGroupedConvolution = (context: Context, node: NodeOf<"conv">, result: ValueId): Launch => {
  const into = createOperands(context);
  const { over, elements } = groupedTerms(context, node, into);
  const isFirst = eq(i, 0);
  const biases = epilogueOf(context, node.id, into).elements.map((bias) => ({
    ...bias,
    valid: and(bias.valid, isFirst),
  }));
  return mapLaunch(
    context,
    node,
    into,
    add(mul(argument(0), argument(1)), ...biases.map((_, bias) => argument(2 + bias))),
    [...elements, ...biases],
    { kind: "sum", over, count: literal(1) },
    2 * over,
    undefined,
    result,
  );
};

/** The two factors of term `i` of a convolution in groups, in `r`, `n` and `i`. */
export const groupedTerms = (
  context: Context,
  node: NodeOf<"conv">,
  into: Operands,
): { readonly over: number; readonly elements: readonly Access[] } => {
  const x = context.view(node.inputs[0]);
  const weight = context.view(node.inputs[1]);
  const { window, groups } = node.attrs;
  const width = x.type.channels / groups;
  const perGroup = node.type.channels / groups;
  const over = extentOf(window) * width;
  const ranges = { ...rowRanges(node.type), i: { min: 0, max: over - 1 } };
  const out = unflatten(node.type.axes, r);
  const inside = unflatten(window, floorDiv(i, width));
  const at: { [axis: string]: Scalar } = { ...out };
  let exists: Scalar = literal(1);
  for (const axis of window) {
    at[axis.axis] = windowPosition(axis, out[axis.axis] ?? literal(0), inside[axis.axis] ?? literal(0));
    exists = and(exists, insideOf(x.type, node.type, axis, at[axis.axis] ?? literal(0)));
  }
  const channel = add(mul(floorDiv(n, perGroup), width), mod(i, width));
  const place = x.grid(at, channel);
  const element = into.access({ ...place, valid: and(place.valid, exists) }, ranges);
  const factor = into.access(weight.grid({ out: n, ...inside }, mod(i, width)), ranges);
  return { over, elements: [element, factor] };
};

/** A normalisation or softmax that is stored: each kernel row is one set of elements that share statistics. */
export const lowerRow = (context: Context, node: NodeOf<"normalize"> | NodeOf<"softmax">, result: ValueId): Launch => {
  const into = createOperands(context);
  const x = context.view(node.inputs[0]);
  const shared = sharedElements(node);
  const ranges: Ranges = { r: { min: 0, max: shared.rows - 1 }, n: { min: 0, max: shared.columns - 1 } };
  const rowOf = shared.row;
  const channelOf = shared.channel;
  const whole = rowOf === r && channelOf === n;
  const place = whole ? oneRoot(rowElement(x, r, n)) : shared.place(x);
  const readX = into.access(place, ranges);
  const at = { r: rowOf, n: channelOf };
  const moved = (access: Access): Access =>
    whole
      ? access
      : {
          ...access,
          offset: simplify(substitute(access.offset, at), ranges),
          valid: simplify(substitute(access.valid, at), ranges),
        };
  const epilogue = epilogueOf(context, node.id, into);
  const kernel: RowKernel = {
    kind: "row",
    precision: context.precision,
    operands: into.operands,
    space: { rows: shared.rows, batched: node.type.batch },
    columns: shared.columns,
    x: readX,
    statistic: node.op === "normalize" ? { kind: "normalize", eps: node.attrs.eps } : { kind: "softmax" },
    epilogue: { body: epilogue.body, elements: epilogue.elements.map(moved) },
    stores: storesOf(context, result, into).map(moved),
  };
  return finish(context, node, result, kernel, into, 8 * rowsOf(node.type) * node.type.channels);
};

type Shared = {
  readonly rows: number;
  readonly columns: number;
  readonly row: Scalar;
  readonly channel: Scalar;
  readonly place: (x: View) => Place;
};

/** Which elements share statistics: kernel row r, element n, as the value's own row and channel. */
const sharedElements = (node: NodeOf<"normalize"> | NodeOf<"softmax">): Shared => {
  const { type } = node;
  const groups = node.op === "normalize" ? node.attrs.groups : node.attrs.over === "channels" ? 1 : type.channels;
  const axes = node.op === "normalize" ? node.attrs.axes : node.attrs.over === "channels" ? [] : node.attrs.over;
  if (groups === 1 && axes.length === 0)
    return {
      rows: rowsOf(type),
      columns: type.channels,
      row: r,
      channel: n,
      place: (x) => oneRoot(rowElement(x, r, n)),
    };
  if (axes.length > 0 && prefixRows(type) > 0)
    throw new Error(`internal: ${node.op} over axes of a grid with prefix tokens`);
  const width = type.channels / groups;
  const inside = type.axes.filter(({ axis }) => axes.includes(axis));
  const outside = type.axes.filter(({ axis }) => !axes.includes(axis));
  const rowsOutside = prefixRows(type) > 0 ? rowsOf(type) : extentOf(outside);
  const channel = add(mul(mod(r, groups), width), mod(n, width));
  const at: Coordinates = { ...unflatten(outside, floorDiv(r, groups)), ...unflatten(inside, floorDiv(n, width)) };
  const row =
    axes.length === 0
      ? floorDiv(r, groups)
      : type.axes.reduce<Scalar>((flat, { axis, size }) => add(mul(flat, size), at[axis] ?? literal(0)), literal(0));
  return {
    rows: rowsOutside * groups,
    columns: extentOf(inside) * width,
    row,
    channel,
    place: (x) => (axes.length === 0 ? oneRoot(rowElement(x, row, channel)) : x.grid(at, channel)),
  };
};

const extentOf = (axes: readonly Extent[]): number => axes.reduce((product, { size }) => product * size, 1);

/** A launch of a map: one body for each element of a value, or its fold. */
export const mapLaunch = (
  context: Context,
  node: Node,
  into: Operands,
  body: Scalar,
  elements: readonly Access[],
  fold: MapKernel["fold"],
  flopsPerElement: number,
  stores?: readonly Access[],
  result: ValueId = node.id,
): Launch => {
  const { type } = context.roles.node(result);
  const kernel: MapKernel = {
    kind: "map",
    precision: context.precision,
    operands: into.operands,
    space: { rows: rowsOf(type), batched: type.batch },
    columns: type.channels,
    body,
    elements,
    take: null,
    fold,
    stores: stores ?? storesOf(context, result, into),
  };
  return finish(context, node, result, kernel, into, flopsPerElement * rowsOf(type) * type.channels);
};

/** The launch of a kernel without weights. */
export const finish = (
  context: Context,
  node: Node,
  result: ValueId,
  kernel: MapKernel | RowKernel | SelectKernel,
  into: Operands,
  flops: number,
): Launch => {
  const written = kernel.stores.map((store) => store.operand);
  return {
    kernel,
    sources: into.sources,
    weights: [],
    reads: buffersOf(into.sources),
    writes: buffersOf(written.flatMap((operand) => into.sources[operand] ?? [])),
    inPlace: [],
    stage: context.stageOf(result),
    origin: originOf(context, node, result),
    shapes: describe(context, node, result),
    work: launchWork(context, node, result, flops),
  };
};
