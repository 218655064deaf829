import timesformer from "../../models/timesformer.ts";
import { compileGraph } from "../../compiler/compile.ts";
import { contentKey } from "../../compiler/toolchain/cache.ts";
import type { KernelSource } from "../../compiler/toolchain/compileImages.ts";
import type { Graph } from "../../ir/graph.ts";
import type { Precision } from "../../ir/types.ts";
import { attentionTypes } from "../budgets/timesformer.ts";
import { goldenCases, readCase } from "../support/golden.ts";
import { describeCompiles } from "./compiles.ts";

/** Every configuration that was published, ... */
const published = ["base", "hr", "large"].flatMap((preset) =>
  attentionTypes.map((attention_type) => timesformer.trace({ preset, config: { attention_type } })),
);
/** ... and the small ones that published code was run on. */
const golden = goldenCases("timesformer").map((folder) => timesformer.trace(timesformer.fromCase(readCase(folder))));

/** Each distinct kernel once, under a name made of its text: comments and names tell where one came from first. */
const kernelsOf = (graphs: readonly Graph[], precision: Precision): readonly KernelSource[] => {
  const kernels = new Map<string, KernelSource>();
  for (const graph of graphs) {
    const { program, sources } = compileGraph(graph, { precision, batch: { min: 1, max: 32 }, keep: false });
    for (const { name, source, family } of program.kernels) {
      const text = (sources.get(source) ?? "").replaceAll(/^\/\/.*\n/gm, "");
      const renamed = (to: string): string => text.replaceAll(new RegExp(`\\b${name}\\b`, "g"), to);
      const key = `${family}_${contentKey(renamed("kernel")).slice(0, 12)}`;
      kernels.set(key, { name: key, family, source: renamed(key) });
    }
  }
  return [...kernels.values()];
};

for (const precision of ["bf16", "f32"] as const) {
  describeCompiles(`TimeSformer as published, ${precision},`, kernelsOf(published, precision));
  describeCompiles(`TimeSformer's golden cases, ${precision},`, kernelsOf(golden, precision));
}
