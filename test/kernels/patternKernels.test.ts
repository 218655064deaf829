import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { attentionLaunch, toleranceOf, worstOf } from "./attentionCase.ts";
import { imageOf, inOneText, launchIn } from "./harness.ts";
import { drawnKernel, patternKinds, type PatternDraw } from "./patternKinds.ts";

/** How many attentions of each kind run, from which place of the stream of draws, and how many are compiled at once. */
const runs = Number(process.env["FOVEA_PATTERN_RUNS"] ?? 3);
const seed = Number(process.env["FOVEA_PATTERN_SEED"] ?? 1);
const together = 30;

/**
 * Of float32's n products near -1, which sum up to -n, each rounding is up to half an ulp of n, and scores divide by the
 * root of n: 6e-8 n / 1.7 is expected, 4.5e-6 of n = 128, and hundreds of cases meet its tails where a single one does not.
 */
const boundOf = ({ precision, headDim }: PatternDraw): number =>
  (precision === "f32" ? 2 : 1) * toleranceOf(precision, headDim);

describe.each(Object.entries(patternKinds))("%s", (_kind, draws) => {
  const drawn = fc.sample(draws, { numRuns: runs, seed });
  it(
    "attends as pair by pair in float64, with every check of the emulated device",
    { timeout: 60_000 + runs * 4000 },
    async () => {
      const wrong: string[] = [];
      for (let start = 0; start < drawn.length; start += together) {
        const batch = drawn
          .slice(start, start + together)
          .map((each, i) => ({ each, kernel: drawnKernel(each), name: `attention_${i}` }));
        const launches = batch.map(({ each, kernel, name }) => attentionLaunch(kernel, name, each.batch));
        const image = await imageOf("attentions", inOneText(launches));
        for (const [i, run] of launches.entries()) {
          const { each, kernel } = batch[i] ?? {};
          if (each === undefined || kernel === undefined) throw new Error("as many draws as launches");
          const failed = (what: string): void => void wrong.push(`${what}: ${JSON.stringify(each)}`);
          try {
            const worst = worstOf(kernel, run, await launchIn(image, run, { counters: 0 }));
            if (!(worst < boundOf(each))) failed(`off by ${worst}`);
          } catch (error) {
            failed(String(error));
          }
        }
      }
      expect(wrong).toEqual([]);
    },
  );
});
