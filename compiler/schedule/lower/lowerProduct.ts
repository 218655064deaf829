import type { NodeOf, ValueId, WindowAxis } from "../../../ir/graph.ts";
import type { WeightExpr } from "../../../ir/program.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import { add, and, argument, ge, literal, lt, mul, sub, variable } from "../../../ir/scalarBuild.ts";
import type { Ranges } from "../../../ir/scalarRange.ts";
import { linearIn } from "../../../ir/scalarRuns.ts";
import { simplify } from "../../../ir/scalarSimplify.ts";
import { substituteArguments, variablesOf } from "../../../ir/scalarWalk.ts";
import { rowsOf, sizeOf, type StorageType, type TensorType } from "../../../ir/types.ts";
import { operandOf } from "../elementRuns.ts";
import type { GemmKernel } from "../kernels.ts";
import { rowElement, unflatten, type Coordinates, type Place, type View } from "../view.ts";
import type { Context, Launch } from "./context.ts";
import {
  broadcastElement,
  buffersOf,
  createOperands,
  oneRoot,
  rowRanges,
  storesOf,
  type Operands,
} from "./operands.ts";
import { describe, launchWork, originOf } from "./origin.ts";

/** A linear layer or convolution, with the normalisation in front of it and the pointwise op behind it. */
export const lowerProduct = (context: Context, first: NodeOf<"linear"> | NodeOf<"conv">, result: ValueId): Launch => {
  const into = createOperands(context);
  const { type } = context.roles.node(result);
  const source = sourceOf(context, first);
  const weight = weightOf(context, first, source.order);
  const ranges: Ranges = {
    ...rowRanges(type),
    tap: { min: 0, max: source.taps - 1 },
    c: { min: 0, max: source.channels - 1 },
    group: { min: 0, max: (first.op === "conv" ? first.attrs.groups : 1) - 1 },
  };
  const a = into.access(source.place, ranges);
  const aSources = [...into.sources];
  const kernel: GemmKernel = {
    kind: "gemm",
    ...arithmeticOf(context, result, operandOf(into.operands, a).storage),
    operands: into.operands,
    space: { rows: rowsOf(type), batched: type.batch },
    columns: type.channels,
    taps: source.taps,
    groups: first.op === "conv" ? first.attrs.groups : 1,
    channels: source.channels,
    a: { ...a, mean: source.mean },
    prologue: source.prologue,
    norm: source.norm,
    epilogue: epilogueOf(context, first.id, into),
    stores: storesOf(context, result, into),
    lengths: setLengths(context, result, into),
  };
  const macs = rowsOf(type) * type.channels * source.taps * source.channels;
  return {
    kernel,
    sources: into.sources,
    weights: [weight],
    reads: buffersOf(into.sources),
    writes: storeBuffers(kernel, into),
    inPlace: inPlaceReads(kernel, into, aSources.length),
    stage: context.stageOf(result),
    origin: originOf(context, first, result),
    shapes: describe(context, first, result),
    work: launchWork(context, first, result, 2 * macs),
  };
};

/** Lengths of the sets whose rows lie one behind the other. */
export const setLengths = (context: Context, result: ValueId, into: Operands): GemmKernel["lengths"] => {
  const ragged = context.ragged.get(result);
  const { type } = context.roles.node(result);
  const last = type.axes.at(-1);
  if (ragged === undefined || last?.axis !== ragged.axis) return null;
  const place = broadcastElement(context.view(ragged.lengths), type, variable("r"), literal(0));
  return { rows: last.size, of: into.access(place, rowRanges(type)) };
};

/** Products that place points, or make float32 of float32, keep 10 bits of mantissa. */
const arithmeticOf = (
  context: Context,
  result: ValueId,
  storage: StorageType,
): Pick<GemmKernel, "precision" | "tf32"> => {
  const float32 = storage === "f32" && context.storageOf(context.roles.node(result)) === "f32";
  const tf32 = context.precision !== "f32" && (context.isPlace(result) || float32);
  return { precision: tf32 ? "f32" : context.precision, tf32 };
};

type ProductSource = {
  readonly place: Place;
  readonly taps: number;
  readonly channels: number;
  readonly norm: { readonly eps: number } | null;
  readonly prologue: Scalar;
  readonly mean: GemmKernel["a"]["mean"];
  /** Whether k runs over taps, then channels, or over channels, then taps (a channel-first input, taken as one run). */
  readonly order: "taps first" | "channels first";
};

