import { onGpu } from "../support/testDevice.ts";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packArtefact, writeArtefact } from "../../compiler/artefact.ts";
import { buildEmulator } from "../../compiler/toolchain/buildEmulator.ts";
import { compileImages, type ImageTarget } from "../../compiler/toolchain/compileImages.ts";
import type { Argument, BufferRef, Kernel, Linear, Port, Program, Step } from "../../ir/program.ts";
import type { Checkpoint } from "../../runtime/checkpoint.ts";
import { openDevice, type Device } from "../../runtime/device.ts";
import { architectureOf } from "../../runtime/images.ts";

// Programs written by hand, with kernels written by hand: what the runtime does with them shows without the compiler.

const none: Linear = { fixed: 0, perExample: 0 };
const one = { factor: 1, fixed: 1, perExample: 0, divisor: 1 } as const;

const kernel = (name: string, threads: number): Kernel => ({
  name,
  source: `kernels/${name}.cu`,
  family: "map",
  threads,
  sharedBytes: 0,
  images: {},
  ptxas: {},
  notes: [],
});
const buffer = (ref: BufferRef): Argument => ({ kind: "buffer", buffer: ref, offset: 0 });
const batch: Argument = { kind: "batch" };
const step = (name: string, grid: Step["grid"], args: readonly Argument[], work: Partial<Step["work"]> = {}): Step => ({
  kernel: name,
  grid,
  arguments: args,
  origin: { file: "models/tiny.ts", line: 7, column: 3, path: `tiny.${name}`, formula: `y = ${name}(x)` },
  work: { flops: none, readBytes: none, writeBytes: none, ...work },
});
const port = (name: string, storage: Port["storage"], shape: Port["shape"], ref: BufferRef): Port => ({
  name,
  storage,
  layout: [],
  shape,
  upTo: null,
  buffer: ref,
});

const hidden: BufferRef = { space: "activations", offset: 256, bytesPerExample: 48 };
const empty: Program = {
  format: 3,
  name: "tiny",
  precision: "f32",
  batch: { min: 1, max: 300 },
  extents: {},
  inputs: [],
  outputs: [],
  kept: [],
  parameters: [],
  unused: [],
  weights: [],
  memory: { activations: 0, shared: 0, weights: 0 },
  kernels: [],
  steps: [],
  loop: null,
  checksums: {},
};

/** hidden = x weightT + bias, then its total and whether that is above a threshold; x: [b, 3, 5]. */
export const tiny: Program = {
  ...empty,
  inputs: [port("x", "f32", [{ batchTimes: 1 }, 3, 5], { space: "input", index: 0 })],
  outputs: [
    port("total", "f32", [{ batchTimes: 1 }], { space: "output", index: 0 }),
    port("sign", "i32", [{ batchTimes: 1 }, 1], { space: "output", index: 1 }),
  ],
  parameters: [
    { name: "linear.weight", shape: [4, 5], resizing: null },
    { name: "linear.bias", shape: [4], resizing: null },
    { name: "threshold", shape: [1], resizing: null },
  ],
  unused: ["steps"],
  weights: [
    {
      name: "weight",
      storage: "f32",
      offset: 0,
      bytes: 80,
      value: { kind: "parameter", name: "linear.weight", shape: [4, 5] },
    },
    {
      name: "bias",
      storage: "f32",
      offset: 256,
      bytes: 16,
      value: { kind: "parameter", name: "linear.bias", shape: [4] },
    },
    {
      name: "threshold",
      storage: "f32",
      offset: 512,
      bytes: 4,
      value: { kind: "parameter", name: "threshold", shape: [1] },
    },
  ],
  memory: { activations: 512, shared: 0, weights: 768 },
  kernels: [kernel("linear", 32), kernel("total", 64)],
  steps: [
    step(
      "linear",
      [{ factor: 1, fixed: 0, perExample: 12, divisor: 32 }, one, one],
      [
        buffer({ space: "input", index: 0 }),
        buffer({ space: "weights", offset: 0, bytes: 80 }),
        buffer({ space: "weights", offset: 256, bytes: 16 }),
        buffer(hidden),
        batch,
      ],
      {
        flops: { fixed: 0, perExample: 120 },
        readBytes: { fixed: 96, perExample: 60 },
        writeBytes: { fixed: 0, perExample: 48 },
      },
    ),
    // The batch stands between pointers, so that their alignment matters.
    step(
      "total",
      [{ factor: 1, fixed: 0, perExample: 1, divisor: 64 }, one, one],
      [
        buffer(hidden),
        batch,
        buffer({ space: "weights", offset: 512, bytes: 4 }),
        buffer({ space: "output", index: 0 }),
        buffer({ space: "output", index: 1 }),
      ],
    ),
  ],
};

