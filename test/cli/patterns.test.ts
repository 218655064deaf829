import { describe, expect, test } from "vitest";
import { compileGraph } from "../../compiler/compile.ts";
import { patternMaps, patternPictures, printPatterns } from "../../compiler/cli/patterns.ts";
import type { Paint } from "../../compiler/cli/terminal.ts";
import { type ChosenToken, seenKeys } from "../../compiler/cli/tokenView.ts";
import timesformer from "../../models/timesformer.ts";
import { attentionKernel, grid } from "../kernels/attentionCase.ts";
import { window } from "../kernels/attentionPatterns.ts";

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
    expect(printPatterns(compiled, {}, plain)).toMatchInlineSnapshot(`
      "attention_temporal_attn
          softmax(0.25 q k^T) v, 2 heads, keys along(t)
          576 of 36,864 pairs see each other; 4,096 are computed, 7.11 times as many
          of the computed, 2,268 (55 %) are tokens that do not see each other, 1,252 (31 %) padding

          each of 4 thread blocks: 4 x 16 queries by 4 x 16 keys, 4 of 16 tiles
          ▒···
          ·▒··
          ··▒·
          ···▒

          the query at t 1, h 4, w 4 sees 3 of 192 keys
          t 0       t 1       t 2
          ········  ········  ········
          ········  ········  ········
          ········  ········  ········
          ········  ········  ········
          ····█···  ····◆···  ····█···
          ········  ········  ········
          ········  ········  ········
          ········  ········  ········

      attention_attn
          softmax(0.25 q k^T) v, 2 heads, keys union(prefix(), along(h, w))
          12,675 of 38,025 pairs see each other; 19,200 are computed, 1.51 times as many
          of the computed, 0 (0 %) are tokens that do not see each other, 6,525 (34 %) padding

          each of 3 thread blocks: 5 x 16 queries by 2 x 64 keys, 10 of 10 tiles
          █▒
          █▒
          █▒
          █▒
          █▒

          the query at t 1, h 4, w 4 sees 65 of 195 keys, 1 of 3 prefix tokens among them
          t 1
          ████████
          ████████
          ████████
          ████████
          ████◆███
          ████████
          ████████
          ████████"
    `);
  });

  test("count the pairs that see each other", () => {
    const pairs = patternMaps(compiled, {}).map(({ map }) => map.pairs);
    // 64 positions of 3 frames; 3 frames of 64 positions and a class token.
    expect(pairs).toEqual([64 * 3 * 3, 3 * 65 * 65]);
    for (const { map } of patternMaps(compiled, {}))
      expect(map.jobs.reduce((sum, { computed }) => sum + computed, 0)).toBeGreaterThanOrEqual(map.pairs);
  });

  test("are pictures with a square for each tile and block, and for each key around those of a token", () => {
    const pictures = patternPictures(compiled, {});
    for (const { name, map, seen } of patternMaps(compiled, {})) {
      const squares = map.jobs.reduce((sum, { tiles, blocks }) => sum + tiles * blocks, 0);
      const cells = seen.panels.reduce((sum, panel) => sum + panel.cells.flat().length, 0);
      // One more is the paper.
      expect(pictures.get(name)?.match(/<rect /g)?.length).toBe(squares + cells + 1);
    }
  });

  test("show the keys of any token, or of the nearest where an axis is shorter", () => {
    const of = (token: ChosenToken): readonly string[] => patternMaps(compiled, token).map(({ seen }) => seen.query);
    expect(of({ t: 2, w: 0 })).toEqual(["t 2, h 4, w 0", "t 2, h 4, w 0"]);
    expect(of("prefix")).toEqual(["t 1, h 4, w 4", "prefix 0"]);
    expect(() => of({ t: 3 })).toThrow('the axis "t" has 3 positions, and 3 is none of them');
    expect(() => of({ x: 1 })).toThrow('no queries have an axis "x"');
  });

  test("show a large grid around what is seen", () => {
    const kernel = attentionKernel({
      precision: "bf16",
      pattern: window({ h: 7, w: 7 }, { h: 3, w: 3 }),
      query: grid({ h: 56, w: 70 }),
      headDim: 32,
    });
    const seen = seenKeys(kernel, { h: 20, w: 40 });
    expect(seen).toMatchObject({
      query: "h 20, w 40",
      count: 49,
      of: 56 * 70,
      prefix: { seen: 0, of: 0 },
      part: "h 15 to 25, w 36 to 46",
    });
    // Seven positions, and two more to each side.
    const drawn = seen.panels.map(({ cells }) => cells.map((row) => row.filter((cell) => cell !== "unseen").length));
    expect(drawn).toEqual([[0, 0, 7, 7, 7, 7, 7, 7, 7, 0, 0]]);
    expect(seen.panels[0]?.cells.every((row) => row.length === 11)).toBe(true);
  });
});