const sourceOf = (context: Context, first: NodeOf<"linear"> | NodeOf<"conv">): ProductSource => {
  const r = variable("r");
  const input = context.roles.node(first.inputs[0]);
  if (first.op === "conv") return convolved(context.view(input.id), first);
  const norm = input.op === "normalize" && context.roles.of(input.id).kind === "fused" ? input : null;
  const prologue = input.op === "pointwise" && context.roles.isPrologue(input.id) ? input : null;
  const loaded = context.roles.node((norm ?? prologue)?.inputs[0] ?? input.id);
  const common = {
    taps: 1,
    norm: norm === null ? null : { eps: norm.attrs.eps },
    prologue: prologue?.attrs.body ?? argument(0),
    order: "taps first",
  } as const;
  if (loaded.op === "pool" && context.roles.isAveraged(loaded.id))
    return { ...common, ...averagedWindows(context, loaded) };
  const view = context.view(loaded.id);
  const place = oneRoot(rowElement(view, r, variable("c")));
  const mean = meanOf(place, view.type, rowRanges(first.type, view.type.channels));
  return { ...common, place, channels: view.type.channels, mean };
};

/** Rows of A that are each the mean of a window of tokens. */
const averagedWindows = (
  context: Context,
  pool: NodeOf<"pool">,
): Pick<ProductSource, "place" | "channels" | "mean"> => {
  const x = context.view(pool.inputs[0]);
  const { window } = pool.attrs;
  const out = unflatten(pool.type.axes, variable("r"));
  const placeOf = (element: Scalar): Place => {
    const inside = unflatten(window, element);
    const positions = window.map((each) => {
      const { axis } = each;
      return [axis, windowPosition(each, out[axis] ?? literal(0), inside[axis] ?? literal(0))] as const;
    });
    return x.grid({ ...out, ...Object.fromEntries(positions) }, variable("c"));
  };
  const maxCount = window.reduce((product, { size }) => product * size, 1);
  const place = placeOf(literal(0));
  const ranges: Ranges = {
    r: rowRanges(pool.type)["r"] ?? { min: 0, max: 0 },
    c: { min: 0, max: pool.type.channels - 1 },
    j: { min: 0, max: maxCount - 1 },
  };
  const offset = simplify(sub(placeOf(variable("j")).offset, place.offset), ranges);
  if ([...variablesOf(offset)].some((name) => name !== "j"))
    throw new Error("internal: elements to be averaged do not lie alike everywhere");
  return { place, channels: pool.type.channels, mean: { count: literal(maxCount), maxCount, offset } };
};

/** The averaged rows of A are the prefix tokens, which stand in front of the grid's. */
const meanOf = (place: Place, type: TensorType, { r, n }: Ranges): GemmKernel["a"]["mean"] => {
  if (!place.mean) return null;
  const step = simplify(place.mean.step, { ...(r && { r }), ...(n && { c: n }) });
  if (step.kind !== "number") throw new Error("internal: rows to be averaged do not lie evenly");
  const averaged = type.prefix.count;
  return {
    count: add(1, mul(place.mean.count - 1, lt(variable("r"), averaged))),
    maxCount: place.mean.count,
    offset: mul(variable("j"), step.value),
  };
};

const convolved = (x: View, conv: NodeOf<"conv">): ProductSource => {
  const { window } = conv.attrs;
  const taps = window.reduce((n, axis) => n * axis.size, 1);
  const { groups } = conv.attrs;
  const channels = x.type.channels / groups;
  const channel = groups === 1 ? variable("c") : add(mul(variable("group"), channels), variable("c"));
  const direct = convolvedPlace(x, conv, variable("tap"), channel);
  const channelsLast = linearIn(direct.offset, "c", { c: { min: 0, max: channels - 1 } })?.coefficient === 1;
  if (channelsLast || channels === 1 || groups > 1)
    return { place: direct, taps, channels, norm: null, prologue: argument(0), mean: null, order: "taps first" };
  // k runs over (channel, window), the window's last axis fastest: as contiguous as a channel-first array is
  const k = variable("c");
  const outer = { axis: "$channel", size: channels };
  const at = unflatten([outer, ...window], k);
  const place = convolvedPlace(x, conv, at, at["$channel"] ?? literal(0));
  return {
    place,
    taps: 1,
    channels: taps * channels,
    norm: null,
    prologue: argument(0),
    mean: null,
    order: "channels first",
  };
};

