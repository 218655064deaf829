import type { NodeOf, ValueId } from "../../../ir/graph.ts";
import { extentsOf, sampledOf, sizeOfAll } from "../../../ir/inferSample.ts";
import { add, argument, eq, literal, mul, select, sub, variable } from "../../../ir/scalarBuild.ts";
import type { Ranges } from "../../../ir/scalarRange.ts";
import { linearIn } from "../../../ir/scalarRuns.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import { rowsOf, sizeOf, type TensorType } from "../../../ir/types.ts";
import { compileError } from "../../diagnostics.ts";
import type { Computed, SampleKernel, SampleLevel } from "../kernels.ts";
import { mostPoints } from "../samplePlan.ts";
import { unflatten, type Coordinates, type View } from "../view.ts";
import type { Context, Launch } from "./context.ts";
import { buffersOf, createOperands, storesOf, type Operands } from "./operands.ts";
import { describe, launchWork, originOf } from "./origin.ts";

/** Sampling: the ops that make points and weights, where nothing else reads them, are part of it. */
export const lowerSample = (context: Context, node: NodeOf<"sample">): Launch => {
  const into = createOperands(context);
  const { attrs, type } = node;
  const [points, weights, ...rest] = node.inputs;
  const { query, keys, maps } = sampledOf<ValueId>(rest, attrs);
  const pointsType = context.roles.node(points).type;
  const headAxes = extentsOf(pointsType, attrs.heads);
  const levelAxes = extentsOf(pointsType, attrs.levels);
  const overAxes = extentsOf(pointsType, attrs.over);
  const heads = sizeOfAll(headAxes);
  const count = sizeOfAll(overAxes);
  const width = type.channels / heads;
  const most = mostPoints(query !== null);
  if (count * maps.length > most) refusePoints(node, count * maps.length, most);
  const at: Coordinates = {
    ...unflatten(type.axes, variable("r")),
    ...unflatten(headAxes, variable("h")),
    ...unflatten(levelAxes, variable("g")),
    ...unflatten(overAxes, variable("p")),
  };
  const ranges: Ranges = {
    r: { min: 0, max: rowsOf(type) - 1 },
    h: { min: 0, max: heads - 1 },
    g: { min: 0, max: maps.length - 1 },
    p: { min: 0, max: count - 1 },
  };
  const computed = (id: ValueId, channel: number): Computed => computedAt(context, id, at, channel, ranges, into);
  const sizes = maps.map((id) => attrs.axes.map((axis) => sizeOf(context.roles.node(id).type, axis) ?? 1));
  const position = (channel: number): Computed => {
    const { body, elements } = computed(points, channel);
    const size = byLevel(sizes.map((pair) => pair[channel] ?? 1));
    return { body: inPixels(body, size, attrs.coordinates), elements };
  };
  const kernel: SampleKernel = {
    kind: "sample",
    precision: context.precision,
    operands: into.operands,
    space: { rows: rowsOf(type), batched: type.batch },
    heads,
    width,
    points: count,
    levels: maps.map((id) => levelOf(context, node, id, at, width, ranges, into)),
    position: [position(0), position(1)],
    weight: computed(weights, 0),
    scores: scoresOf(context, node, { query, keys, at, heads, ranges, into }),
    normalize: attrs.normalize,
    padding: attrs.padding,
    stores: storesOf(context, node.id, into),
  };
  const written = new Set(kernel.stores.map(({ operand }) => operand));
  const sources = (isWritten: boolean) => into.sources.filter((_, operand) => written.has(operand) === isWritten);
  const corners = rowsOf(type) * heads * maps.length * count * 4;
  return {
    kernel,
    sources: into.sources,
    weights: [],
    reads: buffersOf(sources(false)),
    writes: buffersOf(sources(true)),
    inPlace: [],
    stage: context.stageOf(node.id),
    origin: originOf(context, node, node.id),
    shapes: describe(context, node, node.id),
    work: launchWork(context, node, node.id, 2 * corners * (width + (kernel.scores?.width ?? 0))),
  };
};

const inPixels = (position: Scalar, size: Scalar, coordinates: "pixels" | "edges" | "centres"): Scalar => {
  switch (coordinates) {
    case "pixels":
      return position;
    case "edges":
      return sub(mul(position, size), 0.5);
    case "centres":
      return mul(position, sub(size, 1));
  }
};

