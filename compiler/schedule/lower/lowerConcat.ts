import type { NodeOf } from "../../../ir/graph.ts";
import { add, and, argument, ge, lt, sub, variable } from "../../../ir/scalarBuild.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import { rowsOf, sizeOf } from "../../../ir/types.ts";
import { unflatten } from "../view.ts";
import type { Context, Launch } from "./context.ts";
import { mapLaunch } from "./lowerMap.ts";
import { createOperands, rowRanges } from "./operands.ts";

const [r, n] = [variable("r"), variable("n")];

/** Parts end to end along an axis that is not the slowest: each element is read from the part that it lies in. */
export const lowerConcat = (context: Context, node: NodeOf<"concat">, axis: string): Launch => {
  const into = createOperands(context);
  const ranges = rowRanges(node.type);
  const at = unflatten(node.type.axes, r);
  const position = at[axis] ?? r;
  let start = 0;
  const elements = node.inputs.map((id) => {
    const view = context.view(id);
    const extent = sizeOf(view.type, axis) ?? 1;
    const place = view.grid({ ...at, [axis]: sub(position, start) }, n);
    const isHere = and(ge(position, start), lt(position, start + extent));
    start += extent;
    return into.access({ ...place, valid: and(isHere, place.valid) }, ranges);
  });
  // All parts but one read as zero.
  const sum = elements.map((_, index): Scalar => argument(index)).reduce((all, part) => add(all, part));
  return mapLaunch(context, node, into, sum, elements, null, rowsOf(node.type));
};
