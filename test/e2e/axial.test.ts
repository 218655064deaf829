import { describe, expect, test } from "vitest";
import { type AnyGrid, Conv, grid, maxPool, meanPool, Module } from "../../compiler/dsl/index.ts";
import type { Graph } from "../../ir/graph.ts";
import axialDeeplab from "../../models/axialDeeplab.ts";
import nonLocal from "../../models/nonLocal.ts";
import { deviceErrors } from "../support/agreement.ts";
import { type Image, traceModule } from "../support/trace.ts";

// Axial attentions, non-local blocks, convolutions and what stands between them in shapes of which nobody published numbers:
// on the device as in float64. FOVEA_CONFIGURATIONS=all runs those too that found nothing new.

const every = process.env["FOVEA_CONFIGURATIONS"] === "all";
/** What rounding to each precision may cost. */
const tolerances = { f32: 2e-5, bf16: 3e-2, f16: 5e-3 } as const;
const precisions = every ? (["f32", "bf16", "f16"] as const) : (["bf16"] as const);

const check = async (graph: Graph): Promise<void> => {
  for (const precision of precisions) {
    const errors = await deviceErrors(graph, { precision, keep: false, batch: 2 });
    for (const [name, error] of errors)
      expect({ precision, name, error }).toSatisfy(() => error < tolerances[precision]);
  }
};

const attention = { in_planes: 16, stride: 1, width: false };
const block = { groups: 2, stride: 1 };
const axial: readonly (readonly [entry: string, config: object])[] = [
  [
    "AxialAttention",
    { ...attention, in_planes: 5, out_planes: 8, groups: 4, kernel_size: 9, stride: 2, extent: { h: 9, w: 5 } },
  ],
  ["AxialBlock", { ...block, inplanes: 20, planes: 12, groups: 3, kernel_size: 6, stride: 3 }],
  ["AxialBlock", { ...block, inplanes: 40, planes: 20, kernel_size: 10, groups: 5, stride: 2 }],
];
const moreAxial: typeof axial = [
  [
    "AxialAttention",
    { ...attention, out_planes: 24, groups: 3, kernel_size: 17, width: true, extent: { h: 3, w: 17 } },
  ],
  [
    "AxialAttention",
    { ...attention, in_planes: 7, out_planes: 30, groups: 5, kernel_size: 11, stride: 3, extent: { h: 11, w: 6 } },
  ],
  [
    "AxialAttention",
    { ...attention, out_planes: 112, groups: 7, kernel_size: 33, width: true, extent: { h: 2, w: 33 } },
  ],
  ["AxialAttention", { ...attention, out_planes: 64, groups: 1, kernel_size: 5, extent: { h: 5, w: 7 } }],
  ["AxialAttention", { ...attention, out_planes: 48, groups: 6, kernel_size: 65, extent: { h: 65, w: 1 } }],
  ["AxialAttention", { ...attention, out_planes: 64, groups: 8, kernel_size: 1, extent: { h: 1, w: 9 } }],
  [
    "AxialAttention",
    { ...attention, out_planes: 32, groups: 2, kernel_size: 130, width: true, extent: { h: 2, w: 130 } },
  ],
  ["AxialBlock", { ...block, inplanes: 24, planes: 12, kernel_size: 9, base_width: 128 }],
  ["AxialBlock", { ...block, inplanes: 32, planes: 16, groups: 8, kernel_size: 15 }],
];

describe.each(every ? [...axial, ...moreAxial] : axial)("%s %j", (entry, config) => {
  test("is what the evaluator computes", () => check(axialDeeplab.trace({ entry, config })));
});

