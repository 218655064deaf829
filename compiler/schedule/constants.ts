import type { Graph, Node, NodeOf, ValueId } from "../../ir/graph.ts";
import type { Layout } from "../../ir/layout.ts";
import type { WeightExpr } from "../../ir/program.ts";
import { variablesOf } from "../../ir/scalarWalk.ts";
import { gridRows, prefixRows, rowsOf, sizeOf, type TensorType } from "../../ir/types.ts";
import { prefixAxes } from "./view.ts";

/**
 * Values that depend on no input are computed once, when weights are loaded: each becomes a weight expression of shape
 * [rows, channels], its rows in the order of its type. A constant that cannot be said that way is left to the kernels.
 */
export const findConstants = (graph: Graph): ReadonlyMap<ValueId, WeightExpr> => {
  const found = new Map<ValueId, WeightExpr>();
  const types = new Map(graph.nodes.map((node) => [node.id, node.type]));
  const padded = onlyPadded(graph);
  for (const node of graph.nodes) {
    if (node.op === "input" || (node.op === "expand" && padded.has(node.id))) continue;
    const inputs = node.inputs.map((id) => ({ expr: found.get(id), type: types.get(id) }));
    const known: Constant[] = [];
    for (const { expr, type } of inputs) if (expr && type) known.push({ expr, type });
    if (known.length !== inputs.length) continue;
    const expr = constantOf(node, known);
    if (expr) found.set(node.id, expr);
  }
  return found;
};

/** Values that nothing but pads read, which no constant is made of: address maps repeat them for nothing. */
const onlyPadded = (graph: Graph): ReadonlySet<ValueId> => {
  const [byPads, byOthers] = [new Set<ValueId>(), new Set(graph.outputs.map(({ value }) => value))];
  for (const { value } of graph.kept) byOthers.add(value);
  for (const { op, inputs } of graph.nodes) for (const id of inputs) (op === "pad" ? byPads : byOthers).add(id);
  return new Set([...byPads].filter((id) => !byOthers.has(id)));
};

type Constant = { readonly expr: WeightExpr; readonly type: TensorType };

const constantOf = (node: Node, inputs: readonly Constant[]): WeightExpr | null => {
  const [x, y] = inputs;
  const shape = [rowsOf(node.type), node.type.channels];
  switch (node.op) {
    case "parameter":
      return parameterRows(node);
    case "constant":
      return { kind: "constant", shape, values: node.attrs.values };
    case "pointwise":
      if (variablesOf(node.attrs.body).size > 0) return null;
      return { kind: "elementwise", of: inputs.map((input) => rowsLike(input, node.type)), body: node.attrs.body };
    case "linear":
      if (!x || !y) return null;
      return { kind: "matmul", left: x.expr, right: { kind: "permute", of: y.expr, order: [1, 0] } };
    case "grid":
      return x ? sliceRows(x.expr, prefixRows(x.type), gridRows(x.type)) : null;
    case "prefix":
      return x ? sliceRows(x.expr, 0, prefixRows(x.type)) : null;
    case "withPrefix":
      return x && y ? { kind: "concat", of: [y.expr, x.expr], axis: 0 } : null;
    case "channels": {
      const { groups, start, width } = node.attrs;
      if (!x) return null;
      const runs: WeightExpr = {
        kind: "reshape",
        of: x.expr,
        shape: [rowsOf(x.type), groups, x.type.channels / groups],
      };
      return reshape({ kind: "slice", of: runs, axis: 2, start, step: 1, size: width }, shape);
    }
    case "concat":
      if (node.attrs.over === "channels")
        return { kind: "concat", of: inputs.map((input) => rowsLike(input, node.type)), axis: 1 };
      // Rows of the slowest axis follow each other.
      return node.attrs.over.axis === node.type.axes[0]?.axis
        ? { kind: "concat", of: inputs.map(({ expr }) => expr), axis: 0 }
        : null;
    case "unpack":
      return x && prefixRows(x.type) === 0 ? reshape(x.expr, shape) : null;
    case "pack":
      return x && prefixRows(x.type) === 0 ? packChannels(x, node.attrs.axes, shape) : null;
    case "rename":
      return x ? x.expr : null;
    case "expand":
    case "repeatPrefix":
      return x ? repeatedRows(x, node.type) : null;
    case "slice": {
      if (!x || prefixRows(x.type) > 0) return null;
      const { axis, start, step, size } = node.attrs;
      const at = x.type.axes.findIndex((extent) => extent.axis === axis);
      return reshape({ kind: "slice", of: byAxes(x), axis: at, start, step, size }, shape);
    }
    case "resize":
      return x && node.attrs.mode === "nearest" && prefixRows(x.type) === 0 ? resizeNearest(x, node, shape) : null;
    default:
      return null;
  }
};

