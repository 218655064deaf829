/** Deformable attention of several systems: each network is checked against published numbers by itself. */
import { type Grid, grid, output, system, entry, Module } from "fovea";
import { z } from "zod";
import { DAttentionBaseline } from "./dat.ts";
import {
  type AttentionConfig,
  DeformableTransformerEncoderLayer,
  MSDeformAttn,
  positionsOf,
  sampleLevels,
} from "./deformableDetr.ts";
import {
  accumulatedCues,
  DeformableMultiScaleAttention,
  DeformableSpaceTimeAttention,
  DVT,
  DVTBlock,
  type DvtConfig,
  keepCues,
} from "./deformableVideoTransformer.ts";

const Count = z.int().positive();
const Size = z.tuple([Count, Count]);
const Shapes = z.array(Size).min(1);

const CoreConfig = z.strictObject({
  heads: Count.default(8),
  head_dim: Count.default(32),
  Lq: Count.default(300),
  points: Count.default(4),
  spatial_shapes: Shapes,
});
type CoreConfig = z.infer<typeof CoreConfig>;
type Points = Grid<"q" | "head" | "level" | "point">;

class MSDeformAttnCore extends Module<CoreConfig> {
  forward({ value, sampling_locations, attention_weights }: CoreInputs) {
    const { spatial_shapes } = this.config;
    const sampled = sampleLevels(value.pack("head"), spatial_shapes, sampling_locations, attention_weights, "none");
    return { output: output(sampled, "b q c") };
  }
}
type CoreInputs = { value: Grid<"s" | "head">; sampling_locations: Points; attention_weights: Points };

const AttentionFields = {
  d_model: Count.default(256),
  n_heads: Count.default(8),
  n_points: Count.default(4),
  spatial_shapes: Shapes,
  /** Points or boxes that offsets are around. */
  reference_dim: z.union([z.literal(2), z.literal(4)]).default(2),
  padding: z.boolean().default(false),
};
const AttentionSchema = z
  .strictObject({ ...AttentionFields, n_levels: Count.default(4), Lq: Count.default(300) })
  .refine(({ n_levels, spatial_shapes }) => spatial_shapes.length === n_levels, {
    message: "there is one for each of n_levels",
    path: ["spatial_shapes"],
  });

/** Says of each query and level where it is, and what of the input is padding. */
const pyramid = (
  { d_model, spatial_shapes, reference_dim }: AttentionConfig & { reference_dim: number },
  q: number,
) => ({
  reference_points: grid({ q, level: spatial_shapes.length }, reference_dim, { layout: "b q level c" }),
  input_flatten: grid({ s: positionsOf(spatial_shapes) }, d_model, { layout: "b s c" }),
});
const maskOf = ({ spatial_shapes }: AttentionConfig) =>
  grid({ s: positionsOf(spatial_shapes) }, 1, { layout: "b s", element: "int" });

const DatSchema = z.strictObject({
  release: z.union([z.literal(2022), z.literal(2023)]).default(2023),
  q_size: Size.default([14, 14]),
  n_heads: Count.default(12),
  n_head_channels: Count.default(32),
  n_groups: Count.default(3),
  stride: Count.default(1),
  offset_range_factor: z.number().default(2),
  use_pe: z.boolean().default(true),
  dwc_pe: z.boolean().default(false),
  no_off: z.boolean().default(false),
  /** A bias by place instead of by distance is not in a published configuration. */
  fixed_pe: z.literal(false).default(false),
  ksize: Count.default(3),
  log_cpb: z.boolean().default(false),
});

const DvtSchema = z
  .strictObject({
    dim: Count.default(768),
    heads: Count.default(12),
    n_points: Count.default(8),
    n_points_ms: Count.default(4),
    n_scales: Count.default(4),
    sub_clips: Count.default(1),
    patch: Count.default(16),
    image: Size.default([224, 224]),
    frames: Count.default(8),
    depth: Count.default(12),
    mlp_ratio: Count.default(4),
    classes: Count.default(400),
    attention: z.literal("D-ST+MS-A").default("D-ST+MS-A"),
    fusion: z.enum(["linear", "mixer"]).default("mixer"),
    mixer_token_hidden: Count.default(64),
    mixer_channel_hidden: Count.default(3072),
  })
  .refine(({ frames, sub_clips }) => frames % sub_clips === 0, {
    message: "sub_clips does not divide frames",
    path: ["sub_clips"],
  })
  .refine(({ image, patch }) => image.every((size) => size % patch === 0), {
    message: "patch does not divide the image",
    path: ["patch"],
  });

const asTokens = "b t (h w) c";
type Clip = Grid<"t" | "h" | "w">;

const tokensOf = ({ frames, image: [h, w], patch, dim }: DvtConfig) =>
  grid({ t: frames, h: h / patch, w: w / patch }, dim, { layout: asTokens });
const picturesOf = ({ frames, image: [h, w] }: DvtConfig, channels: number) =>
  grid({ t: frames, h, w }, channels, { layout: "b t c h w" });