/** One kernel that takes an output and the batch: "fault" or "busy". */
export const single = (name: "fault" | "busy", threads = 1): Program => ({
  ...empty,
  name,
  outputs: [port("y", "f32", [{ batchTimes: 1 }], { space: "output", index: 0 })],
  kernels: [kernel(name, threads)],
  steps: [step(name, [one, one, one], [buffer({ space: "output", index: 0 }), batch])],
});

/** What `tiny` computes, in float64. */
export const expectedTotal = (x: Float32Array, weights: Checkpoint): readonly number[] => {
  const weight = valuesOf(weights, "linear.weight");
  const bias = valuesOf(weights, "linear.bias");
  return Array.from({ length: x.length / 15 }, (_, example) => {
    let total = 0;
    for (let row = 0; row < 3; row++)
      for (let n = 0; n < 4; n++) {
        total += bias[n] ?? 0;
        for (let k = 0; k < 5; k++) total += (x[example * 15 + row * 5 + k] ?? 0) * (weight[n * 5 + k] ?? 0);
      }
    return total;
  });
};

const valuesOf = (checkpoint: Checkpoint, name: string): ArrayLike<number> =>
  checkpoint.tensors.get(name)?.values() ?? [];

export const checkpointWith = (tensors: {
  readonly [name: string]: { readonly shape: readonly number[]; readonly values: readonly number[] };
}): Checkpoint => ({
  source: "test.safetensors",
  tensors: new Map(
    Object.entries(tensors).map(([name, { shape, values }]) => [
      name,
      { shape, values: () => Float32Array.from(values) },
    ]),
  ),
});

export const tinyCheckpoint: Checkpoint = checkpointWith({
  "linear.weight": { shape: [4, 5], values: Array.from({ length: 20 }, (_, i) => ((i * 7) % 11) / 4 - 1) },
  "linear.bias": { shape: [4], values: [0.5, -1.25, 2, -0.75] },
  threshold: { shape: [1, 1], values: [1] },
  steps: { shape: [], values: [12345] },
});
export const noWeights: Checkpoint = checkpointWith({});

export const openTestDevice = async (): Promise<Device> =>
  openDevice(onGpu ? { kind: "cuda" } : { kind: "emulated", library: await emulatorLibrary() });

/** Compiles a program's kernels for the tests' device and writes its artefact; the folder. */
export const buildArtefact = async (program: Program): Promise<string> => {
  using device = await openTestDevice();
  const sources = new Map(
    program.kernels.map(({ name, source }) => [
      source,
      readFileSync(new URL(`kernels/${name}.cu`, import.meta.url), "utf8"),
    ]),
  );
  const images = await compileImages(
    program.kernels.map(({ name, family, source }) => ({ name, family, source: sources.get(source) ?? "" })),
    [architectureOf(device.info) as ImageTarget],
  );
  const folder = join(mkdtempSync(join(tmpdir(), "fovea-runtime-")), program.name);
  await writeArtefact(packArtefact({ programs: [program], sources }, images), folder);
  return folder;
};

let library: Promise<string> | null = null;
/** The emulated device's library, built once. */
export const emulatorLibrary = (): Promise<string> => (library ??= buildEmulator());
