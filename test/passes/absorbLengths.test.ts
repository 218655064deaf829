import { expect, test } from "vitest";
import { absorbProjections } from "../../compiler/passes/absorbProjections.ts";
import { lengthsOf } from "../../ir/lengths.ts";
import { evaluate } from "../../ir/evaluate.ts";
import { eliminateDeadNodes } from "../../ir/deadNodes.ts";
import type { Graph } from "../../ir/graph.ts";
import setTransformer from "../../models/setTransformer.ts";
import { parametersOf } from "../support/golden.ts";

const drawn = (count: number, seed: number): number[] =>
  Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed));

test("learned queries look at ragged sets themselves, and empty sets still give zeros", () => {
  const config = {
    dim_in: 6,
    dim_out: 8,
    num_heads: 2,
    // As many for each set as make it less work, whatever the number of sets.
    num_inds: 40,
    points: 5,
    sets: 3,
    masked: true,
  };
  const traced = setTransformer.trace({ entry: "ISAB", config });
  const before = eliminateDeadNodes({ ...traced, kept: [] });
  const after = absorbProjections.run(before);
  const ofLengths = after.nodes.filter((node) => node.op === "attend" && lengthsOf(node.attrs.score) !== null);
  expect(ofLengths.map((node) => node.op === "attend" && node.attrs.heads)).toEqual([1]);

  const parameters = Object.fromEntries(
    parametersOf(traced).map(({ name, shape }, seed) => [
      name,
      drawn(
        shape.reduce((all, size) => all * size, 1),
        seed,
      ),
    ]),
  );
  const inputs = { X: drawn(3 * 5 * 6, 3), lengths: [2, 0, 5] };
  const run = (graph: Graph): Float64Array =>
    evaluate(graph, { batch: 1, inputs, parameters }).outputs.out ?? new Float64Array();
  const [expected, got] = [run(before), run(after)];
  expect(expected.some((value) => value !== 0)).toBe(true);
  for (const [i, value] of expected.entries()) expect(got[i]).toBeCloseTo(value, 9);
});
