import { describe, expect, test } from "vitest";
import { compileGraph } from "../../compiler/compile.ts";
import { patternMaps, patternPictures, printPatterns } from "../../compiler/cli/patterns.ts";
import type { Paint } from "../../compiler/cli/terminal.ts";
import timesformer from "../../models/timesformer.ts";

const same = (text: string): string => text;
const plain: Paint = { bold: same, dim: same, red: same, green: same, yellow: same, cyan: same };

const compiled = compileGraph(
  timesformer.trace({
    config: {
      img_size: [64, 64],
      patch_size: 8,
      num_frames: 3,
      embed_dim: 32,
      depth: 1,
      num_heads: 2,
      num_classes: 3,
    },
  }),
  { precision: "bf16", batch: { min: 1, max: 1 }, keep: false },
);

describe("patterns of divided space and time", () => {
  test("are drawn with what they compute", () => {
    expect(printPatterns(compiled, plain)).toMatchInlineSnapshot(`
      "attention_temporal_attn
          softmax(0.25 q k^T) v, 2 heads, keys along(t)
          576 of 36,864 pairs see each other; 4,096 are computed, 7.11 times as many

          each of 4 thread blocks: 4 x 16 queries by 4 x 16 keys, 4 of 16 tiles
          ▒···
          ·▒··
          ··▒·
          ···▒

      attention_attn
          softmax(0.25 q k^T) v, 2 heads, keys union(prefix(), along(h, w))
          12,675 of 38,025 pairs see each other; 19,200 are computed, 1.51 times as many

          each of 3 thread blocks: 5 x 16 queries by 2 x 64 keys, 10 of 10 tiles
          █▒
          █▒
          █▒
          █▒
          █▒"
    `);
  });

  test("count the pairs that see each other", () => {
    const pairs = patternMaps(compiled).map(({ map }) => map.pairs);
    // 64 positions of 3 frames; 3 frames of 64 positions and a class token.
    expect(pairs).toEqual([64 * 3 * 3, 3 * 65 * 65]);
    for (const { map } of patternMaps(compiled))
      expect(map.jobs.reduce((sum, { computed }) => sum + computed, 0)).toBeGreaterThanOrEqual(map.pairs);
  });

  test("are pictures with a square for each tile and block", () => {
    const pictures = patternPictures(compiled);
    for (const { name, map } of patternMaps(compiled)) {
      const squares = map.jobs.reduce((sum, { tiles, blocks }) => sum + tiles * blocks, 0);
      // One more is the paper.
      expect(pictures.get(name)?.match(/<rect /g)?.length).toBe(squares + 1);
    }
  });
});
