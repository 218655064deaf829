import type { Graph } from "../../ir/graph.ts";
import type { Layout } from "../../ir/layout.ts";
import { layoutShape } from "../../ir/layoutOffset.ts";
import type { ParameterSlot, Program } from "../../ir/program.ts";
import type { NumberArrays } from "./arrays.ts";
import { CommandError } from "./failure.ts";

/** An array that goes into a network. */
export type ArrayPort = {
  readonly name: string;
  readonly layout: Layout;
  /** Extents of a batch's array: a number, or so many for each example. */
  readonly shape: readonly (number | { readonly batchTimes: number })[];
  readonly integer: boolean;
};

export const graphInputs = (graph: Graph): ArrayPort[] =>
  graph.nodes.flatMap((node) =>
    node.op === "input"
      ? [{ ...node.attrs, shape: layoutShape(node.attrs.layout, node.type), integer: node.type.element === "int" }]
      : [],
  );

export const graphParameters = (graph: Graph): ParameterSlot[] =>
  graph.nodes.flatMap((node) => {
    if (node.op !== "parameter") return [];
    const { name, shape } = node.attrs;
    return [{ name, shape, resizing: graph.resizing[name] ?? null }];
  });

export const programInputs = (program: Program): ArrayPort[] =>
  program.inputs.map(({ name, layout, shape, storage }) => ({
    name,
    layout,
    shape,
    integer: storage === "i32" || storage === "u8",
  }));

export const shapeOfBatch = ({ shape }: ArrayPort, batch: number): number[] =>
  shape.map((size) => (typeof size === "number" ? size : size.batchTimes * batch));

export const printShape = ({ shape }: ArrayPort): string =>
  `[${shape.map((size) => (typeof size === "number" ? String(size) : size.batchTimes === 1 ? "batch" : `${size.batchTimes} x batch`)).join(", ")}]`;

/** How many examples the arrays hold; they agree on it, and each has the shape that its port says. */
export function batchOf(ports: readonly ArrayPort[], arrays: NumberArrays): number {
  let batch: number | undefined;
  for (const port of ports) {
    const array = arrays.get(port.name);
    if (array === undefined) {
      throw new CommandError(
        `the input "${port.name}" ${printShape(port)} is missing`,
        `give --input ${port.name}=FILE`,
      );
    }
    const examples = examplesOf(port, array.shape);
    if (examples === undefined || (batch ?? examples ?? 1) !== (examples ?? batch ?? 1)) {
      throw new CommandError(
        `the input "${port.name}" is [${array.shape.join(", ")}]; the network takes ${printShape(port)}${batch === undefined ? "" : ` for a batch of ${batch}`}`,
      );
    }
    batch = examples ?? batch;
  }
  for (const name of arrays.keys()) {
    if (ports.some((port) => port.name === name)) continue;
    throw new CommandError(
      `the network has no input "${name}"`,
      `its inputs are ${ports.map((port) => port.name).join(", ")}`,
    );
  }
  return batch ?? 1;
}

/** The batch of an array of this shape; null where the port has none, undefined where the shape does not fit. */
function examplesOf(port: ArrayPort, shape: readonly number[]): number | null | undefined {
  let batch: number | null = null;
  for (const [index, size] of port.shape.entries()) {
    if (typeof size !== "number") batch = (shape[index] ?? 0) / size.batchTimes;
  }
  const fits =
    (batch === null || (Number.isInteger(batch) && batch >= 1)) &&
    shapeOfBatch(port, batch ?? 1).join() === shape.join();
  return fits ? batch : undefined;
}
