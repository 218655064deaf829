import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { PtxasReport } from "../../ir/program.ts";
import { packageRoot } from "../packageRoot.ts";
import { cacheEntry, cacheFolder, contentKey } from "./cache.ts";
import { adviceOn, explainError } from "./compilerMessage.ts";
import { findHostCompiler, findNvcc, type Tool } from "./findTools.ts";
import { includedFiles } from "./includes.ts";
import { parsePtxasReport, performanceNotes } from "./ptxasReport.ts";
import { runTool } from "./runTool.ts";
import { jobLimit, sideBySide } from "./sideBySide.ts";
import { ToolError } from "./toolError.ts";

/**
 * A GPU's architecture as nvcc spells it: for binaries (sm_90a), or for PTX that drivers of newer GPUs compile
 * (compute_90). Or fovea's emulated device.
 */
export type ImageTarget = `sm_${string}` | `compute_${string}` | "emulated";

/** A kernel's text. `name` is its entry point and names files; `family` is the folder of templates that it came from. */
export type KernelSource = { readonly name: string; readonly family: string; readonly source: string };

export type KernelImage = {
  readonly kernel: string;
  readonly target: ImageTarget;
  /** A cubin, PTX, or a shared library for the emulated device; or the fatbin that holds it (see bundleImages). */
  readonly image: Uint8Array;
  /** The registers and memory it takes; null where ptxas has not run: for PTX and the emulated device. */
  readonly ptxas: PtxasReport | null;
  /** All that the compiler said. */
  readonly log: string;
};

export type CompileProgress = {
  readonly done: number;
  readonly total: number;
  readonly kernel: string;
  readonly target: ImageTarget;
  /** Taken from the cache. */
  readonly cached: boolean;
};

export type CompileImagesOptions = {
  readonly onProgress?: (progress: CompileProgress) => void;
  readonly environment?: NodeJS.ProcessEnv;
  /** Where compiled images are kept; see `cacheFolder`. */
  readonly cache?: string;
  /** Where the headers that kernels include are: the package's `templates` unless given. */
  readonly headers?: string;
};

/**
 * Compiles every kernel for every target, side by side, or takes the images from the cache. Images come target by
 * target, in the order of the kernels. Throws a ToolError when a compiler is missing or fails.
 */
export async function compileImages(
  kernels: readonly KernelSource[],
  targets: readonly ImageTarget[],
  options: CompileImagesOptions = {},
): Promise<readonly KernelImage[]> {
  const environment = options.environment ?? process.env;
  const cache = options.cache ?? cacheFolder(environment);
  const headers = options.headers ?? join(packageRoot(), "templates");
  const compilers = new Map<ImageTarget, Compiler>();
  for (const target of targets) {
    compilers.set(
      target,
      target === "emulated"
        ? await emulatedCompiler(headers, environment)
        : await cudaCompiler(target, headers, environment),
    );
  }
  const jobs = targets.flatMap((target) => kernels.map((kernel) => ({ kernel, target })));
  let done = 0;
  return sideBySide(jobs, jobLimit(), async ({ kernel, target }, signal) => {
    const compiler = compilers.get(target);
    if (compiler === undefined) throw new Error(`no compiler for ${target}`);
    const { image, cached } = await compileImage(kernel, target, compiler, { cache, headers, environment, signal });
    done++;
    options.onProgress?.({ done, total: jobs.length, kernel: kernel.name, target, cached });
    return image;
  });
}

/** How one target is compiled. The source is `file` in the current folder; the image goes to `image` there. */
type Compiler = {
  readonly tool: Tool;
  readonly arguments: (file: string) => readonly string[];
  /** What the image depends on besides the source, its headers and the tool. */
  readonly key: string;
};
const imageFile = "image";

async function cudaCompiler(target: string, headers: string, environment: NodeJS.ProcessEnv): Promise<Compiler> {
  const tool = await findNvcc(environment);
  const [form, code] = target.split("_");
  const output = form === "compute" ? ["-ptx"] : ["-cubin", "-Xptxas", "-v"];
  const flags = ["-std=c++17", "-O3", "-gencode", `arch=compute_${code},code=${target}`, ...output];
  return { tool, key: flags.join(" "), arguments: (file) => [...flags, "-I", headers, "-o", imageFile, file] };
}

async function emulatedCompiler(headers: string, environment: NodeJS.ProcessEnv): Promise<Compiler> {
  const tool = await findHostCompiler(environment);
  const flags = ["-std=c++17", "-O1", "-fPIC", "-shared", "-ffp-contract=off", "-w", "-DFOVEA_EMULATE"];
  // Reports of the emulated device name files: paths of this machine have no place in an image.
  const places = [`-ffile-prefix-map=${headers}=templates`, "-I", headers];
  return { tool, key: flags.join(" "), arguments: (file) => [...flags, ...places, "-o", imageFile, "-x", "c++", file] };
}

type Context = {
  readonly cache: string;
  readonly headers: string;
  readonly environment: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
};
type Remarks = { readonly ptxas: PtxasReport | null; readonly log: string };

async function compileImage(
  kernel: KernelSource,
  target: ImageTarget,
  compiler: Compiler,
  context: Context,
): Promise<{ readonly image: KernelImage; readonly cached: boolean }> {
  const { headers } = context;
  const file = `${kernel.name}.cu`;
  const included = await includedFiles(kernel.source, headers, [headers]);
  const key = contentKey(
    "1",
    target,
    compiler.key,
    compiler.tool.version,
    file,
    kernel.source,
    ...[...included].flat(),
  );
  const { folder, built } = await cacheEntry(context.cache, "images", key, async (fresh) => {
    const remarks = await runCompiler(kernel, target, compiler, fresh, context);
    await writeFile(join(fresh, "remarks.json"), JSON.stringify(remarks));
  });
  const remarks = JSON.parse(await readFile(join(folder, "remarks.json"), "utf8")) as Remarks;
  const image = new Uint8Array(await readFile(join(folder, imageFile)));
  return { image: { kernel: kernel.name, target, image, ...remarks }, cached: !built };
}

async function runCompiler(
  kernel: KernelSource,
  target: ImageTarget,
  { tool, arguments: argumentsFor }: Compiler,
  folder: string,
  { headers, environment, signal }: Context,
): Promise<Remarks> {
  const file = `${kernel.name}.cu`;
  await writeFile(join(folder, file), kernel.source);
  const run = await runTool(tool.path, argumentsFor(file), {
    folder,
    environment: { ...environment, TMPDIR: folder },
    signal,
  });
  const what = `${kernel.name} for ${target} (from templates/${kernel.family}/)`;
  if (run.code !== 0) {
    const reason =
      run.problem === "" ? explainError(run.output, { file, source: kernel.source }, headers) : run.problem;
    throw new ToolError("compiler-failed", `${tool.path} could not compile ${what}: ${reason}`, {
      hint: adviceOn(run.output, "generated code should always compile: report this with the kernel's text"),
      log: run.output,
    });
  }
  const notes = performanceNotes(run.output);
  if (notes.length > 0) {
    throw new ToolError("performance-note", `ptxas warns that ${what} runs slowly: ${notes.join("; ")}`, {
      hint: "a schedule should not lead to this: report it with the kernel's text",
      log: run.output,
    });
  }
  await rm(join(folder, file));
  return { ptxas: parsePtxasReport(run.output) ?? null, log: run.output };
}
