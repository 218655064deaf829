import { describe, expect, test } from "vitest";
import { readCase } from "../../compiler/cli/golden/case.ts";
import { graphParameters } from "../../compiler/cli/ports.ts";
import type { ParameterSlot } from "../../ir/program.ts";
import { evaluate } from "../../ir/evaluate.ts";
import swin from "../../models/swin.ts";
import timesformer from "../../models/timesformer.ts";
import videoSwin from "../../models/videoSwin.ts";
import { checkCheckpoint, CheckpointError, openCheckpoint, type Checkpoint } from "../../runtime/checkpoint.ts";
import { inflateWeights } from "../../runtime/inflateWeights.ts";
import { resizeWeights } from "../../runtime/resizeWeights.ts";
import { caseInputs, expectedArray, readCaseArrays } from "../../compiler/cli/golden/arrays.ts";
import { goldenCases } from "../support/golden.ts";
import { checkpointWith } from "./programs.ts";

const slot = (shape: readonly number[], resizing: ParameterSlot["resizing"]): ParameterSlot => ({
  name: "table",
  shape,
  resizing,
});
const counting = (...shape: number[]): { shape: number[]; values: number[] } => ({
  shape,
  values: Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i + 1),
});
const tableOf = (checkpoint: Checkpoint, name = "table"): readonly number[] => [
  ...(checkpoint.tensors.get(name)?.values() ?? []),
];
const resized = (parameter: ParameterSlot, tensor: { shape: number[]; values: number[] }): readonly number[] =>
  tableOf(resizeWeights({ parameters: [parameter] }, checkpointWith({ table: tensor })));

describe("tables of positions", () => {
  test("are resized bicubically as torch does it: a = -3/4, pixel centres, borders that stand", () => {
    // ONNX's own example of Resize, cubic, from 1..16 to 8 x 8; the first row and the last.
    const eight = resized(slot([64, 1], { mode: "bicubic", grid: [8, 8], leading: 0 }), counting(16, 1));
    const first = [0.47265625, 0.76953125, 1.24609375, 1.875, 2.28125, 2.91015625, 3.38671875, 3.68359375];
    expect(eight.slice(0, 8)).toEqual(first);
    expect(eight.slice(56)).toEqual(first.map((value) => 17 - value).toReversed());
    // From 2 x 2, by hand: weights 225/256, 67/256, -27/256 and -9/256 at a quarter and three quarters.
    const four = resized(slot([16, 1], { mode: "bicubic", grid: [4, 4], leading: 0 }), counting(4, 1));
    expect(four.slice(0, 4)).toEqual([0.68359375, 1.015625, 1.5625, 1.89453125]);
  });

  test("are as one convolution of 16 weights an element, down and up, channels apart", () => {
    const cubic = (x: number): number => {
      const d = Math.abs(x);
      if (d <= 1) return 1.25 * d ** 3 - 2.25 * d ** 2 + 1;
      return d < 2 ? -0.75 * d ** 3 + 3.75 * d ** 2 - 6 * d + 3 : 0;
    };
    for (const [from, to] of [
      [13, 23],
      [13, 5],
      [7, 8],
    ] as const) {
      const tensor = counting(from * from, 3);
      tensor.values = tensor.values.map((value) => Math.fround(Math.sin(value * value)));
      const got = resized(slot([to * to, 3], { mode: "bicubic", grid: [to, to], leading: 0 }), tensor);
      const at = (y: number, x: number, c: number): number => {
        const inside = (i: number): number => Math.min(from - 1, Math.max(0, i));
        return tensor.values[(inside(y) * from + inside(x)) * 3 + c] ?? Number.NaN;
      };
      for (let y = 0; y < to; y++)
        for (let x = 0; x < to; x++)
          for (let c = 0; c < 3; c++) {
            const [v, u] = [((y + 0.5) * from) / to - 0.5, ((x + 0.5) * from) / to - 0.5];
            let sum = 0;
            for (let i = Math.floor(v) - 2; i <= Math.floor(v) + 3; i++)
              for (let j = Math.floor(u) - 2; j <= Math.floor(u) + 3; j++)
                sum += cubic(v - i) * cubic(u - j) * at(i, j, c);
            expect(got[(y * to + x) * 3 + c]).toBeCloseTo(sum, 12);
          }
    }
  });

  test("are resized to the nearest, and the class token stays", () => {
    const wanted = slot([1, 1 + 6, 1], { mode: "nearest", grid: [2, 3], leading: 1 });
    expect(resized(wanted, counting(1, 1 + 16, 1))).toEqual([1, 2, 3, 4, 10, 11, 12]);
    const frames = slot([1, 5, 1], { mode: "nearest", grid: [5], leading: 0 });
    expect(resized(frames, counting(1, 3, 1))).toEqual([1, 1, 2, 2, 3]);
  });

  test("that fit, or that nobody can say how to resize, stay as they are", () => {
    const fitting = counting(9, 2);
    expect(resized(slot([9, 2], { mode: "bicubic", grid: [3, 3], leading: 0 }), fitting)).toEqual(fitting.values);
    expect(resized(slot([9, 2], null), counting(4, 2))).toEqual(counting(4, 2).values);
    expect(resized(slot([9, 2], { mode: "bicubic", grid: [3, 3], leading: 0 }), counting(5, 2)).length).toBe(10);
    expect(resized(slot([9, 2], { mode: "bicubic", grid: [3, 3], leading: 0 }), counting(4, 3)).length).toBe(12);
  });

  test("of windows in time are resized in height and width alone", () => {
    const wanted = slot([3 * 16, 1], { mode: "bicubic", grid: [3, 4, 4], leading: 0 });
    const got = resized(wanted, counting(3 * 4, 1));
    expect(got.length).toBe(48);
    expect(got.slice(16, 20)).toEqual([4.68359375, 5.015625, 5.5625, 5.89453125]);
  });
});

