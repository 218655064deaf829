import { join } from "node:path";
import { loadModel } from "../frontend/loadModel.ts";
import { packageRoot } from "../packageRoot.ts";
import type { NumberArray, NumberArrays } from "./arrays.ts";
import { CommandError } from "./failure.ts";
import { readInputs } from "./inputs.ts";
import { type ClipLayout, clipLayout, openSource } from "./media/clips.ts";
import { motionBetween } from "./media/motionField.ts";
import { canReadMotionVectors, readMotionVectors } from "./media/motionVectors.ts";
import { type Preprocessing, sampleFrames } from "./media/preprocess.ts";
import { openRunner } from "./openRunner.ts";
import type { DeviceName, MotionSource } from "./options.ts";
import { type ArrayPort, shapeOfBatch } from "./ports.ts";
import type { Terminal } from "./terminal.ts";

export type MotionOptions = {
  /** Files by input: several are examples of a batch. */
  readonly inputs: ReadonlyMap<string, readonly string[]>;
  readonly preprocessing: Preprocessing;
  readonly motion: MotionSource;
  readonly device: DeviceName;
};
/** `said` tells where motion is from; null where none was to be made. */
export type WithMotion = { readonly inputs: NumberArrays; readonly said: string | null };

/** Reads the files given for each input, and makes the inputs that tell of their motion. */
export async function readWithMotion(
  ports: readonly ArrayPort[],
  options: MotionOptions,
  terminal: Terminal,
): Promise<WithMotion> {
  const read = await terminal.task("reading inputs", () => readInputs(options.inputs, ports, options.preprocessing));
  return withMotion(read, ports, options, terminal);
}

/**
 * Networks that look at motion have the inputs `motion_vectors` [batch, t, 2, h, w] and `residuals` [batch, t, 3, h, w]
 * beside a clip. Where only the clip is given they are made of it: of the motion vectors that the videos hold, else by
 * matching blocks of the frames.
 */
async function withMotion(
  inputs: NumberArrays,
  ports: readonly ArrayPort[],
  options: MotionOptions,
  terminal: Terminal,
): Promise<WithMotion> {
  const wanted = ports.filter(({ name }) => name === "motion_vectors" || name === "residuals");
  const missing = wanted.filter(({ name }) => !inputs.has(name));
  // Who gives one of them knows where the other is.
  if (missing.length === 0 || missing.length < wanted.length) return { inputs, said: null };
  const clip = clipOf(ports, inputs);
  if (clip === null || !wanted.every((port) => fits(port, clip.layout))) return { inputs, said: null };
  const { vectors, because } = await fromVideos(clip, options, terminal);
  if (vectors === null && options.motion === "codec")
    throw new CommandError(
      `there are no motion vectors: ${because}`,
      "without --motion codec, blocks of the decoded frames are matched",
    );
  const run = async (entry: string, config: object, given: NumberArrays): Promise<NumberArrays> =>
    runMotion(entry, { ...sizesOf(clip.layout), ...config }, given, options.device, terminal);
  const given = new Map([["clip", clip.array]]);
  const block = blockOf(clip.layout);
  const made =
    vectors === null
      ? await run("BlockMatching", { block }, given)
      : new Map([
          ...(await run("Residuals", {}, new Map([...given, ["motion_vectors", vectors]]))),
          ["motion_vectors", vectors] as const,
        ]);
  return {
    inputs: new Map([...inputs, ...[...made].filter(([name]) => wanted.some((port) => port.name === name))]),
    said:
      vectors === null
        ? `motion by matching blocks of ${block} x ${block} pixels between the frames: ${because}`
        : "motion from the vectors that the video holds",
  };
}

type Clip = { readonly name: string; readonly layout: ClipLayout; readonly array: NumberArray };

/** The clip among the inputs: pictures in the order of frames, channels, rows and columns. */
function clipOf(ports: readonly ArrayPort[], inputs: NumberArrays): Clip | null {
  for (const port of ports) {
    const layout = clipLayout(port.layout, shapeOfBatch(port, 1));
    const array = inputs.get(port.name);
    if (layout === null || layout.frames < 2 || array === undefined || port.name === "residuals") continue;
    if (fits({ ...port, name: "clip" }, layout)) return { name: port.name, layout, array };
  }
  return null;
}

const fits = (port: ArrayPort, { frames, height, width }: ClipLayout): boolean =>
  shapeOfBatch(port, 1).join() === [1, frames, port.name === "motion_vectors" ? 2 : 3, height, width].join();

const sizesOf = ({ frames, height, width }: ClipLayout) => ({ frames, image: [height, width] as const });

/** The largest blocks of at most 16 x 16 pixels that tile a frame. */
const blockOf = ({ height, width }: ClipLayout): number =>
  [...Array.from({ length: 16 }).keys()].map((i) => 16 - i).find((size) => height % size === 0 && width % size === 0) ??
  1;

type FromVideos = { readonly vectors: NumberArray | null; readonly because: string };

/** All videos of the batch, or none: what they say must be comparable. */
async function fromVideos(
  { name, layout, array }: Clip,
  { inputs, motion: source, preprocessing }: MotionOptions,
  terminal: Terminal,
): Promise<FromVideos> {
  if (source === "matching") return { vectors: null, because: "as asked for" };
  const list = inputs.get(name) ?? [];
  const all = new Float32Array((array.values.length / 3) * 2);
  const perExample = all.length / list.length;
  for (const [example, file] of list.entries()) {
    const opened = file.endsWith(".safetensors") ? null : await openSource(file);
    // Pictures have no stream.
    if (opened === null || !opened.compressed) return { vectors: null, because: `"${file}" is not a compressed video` };
    if (!(await canReadMotionVectors()))
      return { vectors: null, because: "reading those of a video needs the package node-av (npm install node-av)" };
    const indices = sampleFrames(opened, layout.frames, preprocessing.interval);
    const motion = await terminal.task(`reading the motion of ${file}`, () =>
      motionBetween(readMotionVectors(file), indices, layout),
    );
    if (motion === null) return { vectors: null, because: `the stream of "${file}" holds none` };
    all.set(motion, example * perExample);
  }
  const { frames, height, width } = layout;
  return { vectors: { shape: [list.length, frames, 2, height, width], values: all }, because: "" };
}

/** Runs a network of models/motion.ts on what the caller's network runs on; the evaluator would take all day. */
async function runMotion(
  entry: string,
  config: object,
  inputs: NumberArrays,
  device: DeviceName,
  terminal: Terminal,
): Promise<NumberArrays> {
  const model = await loadModel(join(packageRoot(), "models", "motion.ts"));
  const batch = [...inputs.values()][0]?.shape[0] ?? 1;
  const request = {
    device: device === "evaluator" ? ("auto" as const) : device,
    precision: "f32" as const,
    keep: false,
    batch: { min: batch, max: batch },
  };
  const graph = model.trace({ entry, config });
  using runner = await openRunner(graph, { source: "nothing", tensors: new Map() }, request, terminal);
  return await terminal.task(`finding motion on ${runner.device}`, () => runner.run(inputs));
}
