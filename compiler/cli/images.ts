import type { Artefact } from "../../runtime/artefact.ts";
import type { Family, PackedArtefact } from "../artefact.ts";
import { bundleImages } from "../toolchain/bundleImages.ts";
import { compileImages, type ImageTarget, type KernelImage } from "../toolchain/compileImages.ts";
import { findHostCompiler, findNvcc } from "../toolchain/findTools.ts";
import { ToolError } from "../toolchain/toolError.ts";
import type { Terminal } from "./terminal.ts";

/** Compiles every kernel of some programs for these targets, or finds it compiled before; images for GPUs are fatbins. */
export function compileKernels(
  { programs, sources }: Family,
  targets: readonly ImageTarget[],
  terminal: Terminal,
): Promise<readonly KernelImage[]> {
  const distinct = new Map(programs.flatMap((program) => program.kernels.map((kernel) => [kernel.name, kernel])));
  const kernels = [...distinct.values()].map(({ name, family, source }) => ({
    name,
    family,
    source: sources.get(source) ?? "",
  }));
  return terminal.task(`compiling ${kernels.length} kernels for ${targets.join(", ")}`, async (say) => {
    const images = await compileImages(kernels, targets, {
      onProgress: ({ done, total, kernel, target }) => say(`compiled ${done} of ${total}: ${kernel} for ${target}`),
    });
    return bundleImages(images);
  });
}

/** Binaries for the GPUs that fovea's kernels are written for. */
const usualArchitectures: readonly ImageTarget[] = ["sm_80", "sm_90a"];

/** What a build is for unless it is told: the emulated device, and GPUs where there is a compiler for them. */
export async function usualTargets(): Promise<readonly ImageTarget[]> {
  return (await hasNvcc()) ? ["emulated", ...usualArchitectures] : ["emulated"];
}

/**
 * The targets, and PTX of the newest architecture among them where none is asked for: a binary runs on no GPU of a later
 * generation, and PTX on all of them.
 */
export function withPtx(targets: readonly ImageTarget[]): readonly ImageTarget[] {
  const codes = targets.flatMap((target) => /^sm_(\d+)/.exec(target)?.[1] ?? []).map(Number);
  if (codes.length === 0 || targets.some((target) => target.startsWith("compute_"))) return targets;
  return [...targets, `compute_${Math.max(...codes)}`];
}

export const hasNvcc = (): Promise<boolean> => isFound(findNvcc);
export const hasHostCompiler = (): Promise<boolean> => isFound(findHostCompiler);

async function isFound(find: () => Promise<unknown>): Promise<boolean> {
  try {
    await find();
    return true;
  } catch (error) {
    if (error instanceof ToolError && error.code === "compiler-not-found") return false;
    throw error;
  }
}

/** An artefact that no disk has seen. */
export const inMemory = (name: string, { programs, files }: PackedArtefact): Artefact => ({
  folder: name,
  programs,
  read: (path) => files.get(path) ?? new Uint8Array(),
});
