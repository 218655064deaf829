import { describe, expect, test } from "vitest";
import timesformer from "../../models/timesformer.ts";
import { deviceErrors } from "../support/agreement.ts";

/** Odd everything: patches, heads, channels of a head, frames, classes. Each found its own corner of tiles and tails. */
const configurations = [
  {
    attention_type: "divided_space_time",
    img_size: [20, 12],
    patch_size: 4,
    num_frames: 3,
    embed_dim: 36,
    num_heads: 3,
    num_classes: 5,
  },
  {
    attention_type: "divided_space_time",
    img_size: [16, 48],
    patch_size: 8,
    num_frames: 11,
    embed_dim: 40,
    num_heads: 1,
    num_classes: 1,
  },
  {
    attention_type: "joint_space_time",
    img_size: [30, 18],
    patch_size: 6,
    num_frames: 5,
    embed_dim: 48,
    num_heads: 6,
    num_classes: 13,
  },
  {
    attention_type: "space_only",
    img_size: [7, 21],
    patch_size: 7,
    num_frames: 2,
    embed_dim: 24,
    num_heads: 2,
    num_classes: 3,
    qkv_bias: false,
  },
  {
    attention_type: "divided_space_time",
    img_size: [8, 8],
    patch_size: 8,
    num_frames: 1,
    embed_dim: 16,
    num_heads: 2,
    num_classes: 9,
  },
] as const;

/** What rounding to each precision may cost over two blocks. */
const tolerances = { f32: 2e-5, bf16: 4e-2, f16: 6e-3 } as const;

describe.each(configurations.map((config) => ({ name: JSON.stringify(config), config })))("$name", ({ config }) => {
  const graph = () =>
    timesformer.trace({ config: { depth: 2, mlp_ratio: 2, ...config, img_size: [...config.img_size] } });
  test.each(["f32", "bf16", "f16"] as const)("is what the evaluator computes, in %s", async (precision) => {
    const errors = await deviceErrors(graph(), { precision, keep: false, batch: 2 });
    for (const [name, error] of errors) expect({ name, error }).toSatisfy(() => error < tolerances[precision]);
  });
  test("and so is every intermediate", async () => {
    const errors = await deviceErrors(graph(), { precision: "f32", keep: true, batch: 3 });
    expect(errors.size).toBeGreaterThan(4);
    for (const [name, error] of errors) expect({ name, error }).toSatisfy(() => error < tolerances.f32);
  });
});
