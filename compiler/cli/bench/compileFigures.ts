import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileGraph } from "../../compile.ts";
import { loadModel } from "../../frontend/loadModel.ts";
import { packageRoot } from "../../packageRoot.ts";
import { compileImages, type ImageTarget } from "../../toolchain/compileImages.ts";
import { hasNvcc } from "../images.ts";
import { figure, median, type Figure } from "./figure.ts";

type Times = { readonly loaded: number; readonly traced: number; readonly compiled: number };

/** From a model file to CUDA text in fresh processes: one that has never seen the file, and ones that have. */
export function textFigures(): readonly Figure[] {
  const folder = join(packageRoot(), "dist", "bench");
  mkdirSync(folder, { recursive: true });
  // A file of another place is another model to the cache.
  const model = join(folder, `timesformer${process.pid}.ts`);
  copyFileSync(timesformer(), model);
  const cache = mkdtempSync(join(tmpdir(), "fovea-bench-"));
  try {
    const cold = toText(model, cache);
    const warm = Array.from({ length: 3 }, () => toText(model, cache));
    const middle = (at: keyof Times): number => median(warm.map((times) => times[at]));
    const parts = `read ${middle("loaded").toFixed(0)}, traced ${(middle("traced") - middle("loaded")).toFixed(0)}, found ${(middle("compiled") - middle("traced")).toFixed(0)} ms`;
    return [
      figure("base-8x224 to CUDA text, cold", cold.compiled / 1000, "s", { goal: 2.5 }),
      figure("base-8x224 to CUDA text, known", middle("compiled") / 1000, "s", { goal: 0.3, note: parts }),
    ];
  } finally {
    rmSync(model);
    rmSync(cache, { recursive: true, force: true });
  }
}

const toText = (model: string, cache: string): Times => {
  const script = fileURLToPath(new URL("toText.js", import.meta.url));
  return JSON.parse(execFileSync(process.execPath, [script, model, cache], { encoding: "utf8" })) as Times;
};

/** All images of base-8x224, compiled from nothing. */
export async function imageFigures(): Promise<readonly Figure[]> {
  const targets: readonly ImageTarget[] = (await hasNvcc()) ? ["sm_90a", "emulated"] : ["emulated"];
  const graph = (await loadModel(timesformer())).trace({ preset: "base" });
  const { program, sources } = compileGraph(graph, { precision: "bf16", batch: { min: 1, max: 32 }, keep: false });
  const kernels = program.kernels.map(({ name, family, source }) => ({
    name,
    family,
    source: sources.get(source) ?? "",
  }));
  const figures: Figure[] = [];
  for (const target of targets) {
    const cache = mkdtempSync(join(tmpdir(), "fovea-bench-"));
    try {
      const start = performance.now();
      await compileImages(kernels, [target], { cache });
      const fresh = performance.now();
      await compileImages(kernels, [target], { cache });
      const [time, again] = [(fresh - start) / 1000, (performance.now() - fresh) / 1000];
      const note = `${kernels.length} kernels; ${again.toFixed(2)} s from the cache`;
      figures.push(figure(`base-8x224, all images for ${target}`, time, "s", { goal: 20, note }));
    } finally {
      rmSync(cache, { recursive: true, force: true });
    }
  }
  return figures;
}

export const timesformer = (): string => join(packageRoot(), "models", "timesformer.ts");
