import { describe, expect, test } from "vitest";
import { deformable as sampled, Linear, Module } from "fovea";
import { compileGraph } from "../../compiler/compile.ts";
import deformable from "../../models/deformable.ts";
import { deviceErrors } from "../support/agreement.ts";
import { type Image, traceModule } from "../support/trace.ts";

const pyramid = {
  n_levels: 3,
  spatial_shapes: [
    [5, 9],
    [3, 4],
    [1, 2],
  ],
};
const video = { dim: 21, heads: 3, n_points: 5, n_points_ms: 3, n_scales: 2, patch: 2, image: [6, 10], frames: 4 };
const small = { depth: 1, mlp_ratio: 2, classes: 5, mixer_token_hidden: 3, mixer_channel_hidden: 10 };
const image = { q_size: [7, 5], n_heads: 6, n_head_channels: 5, n_groups: 3, stride: 1, ksize: 3 };

/** Heads of odd widths, maps of one row, groups, and what golden cases leave out. */
const networks: readonly (readonly [name: string, entry: string, config: object])[] = [
  ["30 channels of a head, boxes", "MSDeformAttn", { ...pyramid, Lq: 11, d_model: 90, n_heads: 3, reference_dim: 4 }],
  ["a layer of an encoder", "DeformableTransformerEncoderLayer", { ...pyramid, d_model: 32, n_heads: 4, d_ffn: 40 }],
  [
    "a layer of a decoder",
    "DeformableTransformerDecoderLayer",
    { ...pyramid, Lq: 21, d_model: 24, n_heads: 3, d_ffn: 40 },
  ],
  ["a video in parts, mixed", "DVT", { ...video, ...small, sub_clips: 2 }],
  ["an image, convolved queries as bias", "DAttentionBaseline", { ...image, release: 2023, dwc_pe: true }],
  [
    "an image, no bias, points free to move",
    "DAttentionBaseline",
    { ...image, release: 2022, use_pe: false, offset_range_factor: -1 },
  ],
  ["an image, a bias by place", "DAttentionBaseline", { ...image, release: 2022, fixed_pe: true }],
  ["an image, keys on a grid", "DAttentionBaseline", { ...image, release: 2022, no_off: true, use_pe: false }],
];

/** What rounding to each precision may cost over these depths. */
const tolerances = { f32: 2e-5, bf16: 5e-2 } as const;

describe.each(networks)("%s", (_name, entry, config) => {
  test.each(["f32", "bf16"] as const)("is what the evaluator computes, in %s", async (precision) => {
    const errors = await deviceErrors(deformable.trace({ entry, config }), {
      precision,
      keep: precision === "f32",
      batch: 2,
    });
    expect(errors.size).toBeGreaterThan(0);
    for (const [name, error] of errors) expect({ name, error }).toSatisfy(() => error < tolerances[precision]);
  });
});

/** Weights scored against the keys at a few points, which queries place. */
class Scored extends Module {
  q = new Linear(24);
  k = new Linear(24);
  v = new Linear(12);
  offsets = new Linear(2 * 3 * 4);
  proj = new Linear(8);

  forward({ x }: { x: Image }) {
    const points = this.offsets(x).unpack({ head: 3, point: 4 });
    const attended = sampled([this.v(x)], {
      points,
      query: this.q(x),
      keys: [this.k(x)],
      axes: ["h", "w"],
      heads: "head",
      over: ["point"],
    });
    return { y: this.proj(attended) };
  }
}

describe("keys at points that queries place", () => {
  const graph = traceModule(new Scored());

  test("are three kernels: queries, keys, values and points, sampling, the result", () => {
    const { program } = compileGraph(graph, { precision: "bf16", batch: { min: 1, max: 4 }, keep: false });
    const families = new Map(program.kernels.map(({ name, family }) => [name, family]));
    expect(program.steps.map(({ kernel }) => families.get(kernel))).toEqual(["products", "sample", "gemm"]);
  });

  test.each(["f32", "bf16", "f16"] as const)("are what the evaluator scores, in %s", async (precision) => {
    const errors = await deviceErrors(graph, { precision, keep: false, batch: 3 });
    for (const [name, error] of errors)
      expect({ name, error }).toSatisfy(() => error < { ...tolerances, f16: 1e-2 }[precision]);
  });
});