/** One number for each level. */
const byLevel = (numbers: readonly number[]): Scalar => {
  const last = literal(numbers.at(-1) ?? 0);
  if (numbers.every((each) => each === numbers[0])) return last;
  return numbers
    .slice(0, -1)
    .reduceRight<Scalar>((rest, each, level) => select(eq(variable("g"), level), each, rest), last);
};

/** A channel of points or weights, at a point's coordinates. */
const computedAt = (
  context: Context,
  id: ValueId,
  at: Coordinates,
  channel: number,
  ranges: Ranges,
  into: Operands,
): Computed => {
  const node = context.roles.node(id);
  if (node.op === "constant" && node.attrs.values.length === 1)
    return { body: literal(node.attrs.values[0] ?? 0), elements: [] };
  const inlined = node.op === "pointwise" && context.roles.isInlined(id);
  const inputs = inlined ? node.inputs : [id];
  const elements = inputs.map((input) => {
    const view = context.view(input);
    const c = view.type.channels === 1 ? 0 : channel;
    return into.access(view.grid(ownAxes(view.type, at), literal(c)), ranges);
  });
  return { body: inlined ? node.attrs.body : argument(0), elements };
};

/** Coordinates on the axes of a type alone. */
const ownAxes = (type: TensorType, at: Coordinates): Coordinates =>
  Object.fromEntries(type.axes.map(({ axis }) => [axis, at[axis] ?? literal(0)]));

type ScoreParts = {
  readonly query: ValueId | null;
  readonly keys: readonly ValueId[];
  readonly at: Coordinates;
  readonly heads: number;
  readonly ranges: Ranges;
  readonly into: Operands;
};

const scoresOf = (
  context: Context,
  node: NodeOf<"sample">,
  { query, keys, at, heads, ranges, into }: ScoreParts,
): SampleKernel["scores"] => {
  if (query === null) return null;
  const view = context.view(query);
  const width = view.type.channels / heads;
  const all: Ranges = { ...ranges, c: { min: 0, max: width - 1 } };
  const place = into.access(view.grid(ownAxes(view.type, at), add(mul(variable("h"), width), variable("c"))), all);
  const line = linearIn(place.offset, "c", all);
  const certain = place.valid.kind === "number" && place.valid.value === 1;
  if (line === undefined || !certain) return refuse(node, "a query's channels");
  return {
    scale: node.attrs.scale ?? 1,
    width,
    query: { ...place, offset: line.rest },
    queryStep: line.coefficient,
    keys: keys.map((id) => levelOf(context, node, id, at, width, ranges, into)),
  };
};

const levelOf = (
  context: Context,
  node: NodeOf<"sample">,
  id: ValueId,
  at: Coordinates,
  width: number,
  ranges: Ranges,
  into: Operands,
): SampleLevel => {
  const view: View = context.view(id);
  const [first = "", second = ""] = node.attrs.axes;
  const own = { ...ownAxes(view.type, at), [first]: variable("first"), [second]: variable("second") };
  const sizes = [sizeOf(view.type, first) ?? 1, sizeOf(view.type, second) ?? 1] as const;
  const all: Ranges = {
    ...ranges,
    first: { min: 0, max: sizes[0] - 1 },
    second: { min: 0, max: sizes[1] - 1 },
    c: { min: 0, max: width - 1 },
  };
  const place = into.access(view.grid(own, add(mul(variable("h"), width), variable("c"))), all);
  let rest = place.offset;
  const stepOf = (name: string): number => {
    const line = linearIn(rest, name, all);
    if (line === undefined || place.valid.kind !== "number" || place.valid.value === 0)
      return refuse(node, "a map's pixels");
    rest = line.rest;
    return line.coefficient;
  };
  const steps = [stepOf("first"), stepOf("second")] as const;
  const channelStep = stepOf("c");
  return { sizes, steps, channelStep, values: { ...place, offset: rest } };
};

const refusePoints = (node: NodeOf<"sample">, points: number, most: number): never => {
  throw compileError(
    "unsupported-op",
    {
      op: "deformable",
      because: `each head of a query looks at ${points} points over all levels and frames, and a kernel holds ${most}`,
    },
    {
      span: node.span,
      hint: 'look at fewer points, or sample parts of the levels, frames or points with normalize: "none", their weights normalised before, and add up the results',
    },
  );
};

const refuse = (node: NodeOf<"sample">, what: string): never => {
  throw compileError(
    "unsupported-op",
    { op: "deformable", because: `${what} do not lie evenly in memory` },
    { span: node.span, hint: "sample what a layer computes, or slices of it" },
  );
};
