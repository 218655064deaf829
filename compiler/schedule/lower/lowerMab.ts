import type { NodeOf } from "../../../ir/graph.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import { argument, literal, variable } from "../../../ir/scalarBuild.ts";
import type { Ranges } from "../../../ir/scalarRange.ts";
import { substituteArguments } from "../../../ir/scalarWalk.ts";
import { rowsOf } from "../../../ir/types.ts";
import type { WeightExpr } from "../../../ir/program.ts";
import type { Access, MabKernel } from "../kernels.ts";
import type { MabSizes } from "../mabPlan.ts";
import { rowElement, unflatten, type View } from "../view.ts";
import type { Context, Launch } from "./context.ts";
import { sizesOf, type Mab, type MabNorm } from "./findMabs.ts";
import { setLengths } from "./lowerProduct.ts";
import {
  broadcastElement,
  buffersOf,
  createOperands,
  oneRoot,
  rowRanges,
  storesOf,
  type Operands,
} from "./operands.ts";
import { describe, launchWork, originOf } from "./origin.ts";

/** A multihead attention block as one kernel: rows from x to the result. */
export const lowerMab = (context: Context, mab: Mab): Launch => {
  const into = createOperands(context);
  const { project, attend, feed, end, result } = mab;
  const { type } = context.roles.node(result);
  const sizes = sizesOf(mab, context.graph);
  const [r, n, c] = [variable("r"), variable("n"), variable("c")];
  const ranges: Ranges = { ...rowRanges(type), c: { min: 0, max: sizes.inDim - 1 } };
  const x = into.access(oneRoot(rowElement(context.view(project.inputs[0]), r, c)), ranges);
  const columnOf = (id: Mab["queryBias"]): Access => into.access(context.view(id).grid({}, n), ranges);
  const columns = [columnOf(mab.queryBias)];
  const norm = (given: MabNorm | null): MabKernel["before"] => {
    if (given === null) return null;
    columns.push(columnOf(given.scale), columnOf(given.shift));
    return { eps: given.eps, scale: columns.length - 2, shift: columns.length - 1 };
  };
  const [before, after] = [norm(mab.before), norm(mab.after)];
  // Arguments of the body: the row so far, the sum, numbers of channels, numbers of rows.
  const rows: Access[] = [];
  const placed: { readonly at: number; readonly kind: "column" | "row"; readonly index: number }[] = [];
  for (const [at, id] of end.inputs.entries()) {
    if (id === mab.residual || id === feed.id) continue;
    const isColumn = context.roles.node(id).type.axes.length === 0 && !context.roles.node(id).type.batch;
    if (isColumn) placed.push({ at, kind: "column", index: columns.push(columnOf(id)) - 1 });
    else {
      const place = broadcastElement(context.view(id), type, r, literal(0));
      placed.push({ at, kind: "row", index: rows.push(into.access(place, rowRanges(type))) - 1 });
    }
  }
  const extras = new Map(placed.map(({ at }, i) => [at, 2 + i]));
  const body: Scalar = substituteArguments(end.attrs.body, (i) =>
    argument(end.inputs[i] === mab.residual ? 0 : end.inputs[i] === feed.id ? 1 : (extras.get(i) ?? 0)),
  );
  const stores = storesOf(context, result, into);
  // A group is a set.
  const isRagged = type.axes.at(-1)?.size === sizes.rows;
  const kernel: MabKernel = {
    kind: "mab",
    precision: context.precision === "f16" ? "f16" : "bf16",
    operands: into.operands,
    batched: true,
    sizes,
    scale: attend.attrs.scale,
    x,
    keys: keyAccess(context.view(attend.inputs[1]), attend, sizes, into),
    values: keyAccess(context.view(attend.inputs[2]), attend, sizes, into),
    columns,
    before,
    after,
    end: { body, arguments: placed.map(({ kind, index }) => ({ kind, index })), rows },
    stores,
    lengths: isRagged ? setLengths(context, result, into) : null,
  };
  const written = new Set(kernel.stores.map(({ operand }) => operand));
  const { dim, inDim, heads, keys } = sizes;
  const flops = 2 * rowsOf(type) * (dim * (inDim + dim) + 2 * keys * dim);
  const [, keysFrom, valuesFrom] = attend.inputs;
  const work = launchWork(context, { ...attend, inputs: [project.inputs[0], keysFrom, valuesFrom] }, result, flops);
  return {
    kernel,
    sources: into.sources,
    weights: [weightOf(context, project), weightOf(context, feed)],
    reads: buffersOf(into.sources.filter((_, i) => !written.has(i))),
    writes: buffersOf(into.sources.filter((_, i) => written.has(i))),
    inPlace: [],
    stage: context.stageOf(result),
    origin: {
      ...originOf(context, attend, attend.id),
      path: attend.path,
      formula: `q = fc_q(x), o = q + ${originOf(context, attend, attend.id).formula}, o + relu(fc_o(o))`,
    },
    shapes: [`x: ${inDim} channels, ${heads} heads`, ...describe(context, attend, result)],
    work,
  };
};

const weightOf = (context: Context, linear: NodeOf<"linear">): WeightExpr => {
  const role = context.roles.of(linear.inputs[1]);
  if (role.kind !== "constant") throw new Error("internal: the weight of a block is not known when weights are loaded");
  return role.expr;
};

/** In `g`, the number of the group, `j`, the key's in it, and its channel `c`. */
const keyAccess = (
  view: View,
  { attrs }: NodeOf<"attend">,
  { groups, keys, dim }: MabSizes,
  into: Operands,
): Access => {
  const { axes } = view.type;
  const shared = attrs.pattern.kind === "same" ? attrs.pattern.axes.length : 0;
  const at = {
    ...unflatten(axes.slice(0, shared), variable("g")),
    ...unflatten(axes.slice(shared), variable("j")),
  };
  return into.access(view.grid(at, variable("c")), {
    g: { min: 0, max: groups - 1 },
    j: { min: 0, max: keys - 1 },
    c: { min: 0, max: dim - 1 },
  });
};
