import { createHash, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { ToolError } from "./toolError.ts";

/** Where compiled things are kept: `FOVEA_CACHE`, the nearest `node_modules/.cache/fovea`, or `~/.cache/fovea`. */
export function cacheFolder(environment: NodeJS.ProcessEnv = process.env, from: string = process.cwd()): string {
  const given = environment["FOVEA_CACHE"];
  if (given !== undefined && given !== "") return given;
  for (let folder = from; ; folder = dirname(folder)) {
    if (existsSync(join(folder, "node_modules"))) return join(folder, "node_modules", ".cache", "fovea");
    if (folder === dirname(folder)) return join(environment["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "fovea");
  }
}

/** A key: equal for equal inputs. Anything that changes a result must be among them. */
export const contentKey = (...inputs: readonly string[]): string => {
  const hash = createHash("sha256");
  for (const input of inputs) hash.update(`${Buffer.byteLength(input)}:`).update(input);
  return hash.digest("hex").slice(0, 40);
};

export type CacheEntry = { readonly folder: string; /** False where it was there already. */ readonly built: boolean };

const checksumFile = "checksums.json";

/**
 * The folder `root/kind/key`, holding what `build` puts into the empty folder it is given. An entry appears whole or not
 * at all; one that is damaged is built again; of processes that want the same one at a time, one builds it.
 */
export async function cacheEntry(
  root: string,
  kind: string,
  key: string,
  build: (folder: string) => Promise<void>,
): Promise<CacheEntry> {
  const folder = join(root, kind, key);
  if (await isWhole(folder)) return { folder, built: false };
  const release = await lockEntry(root, folder);
  try {
    if (await isWhole(folder)) return { folder, built: false };
    const fresh = join(root, "building", randomUUID());
    try {
      await mkdir(fresh, { recursive: true });
      await build(fresh);
      await writeFile(join(fresh, checksumFile), JSON.stringify(await checksums(fresh)));
      await replaceFolder(root, fresh, folder);
    } finally {
      await rm(fresh, { recursive: true, force: true });
    }
    return { folder, built: true };
  } catch (error) {
    throw asCacheError(error, root);
  } finally {
    await release();
  }
}

async function isWhole(folder: string): Promise<boolean> {
  try {
    const expected: unknown = JSON.parse(await readFile(join(folder, checksumFile), "utf8"));
    return JSON.stringify(expected) === JSON.stringify(await checksums(folder));
  } catch {
    return false;
  }
}

/** Of every file of the folder, by name. */
async function checksums(folder: string): Promise<{ readonly [file: string]: string }> {
  const names = (await readdir(folder)).filter((name) => name !== checksumFile).toSorted();
  const pairs = names.map(async (name) => {
    const content = await readFile(join(folder, name));
    return [name, createHash("sha256").update(content).digest("hex")] as const;
  });
  return Object.fromEntries(await Promise.all(pairs));
}

/** Puts the new folder in the place of what is there, which is moved away first: renaming never replaces a full folder. */
async function replaceFolder(root: string, fresh: string, folder: string): Promise<void> {
  await mkdir(dirname(folder), { recursive: true });
  const old = join(root, "building", randomUUID());
  try {
    await rename(folder, old);
  } catch {
    // There was none.
  }
  try {
    await rename(fresh, folder);
  } catch (error) {
    // Someone without the lock was faster: what they built is as good.
    if (!(await isWhole(folder))) throw error;
  } finally {
    await rm(old, { recursive: true, force: true });
  }
}

/** A lock saves double work only: without one, results are right all the same. So one that cannot be had is done without. */
async function lockEntry(root: string, folder: string): Promise<() => Promise<void>> {
  try {
    await mkdir(dirname(folder), { recursive: true });
    // Only here: what is in the cache already needs none.
    const { lock } = await import("proper-lockfile");
    const release = await lock(folder, {
      realpath: false,
      lockfilePath: `${folder}.lock`,
      stale: 10_000,
      update: 2_000,
      retries: { retries: 2_000, minTimeout: 20, maxTimeout: 200, factor: 1.3 },
      onCompromised: () => undefined,
    });
    return async () => {
      try {
        await release();
      } catch {
        // It was taken over after a long pause of this process.
      }
    };
  } catch (error) {
    if (isSystemError(error) && error.code !== "ELOCKED") throw asCacheError(error, root);
    return async () => undefined;
  }
}

const isSystemError = (error: unknown): error is NodeJS.ErrnoException => error instanceof Error && "code" in error;

function asCacheError(error: unknown, root: string): unknown {
  if (error instanceof ToolError || !isSystemError(error) || error.syscall === undefined) return error;
  return new ToolError("cache-unusable", `cannot write to the cache in ${root}: ${error.message}`, {
    hint: "make room, or set FOVEA_CACHE to a folder that can be written to",
    cause: error,
  });
}
