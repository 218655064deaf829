import { describe, expect, test } from "vitest";
import { batchOf, graphInputs, graphParameters, shapeOfBatch } from "../../compiler/cli/ports.ts";
import deformable from "../../models/deformable.ts";
import { evaluate } from "../../ir/evaluate.ts";
import type { Graph } from "../../ir/graph.ts";
import { layoutShape } from "../../ir/layoutOffset.ts";
import { checkCheckpoint } from "../../runtime/checkpoint.ts";
import { parametersOf } from "../support/golden.ts";
import { refusalOf } from "../support/trace.ts";
import { normal, worstError } from "../kernels/testData.ts";
import {
  type DatReferenceConfig,
  decoderLayer,
  deformableAttention,
  type DetrConfig,
  encoderLayer,
  type Parameters,
  type Tokens,
} from "./deformableReference.ts";

/** Seeded numbers for everything that a network reads, and what it makes of them for a batch of one. */
function evaluated(graph: Graph, given: { readonly [input: string]: Float64Array } = {}) {
  const parameters: Parameters = Object.fromEntries(
    parametersOf(graph).map(({ name, shape }, i) => {
      const count = shape.reduce((product, size) => product * size, 1);
      const norm = name.endsWith("weight") && shape.length === 1;
      return [
        name,
        normal(i + 1, count, norm ? 1 : 0, shape.length > 1 ? 1 / Math.sqrt(count / (shape[0] ?? 1)) : 0.3),
      ];
    }),
  );
  const inputs = Object.fromEntries(
    graph.nodes.flatMap((node, i) => {
      if (node.op !== "input") return [];
      const { name, layout } = node.attrs;
      const sizes = layoutShape(layout, node.type).map((size) => (typeof size === "number" ? size : size.batchTimes));
      return [
        [
          name,
          given[name] ??
            normal(
              i + 100,
              sizes.reduce((product, size) => product * size, 1),
            ),
        ] as const,
      ];
    }),
  );
  const { outputs } = evaluate(graph, { batch: 1, inputs, parameters });
  return { parameters, inputs, outputs };
}

const tokens = (values: ArrayLike<number> | undefined, width: number): Tokens =>
  Array.from({ length: (values?.length ?? 0) / width }, (_, n) =>
    Array.from({ length: width }, (__, c) => values?.[n * width + c] ?? Number.NaN),
  );
const same = (actual: Float64Array | undefined, expected: Tokens): void =>
  expect(worstError(actual ?? new Float64Array(), Float64Array.from(expected.flat())).error).toBeLessThan(1e-12);

const pyramid = { n_levels: 2, d_model: 12, n_heads: 3, n_points: 2, d_ffn: 20 };
const shapes = [
  [4, 5],
  [1, 3],
] as const;
const positions = 23;

describe.each([
  ["points", {}],
  ["boxes and gelu", { reference_dim: 4, activation: "gelu" }],
  ["padding", { padding: true }],
] as const)("Deformable DETR with %s", (_, more) => {
  const given = {
    n_heads: 3,
    n_points: 2,
    spatial_shapes: shapes,
    activation: "activation" in more ? more.activation : "relu",
  } satisfies DetrConfig;
  const dim = "reference_dim" in more ? 4 : 2;
  const run = (entry: string, queries: number, config: object) => {
    const graph = deformable.trace({ entry, config: { ...pyramid, spatial_shapes: shapes, ...more, ...config } });
    // Places from outside of the image to its other side; every fifth position is padding.
    const ran = evaluated(graph, {
      reference_points: normal(50, queries * 2 * dim, 0.5, 0.4),
      padding_mask: Float64Array.from({ length: positions }, (__, s) => (s % 5 === 0 ? 1 : 0)),
    });
    const reference = tokens(ran.inputs["reference_points"], dim);
    const places = {
      reference: Array.from({ length: queries }, (__, q) => reference.slice(2 * q, 2 * q + 2)),
      padding: "padding" in more ? [...(ran.inputs["padding_mask"] ?? [])] : null,
    };
    return { ...ran, places };
  };

  test("a layer of the encoder is the published one", () => {
    const { inputs, outputs, parameters, places } = run("DeformableTransformerEncoderLayer", positions, {});
    const [src, pos] = [tokens(inputs["src"], 12), tokens(inputs["pos"], 12)];
    same(outputs["output"], encoderLayer(src, pos, places, given, parameters));
  });

  test("a layer of the decoder is the published one", () => {
    const { inputs, outputs, parameters, places } = run("DeformableTransformerDecoderLayer", 7, { Lq: 7 });
    const [tgt, pos, src] = ["tgt", "query_pos", "src"].map((name) => tokens(inputs[name], 12)) as [
      Tokens,
      Tokens,
      Tokens,
    ];
    same(outputs["output"], decoderLayer(tgt, pos, src, places, given, parameters));
  });
});

