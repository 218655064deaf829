import { describe, expect, it } from "vitest";
import type { Precision } from "../../ir/types.ts";
import { attentionTypes, blockOf, compileTimeSformer, kernelsOfBlock } from "./timesformer.ts";

// What a plan costs before anything runs: launches, distinct kernels and memory, at the published sizes.

const published = ["base", "hr", "large"].flatMap((preset) =>
  attentionTypes.flatMap((type) => (["bf16", "f32"] as const).map((precision) => [preset, type, precision] as const)),
);

describe.each(published)("%s, %s, %s", (preset, attention_type, precision) => {
  const { program, sources, plan } = compileTimeSformer(precision, { preset, config: { attention_type } });

  it("takes few kernels a block", () => {
    const blocks = new Map<string, string[]>();
    for (const step of program.steps) {
      const block = blockOf(step);
      if (block !== undefined) blocks.set(block, [...(blocks.get(block) ?? []), step.kernel]);
    }
    expect(blocks.size).toBe(12);
    for (const [block, kernels] of blocks)
      expect(kernels.length, `${block}: ${kernels.join(", ")}`).toBeLessThanOrEqual(kernelsOfBlock[attention_type]);
    // The patches, the class token, the head; frames that never meet are averaged at the end.
    expect(program.steps.length).toBeLessThanOrEqual(12 * kernelsOfBlock[attention_type] + 4);
  });

  it("keeps memory near the least that would do", () => {
    expect(plan.activations).toBe(program.memory.activations);
    expect(plan.activations / plan.largestLiveSet).toBeLessThanOrEqual(1.15);
  });

  it("has a text for every kernel", () => {
    for (const { name, source } of program.kernels) expect(sources.get(source)).toContain(`DEV_EXPORT(${name})`);
    expect(new Set(program.steps.map(({ kernel }) => kernel)).size).toBe(program.kernels.length);
  });
});

describe("kernels do not grow with depth", () => {
  it.each(attentionTypes.flatMap((type) => (["bf16", "f32"] as const).map((precision) => [type, precision] as const)))(
    "%s, %s",
    (attention_type, precision: Precision) => {
      const [two, ...deeper] = [2, 4, 12].map((depth) =>
        [...compileTimeSformer(precision, { config: { attention_type, depth } }).sources].map(withoutComments),
      );
      for (const sources of deeper) expect(sources).toEqual(two);
    },
  );
});

/** Comments name the first block that launches a kernel. */
const withoutComments = ([path, text]: readonly [string, string]): string =>
  `${path}\n${text.replaceAll(/^\/\/.*\n/gm, "")}`;
