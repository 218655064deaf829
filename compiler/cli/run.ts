import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { LoopEnd } from "../../ir/program.ts";
import type { Precision } from "../../ir/types.ts";
import { openCheckpoint } from "../../runtime/checkpoint.ts";
import { type NumberArray, type NumberArrays, writeArrays } from "./arrays.ts";
import { CommandError, exitCodes } from "./failure.ts";
import { milliseconds } from "./figures.ts";
import type { Preprocessing } from "./media/preprocess.ts";
import type { ModelOptions } from "./model.ts";
import { readWithMotion } from "./motion.ts";
import type { DeviceName, MotionSource } from "./options.ts";
import { batchOf } from "./ports.ts";
import { openNetwork } from "./network.ts";
import { table, type Terminal } from "./terminal.ts";
import { writeText, writeWhole } from "./writeWhole.ts";

export type RunOptions = ModelOptions & {
  readonly weights: string;
  /** Files by input: several are examples of a batch. */
  readonly inputs: ReadonlyMap<string, readonly string[]>;
  readonly preprocessing: Preprocessing;
  readonly motion: MotionSource;
  readonly device: DeviceName;
  /** Null: f32 where a model is compiled; an artefact has one of its own. */
  readonly precision: Precision | null;
  /** A safetensors file for all outputs. */
  readonly output: string | null;
  /** An SVG file for the clusters of points. */
  readonly plot: string | null;
  /** How many classes are shown. */
  readonly top: number;
  /** A JSON list of names, or a text with one a line. */
  readonly labels: string | null;
  readonly json: boolean;
};

/** Runs a model file or an artefact once, and says what came out. */
export async function run(path: string, options: RunOptions, terminal: Terminal): Promise<number> {
  const labels = options.labels === null ? null : readLabels(options.labels);
  // Before the work, not after it.
  for (const file of [options.output, options.plot])
    if (file !== null && !existsSync(dirname(resolve(file))))
      throw new CommandError(`"${file}" cannot be written: its folder does not exist`);
  const network = await openNetwork(path, options, terminal);
  const { inputs, said } = await readWithMotion(network.inputs, options, terminal);
  const batch = batchOf(network.inputs, inputs);
  using checkpoint = await openCheckpoint(options.weights);
  using runner = await network.open(checkpoint, batch);
  const start = performance.now();
  const loop: { end: LoopEnd | null } = { end: null };
  const outputs = await terminal.task(`running on ${runner.device}`, () =>
    runner.run(inputs, (end) => void (loop.end = end)),
  );
  const time = performance.now() - start;

  if (options.output !== null) writeWhole(options.output, (draft) => writeArrays(draft, outputs));
  if (options.plot !== null) await plotClusters(options.plot, inputs, outputs);
  const described = [...outputs].map(([name, array]) => describeOutput(name, array, options.top, labels));
  if (options.json) {
    terminal.print(
      JSON.stringify(
        {
          device: runner.device,
          kernels: runner.kernels,
          batch,
          motion: said,
          milliseconds: time,
          loop: loop.end,
          outputs: described,
        },
        null,
        2,
      ),
    );
  } else {
    for (const output of described) terminal.print(printOutput(output, options.inputs, terminal));
    if (loop.end !== null) terminal.print(printLoop(loop.end, terminal));
    const launched = runner.kernels === null ? "" : `, ${runner.kernels} kernels`;
    if (said !== null) terminal.print(terminal.paint.dim(said));
    terminal.print(terminal.paint.dim(`${milliseconds(time)} on ${runner.device}${launched}`));
    for (const file of [options.output, options.plot]) if (file !== null) terminal.print(`wrote ${file}`);
  }
  return exitCodes.success;
}

/** The charts' library is loaded where there is something to draw. */
async function plotClusters(file: string, inputs: NumberArrays, outputs: NumberArrays): Promise<void> {
  const { clusterPlot, clustersOf } = await import("./clusterPlot.ts");
  writeText(file, clusterPlot(clustersOf(inputs, outputs)));
}

function printLoop({ steps, end }: LoopEnd, { paint }: Terminal): string {
  const taken = steps === 1 ? "one step" : `${steps} steps`;
  switch (end) {
    case "done":
      return `the loop ended after ${taken}`;
    case "stalled":
      return paint.yellow(
        `the loop stopped after ${taken}: the last changed nothing, and these are the results so far`,
      );
    case "limit":
      return paint.yellow(`the loop stopped after ${taken}, the most that it takes, and these are the results so far`);
  }
}

type Output = {
  readonly name: string;
  readonly shape: readonly number[];
  readonly mean: number;
  readonly smallest: number;
  readonly largest: number;
  /** Of an output with one row for each example: its likeliest classes. Null for others. */
  readonly classes: readonly (readonly Class[])[] | null;
};
type Class = { readonly index: number; readonly label: string | null; readonly probability: number };

function describeOutput(
  name: string,
  { shape, values }: NumberArray,
  top: number,
  labels: readonly string[] | null,
): Output {
  let [sum, smallest, largest] = [0, Infinity, -Infinity];
  for (const value of values) {
    sum += value;
    smallest = Math.min(smallest, value);
    largest = Math.max(largest, value);
  }
  const [rows = 0, columns = 0, ...others] = shape;
  const isRows = others.length === 0 && columns > 1 && !(values instanceof Int32Array);
  if (labels !== null && isRows && labels.length !== columns) {
    throw new CommandError(`there are ${labels.length} labels, and the output "${name}" has ${columns} classes`);
  }
  const classes = isRows
    ? Array.from({ length: rows }, (_, row) =>
        likeliest(values.subarray(row * columns, (row + 1) * columns), top, labels),
      )
    : null;
  return { name, shape, mean: sum / values.length, smallest, largest, classes };
}

/** The largest of softmax(logits). */
export function likeliest(logits: ArrayLike<number>, top: number, labels: readonly string[] | null): Class[] {
  const all = Array.from(logits);
  const largest = Math.max(...all);
  const weights = all.map((logit) => Math.exp(logit - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights
    .map((weight, index) => ({ index, label: labels?.[index] ?? null, probability: weight / total }))
    .toSorted((a, b) => b.probability - a.probability || a.index - b.index)
    .slice(0, top);
}

function printOutput(output: Output, files: ReadonlyMap<string, readonly string[]>, { paint }: Terminal): string {
  const { name, shape, classes } = output;
  if (classes === null) {
    const [mean, smallest, largest] = [output.mean, output.smallest, output.largest].map((value) =>
      value.toPrecision(5),
    );
    return `${paint.bold(name)} [${shape.join(", ")}]  mean ${mean}, from ${smallest} to ${largest}`;
  }
  // Several clips are named by their files; a batch of one file by its number.
  const names = [...files.values()].find((list) => list.length === classes.length) ?? [];
  return classes
    .map((row, index) => {
      const rows = row.map((each) => [each.label ?? `class ${each.index}`, each.probability.toFixed(4)]);
      const title = paint.bold(names[index] ?? `${name} of example ${index}`);
      return `${title}\n${table([{ head: "class" }, { head: "probability", align: "right" }], rows, paint)}`;
    })
    .join("\n\n");
}

function readLabels(file: string): readonly string[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    throw new CommandError(`the labels "${file}" cannot be read`);
  }
  if (!text.trimStart().startsWith("["))
    return text
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "");
  try {
    return (JSON.parse(text) as unknown[]).map(String);
  } catch (error) {
    throw new CommandError(
      `the labels "${file}" are not JSON: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
