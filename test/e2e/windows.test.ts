import { describe, expect, test } from "vitest";
import swin from "../../models/swin.ts";
import timesformer from "../../models/timesformer.ts";
import videoSwin from "../../models/videoSwin.ts";
import type { Model } from "../../compiler/dsl/index.ts";
import { deviceErrors } from "../support/agreement.ts";

/** Windows that divide nothing, heads of odd widths, tables beside tables, and neighbourhoods that meet a border. */
const networks: { readonly [name: string]: { readonly model: Model; readonly config: object } } = {
  "an image, its windows cut": {
    model: swin,
    config: {
      img_size: 26,
      patch_size: 2,
      embed_dim: 36,
      num_heads: [3, 6],
      window_size: 5,
      num_classes: 5,
      ape: true,
    },
  },
  "an image, its windows whole": {
    model: swin,
    config: { img_size: 28, patch_size: 2, embed_dim: 16, num_heads: [1, 2], window_size: 7, qkv_bias: false },
  },
  "a clip, its windows cut": {
    model: videoSwin,
    config: {
      input_size: [5, 22, 30],
      patch_size: [1, 2, 2],
      embed_dim: 24,
      num_heads: [2, 3],
      window_size: [2, 3, 5],
      num_classes: 3,
    },
  },
  "sparse local and global": {
    model: timesformer,
    config: {
      attention_type: "sparse_local_global",
      img_size: [28, 20],
      patch_size: 4,
      num_frames: 3,
      embed_dim: 36,
      num_heads: 3,
      num_classes: 5,
    },
  },
  axial: {
    model: timesformer,
    config: {
      attention_type: "axial",
      img_size: [28, 20],
      patch_size: 4,
      num_frames: 5,
      embed_dim: 40,
      num_heads: 2,
      num_classes: 3,
    },
  },
};

/** What rounding to each precision may cost over these depths. */
const tolerances = { f32: 2e-5, bf16: 5e-2 } as const;

describe.each(Object.entries(networks))("%s", (_name, { model, config }) => {
  const deep = model === timesformer ? { depth: 1, mlp_ratio: 2 } : { depths: [2, 1], mlp_ratio: 2 };
  test.each(["f32", "bf16"] as const)("is what the evaluator computes, in %s", async (precision) => {
    const errors = await deviceErrors(model.trace({ config: { ...deep, ...config } }), {
      precision,
      keep: precision === "f32",
      batch: 2,
    });
    expect(errors.size).toBeGreaterThan(0);
    for (const [name, error] of errors) expect({ name, error }).toSatisfy(() => error < tolerances[precision]);
  });
});