describe("a checkpoint of another size", () => {
  const graph = swin.trace({
    config: {
      img_size: 32,
      patch_size: 2,
      embed_dim: 8,
      depths: [2],
      num_heads: [2],
      window_size: 8,
      num_classes: 3,
      ape: true,
    },
  });
  const parameters = graphParameters(graph);
  const published = checkpointWith(
    Object.fromEntries(
      parameters.map(({ name, shape }) => {
        if (name.endsWith("bias_table")) return [name, counting(13 * 13, 2)];
        return [name, name === "absolute_pos_embed" ? counting(1, 49, 8) : counting(...shape)];
      }),
    ),
  );
  const program = { name: "swin", parameters, unused: graph.unused };

  test("is refused by a message that says which call resizes it, and fits once it has", () => {
    expect(() => checkCheckpoint(program, published)).toThrow(CheckpointError);
    expect(() => checkCheckpoint(program, published)).toThrow(
      '"layers.0.blocks.0.attn.relative_position_bias_table" is [169, 2], the program wants [225, 2] (resizable: call resizeWeights, or fovea convert-weights --for MODEL)',
    );
    const fitted = resizeWeights(program, published);
    checkCheckpoint(program, fitted);
    expect(tableOf(fitted, "norm.weight")).toEqual(tableOf(published, "norm.weight"));
  });

  test("is not called resizable where nothing can resize it", () => {
    const other = checkpointWith({ table: counting(170, 2) });
    const wanted = {
      name: "x",
      parameters: [slot([225, 2], { mode: "bicubic", grid: [15, 15], leading: 0 })],
      unused: [],
    };
    expect(() => checkCheckpoint(wanted, other)).toThrow(/wants \[225, 2\]$/);
  });
});

test("TimeSformer's tables resized when they are loaded are what its published code makes of them", async () => {
  const folder = goldenCases("timesformer").find((each) => each.endsWith("divided-interp-tiny")) ?? "";
  const golden = readCase(folder);
  const { config } = timesformer.fromCase(golden);
  const { input_size, input_frames, ...rest } = config as { input_size: number[]; input_frames: number };
  // The same network, with tables of the clip's own size.
  const graph = timesformer.trace({ config: { ...rest, img_size: input_size, num_frames: input_frames } });
  const parameters = graphParameters(graph);
  using given = await openCheckpoint(`${folder}/weights.safetensors`);
  const fitted = resizeWeights({ parameters }, given);
  checkCheckpoint({ name: graph.name, parameters, unused: graph.unused }, fitted);
  const stored = readCaseArrays(golden);
  const { outputs } = evaluate(
    { ...graph, kept: [] },
    {
      batch: golden.inputs["video"]?.shape[0] ?? 1,
      inputs: Object.fromEntries([...caseInputs(golden, stored)].map(([name, { values }]) => [name, values])),
      parameters: Object.fromEntries(parameters.map(({ name }) => [name, fitted.tensors.get(name)?.values() ?? []])),
    },
  );
  const expected = expectedArray(golden, stored, "logits");
  if (expected?.kind !== "full") throw new Error("the case has no logits");
  const logits = [...(outputs["logits"] ?? [])];
  expect(logits.length).toBeGreaterThan(0);
  for (const [i, value] of logits.entries()) expect(value).toBeCloseTo(Number(expected.values[i]), 4);
});