const convolvedPlace = (x: View, conv: NodeOf<"conv">, tap: Scalar | Coordinates, c: Scalar): Place => {
  const inside = "kind" in tap ? unflatten(conv.attrs.window, tap as Scalar) : tap;
  const out = unflatten(conv.type.axes, variable("r"));
  const at: { [axis: string]: Scalar } = { ...out };
  let exists: Scalar = literal(1);
  for (const axis of conv.attrs.window) {
    at[axis.axis] = windowPosition(axis, out[axis.axis] ?? literal(0), inside[axis.axis] ?? literal(0));
    exists = and(exists, insideOf(x.type, conv.type, axis, at[axis.axis] ?? literal(0)));
  }
  const place = x.grid(at, c);
  return { ...place, valid: and(place.valid, exists) };
};

/** Where a window's element lies on its axis. */
export const windowPosition = (axis: WindowAxis, out: Scalar, inside: Scalar): Scalar =>
  sub(add(mul(out, axis.stride), mul(inside, axis.dilation)), axis.before);

/** Whether that position is within the grid, left out where it always is. */
export const insideOf = (x: TensorType, result: TensorType, axis: WindowAxis, position: Scalar): Scalar => {
  const extent = sizeOf(x, axis.axis) ?? 1;
  const last = ((sizeOf(result, axis.axis) ?? 1) - 1) * axis.stride + (axis.size - 1) * axis.dilation - axis.before;
  const below = axis.before > 0 ? ge(position, 0) : literal(1);
  return last >= extent ? and(below, lt(position, extent)) : below;
};

/** [columns, k]: a convolution's weight is stored (window, channels), as its type says. */
const weightOf = (
  context: Context,
  first: NodeOf<"linear"> | NodeOf<"conv">,
  order: ProductSource["order"],
): WeightExpr => {
  const role = context.roles.of(first.inputs[1]);
  const { type } = context.roles.node(first.inputs[1]);
  if (role.kind !== "constant")
    throw new Error(`internal: the weight of ${first.op} %${first.id} is not known when weights are loaded`);
  const columns = sizeOf(type, "out") ?? 1;
  const perColumn = rowsOf(type) / columns;
  const shape = [columns, perColumn * type.channels];
  if (order === "taps first") return perColumn === 1 ? role.expr : { kind: "reshape", of: role.expr, shape };
  const split: WeightExpr = { kind: "reshape", of: role.expr, shape: [columns, perColumn, type.channels] };
  return { kind: "reshape", of: { kind: "permute", of: split, order: [0, 2, 1] }, shape };
};

/** The pointwise op behind a kernel, the value in front of it (its first node's, where no other is named) being argument 0. */
export const epilogueOf = (
  context: Context,
  first: ValueId,
  into: Operands,
  value: ValueId = first,
): GemmKernel["epilogue"] => {
  const behind = context.roles.epilogue(first);
  if (!behind) return { body: argument(0), elements: [] };
  const own = behind.inputs.indexOf(value);
  const others = behind.inputs.filter((_, i) => i !== own);
  const ranges = rowRanges(behind.type);
  return {
    body: substituteArguments(behind.attrs.body, (i) => argument(i === own ? 0 : i < own ? i + 1 : i)),
    elements: others.map((id) =>
      into.access(broadcastElement(context.view(id), behind.type, variable("r"), variable("n")), ranges),
    ),
  };
};

const storeBuffers = (kernel: GemmKernel, into: Operands): Launch["writes"] =>
  buffersOf(kernel.stores.flatMap((store) => into.sources[store.operand] ?? []));

/** Buffers that the epilogue alone reads, each element at the very place (r, n) of the result. */
const inPlaceReads = (kernel: GemmKernel, into: Operands, ofA: number): Launch["inPlace"] => {
  const store = kernel.stores[0];
  if (!store) return [];
  const place = JSON.stringify([store.offset, store.valid]);
  const read = kernel.epilogue.elements.filter(
    (element) => element.operand >= ofA && element.operand !== store.operand,
  );
  const same = read.filter((element) =>
    read.every((other) => other.operand !== element.operand || JSON.stringify([other.offset, other.valid]) === place),
  );
  return buffersOf(same.flatMap((element) => into.sources[element.operand] ?? []));
};
