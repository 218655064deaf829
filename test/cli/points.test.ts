import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { collectPoints } from "../../compiler/cli/points/collect.ts";
import { inspectPoints } from "../../compiler/cli/points/inspectPoints.ts";
import { openCheckpoint } from "../../runtime/checkpoint.ts";
import deformableModels from "../../models/deformable.ts";
import { published } from "../../compiler/cli/media/preprocess.ts";
import { openTerminal } from "../../compiler/cli/terminal.ts";
import { evaluatorRunner } from "../../compiler/cli/evaluatorRunner.ts";
import type { ChosenToken } from "../../compiler/cli/tokenView.ts";
import { constant, deformable, type Grid, grid, Module, pointwise } from "fovea";
import type { Graph } from "../../ir/graph.ts";
import { softmax } from "../support/sampling.ts";
import { anything } from "../support/trace.ts";
import { model } from "../../compiler/dsl/index.ts";

const scratch = mkdtempSync(join(tmpdir(), "fovea-points-"));
afterAll(() => rmSync(scratch, { recursive: true }));

type Clip = Grid<"t" | "h" | "w">;
/** Two heads look at three places of every frame: their own, two pixels to its right, and above the frame. */
class Looking extends Module<{ readonly scored: boolean }> {
  forward({ x }: { x: Clip }): { readonly y: Clip } {
    const own = pointwise(x.split(2, 2)[0], (_, at) => (at.channel === 0 ? at.w : at.h));
    const offsets = constant(
      { u: 3, head: 2, point: 3 },
      Array.from({ length: 6 }, () => [
        [0, 0],
        [2, 0],
        [0, -9],
      ]).flat(),
    );
    const points = own.expand({ u: 3, head: 2, point: 3 }).add(offsets);
    const logits = constant({ head: 2, point: 3 }, [[0], [0], [0], [0], [Math.log(2)], [-Infinity]]);
    const frames = x.rename("t", "u");
    const options = { points, weights: logits, axes: ["w", "h"], heads: "head", over: ["u", "point"] } as const;
    return { y: deformable([frames], this.config.scored ? { ...options, query: x, keys: [frames] } : options) };
  }
}
const graphOf = (scored: boolean): Graph =>
  model({
    name: "looking",
    config: anything,
    inputs: () => ({ x: grid({ t: 3, h: 4, w: 5 }, 4) }),
    module: () => new Looking({ scored }),
  }).trace();
const channels = Float32Array.from({ length: 240 }, (_, i) => Math.sin(i * i));

const collected = (query: ChosenToken, wanted: string | null = null, scored = false) => {
  const graph = graphOf(scored);
  const checkpoint = { source: "nothing", tensors: new Map() };
  const inputs = new Map([["x", { shape: [1, 4, 3, 4, 5], values: channels }]]);
  return collectPoints(graph, { wanted, query, example: { inputs, batch: 1, checkpoint } }, (upTo, given) =>
    evaluatorRunner(upTo, checkpoint).run(given),
  );
};

describe("points", () => {
  it("are places between the edges of the maps, with the weights that they are summed with", async () => {
    const [found] = await collected({ t: 1, h: 0 });
    expect(found).toMatchObject({ query: { t: 1, h: 0, w: 2 }, heads: 2 });
    expect(found?.maps.map(({ frame }) => frame)).toEqual([0, 1, 2].map((index) => ({ index, count: 3 })));
    const [first] = found?.maps ?? [];
    expect(first).toMatchObject({ width: 5, height: 4, level: {}, own: { x: 0.5, y: 0.125 } });
    const third = (weight: number) => expect.closeTo(weight / 3, 12);
    expect(first?.points).toEqual([
      { head: 0, x: 0.5, y: 0.125, weight: third(1 / 3) },
      { head: 0, x: 0.9, y: 0.125, weight: third(1 / 3) },
      { head: 0, x: 0.5, y: -2.125, weight: third(1 / 3) },
      { head: 1, x: 0.5, y: 0.125, weight: third(1 / 3) },
      { head: 1, x: 0.9, y: 0.125, weight: third(2 / 3) },
      { head: 1, x: 0.5, y: -2.125, weight: 0 },
    ]);
  });

  it("weigh what keys say there, where they are scored", async () => {
    const [found] = await collected({ t: 1, h: 2, w: 1 }, null, true);
    const value = (t: number, h: number, w: number, c: number): number =>
      channels[((c * 3 + t) * 4 + h) * 5 + w] ?? NaN;
    const logits = [Math.log(1), Math.log(1), Math.log(1), Math.log(1), Math.log(2), -Infinity];
    for (const head of [0, 1]) {
      const scores = [0, 1, 2].flatMap((u) =>
        [1, 3, null].map((w, point) => {
          const products = [0, 1].map((c) =>
            w === null ? 0 : value(1, 2, 1, 2 * head + c) * value(u, 2, w, 2 * head + c),
          );
          return (logits[3 * head + point] ?? 0) + products.reduce((sum, each) => sum + each, 0) / Math.SQRT2;
        }),
      );
      const weights = found?.maps.flatMap(({ points }) => points.filter((each) => each.head === head)) ?? [];
      for (const [i, share] of softmax(scores).entries()) expect(weights[i]?.weight).toBeCloseTo(share, 12);
    }
  });

  it("are asked for by axes and modules that there are", async () => {
    await expect(collected({ q: 1 })).rejects.toThrow(/no axis of the queries of .*"q"/);
    await expect(collected({ w: 5 })).rejects.toThrow(/"w" .* has positions 0 to 4, not 5/);
    await expect(collected({}, "nothing")).rejects.toThrow(/no sampling layer "nothing"/);
    await expect(collected("prefix")).rejects.toThrow(/samples for no prefix tokens/);
  });
});

