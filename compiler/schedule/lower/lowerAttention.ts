import type { NodeOf, ValueId } from "../../../ir/graph.ts";
import { positionTables } from "../../../ir/positions.ts";
import { add, argument, literal, mul, variable } from "../../../ir/scalarBuild.ts";
import type { Ranges } from "../../../ir/scalarRange.ts";
import type { Linear } from "../../../ir/program.ts";
import { variablesOf } from "../../../ir/scalarWalk.ts";
import { prefixRows, rowsOf, sizeOf } from "../../../ir/types.ts";
import { compileError } from "../../diagnostics.ts";
import { chooseSplit, maySplit, partialsOperand } from "../attention/split.ts";
import type { Access, AttentionKernel, KernelPositions, TokenAccess } from "../kernels.ts";
import { prefixAxes, type View } from "../view.ts";
import type { Context, Launch } from "./context.ts";
import { buffersOf, createOperands, namedCoordinates, type Operands } from "./operands.ts";
import { bufferBytes } from "./memory.ts";
import { describe, launchWork, originOf } from "./origin.ts";

/**
 * An attention: every view of its queries, keys and values has become part of their address maps. Where few queries meet
 * many keys, thread blocks take chunks of the keys, and a second launch combines what they found.
 */
export const lowerAttention = (context: Context, attend: NodeOf<"attend">, result: ValueId): readonly Launch[] => {
  const into = createOperands(context);
  const [q, k, v, ...tables] = attend.inputs;
  const { heads, scale, pattern, score, normalize, positions } = attend.attrs;
  const query = context.view(q);
  const key = context.view(k);
  const value = context.view(v);
  // A score that is made of other things than products has none computed.
  const multiplies = variablesOf(score).has("s") || (positions?.query ?? positions?.key ?? null) !== null;
  const headDim = multiplies ? query.type.channels / heads : 0;
  const valueDim = value.type.channels / heads;
  const { pairs, blindQueries } = context.visiblePairs(pattern, query.type, key.type);
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
    blindQueries,
    score,
    normalize,
    query: query.type,
    key: key.type,
    q: reads[0],
    k: reads[1],
    v: reads[2],
    positions: positions === null ? null : kernelPositions(context, attend, into),
    tables: tables.map((table, number) => {
      if (positionTables(positions).some((term) => term.table === number)) return unread;
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
    epilogue: context.roles.epilogue(attend.id)?.attrs.body ?? argument(0),
    out: tokens(context.view(result), heads, into),
    split: null,
  };
  refuseOtherPatterns(kernel, attend);
  const terms = positionTables(positions);
  const ofPositions = terms.reduce((sum, { role }) => sum + (role === "value" ? valueDim : headDim), 0);
  const out = kernel.out.grid.operand;
  const launch: Launch = {
    kernel,
    sources: into.sources,
    weights: [],
    reads: buffersOf(into.sources.filter((_, i) => i !== out)),
    writes: buffersOf(into.sources.filter((_, i) => i === out)),
    inPlace: [],
    stage: context.stageOf(result),
    origin: originOf(context, attend, result),
    shapes: describe(context, attend, result),
    work: launchWork(context, attend, result, 2 * pairs * heads * (headDim + valueDim + ofPositions)),
  };
  const chunks = maySplit(rowsOf(key.type)) ? chooseSplit(kernel, context.target) : null;
  return chunks === null ? [launch] : splitLaunches(context, launch, kernel, chunks);
};

/** Of a table that the score does not read. */
const unread: Access = { operand: 0, offset: literal(0), valid: literal(0), fill: 0 };

const kernelPositions = (context: Context, attend: NodeOf<"attend">, into: Operands): KernelPositions => {
  const [q, , , ...tables] = attend.inputs;
  const { positions, heads } = attend.attrs;
  const axis = positions?.axis ?? "";
  const size = sizeOf(context.roles.node(q).type, axis) ?? 1;
  const access = (number: number | null): Access | null => {
    const table = number === null ? undefined : tables[number];
    if (table === undefined) return null;
    const view = context.headTable(table, heads);
    const width = view.type.channels / heads;
    const at = { [view.type.axes[0]?.axis ?? ""]: variable("row") };
    return into.access(view.grid(at, add(mul(variable("head"), width), variable("c"))), {
      head: { min: 0, max: heads - 1 },
      row: { min: 0, max: 2 * size - 2 },
      c: { min: 0, max: width - 1 },
    });
  };
  return {
    axis,
    size,
    query: access(positions?.query ?? null),
    key: access(positions?.key ?? null),
    value: access(positions?.value ?? null),
  };
};

/** Tiles of queries and keys meet neighbouring rows of the tables where both are neighbours on a line. */
const refuseOtherPatterns = ({ positions, query, pattern }: AttentionKernel, attend: NodeOf<"attend">): void => {
  if (positions === null) return;
  const others = query.axes.filter(({ axis, size }) => axis !== positions.axis && size > 1);
  const isLine =
    pattern.kind === "along"
      ? pattern.axes.every((axis) => axis === positions.axis || (sizeOf(query, axis) ?? 1) === 1)
      : pattern.kind === "all" && others.length === 0;
  if (isLine) return;
  throw compileError(
    "unsupported-op",
    { op: "attend", because: `terms of relative positions along "${positions.axis}" want keys along it alone` },
    { span: attend.span, hint: `keys: along("${positions.axis}")` },
  );
};
/** The attention over chunks of keys, and the launch that combines them. */
const splitLaunches = (
  context: Context,
  launch: Launch,
  whole: AttentionKernel,
  chunks: readonly number[],
): readonly Launch[] => {
  const partials = whole.operands.length;
  const kernel: AttentionKernel = { ...whole, split: { chunks, partials } };
  const operand = partialsOperand(kernel, context.target);
  const buffer = context.memory.scratch(operand);
  const operands = [...whole.operands, operand];
  const sources = [...launch.sources, { kind: "buffer", buffer: buffer.id } as const];
  const all = chunks.every((count) => count > 1);
  const ofPartials: Linear = whole.batched
    ? { fixed: 0, perExample: bufferBytes(buffer) }
    : { fixed: bufferBytes(buffer), perExample: 0 };
  return [
    {
      ...launch,
      kernel: { ...kernel, operands },
      sources,
      writes: all ? [buffer.id] : [...launch.writes, buffer.id],
      work: { ...launch.work, writeBytes: all ? ofPartials : sum(launch.work.writeBytes, ofPartials) },
    },
    {
      ...launch,
      kernel: { kind: "combine", precision: kernel.precision, operands, attention: { ...kernel, operands } },
      sources,
      reads: [buffer.id],
      work: {
        flops: { fixed: ofPartials.fixed / 2, perExample: ofPartials.perExample / 2 },
        readBytes: ofPartials,
        writeBytes: launch.work.writeBytes,
      },
    },
  ];
};

const sum = (a: Linear, b: Linear): Linear => ({ fixed: a.fixed + b.fixed, perExample: a.perExample + b.perExample });

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
