import { createHash } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cacheEntry, cacheFolder, contentKey } from "./cache.ts";
import type { CompileImagesOptions, KernelImage } from "./compileImages.ts";
import { findFatbinary, type Tool } from "./findTools.ts";
import { runTool } from "./runTool.ts";
import { jobLimit, sideBySide } from "./sideBySide.ts";
import { ToolError } from "./toolError.ts";

/**
 * Puts each kernel's images for GPUs into one fatbin, from which a driver takes what suits its GPU: of these images,
 * `image` becomes that fatbin. Those for the emulated device stay as they are.
 */
export async function bundleImages(
  images: readonly KernelImage[],
  options: Pick<CompileImagesOptions, "environment" | "cache"> = {},
): Promise<readonly KernelImage[]> {
  const environment = options.environment ?? process.env;
  const cache = options.cache ?? cacheFolder(environment);
  const forGpus = new Map<string, KernelImage[]>();
  for (const image of images)
    if (image.target !== "emulated") forGpus.set(image.kernel, [...(forGpus.get(image.kernel) ?? []), image]);
  if (forGpus.size === 0) return images;
  const tool = await findFatbinary(environment);
  const bundled = await sideBySide([...forGpus], jobLimit(), async ([kernel, own], signal) => {
    const content = await bundle(kernel, own, { tool, environment, cache, signal });
    return [kernel, content] as const;
  });
  const fatbins = new Map(bundled);
  return images.map((each) => {
    const fatbin = each.target === "emulated" ? undefined : fatbins.get(each.kernel);
    return fatbin === undefined ? each : { ...each, image: fatbin };
  });
}

type Context = {
  readonly tool: Tool;
  readonly environment: NodeJS.ProcessEnv;
  readonly cache: string;
  readonly signal: AbortSignal;
};

/** Not compressed: drivers differ in what they unpack, and whoever reads the file finds the code as it is. */
const flags = ["-64", "--compress=false"];
const fatbin = "fatbin";

async function bundle(
  kernel: string,
  images: readonly KernelImage[],
  { tool, environment, cache, signal }: Context,
): Promise<Uint8Array> {
  const sums = images.flatMap(({ target, image }) => [target, createHash("sha256").update(image).digest("hex")]);
  const key = contentKey("1", tool.version, ...flags, ...sums);
  const { folder } = await cacheEntry(cache, "fatbins", key, async (fresh) => {
    for (const { target, image } of images) await writeFile(join(fresh, target), image);
    const parts = images.map(({ target }) => `--image3=${specOf(target)}`);
    const run = await runTool(tool.path, [`--create=${fatbin}`, ...flags, ...parts], {
      folder: fresh,
      environment: { ...environment, TMPDIR: fresh },
      signal,
    });
    if (run.code !== 0)
      throw new ToolError(
        "compiler-failed",
        `${tool.path} could not put the images of ${kernel} into one file: ${run.problem === "" ? run.output : run.problem}`,
        { hint: "fatbinary and nvcc must be of the same CUDA toolkit", log: run.output },
      );
    for (const { target } of images) await rm(join(fresh, target));
  });
  return new Uint8Array(await readFile(join(folder, fatbin)));
}

/** "sm_90a" and "compute_90" as fatbinary wants them: the file is named after its target. */
function specOf(target: string): string {
  const [form, code] = target.split("_");
  return `kind=${form === "compute" ? "ptx" : "elf"},sm=${code},file=${target}`;
}