describe("the points of the README's picture", () => {
  const folder = new URL("../../models/deformablePoints/", import.meta.url);

  it("go where things go", { timeout: 60_000 }, async () => {
    const config = JSON.parse(readFileSync(new URL("config.json", folder), "utf8")) as object;
    const graph = deformableModels.trace({ entry: "DVT", config });
    using checkpoint = await openCheckpoint(fileURLToPath(new URL("weights.safetensors", folder)));
    // All moves four pixels to the right and two down from each frame to the next: half and a quarter of a patch.
    const [pixels, frames] = [64 * 64, 8];
    const motion = Float32Array.from({ length: frames * 2 * pixels }, (_, i) => {
      const [frame, axis] = [Math.floor(i / pixels / 2), Math.floor(i / pixels) % 2];
      return frame === 0 ? 0 : axis === 0 ? 4 : 2;
    });
    const none = { shape: [1, frames, 3, 64, 64], values: new Float32Array(frames * 3 * pixels) };
    const inputs = new Map([
      ["clip", none],
      ["residuals", none],
      ["motion_vectors", { shape: [1, frames, 2, 64, 64], values: motion }],
    ]);
    const [found] = await collectPoints(
      graph,
      { wanted: null, query: { i: 3, h: 3, w: 4 }, example: { inputs, batch: 1, checkpoint } },
      (upTo, given) => evaluatorRunner(upTo, checkpoint).run(given),
    );
    expect(found?.maps.map(({ frame }) => frame.index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    for (const { frame, points, own } of found?.maps ?? []) {
      const mean = (of: "x" | "y"): number => points.reduce((sum, point) => sum + point[of], 0) / points.length;
      expect(points).toHaveLength(12);
      expect(mean("x")).toBeCloseTo((own?.x ?? 0) + ((frame.index - 3) * 4) / 64, 5);
      expect(mean("y")).toBeCloseTo((own?.y ?? 0) + ((frame.index - 3) * 2) / 64, 5);
    }
  });
});

type Counts = { heads: number; n_points: number; frames: number; sub_clips: number };

describe("inspect --points", () => {
  const said: string[] = [];
  const options = {
    entry: "DVTBlock",
    points: null,
    token: { h: 0 },
    weights: null,
    inputs: new Map(),
    preprocessing: published,
    motion: "auto",
    device: "evaluator",
    precision: "f32",
    svg: scratch,
    json: false,
  } as const;
  const file = fileURLToPath(new URL("../../models/deformableVideoTransformer.ts", import.meta.url));

  it("says and draws where each layer's query looks", { timeout: 60_000 }, async () => {
    const config = join(
      fileURLToPath(new URL("../golden/deformable/dvt-block-linear-fusion", import.meta.url)),
      "case.json",
    );
    const { config: fields } = JSON.parse(readFileSync(config, "utf8")) as { config: object };
    writeFileSync(join(scratch, "config.json"), JSON.stringify(fields));
    const terminal = { ...openTerminal({ json: true }), print: (text: string) => void said.push(text) };
    await inspectPoints(file, { ...options, config: join(scratch, "config.json") }, terminal);
    expect(said[0]).toMatch(/^dsta\n {4}the query at .*h 0.* looks at \d+ points, \d+ of them outside/);
    expect(said[0]).toMatch(/\n\ndmsa\n/);
    expect(readdirSync(scratch).filter((name) => name.endsWith(".svg"))).toEqual(["dmsa.svg", "dsta.svg"]);
    const picture = readFileSync(join(scratch, "dsta.svg"), "utf8");
    // Heads in the legend, then each point of each frame of its part of the clip.
    const { heads, n_points, frames, sub_clips } = fields as Counts;
    expect(picture.match(/<circle /g)).toHaveLength(heads + (heads * n_points * frames) / sub_clips);
    expect(picture).toContain(">frame 2, 5 x 4<");
    expect(picture).toContain(">frame 3, 5 x 4<");
  });
});
