import type { NodeOf } from "../../../ir/graph.ts";
import { add, mul, variable } from "../../../ir/scalarBuild.ts";
import type { Ranges } from "../../../ir/scalarRange.ts";
import { simplify } from "../../../ir/scalarSimplify.ts";
import { substitute } from "../../../ir/scalarWalk.ts";
import { rowsOf } from "../../../ir/types.ts";
import type { Access, SelectKernel } from "../kernels.ts";
import { compileError } from "../../diagnostics.ts";
import { mostKeys } from "../selectPlan.ts";
import { unflatten } from "../view.ts";
import type { Context, Launch } from "./context.ts";
import { createOperands, storesOf } from "./operands.ts";
import { finish } from "./lowerMap.ts";

const [r, n, i, k] = [variable("r"), variable("n"), variable("i"), variable("k")];

/** The largest of sets of elements, and how often numbers occur in them. */
export const lowerSelect = (context: Context, node: NodeOf<"topK"> | NodeOf<"histogram">): Launch => {
  const into = createOperands(context);
  const x = context.view(node.inputs[0]);
  const { axes } = node.attrs;
  const dropped = x.type.axes.filter(({ axis }) => axes.includes(axis));
  const rest = node.type.axes.slice(0, -1);
  const over = dropped.reduce((all, { size }) => all * size, 1);
  const count = node.op === "topK" ? node.attrs.count : node.attrs.bins;
  if (node.op === "topK" && count > mostKeys)
    throw compileError(
      "unsupported-op",
      { op: "topK", because: `the ${count} largest do not fit in shared memory, which holds ${mostKeys}` },
      { span: node.span },
    );
  const rows = rowsOf(node.type) / count;
  const columns = node.type.channels;
  const ranges: Ranges = {
    r: { min: 0, max: rows - 1 },
    n: { min: 0, max: columns - 1 },
    i: { min: 0, max: over - 1 },
    k: { min: 0, max: count - 1 },
  };
  const place = x.grid({ ...unflatten(rest, r), ...unflatten(dropped, i) }, n);
  // The result's axis of places is its fastest.
  const ofSet = (access: Access): Access => ({
    ...access,
    offset: simplify(substitute(access.offset, { r: add(mul(r, count), k) }), ranges),
  });
  const kernel: SelectKernel = {
    kind: "select",
    precision: context.precision,
    operands: into.operands,
    space: { rows, batched: node.type.batch },
    columns,
    select: node.op,
    over,
    count,
    x: into.access(place, ranges),
    stores: storesOf(context, node.id, into).map(ofSet),
  };
  return finish(context, node, node.id, kernel, into, rows * columns * over);
};
