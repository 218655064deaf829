import swin from "../../models/swin.ts";
import timesformer from "../../models/timesformer.ts";
import videoSwin from "../../models/videoSwin.ts";
import vtn from "../../models/vtn.ts";
import { knownProgram } from "../../compiler/knownProgram.ts";
import { contentKey } from "../../compiler/toolchain/cache.ts";
import type { KernelSource } from "../../compiler/toolchain/compileImages.ts";
import type { Graph } from "../../ir/graph.ts";
import type { Precision } from "../../ir/types.ts";
import { attentionTypes } from "../budgets/timesformer.ts";
import { goldenCases, readCase } from "../support/golden.ts";
import { describeCompiles } from "./compiles.ts";

// Kernels do not grow with depth (test/budgets/plan.test.ts): of each published width and input a few blocks will do, the
// last of which may differ from those before.

const depths = [2, 2, 4, 2];
const published: { readonly [system: string]: () => readonly Graph[] } = {
  TimeSformer: () =>
    [
      ...["base", "hr", "large"].flatMap((preset) => attentionTypes.map((scheme) => [preset, scheme] as const)),
      ...["sparse_local_global", "axial"].map((scheme) => ["base", scheme] as const),
    ].map(([preset, attention_type]) => timesformer.trace({ preset, config: { attention_type, depth: 3 } })),
  "Video Swin": () =>
    ["tiny", "base", "large", "base-ssv2"].map((preset) => videoSwin.trace({ preset, config: { depths } })),
  Swin: () =>
    ["tiny", "base", "large", "base-384", "large-384"].map((preset) => swin.trace({ preset, config: { depths } })),
  VTN: () => [vtn.trace({ preset: "base" })],
};
/** The small ones that published code was run on. */
const golden = (): readonly Graph[] =>
  goldenCases("timesformer").map((folder) => timesformer.trace(timesformer.fromCase(readCase(folder))));

/** Each distinct kernel once, under a name made of its text: comments and names tell where one came from first. */
const kernelsOf = async (graphs: readonly Graph[], precision: Precision): Promise<readonly KernelSource[]> => {
  const kernels = new Map<string, KernelSource>();
  for (const graph of graphs) {
    const { program, sources } = await knownProgram(graph, { precision, batch: { min: 1, max: 32 }, keep: false });
    for (const { name, source, family } of program.kernels) {
      const text = (sources.get(source) ?? "").replaceAll(/^\/\/.*\n/gm, "");
      const renamed = (to: string): string => text.replaceAll(new RegExp(`\\b${name}\\b`, "g"), to);
      const key = `${family}_${contentKey(renamed("kernel")).slice(0, 12)}`;
      kernels.set(key, { name: key, family, source: renamed(key) });
    }
  }
  return [...kernels.values()];
};

for (const precision of ["bf16", "f16", "f32"] as const) {
  for (const [system, graphs] of Object.entries(published))
    describeCompiles(`${system} as published, ${precision},`, () => kernelsOf(graphs(), precision));
  describeCompiles(`TimeSformer's golden cases, ${precision},`, () => kernelsOf(golden(), precision));
}
