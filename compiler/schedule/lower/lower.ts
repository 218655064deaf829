import type { Graph, Node, ValueId } from "../../../ir/graph.ts";
import { stageOrder } from "../../../ir/loopStages.ts";
import { literal } from "../../../ir/scalarBuild.ts";
import { gridRows, prefixRows, type Precision } from "../../../ir/types.ts";
import { createContext, type Context, type Launch } from "./context.ts";
import { lowerAttention } from "./lowerAttention.ts";
import { lowerConcat } from "./lowerConcat.ts";
import { lowerMab } from "./lowerMab.ts";
import {
  lowerCopy,
  lowerFirst,
  lowerGroupedConvolution,
  lowerMeanPrefix,
  lowerNext,
  lowerPointwise,
  lowerPool,
  lowerPortCopy,
  lowerReduce,
  lowerRound,
  lowerRow,
} from "./lowerMap.ts";
import { lowerPerceptron } from "./lowerPerceptron.ts";
import { lowerProduct } from "./lowerProduct.ts";
import { lowerResize } from "./lowerResize.ts";
import { lowerSample } from "./lowerSample.ts";
import { lowerSelect } from "./lowerSelect.ts";
import { lowerTake } from "./lowerTake.ts";
import { usualTarget, type Target } from "../target.ts";
import type { BufferSpec, Slot } from "./memory.ts";
import { oneRoot, portsOf } from "./operands.ts";
import { alongAxis, assignRoles, isProduct, type Roles } from "./roles.ts";

export type Lowered = {
  readonly launches: readonly Launch[];
  readonly buffers: readonly BufferSpec[];
  readonly roles: Roles;
  readonly loop: LoweredLoop | null;
};
export type LoweredLoop = { readonly flag: BufferSpec; readonly atMost: number };

/** Turns a graph into launches of fused kernels, in the order of their results. */
export const lower = (graph: Graph, precision: Precision, target: Target = usualTarget): Lowered => {
  const roles = assignRoles(graph, precision, target);
  const context = createContext(graph, roles, precision, target);
  const copies = placeParts(context);
  const launches: Launch[] = [];
  const results = new Map<ValueId, Node>();
  for (const node of graph.nodes) {
    const role = roles.of(node.id);
    if (role.kind === "kernel") results.set(role.result, node);
  }
  for (const node of graph.nodes) {
    if (node.op === "state") launches.push(lowerFirst(context, node));
    if (node.op === "loop") launches.push(...lowerNext(context, node));
    const first = results.get(node.id);
    if (first) launches.push(...lowerNode(context, first, node.id));
    const parts = copies.get(node.id) ?? [];
    if (parts.length > 0) context.view(node.id); // the memory that they are copied to
    for (const { part, slot } of parts) launches.push(lowerCopy(context, part, slot));
    const storedByKernel = first !== undefined && (first.op !== "attend" || roles.mab(first.id) !== null);
    if (!storedByKernel)
      for (const port of portsOf(context, node.id)) launches.push(lowerPortCopy(context, node.id, port));
  }
  const inOrder = stageOrder.flatMap((stage) => launches.filter((launch) => launch.stage === stage));
  return { launches: inOrder, buffers: context.memory.buffers, roles, loop: lowerLoop(context) };
};

/** Where the host finds the flag: a kernel of the steps has computed it into memory of its own. */
const lowerLoop = (context: Context): LoweredLoop | null => {
  const loop = context.graph.nodes.find((node) => node.op === "loop");
  if (loop?.op !== "loop") return null;
  const { source } = context.root(oneRoot(context.view(loop.id).grid({}, literal(0))).root);
  const flag = context.memory.buffers.find(({ id }) => source.kind === "buffer" && source.buffer === id);
  if (flag === undefined) throw new Error("internal: nothing computes the flag of a loop");
  return { flag, atMost: loop.attrs.atMost };
};

