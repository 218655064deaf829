import { join } from "node:path";
import type { Device } from "../../../runtime/device.ts";
import { loadExecutable } from "../../../runtime/executable.ts";
import { packArtefact } from "../../artefact.ts";
import { compileGraph } from "../../compile.ts";
import { loadModel } from "../../frontend/loadModel.ts";
import { packageRoot } from "../../packageRoot.ts";
import { patternMap } from "../../schedule/attention/patternMap.ts";
import { compileImages } from "../../toolchain/compileImages.ts";
import { inMemory } from "../images.ts";
import type { GrowthFigure } from "./patternFigures.ts";
import { drawnCheckpoint, drawnInputs } from "./runFigures.ts";

/** A block of the Set Transformer on sets of `points` and as many times more. */
export type SetGrowthCase = {
  readonly name: string;
  readonly entry: "ISAB" | "SAB";
  readonly points: number;
  readonly factors: readonly number[];
};

/** Up to 10^5 points where cost grows with their number, and as far as a quadratic one can be waited for. */
export const setGrowthCases: readonly SetGrowthCase[] = [
  { name: "ISAB, 16 points", entry: "ISAB", points: 1000, factors: [1, 10, 100] },
  { name: "SAB, for comparison", entry: "SAB", points: 1000, factors: [1, 2, 4] },
];

const shape = { dim_in: 64, dim_out: 64, num_heads: 4 };

type Totals = { readonly computed: number; readonly tensorFlops: number; readonly globalBytes: number };

/** How a whole block grows with its set, all launches together, in bfloat16. */
export async function setGrowthFigure(
  device: Device,
  { name, entry, points, factors }: SetGrowthCase,
): Promise<GrowthFigure> {
  const totals: Totals[] = [];
  for (const times of factors) totals.push(await totalsOf(device, entry, points * times));
  const [first] = totals;
  const against = (each: Totals, field: keyof Totals): number => each[field] / (first?.[field] ?? Number.NaN);
  return {
    name,
    pattern: entry,
    points: totals.map((each, i) => {
      const times = factors[i] ?? 1;
      return {
        times,
        tokens: `n ${points * times}`,
        computed: against(each, "computed"),
        tensorFlops: against(each, "tensorFlops"),
        globalBytes: against(each, "globalBytes"),
      };
    }),
  };
}

async function totalsOf(device: Device, entry: SetGrowthCase["entry"], points: number): Promise<Totals> {
  const model = await loadModel(join(packageRoot(), "models", "setTransformer.ts"));
  const config = { ...shape, points, ...(entry === "ISAB" ? { num_inds: 16 } : {}) };
  const compiled = compileGraph(model.trace({ entry, config }), {
    precision: "bf16",
    batch: { min: 1, max: 1 },
    keep: false,
  });
  const { program, sources, computations } = compiled;
  const kernels = program.kernels.map(({ name, family, source }) => ({
    name,
    family,
    source: sources.get(source) ?? "",
  }));
  const images = await compileImages(kernels, ["emulated"]);
  const artefact = inMemory(program.name, packArtefact({ programs: [program], sources }, images));
  using executable = await loadExecutable(device, artefact, drawnCheckpoint(program));
  const { steps } = await executable.profile(drawnInputs(program), { by: "counters" });
  const sum = { computed: 0, tensorFlops: 0, globalBytes: 0 };
  for (const { kernel, time } of steps) {
    if (time.kind !== "counted") throw new Error(`${kernel} was not counted`);
    const { global, tensorFlops } = time.counters;
    sum.tensorFlops += tensorFlops;
    sum.globalBytes += global.read.bytes + global.written.bytes;
    const found = computations.get(kernel);
    if (found?.kind === "attention")
      sum.computed += found.heads * patternMap(found).jobs.reduce((all, job) => all + job.computed, 0);
  }
  return sum;
}
