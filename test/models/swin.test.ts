import { expect, test } from "vitest";
import { evaluate } from "../../ir/evaluate.ts";
import type { Graph } from "../../ir/graph.ts";
import swin from "../../models/swin.ts";
import videoSwin from "../../models/videoSwin.ts";
import { parametersOf } from "../support/golden.ts";

test("the published models have their numbers of parameters", () => {
  const count = (preset: string): number =>
    parametersOf(swin.trace({ preset })).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  expect(count("tiny")).toBe(28_288_354);
  expect(count("small")).toBe(49_606_258);
  expect(count("base")).toBe(87_768_224);
  expect(count("large")).toBe(196_532_476);
});

test("an image is a video of one frame", () => {
  const common = { patch_norm: true, embed_dim: 16, depths: [2, 2], num_heads: [2, 4], num_classes: 5 };
  // Windows of 5 divide neither the 12 x 12 patches nor the 6 x 6 behind them.
  const ofImages = swin.trace({ config: { ...common, img_size: 24, patch_size: 2, window_size: 5 } });
  const ofVideos = videoSwin.trace({
    config: { ...common, input_size: [1, 24, 24], patch_size: [1, 2, 2], window_size: [1, 5, 5] },
  });
  const pixels = noise("pixels", 2 * 3 * 24 * 24);
  const image = run(ofImages, { image: pixels }, (name) => name);
  const video = run(ofVideos, { video: pixels }, (name) =>
    name.replace("cls_head.fc_cls.", "head.").replace("backbone.", ""),
  );
  expect(image.length).toBe(2 * 5);
  expect(image).toEqual(video);
  expect(Math.max(...image.map(Math.abs))).toBeGreaterThan(0.1);
});

test("absolute positions are added to the patches", () => {
  const config = { embed_dim: 16, depths: [1], num_heads: [2], img_size: 16, window_size: 2, num_classes: 3 };
  const names = (ape: boolean): readonly string[] =>
    parametersOf(swin.trace({ config: { ...config, ape } })).map(({ name }) => name);
  expect(names(true).filter((name) => !names(false).includes(name))).toEqual(["absolute_pos_embed"]);
});

const sizeOf = (shape: readonly number[]): number => shape.reduce((all, size) => all * size, 1);

/** The logits, of weights drawn by their names. */
function run(
  graph: Graph,
  inputs: { readonly [name: string]: Float64Array },
  nameOf: (name: string) => string,
): readonly number[] {
  const parameters = parametersOf(graph).map(
    ({ name, shape }) => [name, noise(nameOf(name), sizeOf(shape)).map((value) => value * scaleOf(name))] as const,
  );
  const { outputs } = evaluate(graph, { batch: 2, inputs, parameters: Object.fromEntries(parameters) });
  return [...(outputs["logits"] ?? [])];
}
const scaleOf = (name: string): number => (name.includes("norm") || name.includes("table") ? 1 : 0.3);

/** Numbers between -1 and 1, the same for the same name. */
function noise(name: string, count: number): Float64Array {
  let state = [...name].reduce((sum, letter) => Math.imul(sum ^ letter.charCodeAt(0), 16777619), 2166136261) >>> 0;
  return Float64Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
