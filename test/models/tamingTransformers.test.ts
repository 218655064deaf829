import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { readArrays } from "../../compiler/cli/arrays.ts";
import { compileGraph } from "../../compiler/compile.ts";
import taming from "../../models/tamingTransformers.ts";
import { deviceErrors } from "../support/agreement.ts";
import { differences, goldenCases, parametersOf, readCase } from "../support/golden.ts";

describe.each(goldenCases(taming.name).map((folder) => [basename(folder), folder] as const))("%s", (_, folder) => {
  const golden = readCase(folder);

  test("computes what the published code computed, intermediates included", () => {
    expect(differences(taming, golden)).toEqual([]);
  });

  test("knows the checkpoint's keys, all of them", () => {
    const graph = taming.trace(taming.fromCase(golden));
    const known = new Set([...parametersOf(graph).map(({ name }) => name), ...graph.unused]);
    const keys = typeof golden.weights === "string" ? readArrays(join(folder, golden.weights)).keys() : [];
    expect([...keys].filter((key) => !known.has(key))).toEqual([]);
  });
});

const gpt = { vocab_size: 11, block_size: 14, n_layer: 2, n_head: 3, n_embd: 36 };
const vqgan = {
  ddconfig: { ch: 32, ch_mult: [1, 2], num_res_blocks: 1, z_channels: 24, resolution: 12, attn_resolutions: [6] },
  embed_dim: 20,
  n_embed: 40,
  size: [10, 14],
};
/** What rounding to each precision may cost. */
const tolerances = { f32: 2e-5, bf16: 4e-2 };

describe.each<"f32" | "bf16">(["f32", "bf16"])("on the device in %s", (precision) => {
  test.each([
    ["GPT", { ...gpt, tokens: 13 }],
    ["GPT", { ...gpt, tokens: 9, n_unmasked: 4, embeddings: 3, idx_with_embeddings: 5 }],
    ["Net2NetTransformer", { ...gpt, condition: 6, image: 8 }],
    ["VQModelDecode", vqgan],
    ["VQModelDecode", { ...vqgan, ddconfig: { ...vqgan.ddconfig, resamp_with_conv: false } }],
  ])("%s is what the evaluator computes: %j", async (entry, config) => {
    const graph = taming.trace({ entry, config });
    for (const [name, error] of await deviceErrors(graph, { precision, keep: false, batch: 2 }))
      expect({ name, error }).toSatisfy(() => error < tolerances[precision]);
  });
});

test("images have the codes of the evaluator", async () => {
  const errors = await deviceErrors(taming.trace({ entry: "VQModelEncode", config: { ...vqgan, images: 2 } }), {
    precision: "f32",
    keep: false,
    batch: 2,
  });
  expect(errors.get("indices")).toBe(0);
});

describe("launches", () => {
  const launches = (entry: string, config: object) =>
    compileGraph(taming.trace({ entry, config }), { precision: "bf16", batch: { min: 1, max: 8 }, keep: false }).program
      .steps.length;

  test("a block of the GPT is five", () => {
    const ofLayers = (n_layer: number) => launches("Net2NetTransformer", { ...gpt, n_layer, condition: 6, image: 8 });
    expect(ofLayers(5) - ofLayers(3)).toBe(2 * 5);
  });

  test("an attention over a map is four: the norm, projections, attention, and the way back", () => {
    expect(launches("AttnBlock", { in_channels: 64, size: [7, 9] })).toBe(4);
  });
});

test("the published network of 1.4 billion parameters has as many", () => {
  const graph = taming.trace({ entry: "Net2NetTransformer", preset: "cin" });
  const count = parametersOf(graph).reduce((sum, { shape }) => sum + shape.reduce((all, size) => all * size, 1), 0);
  expect(count).toBeGreaterThan(1.4e9);
  expect(count).toBeLessThan(1.42e9);
});
