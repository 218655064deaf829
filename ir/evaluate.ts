import { GraphError } from "./errors.ts";
import { evaluateAttend } from "./evaluateAttend.ts";
import { evaluateConv, evaluateLinear, evaluatePointwise } from "./evaluateCompute.ts";
import { evaluateResize } from "./evaluateResize.ts";
import { evaluateSample } from "./evaluateSample.ts";
import { evaluateArgmax, evaluateHistogram, evaluateTake, evaluateTopK } from "./evaluateSelect.ts";
import { evaluateNormalize, evaluatePool, evaluateReduce, evaluateSoftmax } from "./evaluateStatistics.ts";
import {
  evaluateChannels,
  evaluateConcat,
  evaluateMerge,
  evaluatePack,
  evaluatePad,
  evaluatePrefix,
  evaluateRename,
  evaluateRows,
  evaluateSlice,
  evaluateUnmerge,
  evaluateUnpack,
  evaluateWithPrefix,
} from "./evaluateViews.ts";
import type { Graph, Node, NodeOf, Op, Ops, Output, ValueId } from "./graph.ts";
import type { Each } from "./infer.ts";
import { type LoopStage, loopStages, stageOrder } from "./loopStages.ts";
import { type LoopEnd, loopEndOf } from "./program.ts";
import type { TensorType } from "./types.ts";
import { fromLayout, toLayout, type Value } from "./value.ts";

/** Arrays by name, each dense in the layout that the graph says. */
export type Arrays = { readonly [name: string]: ArrayLike<number> };
export type EvaluateOptions = { readonly batch: number; readonly inputs: Arrays; readonly parameters: Arrays };
export type Evaluated = {
  readonly outputs: { readonly [name: string]: Float64Array };
  readonly kept: { readonly [name: string]: Float64Array };
  /** Null where there is none. */
  readonly loop: LoopEnd | null;
};

/**
 * What a graph computes, in float64: the meaning of every op. Throws a GraphError on an array that is missing or has
 * another number of elements.
 */
export const evaluate = (graph: Graph, options: EvaluateOptions): Evaluated => {
  const values = new Map<ValueId, Value>();
  const lastRead = new Map<ValueId, ValueId>();
  const stages = loopStages(graph.nodes);
  for (const stage of stageOrder)
    for (const node of graph.nodes)
      if (stages.get(node.id) === stage) for (const input of node.inputs) lastRead.set(input, node.id);
  const wanted = new Set([...graph.outputs, ...graph.kept].map(({ value }) => value));
  const loop = evaluateStages(graph.nodes, stages, values, options, (node) => {
    for (const input of node.inputs) {
      // Every step reads what was made before the loop.
      const isLast = lastRead.get(input) === node.id && stages.get(input) === stages.get(node.id);
      if (isLast && !wanted.has(input)) values.delete(input);
    }
  });
  const arrays = (outputs: readonly Output[]): { readonly [name: string]: Float64Array } =>
    Object.fromEntries(
      outputs.map(({ name, value, layout }) => [name, toLayout(valueOf(values, value), layout, options.batch)]),
    );
  return { outputs: arrays(graph.outputs), kept: arrays(graph.kept), loop };
};

/** Every value of a graph, as rows and channels: for looking into. */
export const evaluateValues = (graph: Graph, options: EvaluateOptions): ReadonlyMap<ValueId, Value> => {
  const values = new Map<ValueId, Value>();
  evaluateStages(graph.nodes, loopStages(graph.nodes), values, options, () => {});
  return values;
};

/** Values of the steps are those of the last one. */
const evaluateStages = (
  nodes: readonly Node[],
  stages: ReadonlyMap<ValueId, LoopStage>,
  values: Map<ValueId, Value>,
  options: EvaluateOptions,
  evaluated: (node: Node) => void,
): LoopEnd | null => {
  const evaluateStage = (stage: LoopStage): void => {
    for (const node of nodes) {
      if (stages.get(node.id) !== stage || node.op === "state") continue;
      values.set(node.id, evaluateNode(node, values, options));
      evaluated(node);
    }
  };
  evaluateStage("before");
  const states = nodes.flatMap((node) => (node.op === "state" ? [node] : []));
  for (const state of states) values.set(state.id, evaluateNode(state, values, options));
  const loop = nodes.find((node) => node.op === "loop");
  const end = loop?.op === "loop" ? takeSteps(loop, states, values, options, () => evaluateStage("step")) : null;
  evaluateStage("after");
  return end;
};

/** What all states become is read before any of them becomes it. */
const takeSteps = (
  { inputs: [flag, ...next], attrs }: NodeOf<"loop">,
  states: readonly NodeOf<"state">[],
  values: Map<ValueId, Value>,
  { batch }: EvaluateOptions,
  step: () => void,
): LoopEnd => {
  for (let steps = 1; ; steps++) {
    step();
    const made = next.map((id) => valueOf(values, id));
    for (const [index, name] of attrs.states.entries()) {
      const [state, value] = [states.find((each) => each.attrs.name === name), made[index]];
      if (state !== undefined && value !== undefined) values.set(state.id, evaluateRows(value, state.type, batch));
    }
    const end = loopEndOf(valueOf(values, flag).data, steps, attrs.atMost);
    if (end !== null) return end;
  }
};

