import { access, constants, realpath, stat } from "node:fs/promises";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import { runTool, type ToolRun } from "./runTool.ts";
import { ToolError } from "./toolError.ts";

/** A compiler of this machine. `version` identifies it: what it compiles may differ where the version does. */
export type Tool = { readonly path: string; readonly version: string };

/** The CUDA compiler: `NVCC`, then `CUDA_HOME` and `CUDA_PATH`, then the search path, then the usual folder. */
export async function findNvcc(environment: NodeJS.ProcessEnv = process.env): Promise<Tool> {
  const homes = [environment["CUDA_HOME"], environment["CUDA_PATH"]].filter(isGiven);
  const candidates = [
    environment["NVCC"],
    ...homes.map((home) => join(home, "bin", "nvcc")),
    "nvcc",
    "/usr/local/cuda/bin/nvcc",
  ];
  return findTool("the CUDA compiler (nvcc)", candidates.filter(isGiven), environment, {
    hint: "install the CUDA toolkit (12.0 or later) and put its bin folder on PATH, or set CUDA_HOME; without a GPU, compile for the emulated device: --arch emulated",
  });
}

/** The toolkit's program that puts images for several GPUs into one file: beside nvcc, or beside what that is a link to. */
export async function findFatbinary(environment: NodeJS.ProcessEnv = process.env): Promise<Tool> {
  const { path } = await findNvcc(environment);
  const folders = [dirname(path), dirname(await realpath(path))];
  const candidates = [...folders.map((folder) => join(folder, "fatbinary")), "fatbinary"];
  return findTool("fatbinary, a part of the CUDA toolkit,", [...new Set(candidates)], environment, {
    hint: "it lies beside nvcc: set CUDA_HOME to the toolkit's folder",
  });
}

/** A C++17 compiler for the emulated device: `CXX`, then g++, clang++ and c++ on the search path. */
export async function findHostCompiler(environment: NodeJS.ProcessEnv = process.env): Promise<Tool> {
  const candidates = [environment["CXX"], "g++", "clang++", "c++"].filter(isGiven);
  return findTool("a C++ compiler", candidates, environment, {
    hint: "install g++ 9 or later (Debian, Ubuntu: apt install g++) or clang++ 10 or later, or set CXX; --device evaluator needs none",
  });
}

const isGiven = (text: string | undefined): text is string => text !== undefined && text !== "";

async function findTool(
  what: string,
  candidates: readonly string[],
  environment: NodeJS.ProcessEnv,
  advice: { readonly hint: string },
): Promise<Tool> {
  const broken: string[] = [];
  for (const candidate of candidates) {
    const path = await findExecutable(candidate, environment);
    if (path === undefined) continue;
    const run = await askVersion(path, environment);
    if (run.code === 0) return { path, version: run.output.trim() };
    broken.push(`${path} --version failed: ${run.problem === "" ? firstLine(run.output) : run.problem}`);
  }
  throw new ToolError(
    "compiler-not-found",
    [`${what} was not found; looked for ${candidates.join(", ")}`, ...broken].join("\n  "),
    {
      ...advice,
      log: broken.join("\n"),
    },
  );
}

const asked = new Map<string, Promise<ToolRun>>();

/** Asked once for each state of the file. */
async function askVersion(path: string, environment: NodeJS.ProcessEnv): Promise<ToolRun> {
  const { mtimeMs, size, ino } = await stat(path);
  const key = [path, mtimeMs, size, ino].join(" ");
  const known = asked.get(key) ?? runTool(path, ["--version"], { environment });
  asked.set(key, known);
  return known;
}

const firstLine = (text: string): string => text.split("\n", 1)[0] ?? "";

async function findExecutable(name: string, environment: NodeJS.ProcessEnv): Promise<string | undefined> {
  const folders =
    isAbsolute(name) || name.includes("/") ? [""] : (environment["PATH"] ?? "").split(delimiter).filter(isGiven);
  for (const folder of folders) {
    const path = join(folder, name);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // Not here: the next folder.
    }
  }
  return undefined;
}
