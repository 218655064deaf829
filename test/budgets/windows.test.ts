import { describe, expect, it } from "vitest";
import { compileGraph } from "../../compiler/compile.ts";
import { planAttention } from "../../compiler/schedule/attention/plan.ts";
import type { AttentionKernel } from "../../compiler/schedule/kernels.ts";
import { partName } from "../../compiler/schedule/attention/groups.ts";
import { evaluateScalar } from "../../ir/scalarEvaluate.ts";
import type { Graph } from "../../ir/graph.ts";
import swin from "../../models/swin.ts";
import videoSwin from "../../models/videoSwin.ts";

const compiled = (graph: Graph) => compileGraph(graph, { precision: "bf16", batch: { min: 1, max: 1 }, keep: false });
/** How many launches each block of the network takes. */
const launchesOfBlocks = (graph: Graph): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>();
  for (const { origin } of compiled(graph).program.steps) {
    const block = /layers\.\d+\.blocks\.\d+/.exec(origin.path)?.[0];
    if (block !== undefined) counts.set(block, (counts.get(block) ?? 0) + 1);
  }
  return counts;
};

describe("a block of a Swin Transformer", () => {
  it.each([
    ["of images", swin.trace({ preset: "tiny" }), 12],
    ["of clips", videoSwin.trace({ config: { input_size: [16, 112, 112], depths: [2, 2] } }), 4],
    ["of clips that no window divides", videoSwin.trace({ config: { input_size: [18, 90, 100], depths: [2, 2] } }), 4],
  ])("%s takes five launches", (_name, graph, blocks) => {
    const counts = launchesOfBlocks(graph);
    expect(counts.size).toBe(blocks);
    for (const [block, count] of counts) expect(count, block).toBeLessThanOrEqual(5);
  });
});

describe("the mask of shifted windows", () => {
  const attentions = [...compiled(videoSwin.trace({ config: { depths: [2] } })).computations.values()].filter(
    (kernel): kernel is AttentionKernel => kernel.kind === "attention",
  );
  const [whole, shifted] = attentions.map((kernel) => planAttention(kernel).jobs[0]);

  it("costs nothing in windows that need none, at the published sizes", () => {
    if (whole === undefined || shifted === undefined) throw new Error("there are two attentions");
    // The same tiles meet the same keys and see as many of them whole, so that no predicate is asked but in the tail.
    expect(shifted.schedule).toEqual(whole.schedule);
    expect(shifted.tiles).toEqual(whole.tiles);
    // 2 x 8 x 8 windows: the last of each axis has wrapped around the clip.
    const tested: string[] = [];
    for (let t = 0; t < 2; t++)
      for (let h = 0; h < 8; h++)
        for (let w = 0; w < 8; w++) {
          const variables = { [partName("t")]: t, [partName("h")]: h, [partName("w")]: w };
          if (evaluateScalar(shifted.irregular, { variables }) !== 0) tested.push(`${t} ${h} ${w}`);
        }
    expect(tested.length).toBe(128 - 1 * 7 * 7);
    expect(tested).toContain("1 0 0");
    expect(tested).not.toContain("0 6 6");
  });
});