describe("numbers of the wrong size", () => {
  const entry = { n_levels: 2, Lq: 7, d_model: 16, n_heads: 2, spatial_shapes: shapes };
  const refused = (name: string, config: object, input: string, shape: readonly number[]): string => {
    const ports = graphInputs(deformable.trace({ entry: name, config }));
    const arrays = ports.map(
      (port) =>
        [
          port.name,
          { shape: port.name === input ? shape : shapeOfBatch(port, 1), values: new Float32Array() },
        ] as const,
    );
    try {
      batchOf(ports, new Map(arrays));
    } catch (error) {
      return String(error);
    }
    return "nothing was refused";
  };

  test("are refused where offsets, weights or places are handed in", () => {
    const core = { heads: 2, head_dim: 4, Lq: 7, points: 3, spatial_shapes: shapes };
    expect(refused("MSDeformAttnCore", core, "sampling_locations", [1, 7, 2, 2, 4, 2])).toMatch(
      /"sampling_locations" is \[1, 7, 2, 2, 4, 2\]; the network takes \[batch, 7, 2, 2, 3, 2\]/,
    );
    expect(refused("MSDeformAttnCore", core, "attention_weights", [1, 7, 2, 6])).toMatch(
      /"attention_weights" is \[1, 7, 2, 6\]; the network takes \[batch, 7, 2, 2, 3\]/,
    );
    expect(refused("MSDeformAttn", entry, "reference_points", [1, 7, 2, 4])).toMatch(/takes \[batch, 7, 2, 2\]/);
  });

  test("are refused where levels do not add up to the values", () => {
    expect(refused("MSDeformAttn", entry, "input_flatten", [1, 22, 16])).toMatch(
      /"input_flatten" is \[1, 22, 16\]; the network takes \[batch, 23, 16\]/,
    );
  });

  test("are refused in a checkpoint", () => {
    const graph = deformable.trace({ entry: "MSDeformAttn", config: entry });
    const tensors = parametersOf(graph).map(({ name, shape }) => {
      const there = name === "sampling_offsets.weight" ? [48, 16] : shape;
      return [name, { shape: there, values: () => new Float32Array() }] as const;
    });
    const contract = { name: "MSDeformAttn", parameters: graphParameters(graph), unused: graph.unused };
    // Two heads, two levels and four points, each with an offset on two axes.
    expect(() => checkCheckpoint(contract, { source: "w.pth", tensors: new Map(tensors) })).toThrow(
      /"sampling_offsets\.weight".*\[48, 16\].*\[32, 16\]/,
    );
  });
});

test("the decoder layer knows the published keys", () => {
  const graph = deformable.trace({
    entry: "DeformableTransformerDecoderLayer",
    config: { ...pyramid, spatial_shapes: shapes },
  });
  const both = (name: string): readonly string[] => [`${name}.bias`, `${name}.weight`];
  expect(
    parametersOf(graph)
      .map(({ name }) => name)
      .toSorted(),
  ).toEqual(
    [
      ...["linear1", "linear2", "norm1", "norm2", "norm3", "self_attn.out_proj"].flatMap(both),
      ...["attention_weights", "output_proj", "sampling_offsets", "value_proj"].flatMap((name) =>
        both(`cross_attn.${name}`),
      ),
      "self_attn.in_proj_bias",
      "self_attn.in_proj_weight",
    ].toSorted(),
  );
});

const image = {
  q_size: [6, 8],
  n_heads: 4,
  n_groups: 2,
  stride: 2,
  ksize: 3,
  offset_range_factor: 2,
  use_pe: true,
  dwc_pe: false,
  fixed_pe: false,
  no_off: false,
  log_cpb: false,
} as const;

