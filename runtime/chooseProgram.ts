import { contractOf, printContract, printExtents, type SymbolicAxis } from "../ir/contract.ts";
import type { Programs } from "../ir/manifest.ts";
import type { Port, Program } from "../ir/program.ts";
import { RuntimeError } from "./errors.ts";
import { formatPort, type Inputs } from "./tensors.ts";
import { formatShape } from "./text.ts";

/**
 * The program for inputs of these shapes. Where there is none, throws a RuntimeError that names the contract and the
 * nearest shapes that it allows. What else may be wrong with the inputs (names, types, the batch) is not looked at.
 */
export const chooseProgram = (programs: Programs, inputs: Inputs): Program => {
  const [first, ...others] = programs;
  if (others.length === 0) return first;
  const fits = (program: Program): boolean =>
    program.inputs.every((port) => {
      const shape = inputs[port.name]?.shape;
      return shape === undefined || isShapeOf(port, shape);
    });
  const found = programs.find(fits);
  if (found !== undefined) return found;
  throw new RuntimeError(outsideOf(programs, inputs));
};

const isShapeOf = (port: Port, shape: readonly number[]): boolean =>
  port.shape.length === shape.length &&
  port.shape.every((size, index) => {
    const actual = shape[index] ?? 0;
    return typeof size === "number" ? actual === size : actual % size.batchTimes === 0;
  });

const outsideOf = (programs: Programs, inputs: Inputs): string => {
  const contract = contractOf(programs);
  const actual = contract.axes.map((axis) => ({ axis, extent: extentOf(axis, programs[0], inputs) }));
  const distance = ({ extents }: Program): number =>
    actual.reduce((sum, { axis: { axis }, extent }) => {
      const allowed = extents[axis] ?? 1;
      return sum + Math.abs(Math.log((extent ?? allowed) / allowed));
    }, 0);
  const [nearest = programs[0]] = [...programs].toSorted((a, b) => distance(a) - distance(b));
  const wrong = nearest.inputs.filter((port) => {
    const shape = inputs[port.name]?.shape;
    return shape !== undefined && !isShapeOf(port, shape);
  });
  const said = wrong.map((port) => `"${port.name}" ${formatShape(inputs[port.name]?.shape ?? [])}`).join(", ");
  const outside = actual.flatMap(({ axis: { axis, extents }, extent }) =>
    extent === null || extents.includes(extent) ? [] : [`${axis} = ${extent}`],
  );
  const [port = nearest.inputs[0]] = wrong;
  const allowed = port === undefined ? "" : ` ${formatPort(port)}`;
  return [
    `${said} is outside of what "${nearest.name}" was built for${outside.length === 0 ? "" : ` (${outside.join(", ")})`}`,
    `  contract: ${printContract(contract)}`,
    `  nearest allowed: ${printExtents(nearest.extents)}${allowed}`,
    ...outside.slice(0, 1).map(() => `  hint: ${rebuildHint(actual)}`),
  ].join("\n");
};

/** How to build the model for these extents as well. */
const rebuildHint = (actual: readonly { readonly axis: SymbolicAxis; readonly extent: number | null }[]): string => {
  const options = actual.flatMap(({ axis: { axis, extents }, extent }) =>
    extent === null || extents.includes(extent)
      ? []
      : [`--axis ${axis}=${[...extents, extent].toSorted((a, b) => a - b).join(",")}`],
  );
  return `build it with ${options.join(" ")}`;
};

/** The extent of an axis in the inputs' shapes: where it is a dimension of its own. */
const extentOf = ({ axis }: SymbolicAxis, { inputs: ports }: Program, inputs: Inputs): number | null => {
  for (const port of ports) {
    const shape = inputs[port.name]?.shape;
    const dimension = port.layout.findIndex(([part, ...more]) => more.length === 0 && part?.join() === axis);
    if (shape?.length !== port.shape.length || dimension < 0) continue;
    return shape[dimension] ?? null;
  }
  return null;
};