const lowerNode = (context: Context, first: Node, result: ValueId): readonly Launch[] => {
  if (first.op !== "attend") return [lowerOne(context, first, result)];
  const mab = context.roles.mab(first.id);
  return mab === null ? lowerAttention(context, first, result) : [lowerMab(context, mab)];
};

const lowerOne = (context: Context, first: Node, result: ValueId): Launch => {
  const perceptron = context.roles.perceptron(first.id);
  if (perceptron !== null) return lowerPerceptron(context, perceptron, result);
  switch (first.op) {
    case "linear":
      return lowerProduct(context, first, result);
    case "conv":
      return isProduct(first) ? lowerProduct(context, first, result) : lowerGroupedConvolution(context, first, result);
    case "sample":
      return lowerSample(context, first);
    case "pointwise":
      return lowerPointwise(context, first);
    case "round":
      return lowerRound(context, first);
    case "normalize":
    case "softmax":
      return lowerRow(context, first, result);
    case "reduce":
      return lowerReduce(context, first);
    case "topK":
    case "histogram":
      return lowerSelect(context, first);
    case "concat":
      return lowerConcat(context, first, alongAxis(first) ?? "");
    case "take":
      return lowerTake(context, first, result);
    case "pool":
      return lowerPool(context, first);
    case "meanPrefix":
      return lowerMeanPrefix(context, first);
    case "resize":
      return lowerResize(context, first);
    default:
      throw new Error(`internal: no kernel computes ${first.op} %${first.id}`);
  }
};

type Copy = { readonly part: ValueId; readonly slot: Slot };

/**
 * Gives the parts of assembled values their places inside them, the outermost first. A part that a kernel computes and
 * that lies in no other assembled value is stored there by that kernel; any other is copied when the whole is made.
 */
const placeParts = (context: Context): ReadonlyMap<ValueId, readonly Copy[]> => {
  const copies = new Map<ValueId, readonly Copy[]>();
  for (const whole of context.graph.nodes.toReversed()) {
    if (context.roles.of(whole.id).kind !== "assembled") continue;
    const slot = context.memory.slot(whole.id);
    const copied: Copy[] = [];
    for (const [part, place] of partsOf(context, whole, slot)) {
      if (storedByItsKernel(context, part, slot)) context.memory.place(part, place);
      else copied.push({ part, slot: place });
    }
    copies.set(whole.id, copied);
  }
  return copies;
};

const storedByItsKernel = (context: Context, part: ValueId, slot: Slot): boolean => {
  const node = context.roles.node(part);
  const role = context.roles.of(part);
  const computed =
    role.kind === "kernel" ||
    role.kind === "assembled" ||
    (role.kind === "fused" && node.op === "pointwise" && !context.roles.isPrologue(part));
  return (
    computed &&
    !context.memory.has(part) &&
    node.type.batch === slot.buffer.batched &&
    context.storageOf(node) === slot.buffer.storage
  );
};

const partsOf = (context: Context, whole: Node, slot: Slot): readonly (readonly [ValueId, Slot])[] => {
  if (whole.op === "withPrefix") {
    const [x, tokens] = whole.inputs;
    return [
      [x, { ...slot, firstRow: slot.firstRow + prefixRows(whole.type) }],
      [tokens, slot],
    ];
  }
  if (whole.op !== "concat") throw new Error(`internal: ${whole.op} is not assembled of parts`);
  let row = slot.firstRow;
  let column = slot.firstColumn;
  return whole.inputs.map((part) => {
    const place = { ...slot, firstRow: row, firstColumn: column };
    const { type } = context.roles.node(part);
    if (whole.attrs.over === "channels") column += type.channels;
    else if (whole.type.axes[0]?.axis === whole.attrs.over.axis && prefixRows(type) === 0) row += gridRows(type);
    else throw new Error(`internal: concat over "${whole.attrs.over.axis}", which is not the slowest axis`);
    return [part, place] as const;
  });
};
