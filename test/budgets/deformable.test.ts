import { describe, expect, it } from "vitest";
import { compileGraph } from "../../compiler/compile.ts";
import deformable from "../../models/deformable.ts";
import type { Step } from "../../ir/program.ts";

// What layers that sample cost before anything runs, at the published sizes.

const compiled = (entry: string, config: object, precision: "bf16" | "f32" = "bf16") =>
  compileGraph(deformable.trace({ entry, config }), { precision, batch: { min: 1, max: 8 }, keep: false });
const familiesOf = (
  entry: string,
  config: object,
  steps: (steps: readonly Step[]) => readonly Step[] = (all) => all,
) => {
  const { program } = compiled(entry, config);
  const families = new Map(program.kernels.map(({ name, family }) => [name, family]));
  return steps(program.steps).map(({ kernel }) => families.get(kernel));
};

const pyramid = {
  n_levels: 4,
  spatial_shapes: [
    [100, 134],
    [50, 67],
    [25, 34],
    [13, 17],
  ],
};
const queries = pyramid.spatial_shapes.reduce((sum, [h = 0, w = 0]) => sum + h * w, 0);
const video = { dim: 768, heads: 12, n_points: 8, n_points_ms: 4, n_scales: 4, frames: 8, depth: 2 };

describe("a layer that samples", () => {
  it("multi-scale deformable attention: values, offsets and weights in one launch, sampling, the result", () => {
    expect(familiesOf("MSDeformAttn", { ...pyramid, Lq: queries })).toEqual(["products", "sample", "gemm"]);
  });

  it("multi-scale deformable attention holds values, points, weights and its result, nothing else", () => {
    const { plan } = compiled("MSDeformAttn", { ...pyramid, Lq: queries });
    const [values, points, weights] = [queries * 256 * 2, queries * 256 * 4, queries * 128 * 4];
    const round = (bytes: number): number => Math.ceil(bytes / 256) * 256;
    expect(plan.activations).toBeLessThanOrEqual(round(values) + round(points + weights) + round(queries * 256 * 2));
  });

  it("D-ST-A: values, what queries and what motion add to points in one launch, sampling, the result", () => {
    // Cues are made of motion once for all layers.
    const layer = (all: readonly Step[]): readonly Step[] => all.filter(({ kernel }) => !kernel.startsWith("map_"));
    expect(familiesOf("DeformableSpaceTimeAttention", video, layer)).toEqual(["products", "sample", "gemm"]);
  });

  it("D-MS-A: four scales, offsets and weights in one launch, sampling, the result", () => {
    expect(familiesOf("DeformableMultiScaleAttention", video)).toEqual(["products", "sample", "gemm"]);
  });

  it.each([
    ["DAT", { release: 2022, q_size: [14, 14], n_heads: 12, n_groups: 3, stride: 1 }],
    ["DAT of few tokens", { release: 2022, q_size: [8, 6], n_heads: 4, n_head_channels: 8, n_groups: 2, stride: 2 }],
    ["DAT with a function of the distance", { q_size: [14, 14], n_heads: 12, n_groups: 3, stride: 2, log_cpb: true, ksize: 2 }], // prettier-ignore
  ])(
    "%s: queries, places of keys, what lies there and the bias, keys and values, attention, the result",
    (_, config) => {
      const kernels = ["gemm", "perceptron", "joint", "gemm", "attention", "gemm"];
      expect(familiesOf("DAttentionBaseline", config)).toEqual(kernels);
    },
  );
});

describe("products in one launch", () => {
  it("take as many blocks as they do alone, and weights of their own", () => {
    const { program } = compiled("MSDeformAttn", { ...pyramid, Lq: queries });
    const [step] = program.steps;
    // The first product's rows, in tiles, then the second's.
    expect(step?.grid[0]).toMatchObject({ perExample: queries, plus: { perExample: queries } });
    const weights = step?.arguments.flatMap((each) =>
      each.kind === "buffer" && each.buffer.space === "weights" ? [each.buffer.offset] : [],
    );
    expect(new Set(weights).size).toBe(4);
  });

  it("share a launch in float32, too", () => {
    const { program } = compiled("MSDeformAttn", { ...pyramid, Lq: 300 }, "f32");
    expect(program.steps).toHaveLength(3);
  });
});
