import { parseGraph } from "../../../ir/parse.ts";
import type { Device } from "../../../runtime/device.ts";
import type { LaunchCounters } from "../../../runtime/emulated.ts";
import { loadExecutable } from "../../../runtime/executable.ts";
import { h200, predict } from "../../../runtime/predict.ts";
import { packArtefact } from "../../artefact.ts";
import type { Compiled } from "../../compile.ts";
import { compileGraph } from "../../compile.ts";
import { patternMap } from "../../schedule/attention/patternMap.ts";
import { compileImages } from "../../toolchain/compileImages.ts";
import { inMemory } from "../images.ts";
import { drawnCheckpoint, drawnInputs } from "./runFigures.ts";

/** An attention between projections, in the text form of graphs. */
export type PatternCase = {
  readonly name: string;
  /** `prefix 1 over t, t 8, h 14, w 14`, and the layout of its tokens. */
  readonly tokens: string;
  readonly layout: string;
  readonly pattern: string;
  readonly heads: number;
  readonly headDim: number;
  /** Extents of a table of relative biases, and where a score reads it. */
  readonly bias?: { readonly extents: readonly number[]; readonly at: string };
};

/** What one launch for one example does, exactly, and what an H200 would take for it. */
export type PatternFigure = {
  readonly name: string;
  readonly tokens: string;
  readonly pattern: string;
  /** Of one head: pairs that see each other, of all, and those that are multiplied. */
  readonly pairs: number;
  readonly allPairs: number;
  readonly computed: number;
  readonly tensorFlops: number;
  readonly exponentials: number;
  /** From and to global memory, and how much of it is not there twice. */
  readonly globalBytes: number;
  readonly uniqueBytes: number;
  readonly conflicts: number;
  /** The least that memory, tensor cores or exponentials allow for the pairs that see each other. */
  readonly floor: { readonly microseconds: number; readonly bound: "memory" | "tensor" | "exp" };
  /** From the counters: an estimate, not a measurement. */
  readonly predicted: { readonly microseconds: number; readonly bound: string };
};

const bias3 = "s + table0[q.t - k.t + 7, q.h - k.h + 6, q.w - k.w + 6, head]";
const frames = { layout: "b t (prefix | h w) c", heads: 12, headDim: 64 };
const clip = { layout: "b (prefix | t h w) c", heads: 12, headDim: 64 };

/** Published shapes: TimeSformer-B 8 x 224, Swin-T and Video Swin-T (the first stage, shifted) at 224, VTN's 250 frames. */
export const publishedPatterns: readonly PatternCase[] = [
  {
    name: "divided, time",
    tokens: "t 8, h 14, w 14",
    layout: "b t h w c",
    pattern: "along(t)",
    heads: 12,
    headDim: 64,
  },
  {
    name: "divided, space",
    tokens: "prefix 1 over t, t 8, h 14, w 14",
    pattern: "union(prefix, along(h, w))",
    ...frames,
  },
  { name: "joint", tokens: "prefix 1, t 8, h 14, w 14", pattern: "all", ...clip },
  {
    name: "sparse, local",
    tokens: "prefix 1, t 8, h 14, w 14",
    pattern: "union(prefix, near(h 3, w 3; inwards))",
    ...clip,
  },
  {
    name: "sparse, global",
    tokens: "prefix 1, t 8, h 14, w 14",
    pattern: "union(prefix, every(t 2, h 2, w 2; phase query))",
    ...clip,
  },
  { name: "axial, width", tokens: "prefix 1, t 8, h 14, w 14", pattern: "union(prefix, along(w))", ...clip },
  {
    name: "windows 7 x 7, shifted",
    tokens: "h 56, w 56",
    layout: "b h w c",
    pattern: "window(h 7, w 7; shift h 3, w 3)",
    heads: 3,
    headDim: 32,
    bias: { extents: [13, 13], at: "s + table0[q.h - k.h + 6, q.w - k.w + 6, head]" },
  },
  {
    name: "windows 8 x 7 x 7, whole",
    tokens: "t 8, h 56, w 56",
    layout: "b t h w c",
    pattern: "window(t 8, h 7, w 7)",
    heads: 3,
    headDim: 32,
    bias: { extents: [15, 13, 13], at: bias3 },
  },
  {
    name: "windows 8 x 7 x 7, shifted",
    tokens: "t 8, h 56, w 56",
    layout: "b t h w c",
    pattern: "window(t 8, h 7, w 7; shift t 4, h 3, w 3)",
    heads: 3,
    headDim: 32,
    bias: { extents: [15, 13, 13], at: bias3 },
  },
  {
    name: "sliding window and a global token",
    tokens: "prefix 1, t 250",
    layout: "b (prefix | t) c",
    pattern: "union(prefix, near(t 16; cut))",
    heads: 12,
    headDim: 64,
  },
  {
    name: "neighbourhood 7 x 7",
    tokens: "h 56, w 56",
    layout: "b h w c",
    pattern: "near(h 3, w 3; inwards)",
    heads: 2,
    headDim: 64,
  },
];

