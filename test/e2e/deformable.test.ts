import { describe, expect, test } from "vitest";
import deformable from "../../models/deformable.ts";
import { deviceErrors } from "../support/agreement.ts";

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