const valueOf = (values: ReadonlyMap<ValueId, Value>, id: ValueId): Value => {
  const value = values.get(id);
  if (value === undefined) throw new GraphError(`%${id} is read before it is made`);
  return value;
};

const evaluateNode = (node: Node, values: ReadonlyMap<ValueId, Value>, options: EvaluateOptions): Value => {
  const rule = rules[node.op] as EvaluateRule<Op>;
  const inputs = node.inputs.map((input) => valueOf(values, input));
  return rule(inputs as never, node.attrs as never, { ...options, type: node.type });
};

type Context = EvaluateOptions & { /** The result's. */ readonly type: TensorType };
type EvaluateRule<K extends Op> = (
  inputs: Each<Ops[K]["inputs"], Value>,
  attrs: Ops[K]["attrs"],
  context: Context,
) => Value;

const rules: { readonly [K in Op]: EvaluateRule<K> } = {
  input: (_, { name, layout }, { type, batch, inputs }) =>
    fromLayout(arrayOf(inputs, "input", name), layout, type, batch, name),
  parameter: (_, { name, layout }, { type, batch, parameters }) =>
    fromLayout(arrayOf(parameters, "parameter", name), layout, type, batch, name),
  constant: (_, { values }, { type }) => ({ type, examples: 1, data: Float64Array.from(values) }),
  linear: ([x, weight], _, { type }) => evaluateLinear(x, weight, type),
  conv: ([x, weight], attrs, { type, batch }) => evaluateConv(x, weight, attrs, type, batch),
  pointwise: (inputs, attrs, { type, batch }) => evaluatePointwise(inputs, attrs, type, batch),
  round: ([x], _, { type }) => ({ ...x, type, data: x.data.map((value) => Math.round(value)) }),
  normalize: ([x], attrs, { batch }) => evaluateNormalize(x, attrs, batch),
  softmax: ([x], attrs, { batch }) => evaluateSoftmax(x, attrs, batch),
  reduce: ([x], { kind, axes }, { type, batch }) =>
    kind === "argmax" ? evaluateArgmax(x, axes, type, batch) : evaluateReduce(x, { kind }, type, batch),
  topK: ([x], attrs, { type, batch }) => evaluateTopK(x, attrs, type, batch),
  histogram: ([x], attrs, { type, batch }) => evaluateHistogram(x, attrs, type, batch),
  take: ([x, numbers], { axis }, { type, batch }) => evaluateTake(x, numbers, axis, type, batch),
  pool: ([x], attrs, { type, batch }) => evaluatePool(x, attrs, type, batch),
  attend: (inputs, attrs, { type, batch }) => evaluateAttend(inputs, attrs, type, batch),
  sample: (inputs, attrs, { type, batch }) => evaluateSample(inputs, attrs, type, batch),
  state: ([first], _, { type, batch }) => evaluateRows(first, type, batch),
  loop: ([flag]) => flag,
  after: ([, state]) => state,
  grid: ([x], _, { type, batch }) => evaluateRows(x, type, batch),
  prefix: ([x], _, { type, batch }) => evaluatePrefix(x, type, batch),
  withPrefix: ([x, prefix], _, { type, batch }) => evaluateWithPrefix(x, prefix, type, batch),
  repeatPrefix: ([x], _, { type, batch }) => evaluateRows(x, type, batch),
  meanPrefix: ([x], _, { type, batch }) => evaluateReduce(x, { kind: "mean" }, type, batch),
  channels: ([x], attrs, { type, batch }) => evaluateChannels(x, attrs, type, batch),
  concat: (inputs, attrs, { type, batch }) => evaluateConcat(inputs, attrs, type, batch),
  merge: ([x], attrs, { type, batch }) => evaluateMerge(x, attrs, type, batch),
  unmerge: ([x], attrs, { type, batch }) => evaluateUnmerge(x, attrs, type, batch),
  pad: ([x], attrs, { type, batch }) => evaluatePad(x, attrs, type, batch),
  unpack: ([x], attrs, { type, batch }) => evaluateUnpack(x, attrs, type, batch),
  pack: ([x], attrs, { type, batch }) => evaluatePack(x, attrs, type, batch),
  rename: ([x], _, { type }) => evaluateRename(x, type),
  expand: ([x], _, { type, batch }) => evaluateRows(x, type, batch),
  slice: ([x], attrs, { type, batch }) => evaluateSlice(x, attrs, type, batch),
  resize: ([x], attrs, { type, batch }) => evaluateResize(x, attrs, type, batch),
};

const arrayOf = (arrays: Arrays, kind: string, name: string): ArrayLike<number> => {
  const array = Object.hasOwn(arrays, name) ? arrays[name] : undefined;
  if (array !== undefined) return array;
  throw new GraphError(`the ${kind} "${name}" is missing; there are ${Object.keys(arrays).join(", ") || "none"}`);
};
