import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { readArrays } from "../../compiler/cli/arrays.ts";
import actionTransformer from "../../models/actionTransformer.ts";
import { deviceErrors } from "../support/agreement.ts";
import { differences, goldenCases, parametersOf, readCase } from "../support/golden.ts";

describe.each(goldenCases(actionTransformer.name).map((folder) => [basename(folder), folder] as const))(
  "%s",
  (_, folder) => {
    const golden = readCase(folder);

    test("computes what the published code computed, intermediates included", () => {
      expect(differences(actionTransformer, golden)).toEqual([]);
    });

    test("knows the checkpoint's keys, all of them", () => {
      const graph = actionTransformer.trace(actionTransformer.fromCase(golden));
      const known = new Set([...parametersOf(graph).map(({ name }) => name), ...graph.unused]);
      const keys = typeof golden.weights === "string" ? readArrays(join(folder, golden.weights)).keys() : [];
      expect([...keys].filter((key) => !known.has(key))).toEqual([]);
    });
  },
);

const head = { d: 16, heads: 3, layers: 2, d_ff: 24, classes: 5, loc_out: 6, roi_out: 6, qpr_reduce: 3 };

test.each([
  ["align", { in_channels: 9, context: [2, 5, 4], people: 4, head }],
  ["pool", { in_channels: 9, context: [3, 4, 5], people: 3, head: { ...head, roi_op: "roi_pool", spatial_scale: 1 } }],
  ["mean", { in_channels: 9, context: [1, 4, 5], people: 3, head: { ...head, qpr: "lowres", aligned: true } }],
])("a head on the device is what the evaluator computes: %s", async (_, config) => {
  const graph = actionTransformer.trace({ entry: "ActionHead", config });
  for (const [name, error] of await deviceErrors(graph, { precision: "f32", keep: false, batch: 2, offset: 2 }))
    expect({ name, error }).toSatisfy(() => error < 1e-5);
});

test("a trunk pads as TensorFlow does, and proposals are taken one after another", async () => {
  const config = {
    frames: 5,
    image: [37, 50],
    trunk: {
      conv1: 6,
      conv2b: 5,
      conv2c: 8,
      mixed: [
        ["Mixed_3b", [3, 2, 4, 2, 3, 2]],
        ["Mixed_4b", [4, 3, 5, 2, 3, 4]],
      ],
    },
    rpn: { anchor_sizes: [11, 25], aspect_ratios: [0.5, 1.5], pre_nms: 30, post_nms: 5 },
    head,
  };
  const graph = actionTransformer.trace({ entry: "ActionTransformer", config });
  for (const [name, error] of await deviceErrors(graph, { precision: "f32", keep: false, batch: 1 }))
    // As the published case of the whole network is held to.
    expect({ name, error }).toSatisfy(() => error < 5.71e-5);
});

test("the published trunk ends in 832 channels", () => {
  const names = parametersOf(actionTransformer.trace({ entry: "ActionTransformer", config: { frames: 16 } }));
  expect(names.find(({ name }) => name === "rpn.head.conv.0.0.weight")?.shape).toEqual([832, 832, 3, 3]);
});
