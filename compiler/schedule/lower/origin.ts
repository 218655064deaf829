import type { Node, ValueId } from "../../../ir/graph.ts";
import type { Linear, Origin } from "../../../ir/program.ts";
import { bytesOf, rowsOf, type TensorType } from "../../../ir/types.ts";
import { storageOf, type Context, type Launch } from "./context.ts";

/** Where a kernel came from, and what it computes in one line of mathematics. */
export const originOf = (context: Context, first: Node, result: ValueId): Origin => {
  const { span, path } = first;
  return { file: span.file, line: span.line, column: span.column, path, formula: formulaOf(context, first, result) };
};

const formulaOf = (context: Context, first: Node, result: ValueId): string => {
  const behind = context.roles.epilogue(first.id);
  const core = coreFormula(context, first);
  if (!behind || behind.id !== result) return core;
  const others = behind.inputs.filter((id) => id !== first.id).map((id) => nameOf(context, id));
  return `pointwise(${[core, ...others].join(", ")})`;
};

const coreFormula = (context: Context, first: Node): string => {
  const name = (i: number): string => {
    const id = first.inputs[i];
    return id === undefined ? "?" : nameOf(context, id);
  };
  switch (first.op) {
    case "linear":
      return `${name(0)} @ ${name(1)}^T`;
    case "conv":
      return `conv(${name(0)}, ${name(1)})`;
    case "attend":
      return `attend(${first.attrs.normalize}, ${first.attrs.pattern.kind}, heads ${first.attrs.heads})`;
    default:
      return `${first.op}(${first.inputs.map((_, i) => name(i)).join(", ")})`;
  }
};

const nameOf = (context: Context, id: ValueId): string => {
  const node = context.roles.node(id);
  if (node.op === "parameter" || node.op === "input") return node.attrs.name;
  if (node.op === "normalize" && context.roles.of(id).kind === "fused")
    return `normalize(${nameOf(context, node.inputs[0])})`;
  return context.roles.of(id).kind === "constant" ? "weights" : `${node.op} of ${node.path.split(".").at(-1) ?? ""}`;
};

/** The shapes of what a kernel reads and makes, for its header. */
export const describe = (context: Context, first: Node, result: ValueId): readonly string[] => [
  ...first.inputs.map((id, i) => `in ${i}: ${showType(context.roles.node(id).type)}`),
  `out: ${showType(context.roles.node(result).type)}`,
];

export const showType = (type: TensorType): string => {
  const axes = type.axes.map(({ axis, size }) => `${axis} ${size}`);
  const prefix = type.prefix.count > 0 ? [`prefix ${[type.prefix.count, ...type.prefix.over].join(" x ")}`] : [];
  return `[${[...(type.batch ? ["b"] : []), ...prefix, ...axes].join(", ")}; ${type.channels}]`;
};

/** Operations, and the bytes that the mathematics needs: each operand once. */
export const launchWork = (context: Context, first: Node, result: ValueId, flops: number): Launch["work"] => {
  const { type } = context.roles.node(result);
  const behind = context.roles.epilogue(first.id);
  const inputs = [...first.inputs, ...(behind?.inputs.filter((id) => id !== first.id) ?? [])].map(
    (id) => context.roles.node(id).type,
  );
  const bytes = (each: TensorType): number =>
    rowsOf(each) * each.channels * bytesOf[storageOf(each, context.precision)];
  const sum = (types: readonly TensorType[]): number => types.reduce((n, each) => n + bytes(each), 0);
  return {
    flops: linearIn(type.batch, flops),
    readBytes: {
      fixed: sum(inputs.filter((each) => !each.batch)),
      perExample: sum(inputs.filter((each) => each.batch)),
    },
    writeBytes: linearIn(type.batch, bytes(type)),
  };
};

const linearIn = (batch: boolean, amount: number): Linear =>
  batch ? { fixed: 0, perExample: amount } : { fixed: amount, perExample: 0 };
