import { GraphError } from "./errors.ts";
import type { Graph, Node, NodeOf, ValueId } from "./graph.ts";
import { type Each, inferType } from "./infer.ts";
import { printLayout } from "./layout.ts";
import { layoutShape } from "./layoutOffset.ts";
import { loopStages } from "./loopStages.ts";
import { checkLoop, checkUpTo } from "./verifyLoop.ts";
import { predicate, readsPrefix } from "./predicate.ts";
import { below, type Interval, rangeOf, type Ranges } from "./scalarRange.ts";
import { simplify } from "./scalarSimplify.ts";
import { printScalar } from "./scalarText.ts";
import { walkScalar } from "./scalarWalk.ts";
import type { Pattern } from "./patterns.ts";
import type { Scalar } from "./scalar.ts";
import type { TensorType } from "./types.ts";
import { printType } from "./typeText.ts";

/** Throws a GraphError that lists everything that does not hold of a graph. It holds at every stage. */
export const verifyGraph = (graph: Graph): void => {
  const problems = problemsOf(graph);
  if (problems.length === 0) return;
  throw new GraphError(
    `the graph "${graph.name}" does not hold:\n${problems.map((problem) => `  ${problem}`).join("\n")}`,
  );
};

export const problemsOf = (graph: Graph): readonly string[] => {
  const problems: string[] = [];
  const attempt = (where: string, check: () => void): void => {
    try {
      check();
    } catch (error) {
      if (!(error instanceof GraphError)) throw error;
      problems.push(`${where}: ${error.message}`);
    }
  };
  for (const [index, node] of graph.nodes.entries()) {
    attempt(`%${node.id} (${node.op})`, () => {
      if (node.id !== index) throw new GraphError(`it is value number ${index}`);
      for (const input of node.inputs) {
        if (!(input >= 0 && input < index)) throw new GraphError(`it reads %${input}, which is not made before it`);
      }
      checkType(node, graph);
      checkScalars(node, graph);
    });
  }
  attempt("the loop", () => checkLoop(graph));
  attempt("inputs", () => distinctNames(graph.nodes.flatMap((node) => (node.op === "input" ? [node.attrs.name] : []))));
  attempt("outputs", () => distinctNames(graph.outputs.map(({ name }) => name)));
  attempt("kept values", () => distinctNames(graph.kept.map(({ name }) => name)));
  attempt("parameters", () => oneShapeEach(graph));
  const stages = loopStages(graph.nodes);
  for (const output of [...graph.outputs, ...graph.kept]) {
    const { name, value, layout } = output;
    attempt(`"${name}"`, () => {
      const node = graph.nodes[value];
      if (node === undefined) throw new GraphError(`there is no value %${value}`);
      layoutShape(layout, node.type);
      if (stages.get(value) === "step") throw new GraphError(`%${value} is another one at every step of the loop`);
      if (output.upTo !== null) checkUpTo(output, output.upTo, node, graph);
    });
  }
  return problems;
};

const typeOf = (graph: Graph, value: ValueId): TensorType => {
  const node = graph.nodes[value];
  if (node === undefined) throw new GraphError(`there is no value %${value}`);
  return node.type;
};

const checkType = (node: Node, graph: Graph): void => {
  const inputs = node.inputs.map((input) => typeOf(graph, input)) as unknown as Each<typeof node.inputs, TensorType>;
  const inferred = inferType(node.op, node.attrs as never, inputs as never);
  if (printType(inferred) !== printType(node.type)) {
    throw new GraphError(`its type is ${printType(node.type)}, but its inputs make it ${printType(inferred)}`);
  }
};

/** Scalars read only what there is to read. */
const checkScalars = (node: Node, graph: Graph): void => {
  if (node.op === "pointwise") {
    const ranges = { ...coordinateRanges("x", node.type), channel: below(node.type.channels) };
    checkVariables(node.attrs.body, ranges, []);
    walkScalar(node.attrs.body, (part) => {
      if (part.kind === "argument" && !(part.index in node.inputs)) {
        throw new GraphError(`it has no input $${part.index}: ${printScalar(node.attrs.body)}`);
      }
      if (part.kind === "load") throw new GraphError(`it has no tables: ${printScalar(node.attrs.body)}`);
    });
  }
  if (node.op === "attend") checkAttend(node, graph);
};