const motionOf = (config: DvtConfig) => ({
  motion_vectors: picturesOf(config, 2),
  residuals: picturesOf(config, 3),
});
type Motion = { motion_vectors: Clip; residuals: Clip };

/** The motion that all blocks see. */
function cuesOf({ motion_vectors, residuals }: Motion, config: DvtConfig): Clip {
  const accumulated = accumulatedCues(motion_vectors, residuals, config);
  keepCues(accumulated, config.frames);
  return accumulated;
}

/** A module as a network: its fields are the checkpoint's keys. */
const alone = <M extends object, F>(module: M, forward: (module: M) => F) => ({ ...module, forward: forward(module) });

type AttentionInputs = {
  query: Grid<"q">;
  reference_points: Grid<"q" | "level">;
  input_flatten: Grid<"s">;
  padding_mask?: Grid<"s">;
};
type EncoderInputs = { src: Grid<"s">; pos: Grid<"s">; reference_points: Grid<"q" | "level"> };

const withoutBatch = ({ N: _batch, ...config }: { readonly [field: string]: unknown }) => config;

export default system({
  name: "deformable",
  entries: {
    MSDeformAttn: entry({
      config: AttentionSchema,
      inputs: (config) => ({
        query: grid({ q: config.Lq }, config.d_model, { layout: "b q c" }),
        ...pyramid(config, config.Lq),
        ...(config.padding ? { padding_mask: maskOf(config) } : {}),
      }),
      module: (config) =>
        alone(new MSDeformAttn(config), (attention) => (inputs: AttentionInputs) => ({
          output: output(attention(inputs), "b q c"),
        })),
      fromCase: withoutBatch,
    }),
    MSDeformAttnCore: entry({
      config: CoreConfig,
      inputs: ({ heads, head_dim, Lq, points, spatial_shapes }) => {
        const each = { q: Lq, head: heads, level: spatial_shapes.length, point: points };
        return {
          value: grid({ s: positionsOf(spatial_shapes), head: heads }, head_dim, { layout: "b s head c" }),
          sampling_locations: grid(each, 2, { layout: "b q head level point c" }),
          attention_weights: grid(each, 1, { layout: "b q head level point" }),
        };
      },
      module: (config) => new MSDeformAttnCore(config),
      fromCase: withoutBatch,
    }),
    DeformableTransformerEncoderLayer: entry({
      config: z.strictObject({ ...AttentionFields, n_levels: Count.default(4), d_ffn: Count.default(1024) }),
      inputs: (config) => {
        const { reference_points, input_flatten } = pyramid(config, positionsOf(config.spatial_shapes));
        return { src: input_flatten, pos: input_flatten, reference_points };
      },
      module: (config) =>
        alone(new DeformableTransformerEncoderLayer(config), (layer) => (inputs: EncoderInputs) => ({
          output: output(layer(inputs), "b s c"),
        })),
    }),
    DAttentionBaseline: entry({
      config: DatSchema,
      inputs: ({ q_size: [h, w], n_heads, n_head_channels }) => ({ x: grid({ h, w }, n_heads * n_head_channels) }),
      module: (config) =>
        alone(new DAttentionBaseline(config), (attention) => ({ x }: { x: Grid<"h" | "w"> }) => ({
          out: output(attention(x), "b c h w"),
        })),
    }),
    DeformableSpaceTimeAttention: entry({
      config: DvtSchema,
      inputs: (config) => ({ tokens: tokensOf(config), ...motionOf(config) }),
      module: (config) =>
        alone(
          new DeformableSpaceTimeAttention(config),
          (layer) =>
            ({ tokens, ...motion }: { tokens: Clip } & Motion) => ({
              out: output(layer(tokens, cuesOf(motion, config)), asTokens),
            }),
        ),
    }),
    DeformableMultiScaleAttention: entry({
      config: DvtSchema,
      inputs: (config) => ({ tokens: tokensOf(config) }),
      module: (config) =>
        alone(new DeformableMultiScaleAttention(config), (layer) => ({ tokens }: { tokens: Clip }) => ({
          out: output(layer(tokens), asTokens),
        })),
    }),
    DVTBlock: entry({
      config: DvtSchema,
      inputs: (config) => ({ tokens: tokensOf(config), ...motionOf(config) }),
      module: (config) =>
        alone(new DVTBlock(config), (layer) => ({ tokens, ...motion }: { tokens: Clip } & Motion) => ({
          out: output(layer(tokens, cuesOf(motion, config)), asTokens),
        })),
    }),
    DVT: entry({
      config: DvtSchema,
      inputs: (config) => ({ clip: picturesOf(config, 3), ...motionOf(config) }),
      module: (config) =>
        alone(new DVT(config), (network) => ({ clip, ...motion }: { clip: Clip } & Motion) => ({
          logits: network(clip, cuesOf(motion, config)),
        })),
    }),
  },
});