const reshape = (of: WeightExpr, shape: readonly number[]): WeightExpr => ({ kind: "reshape", of, shape });
const sliceRows = (of: WeightExpr, start: number, size: number): WeightExpr => ({
  kind: "slice",
  of,
  axis: 0,
  start,
  step: 1,
  size,
});
const byAxes = ({ expr, type }: Constant): WeightExpr =>
  reshape(expr, [...type.axes.map((extent) => extent.size), type.channels]);

/** A checkpoint's tensor as rows of channels. */
const parameterRows = (node: NodeOf<"parameter">): WeightExpr => {
  const { name, shape, layout } = node.attrs;
  const { type } = node;
  const parameter: WeightExpr = { kind: "parameter", name, shape };
  const rows = [rowsOf(type), type.channels];
  if (prefixRows(type) > 0) return reshape(parameter, rows); // a token dimension `(prefix | h w)` is in row order already
  const names = axesInOrder(layout);
  const extent = (axis: string): number => (axis === "c" ? type.channels : (sizeOf(type, axis) ?? 1));
  const wanted = [...type.axes.map((a) => a.axis), "c"];
  const split = reshape(parameter, names.map(extent));
  const order = wanted.filter((axis) => names.includes(axis)).map((axis) => names.indexOf(axis));
  return reshape(order.every((from, to) => from === to) ? split : { kind: "permute", of: split, order }, rows);
};

const axesInOrder = (layout: Layout): readonly string[] =>
  layout.flatMap((dimension) => dimension.flatMap((part) => part)).filter((name) => name !== "1");

/** The rows of a constant repeated to those of a type that has all of its axes. */
const rowsLike = ({ expr, type }: Constant, to: TensorType): WeightExpr => {
  if (rowsOf(type) === 1 && rowsOf(to) !== 1) return expr; // broadcasts as it is
  return repeatedRows({ expr, type }, to);
};

const repeatedRows = ({ expr, type }: Constant, to: TensorType): WeightExpr => {
  const index = broadcastRows(type, to);
  return index.length === rowsOf(type) && index.every((from, row) => from === row)
    ? expr
    : { kind: "take", of: expr, axis: 0, index };
};

/** For each row of `to`, the row of `from` at the same position. */
const broadcastRows = (from: TensorType, to: TensorType): readonly number[] => {
  const plain = prefixRows(from) === 0 && from.axes.length === 0;
  const rows: number[] = [];
  if (prefixRows(to) > 0) for (const at of positions(prefixAxes(to))) rows.push(plain ? 0 : flat(prefixAxes(from), at));
  for (const at of positions(to.axes)) rows.push(plain ? 0 : prefixRows(from) + flat(from.axes, at));
  return rows;
};

type Position = { readonly [axis: string]: number };
const flat = (axes: TensorType["axes"], at: Position): number =>
  axes.reduce((n, { axis, size }) => n * size + (at[axis] ?? 0), 0);
function* positions(axes: TensorType["axes"]): Generator<Position> {
  const [first, ...rest] = axes;
  if (!first) {
    yield {};
    return;
  }
  for (let i = 0; i < first.size; i++) for (const at of positions(rest)) yield { [first.axis]: i, ...at };
}

const packChannels = (x: Constant, axes: readonly string[], shape: readonly number[]): WeightExpr => {
  const names = x.type.axes.map((extent) => extent.axis);
  const stay = names.filter((name) => !axes.includes(name));
  const order = [...stay, ...axes].map((name) => names.indexOf(name));
  return reshape({ kind: "permute", of: byAxes(x), order: [...order, names.length] }, shape);
};

const resizeNearest = (x: Constant, node: NodeOf<"resize">, shape: readonly number[]): WeightExpr => {
  let of = byAxes(x);
  for (const { axis, size } of node.attrs.to) {
    const from = sizeOf(x.type, axis) ?? 1;
    const index = Array.from({ length: size }, (_, i) => Math.floor((i * from) / size));
    of = { kind: "take", of, axis: x.type.axes.findIndex((extent) => extent.axis === axis), index };
  }
  return reshape(of, shape);
};