const odd = { in_channels: 10, inter_channels: 6 };
const line = { dimension: 1, extent: { t: 1, h: 1, w: 13 } };
const map = { dimension: 2, extent: { t: 1, h: 7, w: 5 } };
const clip = { dimension: 3, extent: { t: 3, h: 5, w: 4 } };
const pathway = { dim_in: [12], dim_out: [16], num_blocks: [2], dim_inner: [8], num_block_temp_kernel: [1] };
const others: typeof axial = [
  ["NONLocalBlock2D", { ...odd, ...map, pairwise: "concatenation", sub_sample: false, bn_layer: false }],
  ["NONLocalBlock2D", { ...odd, ...map, in_channels: 16, inter_channels: 256 }],
  ["Nonlocal", { dim: 12, dim_inner: 5, pool_size: [2, 2, 2], groups: 2, extent: { t: 4, h: 5, w: 6 } }],
];
const moreOthers: typeof axial = [
  ...["gaussian", "embedded_gaussian", "dot_product", "concatenation"].flatMap((pairwise) =>
    [line, map, clip].flatMap((shape) =>
      [true, false].map((sub_sample): readonly [string, object] => {
        const channels = pairwise === "gaussian" ? { in_channels: 10, inter_channels: 6 } : odd;
        const config = { ...channels, ...shape, pairwise, sub_sample, bn_layer: sub_sample === (shape === map) };
        return [`NONLocalBlock${shape.dimension}D`, config];
      }),
    ),
  ),
  ["NONLocalBlock2D", { ...odd, ...map, in_channels: 16, inter_channels: 512, pairwise: "dot_product" }],
  [
    "Nonlocal",
    {
      dim: 12,
      dim_inner: 5,
      pool_size: [1, 1, 1],
      instantiation: "dot_product",
      groups: 3,
      extent: { t: 3, h: 5, w: 3 },
    },
  ],
  [
    "ResStage",
    {
      ...pathway,
      stride: [2],
      temp_kernel_sizes: [[3]],
      num_groups: [2],
      nonlocal_inds: [[0, 1]],
      nonlocal_pool: [[1, 2, 2]],
      extent: { t: 3, h: 9, w: 7 },
    },
  ],
  [
    "ResStage",
    {
      ...pathway,
      dim_out: [12],
      temp_kernel_sizes: [[1]],
      dilation: [2],
      nonlocal_inds: [[1]],
      nonlocal_group: [3],
      extent: { t: 3, h: 6, w: 6 },
    },
  ],
];

describe.each(every ? [...others, ...moreOthers] : others)("%s %j", (entry, config) => {
  test("is what the evaluator computes", () => check(nonLocal.trace({ entry, config })));
});

/** Windows of all kinds, on one map. */
class Windows extends Module {
  padded = new Conv(12, {
    size: { h: 3, w: 2 },
    stride: { h: 2, w: 1 },
    dilation: { h: 1, w: 2 },
    pad: { h: [0, 2], w: [3, 1] },
  });
  grouped = new Conv(64, { size: { h: 2, w: 3 }, stride: { h: 1, w: 2 }, pad: { h: [1, 0], w: [0, 1] }, groups: 2 });
  narrow = new Conv(12, { size: { h: 3, w: 3 }, dilation: { h: 2, w: 1 }, pad: { h: 2, w: [2, 0] }, groups: 4 });
  depthwise = new Conv(8, { size: { w: 5 }, pad: { w: [4, 0] }, groups: 8, bias: false });
  single = new Conv(5, { size: { h: 1, w: 1 }, stride: { h: 3, w: 2 } });

  forward({ x }: { readonly x: Image }): { readonly [name: string]: AnyGrid } {
    const window = { size: { h: 3, w: 2 }, stride: { h: 2, w: 2 }, pad: { h: [1, 2], w: [0, 1] } } as const;
    return {
      padded: this.padded(x),
      grouped: this.grouped(x),
      narrow: this.narrow(x),
      depthwise: this.depthwise(x),
      single: this.single(x),
      largest: maxPool(window)(x),
      mean: meanPool(window)(x),
      meanOfThose: meanPool({ ...window, countPadding: false })(x),
      corners: x.resize({ h: 13, w: 3 }, { mode: "bilinear", alignCorners: true }),
      centres: x.resize({ h: 13, w: 3 }, { mode: "bilinear" }),
      one: x.resize({ h: 1, w: 20 }, { mode: "bilinear", alignCorners: true }),
      nearest: x.resize({ h: 5, w: 11 }),
    };
  }
}
/** Products of means over windows: taken as they load, but for those that are read at the border, or by others too. */
class Means extends Module {
  a = new Conv(24, { size: { h: 1, w: 1 } });
  b = new Conv(24, { size: { h: 1, w: 1 } });

  forward({ x }: { readonly x: Image }): { readonly [name: string]: AnyGrid } {
    const inside = meanPool({ size: { h: 2, w: 2 } })(x);
    return { inside: this.a(inside), border: this.b(meanPool({ size: { h: 2, w: 2 }, pad: { w: 1 } })(x)) };
  }
}

test.each([
  ["windows", () => traceModule(new Windows(), grid({ h: 7, w: 9 }, 8))],
  ["means", () => traceModule(new Means(), grid({ h: 7, w: 10 }, 12))],
])("%s of all kinds are what the evaluator computes", (_name, graph) => check(graph()));
