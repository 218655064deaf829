import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { attentionLaunch, inFloat32, toleranceOf, worstOf } from "./attentionCase.ts";
import { imageOf, inOneText, launchIn } from "./harness.ts";
import { drawnKernel, patternKinds, type PatternDraw } from "./patternKinds.ts";

/** How many attentions of each kind run, from which place of the stream of draws, and how many are compiled at once. */
const runs = Number(process.env["FOVEA_PATTERN_RUNS"] ?? 3);
const seed = Number(process.env["FOVEA_PATTERN_SEED"] ?? 1);
const together = 30;

/**
 * Of float32's n products near -1, partial sums i = 1 .. n are rounded by 2.5e-8 i on average, which makes 1.4e-8 n of a sum
 * that is divided by the root of n: three times that, which hundreds of cases come near (2.9e-8 n is the most seen), and
 * 5e-7 for exponentials and weighted values.
 */
const boundOf = ({ precision, headDim }: PatternDraw): number =>
  precision === "f32" ? 5e-7 + 4.3e-8 * headDim : toleranceOf(precision, headDim);
/** What is left where the reference adds the products as the kernel does, however many there are: 8e-7 is the most seen. */
const boundInOrder = 1.5e-6;

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
            const result = await launchIn(image, run, { counters: 0 });
            const worst = worstOf(kernel, run, result);
            if (!(worst < boundOf(each))) failed(`off by ${worst}`);
            if (each.precision !== "f32") continue;
            const inOrder = worstOf(kernel, run, result, inFloat32);
            if (!(inOrder < boundInOrder)) failed(`off by ${inOrder} of the same sums of products`);
          } catch (error) {
            failed(String(error));
          }
        }
      }
      expect(wrong).toEqual([]);
    },
  );
});
