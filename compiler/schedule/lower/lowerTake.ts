import type { NodeOf, ValueId } from "../../../ir/graph.ts";
import { and, literal, variable } from "../../../ir/scalarBuild.ts";
import { rowsOf, sizeOf } from "../../../ir/types.ts";
import type { MapKernel } from "../kernels.ts";
import { unflatten } from "../view.ts";
import type { Context, Launch } from "./context.ts";
import { finish, inlinedBody } from "./lowerMap.ts";
import { epilogueOf } from "./lowerProduct.ts";
import { bodyAt, broadcastElement, createOperands, rowRanges, storesOf } from "./operands.ts";

const [r, n, taken] = [variable("r"), variable("n"), variable("taken")];

/** Rows by number: an address that is data, and what is done with the row. */
export const lowerTake = (context: Context, node: NodeOf<"take">, result: ValueId): Launch => {
  const into = createOperands(context);
  const [x, numbers] = node.inputs;
  const { axis } = node.attrs;
  const table = context.view(x);
  const count = sizeOf(table.type, axis) ?? 1;
  const ranges = { ...rowRanges(node.type), taken: { min: 0, max: count - 1 }, isTaken: { min: 0, max: 1 } };
  const named = inlinedBody(context, numbers);
  const ofNumbers = context.roles.node(numbers).type;
  const place = table.grid({ ...unflatten(node.type.axes, r), [axis]: taken }, n);
  const row = into.access({ ...place, valid: and(variable("isTaken"), place.valid) }, ranges);
  const number = {
    body: bodyAt(named.body, ofNumbers, r, literal(0)),
    elements: named.inputs.map((id) =>
      into.access(broadcastElement(context.view(id), ofNumbers, r, literal(0)), rowRanges(ofNumbers)),
    ),
  };
  const { body, elements } = epilogueOf(context, node.id, into);
  const kernel: MapKernel = {
    kind: "map",
    precision: context.precision,
    operands: into.operands,
    space: { rows: rowsOf(node.type), batched: node.type.batch },
    columns: node.type.channels,
    body,
    elements: [row, ...elements],
    take: { number, count },
    fold: null,
    stores: storesOf(context, result, into),
  };
  return finish(context, node, result, kernel, into, elements.length * rowsOf(node.type) * node.type.channels);
};