const checkAttend = (node: NodeOf<"attend">, graph: Graph): void => {
  const [q, k] = node.inputs;
  const query = typeOf(graph, q);
  const key = typeOf(graph, k);
  const tables = node.inputs.slice(3).map((table) => typeOf(graph, table));
  const pairs: Ranges = { ...coordinateRanges("q", query), ...coordinateRanges("k", key) };
  const ranges: Ranges = { ...pairs, head: below(node.attrs.heads) };
  checkVariables(node.attrs.score, ranges, ["s"]);
  predicate(node.attrs.pattern, query, key);
  for (const condition of conditionsOf(node.attrs.pattern)) {
    checkVariables(condition, pairs, []);
    walkScalar(condition, (part) => {
      if (part.kind === "argument" || part.kind === "load") {
        throw new GraphError(`a "where" reads positions only: ${printScalar(condition)}`);
      }
    });
    if (readsPrefix(condition) && query.prefix.count + key.prefix.count === 0) {
      throw new GraphError(`neither queries nor keys have prefix tokens: ${printScalar(condition)}`);
    }
  }
  walkScalar(node.attrs.score, (part) => {
    if (part.kind === "argument") throw new GraphError(`a score has no arguments: ${printScalar(node.attrs.score)}`);
    if (part.kind === "load") checkLoad(part, tables, ranges);
  });
};

const checkLoad = (
  load: Extract<Scalar, { readonly kind: "load" }>,
  tables: readonly TensorType[],
  ranges: Ranges,
): void => {
  const table = tables[load.table];
  if (table === undefined) throw new GraphError(`${printScalar(load)} reads one of ${tables.length} tables`);
  const sizes = [...table.axes.map(({ size }) => size), table.channels];
  if (load.index.length !== sizes.length) {
    throw new GraphError(
      `${printScalar(load)} has ${load.index.length} indices; ${printType(table)} wants ${sizes.length}`,
    );
  }
  for (const [axis, index] of load.index.entries()) {
    // Which keys are seen may keep an index in bounds, so only one that never is can be refused.
    const range = rangeOf(simplify(index, ranges), ranges);
    const size = sizes[axis] ?? 0;
    if (range.max < 0 || range.min >= size) {
      throw new GraphError(
        `index ${axis} of ${printScalar(load)} is ${range.min} to ${range.max}; ${printType(table)} holds ${size}`,
      );
    }
  }
};

const conditionsOf = (pattern: Pattern): readonly Scalar[] => {
  if (pattern.kind === "where") return [pattern.predicate];
  return pattern.kind === "union" || pattern.kind === "intersect" ? pattern.patterns.flatMap(conditionsOf) : [];
};

const checkVariables = (expr: Scalar, ranges: Ranges, others: readonly string[]): void => {
  walkScalar(expr, (part) => {
    if (part.kind !== "variable" || Object.hasOwn(ranges, part.name) || others.includes(part.name)) return;
    throw new GraphError(
      `there is no "${part.name}" in ${printScalar(expr)}; there are ${[...others, ...Object.keys(ranges)].join(", ")}`,
    );
  });
};

/** What the coordinates of a token may be: `x.AXIS`, `x.isPrefix`, `x.prefix`. */
const coordinateRanges = (side: string, type: TensorType): Ranges => {
  const { count } = type.prefix;
  const ranges: { [name: string]: Interval } = {
    [`${side}.isPrefix`]: { min: 0, max: count > 0 ? 1 : 0 },
    [`${side}.prefix`]: below(Math.max(1, count)),
  };
  // A prefix token without a coordinate on the axis reads 0, which is in range too.
  for (const { axis, size } of type.axes) ranges[`${side}.${axis}`] = below(size);
  return ranges;
};

const distinctNames = (names: readonly string[]): void => {
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new GraphError(`there are two called "${twice}"`);
};

/** A parameter may be read in several layouts, but is one tensor. */
const oneShapeEach = (graph: Graph): void => {
  const shapes = new Map<string, string>();
  for (const node of graph.nodes) {
    if (node.op !== "parameter") continue;
    const { name, layout } = node.attrs;
    const shape = node.attrs.shape.join(", ");
    if ((shapes.get(name) ?? shape) !== shape) {
      throw new GraphError(`"${name}" is [${shapes.get(name)}] and, as "${printLayout(layout)}", [${shape}]`);
    }
    shapes.set(name, shape);
    if (graph.unused.includes(name)) throw new GraphError(`"${name}" is read, and listed as unused`);
    const resizing = graph.resizing[name];
    const rows = node.attrs.shape.at(-2) ?? 1;
    if (resizing !== undefined && resizing.leading + resizing.grid.reduce((all, size) => all * size, 1) !== rows)
      throw new GraphError(
        `"${name}" is [${shape}], which is no grid of ${resizing.grid.join(" x ")} rows after ${resizing.leading}`,
      );
  }
};
