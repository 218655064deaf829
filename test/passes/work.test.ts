import { describe, expect, it } from "vitest";
import { compileGraph } from "../../compiler/compile.ts";
import timesformer from "../../models/timesformer.ts";

const [frames, patches, dim, heads, hidden, classes] = [2, 6, 10, 2, 20, 3];
const graph = timesformer.trace({
  config: {
    img_size: [8, 12],
    patch_size: 4,
    num_frames: frames,
    embed_dim: dim,
    depth: 1,
    num_heads: heads,
    mlp_ratio: hidden / dim,
    num_classes: classes,
  },
});
const options = { batch: { min: 1, max: 4 }, keep: false } as const;

describe("work is what a hand counts", () => {
  const tokens = frames * patches;
  const patchInputs = 4 * 4 * 3;
  /** A product of so many rows: a multiplication and an addition for each weight. */
  const product = (rows: number, inputs: number, outputs: number): number => 2 * rows * inputs * outputs;
  /** Scores and weighted values: two products of the heads' channels, which are `dim` in all. */
  const attention = (queries: number, keys: number): number => 2 * 2 * queries * keys * dim;
  const withBias = (inputs: number, outputs: number): number => inputs * outputs + outputs;
  /** By launch: operations; elements read of weights, and of activations; elements written. The class token is one row. */
  const expected: readonly (readonly [string, number, number, number, number])[] = [
    // Embeddings of places (without the class token's) and of times are added where the product ends.
    [
      "patch_embed.proj",
      product(tokens, patchInputs, dim),
      withBias(patchInputs, dim) + patches * dim + frames * dim,
      tokens * patchInputs,
      tokens * dim,
    ],
    ["temporal_attn.qkv", product(tokens, dim, 3 * dim), withBias(dim, 3 * dim), tokens * dim, tokens * 3 * dim],
    ["temporal_attn", attention(tokens, frames), 0, tokens * 3 * dim, tokens * dim],
    // The residual is read beside what was attended to.
    ["temporal_fc", product(tokens, dim, dim), withBias(dim, dim), 2 * tokens * dim, tokens * dim],
    ["", 0, 2 * dim, 0, dim],
    ["attn.qkv", product(tokens + 1, dim, 3 * dim), withBias(dim, 3 * dim), (tokens + 1) * dim, (tokens + 1) * 3 * dim],
    // Each frame has its own query of the class token, and all of them read one row of it.
    ["attn", attention(frames * (patches + 1), patches + 1), 0, (tokens + 1) * 3 * dim, frames * (patches + 1) * dim],
    [
      "attn.proj",
      product(tokens + 1, dim, dim),
      withBias(dim, dim),
      (tokens + 1) * dim + frames * (patches + 1) * dim,
      (tokens + 1) * dim,
    ],
    // From here on the class token alone is wanted.
    ["mlp.fc1", product(1, dim, hidden), withBias(dim, hidden), dim, hidden],
    ["mlp.fc2", product(1, hidden, dim), withBias(hidden, dim), hidden + dim, dim],
    ["head", product(1, dim, classes), withBias(dim, classes), dim, classes],
  ];

  it.each([
    ["f32", 4],
    ["bf16", 2],
  ] as const)("launch by launch in %s", (precision, size) => {
    const { program } = compileGraph(graph, { ...options, precision });
    const found = program.steps.map(({ origin, work }) => {
      const { flops, readBytes, writeBytes } = work;
      const write = writeBytes.fixed + writeBytes.perExample;
      return [origin.path, flops.perExample, readBytes.fixed, readBytes.perExample, write];
    });
    // What the caller hands over and receives is float32 in every precision.
    const last = expected.length - 1;
    const counted = expected.map(([path, flops, weights, read, write], index) => [
      ["model", ...(path === "" ? [] : [index === 0 || index === last ? path : `blocks.0.${path}`])].join("."),
      flops,
      weights * size,
      read * (index === 0 ? 4 : size),
      write * (index === last ? 4 : size),
    ]);
    expect(found).toEqual(counted);
  });
});
