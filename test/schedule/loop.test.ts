import { describe, expect, test } from "vitest";
import { runPasses } from "../../compiler/passes/pipeline.ts";
import { planBuffers } from "../../compiler/schedule/buffers.ts";
import { lower } from "../../compiler/schedule/lower/lower.ts";
import { reuseInPlace } from "../../compiler/schedule/reuse.ts";
import { evaluate } from "../../ir/evaluate.ts";
import { parseGraph } from "../../ir/parse.ts";
import { halving, swapping } from "../support/loops.ts";
import { runPlan } from "../support/runPlan.ts";

const x = [9, 2, 0.5, 0.25, 3, 1];

describe.each([
  ["halving", halving],
  ["swapping", swapping],
])("the plan of %s", (_, text) => {
  const { graph } = runPasses(parseGraph(text));

  test.each([1, 3])("computes what the graph means, for a batch of %d, in any order of elements", (batch) => {
    const inputs = { x: Float64Array.from(x.slice(0, 2 * batch)) };
    const { outputs } = evaluate(graph, { batch, inputs, parameters: {} });
    for (const order of ["forwards", "backwards"] as const) {
      const planned = runPlan(graph, { batch, inputs, parameters: {}, order });
      for (const { name } of graph.outputs)
        expect([name, ...(planned[name] ?? [])]).toEqual([name, ...(outputs[name] ?? [])]);
    }
  });

  test("steps stand between what is computed once before and once after", () => {
    const stages = lower(graph, "f32").launches.map(({ stage }) => stage);
    expect(stages).toEqual(stages.toSorted((a, b) => "bsa".indexOf(a.charAt(0)) - "bsa".indexOf(b.charAt(0))));
    expect(new Set(stages)).toEqual(new Set(["before", "step", "after"]));
  });

  test("what steps read again lies where no step writes", () => {
    const lowered = lower(graph, "f32");
    const launches = reuseInPlace(lowered.launches);
    const { offsets } = planBuffers(lowered.buffers, launches, lowered.loop);
    const inStage = (wanted: string, of: "reads" | "writes") =>
      new Set(launches.flatMap((launch) => (launch.stage === wanted ? launch[of] : [])));
    const [before, steps] = [inStage("before", "writes"), inStage("step", "reads")];
    const made = [...before].filter((id) => steps.has(id));
    const own = [...inStage("step", "writes")].filter((id) => !before.has(id));
    expect(made.length).toBeGreaterThan(0);
    for (const again of made)
      for (const inside of own) {
        const [a, b] = [offsets.get(again), offsets.get(inside)];
        if (a === undefined || b === undefined || a.space !== b.space) continue;
        expect(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset).toBe(true);
      }
  });
});
