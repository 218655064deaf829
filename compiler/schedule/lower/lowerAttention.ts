import type { NodeOf } from "../../../ir/graph.ts";
import { add, mul, variable } from "../../../ir/scalarBuild.ts";
import type { Ranges } from "../../../ir/scalarRange.ts";
import { prefixRows } from "../../../ir/types.ts";
import type { AttentionKernel, TokenAccess } from "../kernels.ts";
import { prefixAxes, type View } from "../view.ts";
import type { Context, Launch } from "./context.ts";
import { buffersOf, createOperands, namedCoordinates, type Operands } from "./operands.ts";
import { describe, launchWork, originOf } from "./origin.ts";

/** An attention: every view of its queries, keys and values has become part of their address maps. */
export const lowerAttention = (context: Context, attend: NodeOf<"attend">): Launch => {
  const into = createOperands(context);
  const [q, k, v, ...tables] = attend.inputs;
  const { heads, scale, pattern, score, normalize } = attend.attrs;
  const query = context.view(q);
  const key = context.view(k);
  const value = context.view(v);
  const headDim = query.type.channels / heads;
  const valueDim = value.type.channels / heads;
  const reads = [tokens(query, heads, into), tokens(key, heads, into), tokens(value, heads, into)] as const;
  const kernel: AttentionKernel = {
    kind: "attention",
    precision: context.precision,
    operands: into.operands,
    batched: attend.type.batch,
    heads,
    headDim,
    valueDim,
    scale,
    pattern,
    score,
    normalize,
    query: query.type,
    key: key.type,
    q: reads[0],
    k: reads[1],
    v: reads[2],
    tables: tables.map((table) => {
      const view = context.table(table);
      const at = Object.fromEntries(view.type.axes.map(({ axis }, i) => [axis, variable(`i${i}`)]));
      const ranges: Ranges = Object.fromEntries(
        view.type.axes.map(({ size }, i) => [`i${i}`, { min: 0, max: size - 1 }]),
      );
      const channel = `i${view.type.axes.length}`;
      return into.access(view.grid(at, variable(channel)), {
        ...ranges,
        [channel]: { min: 0, max: view.type.channels - 1 },
      });
    }),
    out: tokens(context.view(attend.id), heads, into),
  };
  const pairs = context.visiblePairs(pattern, query.type, key.type);
  const out = kernel.out.grid.operand;
  return {
    kernel,
    sources: into.sources,
    weight: null,
    reads: buffersOf(into.sources.filter((_, i) => i !== out)),
    writes: buffersOf(into.sources.filter((_, i) => i === out)),
    inPlace: [],
    origin: originOf(context, attend, attend.id),
    shapes: describe(context, attend, attend.id),
    work: launchWork(context, attend, attend.id, 2 * pairs * heads * (headDim + valueDim)),
  };
};

const tokens = (view: View, heads: number, into: Operands): TokenAccess => {
  const { type } = view;
  const width = type.channels / heads;
  const at = namedCoordinates(type);
  const channel = add(mul(variable("head"), width), variable("c"));
  const ranges: Ranges = {
    ...Object.fromEntries(
      [...prefixAxes(type), ...type.axes].map(({ axis, size }) => [axis, { min: 0, max: size - 1 }]),
    ),
    head: { min: 0, max: heads - 1 },
    c: { min: 0, max: width - 1 },
  };
  return {
    grid: into.access(view.grid(at, channel), ranges),
    prefix: prefixRows(type) > 0 ? into.access(view.prefix(at, channel), ranges) : null,
  };
};
