import { beforeAll, describe, expect, it } from "vitest";
import { compileGraph } from "../../compiler/compile.ts";
import timesformer from "../../models/timesformer.ts";
import videoSwin from "../../models/videoSwin.ts";
import { h200 } from "../../runtime/predict.ts";
import { planProfile, type Profile, type StepProfile } from "../../runtime/profile.ts";

const bytes = 2;
const plan = (graph: Parameters<typeof compileGraph>[0], batch = 1): Profile =>
  planProfile(compileGraph(graph, { precision: "bf16", batch: { min: 1, max: 8 }, keep: false }).program, batch);
const workOf = ({ steps }: Profile, path: string): StepProfile["work"] => {
  const found = steps.find((step) => step.origin.path === path);
  if (found === undefined) throw new Error(`nothing is launched for ${path}`);
  return found.work;
};
/** A product and a sum for each weight and row. */
const linear = (rows: number, from: number, to: number): number => 2 * rows * from * to;
/** Scores and weighted values: of each pair two products and sums for each channel. */
const attention = (pairs: number, channels: number): number => 4 * pairs * channels;

describe("the work of TimeSformer-B 8x224, counted by hand", () => {
  const [frames, patches, width] = [8, 14 * 14, 768];
  const [grid, tokens] = [frames * patches, frames * patches + 1];
  const block = "model.blocks.0";
  let profile: Profile;
  beforeAll(() => void (profile = plan(timesformer.trace({ preset: "base" }))), 120_000);

  it("is that of its matrices and of the pairs that see each other", () => {
    const expected: readonly (readonly [string, number])[] = [
      ["model.patch_embed.proj", linear(grid, 3 * 16 * 16, width)],
      [`${block}.temporal_attn.qkv`, linear(grid, width, 3 * width)],
      [`${block}.temporal_attn`, attention(patches * frames ** 2, width)],
      // The projection and the linear map behind it are one.
      [`${block}.temporal_fc`, linear(grid, width, width)],
      [`${block}.attn.qkv`, linear(tokens, width, 3 * width)],
      [`${block}.attn`, attention(frames * (patches + 1) ** 2, width)],
      [`${block}.attn.proj`, linear(tokens, width, width)],
      [`${block}.mlp.fc1`, linear(tokens, width, 4 * width)],
      [`${block}.mlp.fc2`, linear(tokens, 4 * width, width)],
      // Only the class token is asked for.
      ["model.blocks.11.mlp.fc1", linear(1, width, 4 * width)],
      ["model.head", linear(1, width, 400)],
    ];
    for (const [path, flops] of expected) expect([path, workOf(profile, path).flops]).toEqual([path, flops]);
    const inBlock = expected.slice(1, 9).reduce((sum, [, flops]) => sum + flops, 0);
    const perceptron = 2 * linear(tokens - 1, width, 4 * width);
    const total = profile.steps.reduce((sum, { work }) => sum + work.flops, 0);
    expect(total).toBe(linear(grid, 768, width) + 12 * inBlock - perceptron + linear(1, width, 400));
  });

  it("moves each operand once", () => {
    const qkv = workOf(profile, `${block}.temporal_attn.qkv`);
    expect(qkv.readBytes).toBe(bytes * (grid * width + width * 3 * width + 3 * width));
    expect(qkv.writeBytes).toBe(bytes * grid * 3 * width);
    const attended = workOf(profile, `${block}.temporal_attn`);
    expect(attended.readBytes).toBe(bytes * grid * 3 * width);
    expect(attended.writeBytes).toBe(bytes * grid * width);
  });

  it("has floors of its own bytes and operations, that grow with the batch", () => {
    expect(profile).toMatchObject({ basis: "planned", target: h200.name, replayMilliseconds: null });
    const qkv = profile.steps.find(({ origin }) => origin.path === `${block}.temporal_attn.qkv`);
    const arithmetic = 1e3 * (linear(grid, width, 3 * width) / h200.tensorFlops + h200.launchSeconds);
    expect(qkv?.floor).toEqual({ milliseconds: arithmetic, bound: "arithmetic" });
    expect(qkv?.time).toEqual({ kind: "planned", milliseconds: arithmetic });
    expect(profile.steps.find(({ origin }) => origin.path === "model.head")?.floor.bound).toBe("launch");
    expect(profile.milliseconds).toBeCloseTo(
      profile.steps.reduce((sum, { floor }) => sum + floor.milliseconds, 0),
      12,
    );
  });
});

describe("the work of Video Swin-T 16x224, counted by hand", () => {
  const [frames, side, width] = [16, 56, 96];
  const tokens = frames * side ** 2;
  const first = "backbone.layers.0.blocks";
  let profile: Profile;
  beforeAll(() => void (profile = plan(videoSwin.trace({ preset: "tiny" }))), 120_000);

  it("is that of whole windows where they are not shifted", () => {
    const window = 8 * 7 * 7;
    expect(workOf(profile, `${first}.0.attn`).flops).toBe(attention((tokens / window) * window ** 2, width));
    expect(workOf(profile, `${first}.0.attn.qkv`).flops).toBe(linear(tokens, width, 3 * width));
    expect(workOf(profile, `${first}.0.mlp.fc1`).flops).toBe(linear(tokens, width, 4 * width));
  });

  it("is that of the regions of shifted windows, of which each sees itself alone", () => {
    // The last window of an axis holds its end and its beginning: on frames 4 and 4, on rows and columns 4 and 3.
    const [onFrames, onSide] = [8 ** 2 + 4 ** 2 + 4 ** 2, 7 * 7 ** 2 + 4 ** 2 + 3 ** 2];
    expect(workOf(profile, `${first}.1.attn`).flops).toBe(attention(onFrames * onSide ** 2, width));
  });

  it("reads q, k and v once, and the table of biases", () => {
    const table = 3 * (2 * 8 - 1) * (2 * 7 - 1) ** 2;
    expect(workOf(profile, `${first}.0.attn`)).toMatchObject({
      readBytes: bytes * (tokens * 3 * width + table),
      writeBytes: bytes * tokens * width,
    });
  });
});
