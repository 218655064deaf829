import { printExtents } from "../ir/contract.ts";
import type { Graph, Node, Output, Span } from "../ir/graph.ts";
import { countedDimension, layoutShape } from "../ir/layoutOffset.ts";
import type {
  Argument,
  BufferRef,
  Extents,
  Kernel,
  Loop,
  ParameterSlot,
  Port,
  PortCount,
  Program,
  Step,
  Weight,
  WeightExpr,
} from "../ir/program.ts";
import { lengthRange } from "../ir/lengthRange.ts";
import { exactJson } from "../ir/programText.ts";
import { bytesOf, type StorageType } from "../ir/types.ts";
import type { CompileOptions } from "./compiled.ts";
import { type CompileError, compileError } from "./diagnostics.ts";
import type { EmittedKernel, FusedKernel, KernelHeader } from "./schedule/kernels.ts";
import type { Launch } from "./schedule/lower/context.ts";
import type { LoweredLoop } from "./schedule/lower/lower.ts";
import type { BufferId, Source } from "./schedule/lower/memory.ts";
import type { Target } from "./schedule/target.ts";
import type { Plan } from "./schedule/buffers.ts";
import { weightShape } from "../ir/weightShape.ts";

export type Emit = (kernel: FusedKernel, header: KernelHeader, target?: Target) => EmittedKernel;
/** A network as it is for one combination of the symbolic axes' extents: its launches in order, and their memory. */
export type Part = {
  readonly graph: Graph;
  readonly extents: Extents;
  readonly launches: readonly Launch[];
  readonly plan: Plan;
  readonly loop: LoweredLoop | null;
};
export type Assembled = {
  /** One for each part, in order. */
  readonly programs: readonly Program[];
  readonly sources: ReadonlyMap<string, string>;
};

/**
 * Emits each distinct kernel once and writes down the launches, their memory and their weights as programs: one for each
 * part. All have their weights in one place, each distinct one once.
 */
export const assemblePrograms = (parts: readonly Part[], options: CompileOptions, emit: Emit): Assembled => {
  const weights = createWeights();
  const kernels = createKernels((kernel, header) => emit(kernel, header, options.target));
  const steps = parts.map((part) => stepsOf(part, weights, kernels));
  const parameters = parametersOf(parts);
  const read = new Set(parameters.map(({ name }) => name));
  const unused = [...new Set(parts.flatMap(({ graph }) => graph.unused))].filter((name) => !read.has(name));
  const programs = parts.map(({ graph, extents, launches, plan, loop }, index): Program => {
    const own = steps[index] ?? [];
    const launched = new Set(own.map(({ kernel }) => kernel));
    return {
      format: 3,
      name: graph.name,
      precision: options.precision,
      batch: options.batch,
      extents,
      ...ports(graph),
      parameters,
      unused,
      weights: weights.list,
      memory: { activations: plan.activations, shared: plan.shared, weights: weights.bytes() },
      kernels: kernels.list.filter(({ name }) => launched.has(name)),
      steps: own,
      loop: loop && { ...repeated(launches), flag: bufferRef(loop.flag.id, plan), atMost: loop.atMost },
      checksums: {},
    };
  });
  return { programs, sources: kernels.sources };
};

const stepsOf = ({ launches, plan }: Part, weights: Weights, kernels: Kernels): readonly Step[] => {
  const sourceRef = (source: Source): BufferRef => {
    switch (source.kind) {
      case "port":
        return { space: source.space, index: source.index };
      case "weight":
        return weights.add(source.value, source.storage);
      case "buffer":
        return bufferRef(source.buffer, plan);
    }
  };
  return launches.map((launch): Step => {
    const { kernel, emitted } = kernels.add(launch);
    const args = emitted.parameters.map((parameter): Argument => {
      switch (parameter.kind) {
        case "batch":
          return { kind: "batch" };
        case "weight": {
          const weight = launch.weights[parameter.of];
          if (!weight) throw new Error(`internal: ${kernel} wants a weight and has none`);
          return {
            kind: "buffer",
            buffer: weights.add(withWeight(parameter.value, weight), parameter.storage),
            offset: 0,
          };
        }
        case "operand": {
          const source = launch.sources[parameter.operand];
          if (!source) throw new Error(`internal: ${kernel} has no operand ${parameter.operand}`);
          return { kind: "buffer", buffer: sourceRef(source), offset: 0 };
        }
      }
    });
    return { kernel, grid: emitted.grid, arguments: args, origin: launch.origin, work: launch.work };
  });
};

const bufferRef = (buffer: BufferId, { offsets }: Plan): BufferRef => {
  const place = offsets.get(buffer);
  if (!place) throw new Error(`internal: buffer ${buffer} has no place`);
  return place.space === "activations"
    ? { space: "activations", offset: place.offset, bytesPerExample: place.bytes }
    : { space: "shared", offset: place.offset, bytes: place.bytes };
};

const repeated = (launches: readonly Launch[]): Pick<Loop, "from" | "to"> => ({
  from: launches.findIndex(({ stage }) => stage === "step"),
  to: launches.findLastIndex(({ stage }) => stage === "step") + 1,
});

const alignment = 256;

/** Prepared weights, each distinct one once. */
type Weights = {
  readonly list: readonly Weight[];
  readonly bytes: () => number;
  readonly add: (value: WeightExpr, storage: StorageType) => BufferRef;
};
const createWeights = (): Weights => {
  const list: Weight[] = [];
  const known = new Map<string, BufferRef>();
  let end = 0;
  return {
    list,
    bytes: () => end,
    add: (value, storage) => {
      const key = `${storage} ${exactJson(value)}`;
      const found = known.get(key);
      if (found) return found;
      const bytes = weightShape(value).reduce((product, size) => product * size, 1) * bytesOf[storage];
      const weight: Weight = { name: `weight${list.length}`, storage, offset: end, bytes, value };
      list.push(weight);
      end += Math.ceil(bytes / alignment) * alignment;
      const ref: BufferRef = { space: "weights", offset: weight.offset, bytes };
      known.set(key, ref);
      return ref;
    },
  };
};

