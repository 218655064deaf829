import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** A model that was checked and emitted: valid while the files it was made of are the same. */
export type CachedModel = {
  /** The emitted module to import. */
  readonly entry: string;
  readonly inputs: readonly { readonly file: string; readonly hash: string }[];
};
export type EmittedFile = { readonly path: string; readonly text: string };

/**
 * The cache lies in the nearest `node_modules` above the model, so that the bare imports of emitted files resolve as
 * the author's do; beside the model where there is none.
 */
function cacheFolder(file: string): string {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    if (existsSync(join(folder, "node_modules"))) return join(folder, "node_modules/.cache/fovea/models");
    if (folder === dirname(folder)) return join(dirname(file), ".fovea");
  }
}

export function readCachedModel(file: string): CachedModel | undefined {
  const path = manifestPath(file);
  if (!existsSync(path)) return undefined;
  const cached = JSON.parse(readFileSync(path, "utf8")) as CachedModel;
  const isFresh = cached.inputs.every((input) => hashOfFile(input.file) === input.hash) && existsSync(cached.entry);
  return isFresh ? cached : undefined;
}

/** Keeps what was emitted; each file appears whole or not at all, so that processes may do this at once. */
export async function writeCachedModel(
  file: string,
  entry: string,
  inputs: readonly string[],
  emitted: readonly EmittedFile[],
): Promise<void> {
  for (const { path, text } of emitted) await writeWhole(path, text);
  const cached: CachedModel = { entry, inputs: inputs.map((input) => ({ file: input, hash: hashOfFile(input) })) };
  await writeWhole(manifestPath(file), JSON.stringify(cached));
}

/** The folder of what is emitted from these files by this compiler. */
export const emittedFolder = (file: string, inputs: readonly string[]): string =>
  join(cacheFolder(file), hash([compilerHash(), ...inputs.flatMap((input) => [input, hashOfFile(input)])].join("\n")));

const manifestPath = (file: string): string => join(cacheFolder(file), `${hash(`${compilerHash()}\n${file}`)}.json`);

async function writeWhole(path: string, text: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  // Only here: a model that is known is not written.
  const { default: writeFileAtomic } = await import("write-file-atomic");
  await writeFileAtomic(path, text);
}

const hash = (data: string | Buffer): string => createHash("sha256").update(data).digest("hex").slice(0, 24);
/** The empty text for a file that is not there: tsconfig files may come and go. */
const hashOfFile = (file: string): string => (existsSync(file) ? hash(readFileSync(file)) : "");

let ofCompiler: string | undefined;
/** Another compiler may check and emit otherwise, and emitted files import the one that made them: its text and its place are part of every key. */
function compilerHash(): string {
  if (ofCompiler === undefined) {
    const folders = ["../dsl/", "./"].map((folder) => fileURLToPath(new URL(folder, import.meta.url)));
    const files = folders.flatMap((folder) =>
      readdirSync(folder)
        .filter((name) => /\.[jt]s$/.test(name))
        .map((name) => join(folder, name)),
    );
    ofCompiler = hash([import.meta.url, ...files.map((file) => hashOfFile(file))].join("\n"));
  }
  return ofCompiler;
}