/** The attention of a case between the projections that published blocks have around it. */
const graphText = ({ tokens, layout, pattern, heads, headDim, bias }: PatternCase): string => {
  const width = heads * headDim;
  const table = bias === undefined ? null : bias.extents.map((size, i) => `i${i} ${size}`).join(", ");
  return `graph "attention"
%0: [b, ${tokens}; ${width}] = input {name="x", layout="${layout}"}
%1: [out ${3 * width}; ${width}] = parameter {name="qkv", shape=[${3 * width}, ${width}], layout="out c"}
%2 = linear %0, %1
%3 = channels %2 {groups=1, start=0, width=${width}}
%4 = channels %2 {groups=1, start=${width}, width=${width}}
%5 = channels %2 {groups=1, start=${2 * width}, width=${width}}
%6: [${table ?? "i0 1"}; ${heads}] = parameter {name="table", shape=[${(bias?.extents ?? [1]).join(", ")}, ${heads}], layout="${(bias?.extents ?? [1]).map((_, i) => `i${i}`).join(" ")} c"}
%7 = attend %3, %4, %5${bias === undefined ? "" : ", %6"} {heads=${heads}, scale=${1 / Math.sqrt(headDim)}, pattern=${pattern}, score=${bias?.at ?? "s"}, normalize=softmax}
%8: [out ${width}; ${width}] = parameter {name="proj", shape=[${width}, ${width}], layout="out c"}
%9 = linear %7, %8
output "y" = %9 "${layout}"
`;
};

/** Runs the attention of a case alone, in bfloat16, once. */
export async function patternFigure(device: Device, test: PatternCase): Promise<PatternFigure> {
  const graph = parseGraph(graphText(test));
  const compiled = compileGraph(graph, { precision: "bf16", batch: { min: 1, max: 1 }, keep: false });
  const found = compiled.program.steps.flatMap((step) => {
    const kernel = compiled.computations.get(step.kernel);
    return kernel?.kind === "attention" ? [{ step, kernel }] : [];
  })[0];
  if (found === undefined) throw new Error(`"${test.name}" is no attention`);
  const { step, kernel } = found;
  const counters = await countersOf(device, compiled, step.kernel);
  const { pairs, allPairs, jobs } = patternMap(kernel);
  const { flops, readBytes, writeBytes } = step.work;
  const work = {
    flops: flops.perExample,
    readBytes: readBytes.fixed + readBytes.perExample,
    writeBytes: writeBytes.perExample,
  };
  const { global, shared } = counters;
  const predicted = predict(counters, work.flops);
  return {
    name: test.name,
    tokens: test.tokens,
    pattern: test.pattern,
    pairs,
    allPairs,
    computed: jobs.reduce((sum, job) => sum + job.computed, 0),
    tensorFlops: counters.tensorFlops,
    exponentials: counters.specialOps,
    globalBytes: global.read.bytes + global.written.bytes,
    uniqueBytes: global.read.uniqueBytes + global.written.uniqueBytes,
    conflicts: shared.load.conflicts + shared.ldmatrix.conflicts + shared.cpAsync.conflicts + shared.store.conflicts,
    floor: leastOf(work, kernel.heads * pairs),
    predicted: { microseconds: 1e3 * predicted.milliseconds, bound: predicted.bound },
  };
}