/** Distinct kernels by what they compute: names, places in the source and buffers take no part. */
type Kernels = {
  readonly list: readonly Kernel[];
  readonly sources: ReadonlyMap<string, string>;
  readonly add: (launch: Launch) => { readonly kernel: string; readonly emitted: EmittedKernel };
};
const createKernels = (emit: Emit): Kernels => {
  const list: Kernel[] = [];
  const sources = new Map<string, string>();
  const known = new Map<string, { readonly kernel: string; readonly emitted: EmittedKernel }>();
  const counts = new Map<string, number>();
  return {
    list,
    sources,
    add: (launch) => {
      const key = exactJson(launch.kernel);
      const found = known.get(key);
      if (found) return found;
      const base = baseName(launch);
      const number = counts.get(base) ?? 0;
      counts.set(base, number + 1);
      const name = number === 0 ? base : `${base}_${number}`;
      const emitted = emit(launch.kernel, { name, origin: launch.origin, shapes: launch.shapes });
      const source = `kernels/${name}.cu`;
      sources.set(source, emitted.source);
      list.push({
        name,
        source,
        family: launch.kernel.kind,
        threads: emitted.threads,
        sharedBytes: emitted.sharedBytes,
        images: {},
        ptxas: {},
        notes: emitted.notes,
      });
      const made = { kernel: name, emitted };
      known.set(key, made);
      return made;
    },
  };
};

/** gemm_qkv, attention_attn: the family and the innermost module that has a name. */
const baseName = (launch: Launch): string => {
  const module = launch.origin.path.split(".").findLast((part) => /\D/.test(part)) ?? "model";
  return `${launch.kernel.kind}_${module.replaceAll(/\W/g, "_")}`;
};

/** A family's weight expression with the launch's own weight in place of `$weight`. */
const withWeight = (value: WeightExpr, weight: WeightExpr): WeightExpr => {
  switch (value.kind) {
    case "parameter":
      return value.name === "$weight" ? weight : value;
    case "constant":
      return value;
    case "matmul":
      return { kind: "matmul", left: withWeight(value.left, weight), right: withWeight(value.right, weight) };
    case "concat":
    case "elementwise":
      return { ...value, of: value.of.map((each) => withWeight(each, weight)) };
    default:
      return { ...value, of: withWeight(value.of, weight) };
  }
};

const ports = (graph: Graph): Pick<Program, "inputs" | "outputs" | "kept"> => {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const storage = (element: "float" | "int"): StorageType => (element === "int" ? "i32" : "f32");
  const port =
    (space: "output" | "kept") =>
    (output: Graph["outputs"][number], index: number): Port => {
      const node = nodes.get(output.value);
      if (!node) throw new Error(`internal: output "${output.name}" is no value`);
      return {
        name: output.name,
        storage: storage(node.type.element),
        layout: output.layout,
        shape: layoutShape(output.layout, node.type),
        upTo: countOf(output, node),
        buffer: { space, index },
      };
    };
  const inputs = graph.nodes.flatMap((node) => (node.op === "input" ? [node] : []));
  return {
    inputs: inputs.map((node, index) => ({
      name: node.attrs.name,
      storage: storage(node.type.element),
      layout: node.attrs.layout,
      shape: layoutShape(node.attrs.layout, node.type),
      upTo: null,
      buffer: { space: "input", index },
      ...withRange(lengthRange(graph, node.id)),
    })),
    outputs: graph.outputs.map(port("output")),
    kept: graph.kept.map(port("kept")),
  };
};

const withRange = (range: Port["range"] | null): Pick<Port, "range"> => (range ? { range } : {});

const countOf = ({ name, layout, upTo }: Output, { type }: Node): PortCount | null => {
  if (upTo === null) return null;
  const counted = countedDimension(layout, type, upTo.axis);
  if (counted === null) throw new Error(`internal: nothing counts "${upTo.axis}" of "${name}"`);
  return { ...counted, count: upTo.count };
};

/** What a checkpoint must hold for all parts. Throws a CompileError where they want a parameter in several shapes. */
const parametersOf = (parts: readonly Part[]): Program["parameters"] => {
  const slots = new Map<string, Slot>();
  for (const { graph, extents } of parts)
    for (const node of graph.nodes) {
      if (node.op !== "parameter") continue;
      const { name, shape } = node.attrs;
      const resizing = graph.resizing[name] ?? null;
      const known = slots.get(name) ?? { shape, resizing, extents, span: node.span };
      if (known.shape.join() !== shape.join())
        throw severalShapes(name, known, { shape, resizing, extents, span: node.span });
      slots.set(name, known);
    }
  return [...slots].map(([name, { shape, resizing }]) => ({ name, shape, resizing }));
};
type Slot = Pick<ParameterSlot, "shape" | "resizing"> & { readonly extents: Extents; readonly span: Span };

/** One checkpoint serves all extents, so what is stretched to them has a shape of its own. */
const severalShapes = (name: string, one: Slot, other: Slot): CompileError => {
  const said = [one, other].map(({ shape, extents }) => `[${shape.join(", ")}] for ${printExtents(extents)}`);
  return compileError(
    "bad-contract",
    { problem: `the parameter "${name}" would be ${said.join(" and ")}, and a checkpoint holds one of them` },
    {
      span: other.span,
      hint: "give the parameter extents that do not depend on the symbolic axis, and say how it is stretched: parameter.grid({ t: 8 }).resize({ t })",
    },
  );
};
