import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Graph } from "../../../ir/graph.ts";
import { openCheckpoint } from "../../../runtime/checkpoint.ts";
import { type Family, packArtefact } from "../../artefact.ts";
import { compileGraph, type Compiled } from "../../compile.ts";
import { packageRoot } from "../../packageRoot.ts";
import type { ImageTarget } from "../../toolchain/compileImages.ts";
import type { NumberArrays } from "../arrays.ts";
import { printKernels, printStages } from "../buildReport.ts";
import { evaluatorRunner } from "../evaluatorRunner.ts";
import { exitCodes } from "../failure.ts";
import { milliseconds, small } from "../figures.ts";
import { compare } from "../golden/compare.ts";
import { compileKernels, hasNvcc } from "../images.ts";
import { traceModel } from "../model.ts";
import { openRunner, type PlanRequest } from "../openRunner.ts";
import { likeliest } from "../run.ts";
import { table, type Terminal } from "../terminal.ts";
import { clipFrames, clipSize, drawClip, heldOutSeed, type Motion, motions, renderClip } from "./motionClip.ts";

/**
 * Compiles the trained motion classifier, shows it clips that it never saw on the best device there is, and compares
 * with the float64 evaluator. Exit status 1 where it names a motion wrongly or the numbers differ.
 */
export async function demo(terminal: Terminal): Promise<number> {
  const { paint, print } = terminal;
  const folder = join(packageRoot(), "models", "timesformerMotion");
  const labels = JSON.parse(readFileSync(join(folder, "labels.json"), "utf8")) as string[];
  const clips = heldOutClips();
  const request: PlanRequest = { device: "auto", precision: "f32", keep: false, batch: { min: 1, max: clips.length } };

  print(paint.bold("A TimeSformer, trained to name the motion of a shape, as fused CUDA kernels\n"));
  const graph = await traceModel(
    join(packageRoot(), "models", "timesformer.ts"),
    { config: join(folder, "config.json") },
    terminal,
  );
  const compiled = compileGraph(graph, request);
  print(printStages(compiled, paint));
  print(`\n${await describeKernels(compiled, terminal)}\n`);

  using checkpoint = await openCheckpoint(join(folder, "weights.safetensors"));
  using runner = await openRunner(graph, checkpoint, request, terminal);
  const start = performance.now();
  const logits = await terminal.task(`running ${clips.length} clips on ${runner.device}`, () =>
    logitsOf(runner, clips),
  );
  const time = performance.now() - start;

  const rows = clips.map(({ seed, motion, shape }, index) => {
    const [seen] = likeliest(logits.subarray(index * labels.length, (index + 1) * labels.length), 1, labels);
    const right = seen?.label === motion;
    const verdict = right ? paint.green("right") : paint.red(`wrong: ${motion}`);
    return {
      right,
      row: [
        `0x${seed.toString(16)}`,
        shape,
        paint.bold(`${seen?.label ?? ""} ${seen?.probability.toFixed(2) ?? ""}`),
        verdict,
      ],
    };
  });
  const columns = [
    { head: "clip" },
    { head: "shape" },
    { head: "what it sees" },

    { head: "" },
  ];
  print(
    table(
      columns,
      rows.map(({ row }) => row),
      paint,
    ),
  );
  print(
    `\n${clips.length} clips in ${milliseconds(time)} on ${runner.device}, ${runner.kernels ?? 0} kernels each run`,
  );

  const agrees = await compareWithEvaluator(graph, logits, { clips, folder }, terminal);
  return agrees && rows.every(({ right }) => right) ? exitCodes.success : exitCodes.missed;
}

type SeededClip = { readonly seed: number; readonly motion: Motion; readonly shape: string };

/** Of the held-out clips, in the order of their seeds, the first of each motion. */
function heldOutClips(): SeededClip[] {
  const found = new Map<Motion, SeededClip>();
  for (let index = 0; found.size < motions.length; index++) {
    const seed = heldOutSeed(index);
    const { motion, shape } = drawClip(seed);
    if (!found.has(motion)) found.set(motion, { seed, motion, shape });
  }
  return [...found.values()];
}

/** What each compiler made of the kernels: binaries for GPUs are built wherever there is a compiler for them. */
async function describeKernels(compiled: Compiled, terminal: Terminal): Promise<string> {
  const gpus: readonly ImageTarget[] = (await hasNvcc()) ? ["sm_80", "sm_90a"] : [];
  const family: Family = { programs: [compiled.program], sources: compiled.sources };
  const start = performance.now();
  const images = await compileKernels(family, [...gpus, "emulated"], terminal);
  const built = `${images.length} images in ${milliseconds(performance.now() - start)}: ${["emulated", ...gpus].join(", ")}`;
  const without = gpus.length === 0 ? " (no nvcc here, so none for a GPU)" : "";
  return `${printKernels(packArtefact(family, images).programs, terminal.paint)}\n${built}${without}`;
}

type Net = { readonly run: (inputs: NumberArrays) => Promise<NumberArrays> };

async function logitsOf(net: Net, clips: readonly SeededClip[]): Promise<Float32Array | Float64Array> {
  const outputs = await net.run(
    new Map([["video", { shape: [clips.length, 3, clipFrames, clipSize, clipSize], values: networkInput(clips) }]]),
  );
  const logits = outputs.get("logits")?.values;
  if (logits === undefined || logits instanceof Int32Array) throw new Error("the classifier has no logits");
  return logits;
}

/** [clip, channel, frame, row, column], (pixel / 255 - 0.45) / 0.225 as TimeSformer takes it. */
function networkInput(clips: readonly SeededClip[]): Float32Array {
  const positions = clipFrames * clipSize * clipSize;
  const values = new Float32Array(clips.length * 3 * positions);
  for (const [example, { seed }] of clips.entries()) {
    const pixels = renderClip(drawClip(seed));
    for (let position = 0; position < positions; position++) {
      for (let channel = 0; channel < 3; channel++) {
        values[(example * 3 + channel) * positions + position] =
          ((pixels[position * 3 + channel] ?? 0) / 255 - 0.45) / 0.225;
      }
    }
  }
  return values;
}

/** float32 sums of a few hundred terms, four blocks deep. */
const tolerance = 1e-5;

async function compareWithEvaluator(
  graph: Graph,
  logits: Float32Array | Float64Array,
  { clips, folder }: { readonly clips: readonly SeededClip[]; readonly folder: string },
  { paint, print, task }: Terminal,
): Promise<boolean> {
  const [first] = clips;
  if (first === undefined) return false;
  using checkpoint = await openCheckpoint(join(folder, "weights.safetensors"));
  using evaluator = evaluatorRunner(graph, checkpoint);
  const start = performance.now();
  const exact = await task("running the first clip through the float64 evaluator", () => logitsOf(evaluator, [first]));
  const time = performance.now() - start;
  const shape = [1, exact.length];
  const computed = { shape, values: logits.subarray(0, exact.length) };
  const { ok, relL2, maxAbs } = compare(
    "logits",
    shape,
    computed,
    { kind: "full", integer: false, values: exact },
    { relL2: tolerance, maxAbs: Infinity },
  );
  const verdict = ok ? paint.green("agrees") : paint.red("differs");
  print(
    `the float64 evaluator ${verdict}: relative error ${small(relL2 ?? NaN)}, largest ${small(maxAbs ?? NaN)} (first clip, ${milliseconds(time)})`,
  );
  return ok;
}