async function countersOf(device: Device, { program, sources }: Compiled, wanted: string): Promise<LaunchCounters> {
  const kernels = program.kernels.flatMap(({ name, family, source }) =>
    name === wanted ? [{ name, family, source: sources.get(source) ?? "" }] : [],
  );
  const alone = {
    ...program,
    kernels: program.kernels.filter(({ name }) => name === wanted),
    steps: program.steps.filter(({ kernel }) => kernel === wanted),
  };
  const images = await compileImages(kernels, ["emulated"]);
  const artefact = inMemory(program.name, packArtefact({ programs: [alone], sources }, images));
  const { emulator } = device;
  if (emulator === null) throw new Error("only the emulated device counts");
  // What it reads nobody has computed: that changes numbers and not counts.
  using executable = await loadExecutable(device, artefact, drawnCheckpoint(program));
  emulator.set("counters", 1);
  try {
    await executable.run(drawnInputs(program), { graph: false });
    return emulator.counters();
  } finally {
    emulator.set("counters", 0);
  }
}

const leastOf = (
  work: { readonly flops: number; readonly readBytes: number; readonly writeBytes: number },
  exponentials: number,
): PatternFigure["floor"] => {
  const seconds = [
    ["memory", (work.readBytes + work.writeBytes) / h200.memoryBytes],
    ["tensor", work.flops / h200.tensorFlops],
    ["exp", exponentials / h200.specialOps],
  ] as const;
  const [bound, most] = seconds.reduce((worst, each) => (each[1] > worst[1] ? each : worst));
  return { microseconds: 1e6 * most, bound };
};

/** What grows how with the tokens: the same attention of one, two, four and eight times as many. */
export type GrowthFigure = {
  readonly name: string;
  readonly pattern: string;
  readonly points: readonly {
    readonly times: number;
    readonly tokens: string;
    /** Against the first: pairs that are multiplied, tensor operations, and bytes from and to global memory. */
    readonly computed: number;
    readonly tensorFlops: number;
    readonly globalBytes: number;
  }[];
};

export type GrowthCase = Omit<PatternCase, "tokens"> & { readonly tokensTimes: (times: number) => string };

export const growthCases: readonly GrowthCase[] = [
  {
    name: "windows 7 x 7, shifted",
    tokensTimes: (times) => `h ${28 * times}, w 28`,
    layout: "b h w c",
    pattern: "window(h 7, w 7; shift h 3, w 3)",
    heads: 3,
    headDim: 32,
    bias: { extents: [13, 13], at: "s + table0[q.h - k.h + 6, q.w - k.w + 6, head]" },
  },
  {
    name: "windows 8 x 7 x 7, shifted",
    tokensTimes: (times) => `t ${8 * times}, h 14, w 28`,
    layout: "b t h w c",
    pattern: "window(t 8, h 7, w 7; shift t 4, h 3, w 3)",
    heads: 3,
    headDim: 32,
    bias: { extents: [15, 13, 13], at: bias3 },
  },
  {
    name: "sliding window and a global token",
    // From a length on whose keys pass by in blocks: those of 250 are in shared memory all at once, and cut finer.
    tokensTimes: (times) => `prefix 1, t ${1000 * times}`,
    layout: "b (prefix | t) c",
    pattern: "union(prefix, near(t 16; cut))",
    heads: 1,
    headDim: 64,
  },
  {
    name: "neighbourhood 7 x 7",
    tokensTimes: (times) => `h ${28 * times}, w 28`,
    layout: "b h w c",
    pattern: "near(h 3, w 3; inwards)",
    heads: 1,
    headDim: 64,
  },
  {
    name: "everything, for comparison",
    tokensTimes: (times) => `t ${256 * times}`,
    layout: "b t c",
    pattern: "all",
    heads: 1,
    headDim: 64,
  },
];

export async function growthFigure(
  device: Device,
  { tokensTimes, ...test }: GrowthCase,
  factors: readonly number[] = [1, 2, 4, 8],
): Promise<GrowthFigure> {
  const figures: PatternFigure[] = [];
  for (const times of factors) figures.push(await patternFigure(device, { ...test, tokens: tokensTimes(times) }));
  const [first] = figures;
  const against = (figure: PatternFigure, field: "computed" | "tensorFlops" | "globalBytes"): number =>
    figure[field] / (first?.[field] ?? Number.NaN);
  return {
    name: test.name,
    pattern: test.pattern,
    points: figures.map((figure, i) => ({
      times: factors[i] ?? 1,
      tokens: figure.tokens,
      computed: against(figure, "computed"),
      tensorFlops: against(figure, "tensorFlops"),
      globalBytes: against(figure, "globalBytes"),
    })),
  };
}
