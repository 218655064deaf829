import type { Program } from "../../../ir/program.ts";
import type { Precision } from "../../../ir/types.ts";
import type { Artefact } from "../../../runtime/artefact.ts";
import type { Checkpoint } from "../../../runtime/checkpoint.ts";
import { openDevice, type Device } from "../../../runtime/device.ts";
import { loadExecutable } from "../../../runtime/executable.ts";
import type { Inputs } from "../../../runtime/tensors.ts";
import { type Family, packArtefact } from "../../artefact.ts";
import { compileGraph } from "../../compile.ts";
import { loadModel } from "../../frontend/loadModel.ts";
import { buildEmulator } from "../../toolchain/buildEmulator.ts";
import { compileImages } from "../../toolchain/compileImages.ts";
import { seededValues } from "../golden/seeded.ts";
import { timesformer } from "./compileFigures.ts";
import { inMemory } from "../images.ts";
import { figure, median, type Figure } from "./figure.ts";

export const openEmulator = async (): Promise<Device> =>
  openDevice({ kind: "emulated", library: await buildEmulator() });

/** A TimeSformer with images for the emulated device. */
async function emulatedArtefact(config: object, precision: Precision): Promise<Artefact> {
  const graph = (await loadModel(timesformer())).trace({ config });
  const compiled = compileGraph(graph, { precision, batch: { min: 1, max: 1 }, keep: false });
  const kernels = compiled.program.kernels.map(({ name, family, source }) => ({
    name,
    family,
    source: compiled.sources.get(source) ?? "",
  }));
  const family: Family = { programs: [compiled.program], sources: compiled.sources };
  return inMemory(graph.name, packArtefact(family, await compileImages(kernels, ["emulated"])));
}

/**
 * Operations a second of one core, by the processor's time of each kind of kernel: what else the machine does hardly
 * counts. Layers as wide as published, of fewer frames.
 */
export async function throughputFigures(device: Device): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const precision of ["bf16", "f32"] as const) {
    const artefact = await emulatedArtefact({ depth: 2, num_frames: 2 }, precision);
    for (const [kernel, goal] of [
      ["attention_attn", 4],
      ["gemm_qkv", null],
      ["gemm_fc1", null],
    ] as const) {
      const [program] = artefact.programs;
      const step = program.steps.find((each) => each.kernel === kernel);
      if (step === undefined) throw new Error(`the program launches no ${kernel}`);
      const rate = await rateOf(device, { ...artefact, programs: [{ ...program, steps: [step] }] });
      const what = `${kernel} in ${precision}, a core of the emulated device`;
      figures.push(figure(what, rate, "GFLOP/s", goal !== null && precision === "bf16" ? { goal } : {}));
    }
  }
  return figures;
}

/** Of a program of one launch. What it reads nobody has computed: that changes numbers and not times. */
async function rateOf(device: Device, artefact: Artefact): Promise<number> {
  using executable = await loadExecutable(device, artefact, drawnCheckpoint(artefact.programs[0]));
  const inputs = drawnInputs(artefact.programs[0]);
  const rates: number[] = [];
  for (let run = 0; run < 3; run++) {
    await executable.run(inputs, { graph: false });
    const flops = artefact.programs[0].steps[0]?.work.flops.perExample ?? 0;
    rates.push(flops / (device.emulator?.counters().cpuNanoseconds ?? Number.NaN));
  }
  return median(rates);
}

/** What it costs to launch a kernel that has next to nothing to do. */
export async function launchFigures(device: Device): Promise<readonly Figure[]> {
  const tiny = { img_size: [8, 8], patch_size: 8, embed_dim: 8, num_heads: 1, num_frames: 1, num_classes: 2 };
  const artefact = await emulatedArtefact(tiny, "f32");
  using executable = await loadExecutable(device, artefact, drawnCheckpoint(artefact.programs[0]));
  const inputs = drawnInputs(artefact.programs[0]);
  const launches = artefact.programs[0].steps.length;
  const timed = async (graph: boolean): Promise<number> => {
    const times: number[] = [];
    for (let run = 0; run < 22; run++) {
      const start = performance.now();
      await executable.run(inputs, { graph });
      if (run >= 2) times.push(performance.now() - start);
    }
    return (1000 * median(times)) / launches;
  };
  const [single, replayed] = [await timed(false), await timed(true)];
  return [
    figure("a launch of a tiny kernel, one by one", single, "us", { note: `${launches} launches, kernels included` }),
    figure("a launch of a tiny kernel, replayed as a graph", replayed, "us"),
    figure("replay against single launches", single / replayed, "x"),
  ];
}

/** From arrays in memory to prepared weights on the device. */
export async function weightFigures(device: Device): Promise<readonly Figure[]> {
  const artefact = await emulatedArtefact({ depth: 4 }, "bf16");
  const checkpoint = drawnCheckpoint(artefact.programs[0]);
  const drawn = new Map(
    [...checkpoint.tensors].map(([name, { shape, values }]) => [name, { shape, values: values() }]),
  );
  const tensors = new Map([...drawn].map(([name, { shape, values }]) => [name, { shape, values: () => values }]));
  const size = [...drawn.values()].reduce((sum, { values }) => sum + values.byteLength, 0);
  const cpu = process.cpuUsage();
  const start = performance.now();
  using _executable = await loadExecutable(device, artefact, { source: "drawn", tensors });
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const note = `${(size / 1e6).toFixed(0)} MB of float32, folded and packed for bf16; ${((user + system) / 1e6).toFixed(1)} s of processor time`;
  return [figure("preparing weights", size / 1e6 / seconds, "MB/s", { note })];
}

export function drawnCheckpoint({ parameters }: Program): Checkpoint {
  const tensors = parameters.map(({ name, shape }) => {
    const deviation = 1 / Math.sqrt(product(shape.slice(1)));
    return [name, { shape, values: () => seededValues({ name, mean: 0, deviation }, product(shape)) }] as const;
  });
  return { source: "drawn weights", tensors: new Map(tensors) };
}

export const drawnInputs = ({ inputs }: Program): Inputs =>
  Object.fromEntries(
    inputs.map(({ name, shape }) => {
      const extents = shape.map((size) => (typeof size === "number" ? size : size.batchTimes));
      return [name, { shape: extents, data: seededValues({ name, mean: 0, deviation: 1 }, product(extents)) }];
    }),
  );

const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);
