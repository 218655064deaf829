import { parseGraph } from "../../../ir/parse.ts";
import type { Step } from "../../../ir/program.ts";
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
import type { GrowthCase, PatternCase } from "./patternCases.ts";
import { drawnCheckpoint, drawnInputs } from "./runFigures.ts";

/** What an attention of one example does, exactly, and what an H200 would take for it. */
export type PatternFigure = {
  readonly name: string;
  readonly tokens: string;
  readonly pattern: string;
  /** Of one head: pairs that see each other, of all, and those that are multiplied. */
  readonly pairs: number;
  readonly allPairs: number;
  readonly computed: number;
  readonly launches: number;
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
  // The launch that attends, and where keys are split the one that combines what was summed up of them.
  const steps = compiled.program.steps.filter(({ kernel }) =>
    ["attention", "combine"].includes(compiled.computations.get(kernel)?.kind ?? ""),
  );
  const kernel = steps.map((step) => compiled.computations.get(step.kernel)).find((each) => each?.kind === "attention");
  if (kernel?.kind !== "attention") throw new Error(`"${test.name}" is no attention`);
  const launches: (Work & { readonly counters: LaunchCounters })[] = [];
  for (const step of steps)
    launches.push({ ...workOf(step), counters: await countersOf(device, compiled, step.kernel) });
  const { pairs, allPairs, jobs } = patternMap(kernel);
  const total = (of: (launch: (typeof launches)[number]) => number): number =>
    launches.reduce((all, launch) => all + of(launch), 0);
  const predictions = launches.map(({ counters, flops }) => predict(counters, flops));
  const slowest = predictions.reduce((a, b) => (b.milliseconds > a.milliseconds ? b : a));
  // Sums that one launch leaves to the next are no part of the least that must be moved.
  const [first, last] = [launches[0], launches.at(-1)];
  const least = { flops: first?.flops ?? 0, readBytes: first?.readBytes ?? 0, writeBytes: last?.writeBytes ?? 0 };
  return {
    name: test.name,
    tokens: test.tokens,
    pattern: test.pattern,
    pairs,
    allPairs,
    computed: jobs.reduce((sum, job) => sum + job.computed, 0),
    launches: launches.length,
    tensorFlops: total(({ counters }) => counters.tensorFlops),
    exponentials: total(({ counters }) => counters.specialOps),
    globalBytes: total(({ counters: { global } }) => global.read.bytes + global.written.bytes),
    uniqueBytes: total(({ counters: { global } }) => global.read.uniqueBytes + global.written.uniqueBytes),
    conflicts: total(
      ({ counters: { shared } }) =>
        shared.load.conflicts + shared.ldmatrix.conflicts + shared.cpAsync.conflicts + shared.store.conflicts,
    ),
    floor: leastOf(least, kernel.heads * pairs),
    predicted: {
      microseconds: 1e3 * predictions.reduce((all, { milliseconds }) => all + milliseconds, 0),
      bound: slowest.bound,
    },
  };
}

type Work = { readonly flops: number; readonly readBytes: number; readonly writeBytes: number };

/** Of one example. */
const workOf = ({ work: { flops, readBytes, writeBytes } }: Step): Work => ({
  flops: flops.perExample,
  readBytes: readBytes.fixed + readBytes.perExample,
  writeBytes: writeBytes.perExample,
});

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

const leastOf = (work: Work, exponentials: number): PatternFigure["floor"] => {
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
