import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Graph } from "../ir/graph.ts";
import { exactJson, parseProgramText } from "../ir/programText.ts";
import type { Compiled, CompileOptions } from "./compiled.ts";
import { packageRoot } from "./packageRoot.ts";
import { cacheEntry, cacheFolder, contentKey } from "./toolchain/cache.ts";

type ProgramAndSources = Pick<Compiled, "program" | "sources">;
const fileName = "program.json";

/**
 * What `compileGraph` makes of a graph, from the cache where this compiler has compiled an equal one before. The
 * compiler is loaded only where it has not: that alone takes as long as finding a program.
 */
export async function knownProgram(
  graph: Graph,
  options: CompileOptions,
  where: { readonly cache?: string } = {},
): Promise<ProgramAndSources> {
  const key = contentKey("1", compilerText(), exactJson(graph), exactJson(options));
  const { folder } = await cacheEntry(where.cache ?? cacheFolder(), "programs", key, async (fresh) => {
    const { compileGraph } = await import("./compile.ts");
    const { program, sources } = compileGraph(graph, options);
    await writeFile(join(fresh, fileName), exactJson({ program, sources: [...sources] }));
  });
  const text = await readFile(join(folder, fileName), "utf8");
  const { program, sources } = parseProgramText(text) as Pick<Compiled, "program"> & {
    readonly sources: readonly (readonly [string, string])[];
  };
  return { program, sources: new Map(sources) };
}

let ofCompiler: string | undefined;
/** A digest of all that decides what a graph becomes: the compiler's own text and version, what a program is, and the templates. */
function compilerText(): string {
  if (ofCompiler === undefined) {
    const hash = createHash("sha256").update(readFileSync(join(packageRoot(), "package.json")));
    const own = ["./", "../ir/"].map((folder) => fileURLToPath(new URL(folder, import.meta.url)));
    for (const folder of [...own, join(packageRoot(), "templates")])
      for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).toSorted()) {
        if (!/\.([jt]s|njk)$/.test(name) || /^(cli|dsl|frontend)\b/.test(name)) continue;
        hash.update(`${name}\n`).update(readFileSync(join(folder, name)));
      }
    ofCompiler = hash.digest("hex");
  }
  return ofCompiler;
}