describe("weights of images for clips", () => {
  const common = { embed_dim: 8, depths: [2], num_heads: [2], num_classes: 3 };
  const images = graphParameters(swin.trace({ config: { ...common, img_size: 16, patch_size: 2, window_size: 4 } }));
  const clips = videoSwin.trace({
    config: { ...common, input_size: [6, 16, 16], patch_size: [2, 2, 2], window_size: [2, 5, 4] },
  });
  const parameters = graphParameters(clips);
  const published = checkpointWith({
    ...Object.fromEntries(images.map(({ name, shape }) => [name, counting(...shape)])),
    "layers.0.blocks.1.attn_mask": counting(4, 16, 16),
  });

  test("are copied along time and divided by its length, tables repeated", () => {
    const inflated = inflateWeights({ parameters }, published, { rename: { head: "cls_head.fc_cls" } });
    checkCheckpoint({ name: "video-swin", parameters, unused: clips.unused }, inflated);
    const kernel = tableOf(inflated, "backbone.patch_embed.proj.weight");
    expect(kernel.length).toBe(8 * 3 * 2 * 4);
    expect(kernel.slice(0, 8)).toEqual([0.5, 1, 1.5, 2, 0.5, 1, 1.5, 2]);
    expect(kernel.slice(8, 16)).toEqual([2.5, 3, 3.5, 4, 2.5, 3, 3.5, 4]);
    // 7 x 7 distances of images become 9 x 7, for each of three distances in time.
    const table = tableOf(inflated, "backbone.layers.0.blocks.0.attn.relative_position_bias_table");
    const area = { mode: "bicubic", grid: [9, 7], leading: 0 } as const;
    const once = resized(slot([63, 2], area), counting(49, 2));
    expect(table).toEqual([...once, ...once, ...once]);
    expect(tableOf(inflated, "cls_head.fc_cls.weight")).toEqual(tableOf(published, "head.weight"));
  });

  test("lack a classifier that has another name, and say so", () => {
    const inflated = inflateWeights({ parameters }, published);
    expect(() => checkCheckpoint({ name: "video-swin", parameters, unused: clips.unused }, inflated)).toThrow(
      'missing "cls_head.fc_cls.weight" [3, 8]',
    );
  });

  test("of a still clip compute what the image network computes of its picture", () => {
    const still = videoSwin.trace({
      config: { ...common, input_size: [2, 16, 16], patch_size: [2, 2, 2], window_size: [1, 4, 4] },
    });
    const wave = (name: string, shape: readonly number[]): { shape: number[]; values: number[] } => {
      const tensor = counting(...shape);
      return { ...tensor, values: tensor.values.map((i) => Math.sin(i * (name.length + 3)) / 2) };
    };
    const weights = checkpointWith(Object.fromEntries(images.map(({ name, shape }) => [name, wave(name, shape)])));
    const slots = graphParameters(still);
    const inflated = inflateWeights({ parameters: slots }, weights, { rename: { head: "cls_head.fc_cls" } });
    const picture = Float64Array.from({ length: 3 * 16 * 16 }, (_, i) => Math.sin(i * 0.7));
    // [c, t, h, w]: each channel's picture twice.
    const clip = Float64Array.from(
      { length: 2 * picture.length },
      (_, i) => picture[Math.floor(i / 512) * 256 + (i % 256)] ?? 0,
    );
    const values = (
      checkpoint: Checkpoint,
      all: readonly { readonly name: string }[],
    ): { readonly [name: string]: Float64Array } =>
      Object.fromEntries(all.map(({ name }) => [name, new Float64Array(checkpoint.tensors.get(name)?.values() ?? [])]));
    const image = swin.trace({ config: { ...common, img_size: 16, patch_size: 2, window_size: 4 } });
    const expected = evaluate(
      { ...image, kept: [] },
      { batch: 1, inputs: { image: picture }, parameters: values(weights, images) },
    );
    const got = evaluate(
      { ...still, kept: [] },
      { batch: 1, inputs: { video: clip }, parameters: values(inflated, slots) },
    );
    const logits = [...(got.outputs["logits"] ?? [])];
    expect(logits.length).toBe(3);
    for (const [i, value] of (expected.outputs["logits"] ?? []).entries()) expect(logits[i]).toBeCloseTo(value, 10);
  });
});
