import axialDeeplab from "../../models/axialDeeplab.ts";
import deepAmortizedClustering from "../../models/deepAmortizedClustering.ts";
import dat from "../../models/dat.ts";
import deformable from "../../models/deformable.ts";
import deformableDetr from "../../models/deformableDetr.ts";
import deformableVideoTransformer from "../../models/deformableVideoTransformer.ts";
import nonLocal from "../../models/nonLocal.ts";
import setTransformer from "../../models/setTransformer.ts";
import swin from "../../models/swin.ts";
import tamingTransformers from "../../models/tamingTransformers.ts";
import timesformer from "../../models/timesformer.ts";
import videoSwin from "../../models/videoSwin.ts";
import vtn from "../../models/vtn.ts";
import type { Model, TraceOptions } from "../../compiler/dsl/model.ts";
import { attentionTypes } from "../budgets/timesformer.ts";

/** Of each folder of test/golden with networks, the model. */
export const systems: { readonly [system: string]: Model } = {
  timesformer,
  "video-swin": videoSwin,
  vtn,
  "set-transformer": setTransformer,
  dac: deepAmortizedClustering,
  "axial-deeplab": axialDeeplab,
  "non-local": nonLocal,
  deformable,
  "taming-transformers": tamingTransformers,
};

/** A published configuration of a network. */
export type Published = { readonly model: Model; readonly options: TraceOptions };

// Kernels do not grow with depth (test/budgets/plan.test.ts): of each published width and input a few blocks will do, the
// last of which may differ from those before.
const depths = [2, 2, 4, 2];
const timesformers = [
  ...["base", "hr", "large"].flatMap((preset) => attentionTypes.map((scheme) => [preset, scheme] as const)),
  ...["sparse_local_global", "axial"].map((scheme) => ["base", scheme] as const),
].map(([preset, attention_type]) => ({ preset, config: { attention_type, depth: 3 } }));

/** Features of a COCO image of 800 x 1066 pixels. */
const pyramid = [
  [100, 134],
  [50, 67],
  [25, 34],
  [13, 17],
];

/** The stages of DAT-T that attend to points, and those of DAT-T++. */
const datStages = [
  { release: 2022, q_size: [14, 14], n_heads: 12, n_groups: 3 },
  { release: 2022, q_size: [7, 7], n_heads: 24, n_groups: 6 },
  { q_size: [56, 56], n_heads: 2, n_groups: 1, stride: 8, ksize: 9, offset_range_factor: -1 },
  { q_size: [28, 28], n_heads: 4, n_groups: 2, stride: 4, ksize: 7, offset_range_factor: -1 },
  { q_size: [14, 14], n_heads: 8, n_groups: 4, stride: 2, ksize: 5, offset_range_factor: -1 },
  { q_size: [7, 7], n_heads: 16, n_groups: 8, stride: 1, ksize: 3, offset_range_factor: -1 },
];

const of = (model: Model, options: readonly TraceOptions[]): readonly Published[] =>
  options.map((each) => ({ model, options: each }));

/** Every published configuration. */
export const published: readonly Published[] = [
  ...of(timesformer, timesformers),
  ...of(
    videoSwin,
    ["tiny", "base", "large", "base-ssv2"].map((preset) => ({ preset, config: { depths } })),
  ),
  ...of(
    swin,
    ["tiny", "base", "large", "base-384", "large-384"].map((preset) => ({ preset, config: { depths } })),
  ),
  ...of(vtn, [{ preset: "base" }]),
  ...of(
    axialDeeplab,
    ["axial26s", "axial50s", "axial50m", "axial50l"].map((preset) => ({ preset, config: { layers: [2, 2, 2, 2] } })),
  ),
  ...of(nonLocal, [
    { entry: "Nonlocal", config: { dim: 1024, dim_inner: 512, extent: { t: 4, h: 14, w: 14 } } },
    { entry: "Nonlocal", config: { dim: 512, dim_inner: 256, extent: { t: 4, h: 28, w: 28 } } },
  ]),
  ...of(deformableDetr, [
    { entry: "MSDeformAttn", config: { spatial_shapes: pyramid } },
    { entry: "DeformableTransformerEncoderLayer", config: { spatial_shapes: pyramid } },
    { entry: "DeformableTransformerDecoderLayer", config: { spatial_shapes: pyramid } },
  ]),
  ...of(
    dat,
    datStages.map((config) => ({ config })),
  ),
  ...of(deformableVideoTransformer, [{ config: { depth: 2 } }]),
  ...of(setTransformer, [{ entry: "PointCloudSetTransformer", preset: "modelnet" }]),
  ...of(deepAmortizedClustering, [
    { entry: "MinFilteringNetwork", config: { points: 1000 } },
    { entry: "AnchoredFilteringNetwork", config: { points: 1000 } },
  ]),
];
