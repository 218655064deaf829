import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { cacheEntry, cacheFolder, contentKey } from "./cache.ts";
import { createHash } from "node:crypto";
import { adviceOn, explainError } from "./compilerMessage.ts";
import { findHostCompiler } from "./findTools.ts";
import { runTool } from "./runTool.ts";
import { ToolError } from "./toolError.ts";

const library = "library.so";
const flags = [
  "-x",
  "c",
  "-std=gnu11",
  "-O2",
  "-fPIC",
  "-shared",
  "-fvisibility=hidden",
  "-pthread",
  "-Wall",
  "-Wextra",
];
const linkFlags = ["-x", "none", "-Wl,--as-needed", "-Wl,-z,noexecstack", "-ldl"];

/**
 * Compiles a program's C interface to a shared library, or takes it from the cache. `files` are the artefact's, by path:
 * the source, its header and the images that it takes in. Throws a ToolError where there is no compiler, or it fails.
 */
export async function buildLibrary(
  sourcePath: string,
  files: ReadonlyMap<string, Uint8Array>,
  options: { readonly environment?: NodeJS.ProcessEnv; readonly cache?: string } = {},
): Promise<Uint8Array> {
  const environment = options.environment ?? process.env;
  const tool = await findHostCompiler(environment);
  const sums = [...files].flatMap(([path, content]) => [path, createHash("sha256").update(content).digest("hex")]);
  const key = contentKey("1", tool.version, ...flags, ...linkFlags, sourcePath, ...sums);
  const cache = options.cache ?? cacheFolder(environment);
  const { folder } = await cacheEntry(cache, "libraries", key, async (fresh) => {
    const source = join(fresh, "source");
    for (const [path, content] of files) {
      await mkdir(dirname(join(source, path)), { recursive: true });
      await writeFile(join(source, path), content);
    }
    const run = await runTool(tool.path, [...flags, sourcePath, "-o", join(fresh, library), ...linkFlags], {
      folder: source,
      environment: { ...environment, TMPDIR: fresh },
    });
    if (run.code !== 0) {
      const text = new TextDecoder().decode(files.get(sourcePath));
      const reason =
        run.problem === "" ? explainError(run.output, { file: sourcePath, source: text }, source) : run.problem;
      throw new ToolError("compiler-failed", `${tool.path} could not compile ${sourcePath}: ${reason}`, {
        hint: adviceOn(run.output, "generated code should always compile: report this with the file's text"),
        log: run.output,
      });
    }
    await rm(source, { recursive: true });
  });
  return new Uint8Array(await readFile(join(folder, library)));
}