describe("DAT", () => {
  test.each<readonly [string, Partial<DatReferenceConfig>]>([
    ["2022, table of distances", { release: 2022 }],
    ["2022, offsets without bound", { release: 2022, offset_range_factor: 0 }],
    ["2022, positions kept inside", { release: 2022, offset_range_factor: -1 }],
    ["2022, bias by place", { release: 2022, fixed_pe: true, stride: 1 }],
    ["2022, convolved queries", { release: 2022, dwc_pe: true }],
    ["2022, a regular grid, table", { release: 2022, no_off: true }],
    [
      "2022, a regular grid kept inside, no bias",
      { release: 2022, no_off: true, use_pe: false, offset_range_factor: -1 },
    ],
    ["2023, table of distances", { release: 2023 }],
    ["2023, no offset", { release: 2023, offset_range_factor: 0 }],
    [
      "2023, positions kept inside, function of the distance",
      { release: 2023, offset_range_factor: -1, log_cpb: true },
    ],
    ["2023, bias by place", { release: 2023, fixed_pe: true, ksize: 2 }],
    ["2023, convolved queries", { release: 2023, dwc_pe: true }],
    ["2023, convolved queries before any other bias", { release: 2023, dwc_pe: true, fixed_pe: true, log_cpb: true }],
    ["2023, a regular grid", { release: 2023, no_off: true, offset_range_factor: -1 }],
    ["2023, one group, large window", { release: 2023, n_groups: 1, ksize: 7, stride: 1 }],
    ["2023, a group a head", { release: 2023, n_groups: 4, ksize: 5, stride: 3 }],
  ])("%s: is the published code", (_, more) => {
    const config = { ...image, ...more } as DatReferenceConfig;
    const graph = deformable.trace({ entry: "DAttentionBaseline", config: { ...config, n_head_channels: 3 } });
    const { inputs, outputs, parameters } = evaluated({ ...graph, kept: [] });
    const [h, w] = config.q_size;
    const pixels = (channelsFirst: ArrayLike<number> | undefined): Tokens =>
      Array.from({ length: h * w }, (__, n) =>
        Array.from({ length: 12 }, (___, c) => channelsFirst?.[c * h * w + n] ?? Number.NaN),
      );
    const expected = deformableAttention(pixels(inputs["x"]), config, parameters);
    same(Float64Array.from(pixels(outputs["out"]).flat()), expected);
  });

  test.each<readonly [RegExp, object]>([
    [/n_groups.*3 groups do not divide 4 heads/, { n_groups: 3 }],
    [/log_cpb.*the release of 2022 has none/, { release: 2022, log_cpb: true }],
    [/ksize.*longer than the image/, { ksize: 8, stride: 8 }],
    [/stride.*leaves 1 x 1 keys/, { stride: 9 }],
    [/dwc_pe.*no position encoding of keys on a regular grid/, { no_off: true, dwc_pe: true }],
    [/ksize.*gives 3 x 3 keys.*no_off averages/, { q_size: [7, 7], stride: 3, ksize: 5, no_off: true, use_pe: false }],
    [/ksize.*gives 3 x 3 keys.*fixed_pe has a bias for/, { q_size: [7, 7], stride: 3, ksize: 5, fixed_pe: true }],
  ])("refuses what no published code computes: %s", (said, more) => {
    expect(refusalOf(() => deformable.trace({ entry: "DAttentionBaseline", config: { ...image, ...more } }))).toMatch(
      said,
    );
  });
});

const video = { dim: 12, heads: 3, n_points: 2, n_points_ms: 3, n_scales: 2, patch: 2, image: [6, 10], frames: 4 };

describe("DVT", () => {
  test("attends to space and time alone where it is told so", () => {
    const graph = deformable.trace({ entry: "DVTBlock", config: { ...video, attention: "D-ST-A" } });
    const { outputs } = evaluated(graph);
    expect(parametersOf(graph).some(({ name }) => /dmsa|fusion/.test(name))).toBe(false);
    expect(outputs["out"]?.every(Number.isFinite)).toBe(true);
  });

  test.each<readonly [RegExp, object]>([
    [/heads.*5 heads do not divide dim/, { heads: 5 }],
    [/sub_clips does not divide frames/, { sub_clips: 3 }],
    [/patch does not divide the image/, { patch: 4 }],
    [/fusion/, { fusion: "sum" }],
  ])("refuses %s", (said, more) => {
    expect(refusalOf(() => deformable.trace({ entry: "DVT", config: { ...video, ...more } }))).toMatch(said);
  });
});
