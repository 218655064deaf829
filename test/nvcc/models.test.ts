import { knownProgram } from "../../compiler/knownProgram.ts";
import type { Graph } from "../../ir/graph.ts";
import type { Precision } from "../../ir/types.ts";
import { goldenCases, readCase } from "../support/golden.ts";
import { type Candidate, describeCompiles } from "./compiles.ts";
import { published, systems } from "./published.ts";

type Network = { readonly name: string; readonly graph: () => Graph };

const ofPublished: readonly Network[] = published.map(({ model, options }) => {
  const { entry, preset, config } = options;
  return { name: [model.name, entry, preset, JSON.stringify(config)].join(" "), graph: () => model.trace(options) };
});
/** The small ones that published code was run on. */
const ofCases: readonly Network[] = Object.entries(systems).flatMap(([system, model]) =>
  goldenCases(system).map((folder) => ({
    name: folder.slice(folder.indexOf("golden/")),
    graph: () => model.trace(model.fromCase(readCase(folder))),
  })),
);

async function kernelsOf(
  networks: readonly Network[],
  precision: Precision,
  tell: (text: string) => void,
): Promise<readonly Candidate[]> {
  const kernels: Candidate[] = [];
  for (const { name: from, graph } of networks) {
    const options = { precision, batch: { min: 1, max: 32 }, keep: false };
    const { program, sources } = await knownProgram(graph(), options);
    for (const { name, source, family } of program.kernels)
      kernels.push({ name, family, source: sources.get(source) ?? "", from });
  }
  tell(`${networks.length} networks have ${kernels.length} kernels`);
  return kernels;
}

for (const precision of ["bf16", "f16", "f32"] as const) {
  describeCompiles(`kernels of all published configurations in ${precision}`, (tell) =>
    kernelsOf(ofPublished, precision, tell),
  );
  describeCompiles(`kernels of all golden cases in ${precision}`, (tell) => kernelsOf(ofCases, precision, tell), [
    "sm_90a",
  ]);
}
