import type { AttendAttrs, Node, NodeOf, ValueId } from "../../../ir/graph.ts";
import type { Linear, Origin } from "../../../ir/program.ts";
import { bytesOf, rowsOf, type TensorType } from "../../../ir/types.ts";
import type { AxisNumbers, Pattern } from "../../../ir/patterns.ts";
import { positionTables } from "../../../ir/positions.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import { variable } from "../../../ir/scalarBuild.ts";
import { geluArgument } from "../../../ir/scalarGelu.ts";
import { printScalar } from "../../../ir/scalarText.ts";
import { mapScalar, substitute, substituteArguments } from "../../../ir/scalarWalk.ts";
import { isViewOp } from "../view.ts";
import type { Context, Launch } from "./context.ts";
import type { Perceptron } from "./perceptrons.ts";

/** Where a kernel came from, and what it computes in one line of mathematics. */
export const originOf = (context: Context, first: Node, result: ValueId): Origin => {
  const { span, path } = first;
  return { file: span.file, line: span.line, column: span.column, path, formula: formulaOf(context, first, result) };
};

/** The author's mathematics: `x + (attn @ proj.weight^T + proj.bias)`. */
const formulaOf = (context: Context, first: Node, result: ValueId): string => {
  const behind = context.roles.epilogue(first.id);
  const core = coreFormula(context, first);
  if (!behind || behind.id !== result) return core;
  const names = behind.inputs.map((id) => (id === first.id ? core : nameOf(context, id)));
  return bodyText(behind.attrs.body, names);
};

/** Of a product and what its rows are made of: `tanh(gelu(normalize(conv(x, 0.weight) + 0.bias)) @ 3.weight^T)`. */
export const perceptronOrigin = (context: Context, perceptron: Perceptron, result: ValueId): Origin => {
  const { head, terms, bias, norm, activation, tail } = perceptron;
  const names = new Map<ValueId, string>();
  const name = (id: ValueId): string => names.get(id) ?? nameOf(context, id);
  const tell = (node: Node | null | undefined, text: (names: readonly string[]) => string): void => {
    if (node) names.set(node.id, text(node.inputs.map(name)));
  };
  const body = (node: NodeOf<"pointwise"> | null | undefined): void =>
    tell(node, (inputs) => (node ? bodyText(node.attrs.body, inputs) : ""));
  body(terms);
  tell(head, ([x, weight]) => (head.op === "conv" ? `conv(${x}, ${weight})` : `${x} @ ${weight}^T`));
  body(bias?.node);
  tell(norm, ([x]) => `normalize(${x})`);
  body(activation);
  tell(tail, ([x, weight]) => `${x} @ ${weight}^T`);
  body(context.roles.epilogue(head.id));
  const { span, path } = tail;
  return { file: span.file, line: span.line, column: span.column, path, formula: name(result) };
};

const bodyText = (body: Scalar, names: readonly string[]): string =>
  expressionText(substituteArguments(body, (i) => variable(names[i] ?? "?")));

/** An expression with its GELUs by name. */
const expressionText = (expr: Scalar): string =>
  printScalar(
    mapScalar(expr, (part) => {
      const x = geluArgument(part);
      return x && variable(`gelu(${expressionText(x)})`);
    }),
  );

const coreFormula = (context: Context, first: Node): string => {
  const names = first.inputs.map((id) => nameOf(context, id));
  const [x, weight] = names;
  switch (first.op) {
    case "linear":
      return `${x} @ ${weight}^T`;
    case "conv":
      return `conv(${x}, ${weight})`;
    case "attend":
      return attendFormula(first.attrs);
    case "pointwise":
      return bodyText(first.attrs.body, names);
    default:
      return `${first.op}(${names.join(", ")})`;
  }
};

const attendFormula = ({ normalize, score, scale, heads, pattern, positions }: AttendAttrs): string => {
  const scores = printScalar(substitute(score, { s: variable(`${shortNumber(scale)} q k^T`) }));
  const has = (role: string): boolean => positionTables(positions).some((each) => each.role === role);
  const terms = `${has("query") ? " + q Q[i - j]^T" : ""}${has("key") ? " + k K[j - i]^T" : ""}`;
  const values = has("value") ? "(v + V[i - j])" : "v";
  return `${normalize}(${scores}${terms}) ${values}, ${heads} heads, keys ${patternText(pattern)}`;
};

const shortNumber = (value: number): string => `${Number(value.toPrecision(6))}`;

/** A pattern as an author writes it. */
const patternText = (pattern: Pattern): string => {
  switch (pattern.kind) {
    case "all":
    case "prefix":
      return `${pattern.kind}()`;
    case "along":
    case "same":
      return `${pattern.kind}(${pattern.axes.join(", ")})`;
    case "window":
      return `window(${numbersText(pattern.size)}, shift ${numbersText(pattern.shift)})`;
    case "near":
      return `near(${numbersText(pattern.radius)}, ${pattern.border})`;
    case "every":
      return `every(${numbersText(pattern.stride)}, phase ${pattern.phase})`;
    case "causal":
      return `causal(${pattern.axis})`;
    case "where":
      return `where(${printScalar(pattern.predicate)})`;
    case "union":
    case "intersect":
      return `${pattern.kind}(${pattern.patterns.map(patternText).join(", ")})`;
  }
};
const numbersText = (numbers: AxisNumbers): string =>
  Object.entries(numbers)
    .map(([axis, value]) => `${axis} ${value}`)
    .join(" ");

