import { mkdir, readFile, readdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { packageRoot } from "../packageRoot.ts";
import { cacheEntry, cacheFolder, contentKey } from "./cache.ts";
import { adviceOn, explainError } from "./compilerMessage.ts";
import { findHostCompiler, type Tool } from "./findTools.ts";
import { includedFiles } from "./includes.ts";
import { runTool } from "./runTool.ts";
import { jobLimit, sideBySide } from "./sideBySide.ts";
import { ToolError } from "./toolError.ts";

const library = "libcuda_emulated.so";
const objectFlags = ["-std=c++17", "-O2", "-fPIC", "-pthread", "-ffp-contract=off"];
const linkFlags = ["-shared", "-pthread", `-Wl,-soname,${library}`, "-Wl,-Bsymbolic-functions"];

/**
 * The path of the emulated device's library (see runtime/emulator/emulator.h), built with the host's compiler from the
 * sources in this package where the cache does not have it. Throws a ToolError where there is no compiler, or it fails.
 */
export async function buildEmulator(
  options: { readonly environment?: NodeJS.ProcessEnv; readonly cache?: string } = {},
): Promise<string> {
  const environment = options.environment ?? process.env;
  const tool = await findHostCompiler(environment);
  const cache = options.cache ?? cacheFolder(environment);
  const sources = await readSources();
  const key = contentKey(
    "1",
    tool.version,
    ...objectFlags,
    ...linkFlags,
    ...sources.flatMap(({ texts }) => [...texts].flat()),
  );
  const { folder } = await cacheEntry(cache, "emulator", key, async (fresh) => {
    const objects = join(fresh, "objects");
    await mkdir(objects);
    await sideBySide(sources, jobLimit(), ({ name }, signal) => {
      const output = join(objects, `${basename(name, ".cpp")}.o`);
      const args = [
        ...objectFlags,
        `-ffile-prefix-map=${packageRoot()}=.`,
        "-c",
        join(sourceFolder(), name),
        "-o",
        output,
      ];
      return compile(tool, args, name, fresh, environment, signal);
    });
    const objectFiles = (await readdir(objects)).toSorted().map((name) => join(objects, name));
    await compile(tool, [...linkFlags, ...objectFiles, "-o", library, "-ldl"], library, fresh, environment);
    await rm(objects, { recursive: true });
  });
  return join(folder, library);
}

const sourceFolder = (): string => join(packageRoot(), "runtime", "emulator");

/** Each source with the texts of all it includes. */
async function readSources(): Promise<
  readonly { readonly name: string; readonly texts: ReadonlyMap<string, string> }[]
> {
  const names = (await readdir(sourceFolder())).filter((name) => name.endsWith(".cpp")).toSorted();
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(join(sourceFolder(), name), "utf8");
      const included = await includedFiles(text, sourceFolder(), [packageRoot()]);
      return { name, texts: new Map([[name, text], ...included]) };
    }),
  );
}

async function compile(
  tool: Tool,
  args: readonly string[],
  name: string,
  folder: string,
  environment: NodeJS.ProcessEnv,
  signal?: AbortSignal,
): Promise<void> {
  const run = await runTool(tool.path, args, {
    folder,
    environment: { ...environment, TMPDIR: folder },
    ...(signal === undefined ? {} : { signal }),
  });
  if (run.code === 0) return;
  const reason = run.problem === "" ? explainError(run.output, { file: "", source: "" }, packageRoot()) : run.problem;
  throw new ToolError("compiler-failed", `${tool.path} could not compile ${name} of the emulated device: ${reason}`, {
    hint: adviceOn(
      run.output,
      "the emulated device needs Linux on x86-64 or arm64 and a C++17 compiler; set CXX to try another",
    ),
    log: run.output,
  });
}
