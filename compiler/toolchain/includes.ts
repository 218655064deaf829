import { readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";

/**
 * Every file that a text includes with `#include "…"`, directly or not, found next to the including file or below one of
 * `roots`: paths relative to the first root, and contents. System headers are the compiler's, whose version is known.
 */
export async function includedFiles(
  text: string,
  folder: string,
  roots: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  const visit = async (source: string, from: string): Promise<void> => {
    for (const [, name] of source.matchAll(/^[ \t]*#[ \t]*include[ \t]*"([^"]+)"/gm)) {
      if (name === undefined) continue;
      for (const candidate of [from, ...roots].map((root) => join(root, name))) {
        const path = relative(roots[0] ?? folder, candidate);
        if (found.has(path)) break;
        const content = await readIfThere(candidate);
        if (content === undefined) continue;
        found.set(path, content);
        await visit(content, dirname(candidate));
        break;
      }
    }
  };
  await visit(text, folder);
  return new Map([...found].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch {
    return undefined;
  }
}