/** A value's name in a formula: a parameter's own, else the module that made it; views of it are left out. */
const nameOf = (context: Context, id: ValueId): string => {
  const node = context.roles.node(id);
  const [inner] = node.inputs;
  if (node.op === "parameter") return lastParts(node.attrs.name);
  if (node.op === "input") return node.attrs.name;
  if (node.op === "normalize" && context.roles.of(id).kind === "fused")
    return `normalize(${nameOf(context, node.inputs[0])})`;
  if (node.op === "pointwise" && context.roles.isPrologue(id) && inner !== undefined)
    return bodyText(node.attrs.body, [nameOf(context, inner)]);
  if (node.op === "meanPrefix" && inner !== undefined) return `meanPrefix(${nameOf(context, inner)})`;
  if (context.roles.isAveraged(id) && inner !== undefined) return `meanPool(${nameOf(context, inner)})`;
  if (context.roles.of(id).kind === "constant") return constantName(context, node);
  if (isViewOp(node.op) && node.op !== "withPrefix" && inner !== undefined) return nameOf(context, inner);
  return node.op === "attend" ? "attended" : "x";
};

/** Folded weights are named by the parameters that they are made of. */
const constantName = (context: Context, node: Node): string => {
  const names = node.inputs.map((id) => nameOf(context, id));
  if (node.op === "pointwise") return `(${bodyText(node.attrs.body, names)})`;
  if (node.op === "linear") return `(${names.join(" @ ")})`;
  return names[0] ?? node.op;
};

/** `model.blocks.0.attn.proj.weight` → `proj.weight`. */
const lastParts = (name: string): string => name.split(".").slice(-2).join(".");

/** The shapes of what a kernel reads and makes, for its header. */
export const describe = (context: Context, first: Node, result: ValueId): readonly string[] => [
  ...first.inputs.map((id, i) => `in ${i}: ${showType(context.roles.node(id).type)}`),
  `out: ${showType(context.roles.node(result).type)}`,
];

const showType = (type: TensorType): string => {
  const axes = type.axes.map(({ axis, size }) => `${axis} ${size}`);
  const prefix = type.prefix.count > 0 ? [`prefix ${[type.prefix.count, ...type.prefix.over].join(" x ")}`] : [];
  return `[${[...(type.batch ? ["b"] : []), ...prefix, ...axes].join(", ")}; ${type.channels}]`;
};

/** Operations, and the bytes that the mathematics needs: each operand once. */
export const launchWork = (context: Context, first: Node, result: ValueId, flops: number): Launch["work"] => {
  const { type } = context.roles.node(result);
  const behind = context.roles.epilogue(first.id);
  const others = behind?.inputs.filter((id) => id !== first.id) ?? [];
  // What is computed as it is read lies in no memory; what it is computed from does.
  const read = [...first.inputs, ...others].flatMap((id): readonly ValueId[] =>
    context.roles.isInlined(id) ? context.roles.node(id).inputs : [id],
  );
  const inputs = [...new Set(read)].map(context.roles.node);
  // What a caller hands over or receives is float32 whatever the program computes in.
  const outputs = new Set(context.graph.outputs.map(({ value }) => value));
  const bytes = (node: Node): number => {
    const { id, op, type: each } = node;
    const isPort = op === "input" || outputs.has(id);
    const storage = isPort && each.element === "float" ? "f32" : context.storageOf(node);
    return rowsHeld(context, node) * each.channels * bytesOf[storage];
  };
  const sum = (nodes: readonly Node[]): number => nodes.reduce((n, each) => n + bytes(each), 0);
  return {
    flops: linearIn(type.batch, flops),
    readBytes: {
      fixed: sum(inputs.filter((each) => !each.type.batch)),
      perExample: sum(inputs.filter((each) => each.type.batch)),
    },
    writeBytes: linearIn(type.batch, bytes(context.roles.node(result))),
  };
};

/** How many rows memory holds of a value: what is repeated lies there once, and what a mean is taken of, whole. */
const rowsHeld = (context: Context, node: Node): number => {
  const [inner] = node.inputs;
  const isView = ["repeatPrefix", "meanPrefix", "channels", "expand", "rename"].includes(node.op);
  const isRead =
    (isView && context.roles.of(node.id).kind === "view") ||
    context.roles.isAveraged(node.id) ||
    context.roles.isPrologue(node.id);
  return isRead && inner !== undefined ? rowsHeld(context, context.roles.node(inner)) : rowsOf(node.type);
};

const linearIn = (batch: boolean, amount: number): Linear =>
  batch ? { fixed: 0, perExample: amount } : { fixed: amount, perExample: 0 };
