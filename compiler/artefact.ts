import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename, rm, writeFile, readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { manifestOf, type Programs } from "../ir/manifest.ts";
import type { Kernel, Program } from "../ir/program.ts";
import { artefactMark, printManifest } from "../ir/programText.ts";
import type { Compiled } from "./compile.ts";
import { invariant } from "./diagnostics.ts";
import { packageVersion } from "./packageRoot.ts";
import type { KernelImage } from "./toolchain/compileImages.ts";

/** An artefact that could not be written. What stood at its place before is there still. */
export class ArtefactError extends Error {
  override readonly name: string = "ArtefactError";
}

const manifestName = "manifest.json";

/** Programs with their images, and all files of their artefact but the manifest, by path. */
export type PackedArtefact = { readonly programs: Programs; readonly files: ReadonlyMap<string, Uint8Array> };

/** Programs that were compiled together, and the texts of their kernels. */
export type Family = { readonly programs: Programs; readonly sources: Compiled["sources"] };

/**
 * Names the images kernels/NAME.fatbin (of a kernel for all GPUs) and kernels/NAME.emulated.so, and sums up every file.
 * `more` are other files, by path.
 */
export function packArtefact(
  { programs, sources }: Family,
  images: readonly KernelImage[],
  more: ReadonlyMap<string, Uint8Array> = new Map(),
): PackedArtefact {
  const files = new Map<string, Uint8Array>();
  for (const [path, source] of sources) files.set(path, Buffer.from(source, "utf8"));
  for (const { kernel, target, image } of images) {
    const path = imagePath(kernel, target);
    invariant(image === (files.get(path) ?? image), `images of ${kernel} for several GPUs are no fatbin`);
    files.set(path, image);
  }
  for (const [path, content] of more) files.set(path, content);
  const checksums = Object.fromEntries([...files].map(([path, content]) => [path, sha256(content)]));
  const packed = (program: Program): Program => ({
    ...program,
    kernels: program.kernels.map((kernel) => withImages(kernel, images)),
    checksums,
  });
  const [first, ...others] = programs;
  return { programs: [packed(first), ...others.map(packed)], files };
}

/** Artefacts of this ending are one file. */
export const isFilePlace = (place: string): boolean => place.endsWith(".fovea");

/**
 * Writes manifest.json and the files: to a folder, or into one file where its name ends with ".fovea". Everything is written beside `directory` first and then takes its place in one
 * step, so that whoever reads it finds the old artefact or the new one and never half of either, whatever else writes
 * there and whenever the disk is full. `where` may be missing, an empty folder, or an artefact; anything else is left
 * alone and refused.
 */
export async function writeArtefact({ programs, files }: PackedArtefact, where: string): Promise<void> {
  const place = resolve(where);
  const isFile = isFilePlace(where);
  await (isFile ? fileMustBeReplaceable(place) : mustBeReplaceable(place));
  const draft = beside(place);
  const manifest = Buffer.from(
    printManifest(manifestOf(programs), packageVersion(), (text) => sha256(Buffer.from(text))),
    "utf8",
  );
  const all = new Map([...files, [manifestName, manifest]]);
  try {
    await mkdir(dirname(place), { recursive: true });
    if (isFile) await writeFile(draft, encodeFile(all), { flush: true });
    else
      for (const [path, content] of all) {
        await mkdir(dirname(join(draft, path)), { recursive: true });
        await writeFile(join(draft, path), content, { flush: true });
      }
    await (isFile ? rename(draft, place) : takePlace(draft, place));
  } catch (error) {
    // What went wrong first is what is told, even if the draft cannot be removed either.
    await rm(draft, { recursive: true, force: true }).catch(() => {});
    throw new ArtefactError(`the artefact "${where}" could not be written: ${reasonOf(error)}`, { cause: error });
  }
}

/** One safetensors file: every file is a tensor of bytes by its path. */
function encodeFile(files: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const [field, mark] = artefactMark;
  const header: Record<string, unknown> = { __metadata__: { [field]: mark } };
  let end = 0;
  for (const [path, { length }] of files) {
    header[path] = { dtype: "U8", shape: [length], data_offsets: [end, end + length] };
    end += length;
  }
  const json = Buffer.from(JSON.stringify(header));
  const text = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, " ")]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, ...files.values()]);
}

function withImages(kernel: Kernel, images: readonly KernelImage[]): Kernel {
  const own = images.filter((each) => each.kernel === kernel.name);
  return {
    ...kernel,
    images: Object.fromEntries(own.map(({ target }) => [target, imagePath(kernel.name, target)])),
    ptxas: Object.fromEntries(own.flatMap(({ target, ptxas }) => (ptxas === null ? [] : [[target, ptxas]]))),
  };
}

const imagePath = (kernel: string, target: string): string =>
  `kernels/${kernel}.${target === "emulated" ? "emulated.so" : "fatbin"}`;

/** A name in the same folder, so that a rename stays within one file system. */
const beside = (place: string): string =>
  join(dirname(place), `.${basename(place)}.${randomBytes(6).toString("hex")}.tmp`);

/** A folder cannot be renamed onto one that has files: the old one steps aside. Another process may do the same meanwhile. */
async function takePlace(draft: string, place: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await rename(draft, place);
    } catch (error) {
      if (!occupied.has(codeOf(error)) || attempt === 100) throw error;
    }
    const aside = beside(place);
    try {
      await rename(place, aside);
    } catch (error) {
      // Somebody else has moved it just now.
      if (codeOf(error) !== "ENOENT") throw error;
    }
    await rm(aside, { recursive: true, force: true });
  }
}
const occupied: ReadonlySet<string> = new Set(["ENOTEMPTY", "EEXIST"]);

async function mustBeReplaceable(place: string): Promise<void> {
  const found = await stat(place).catch(() => null);
  if (found === null) return;
  if (!found.isDirectory())
    throw new ArtefactError(`"${place}" is a file; an artefact is a folder, or a file named NAME.fovea`);
  const entries = await readdir(place);
  if (entries.length === 0) return;
  const manifest = await readFile(join(place, manifestName), "utf8").catch(() => "");
  if (!/^\{\s*"format":/.test(manifest)) {
    throw new ArtefactError(
      `"${place}" holds other files (${entries.slice(0, 3).join(", ")}): choose a folder of its own`,
    );
  }
}

async function fileMustBeReplaceable(place: string): Promise<void> {
  const found = await stat(place).catch(() => null);
  if (found === null) return;
  if (!found.isFile()) throw new ArtefactError(`"${place}" is a folder; an artefact of this name is one file`);
  await using file = await open(place);
  const head = Buffer.alloc(200);
  const { bytesRead } = await file.read(head, 0, head.length, 0);
  if (bytesRead > 0 && !head.includes(artefactMark[1]))
    throw new ArtefactError(`"${place}" is a file of something else: choose another name`);
}

const sha256 = (content: Uint8Array): string => createHash("sha256").update(content).digest("hex");

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";

/** Why the system did not let a file be written. */
export function reasonOf(error: unknown): string {
  switch (codeOf(error)) {
    case "ENOSPC":
    case "EDQUOT":
      return "the disk is full";
    case "EFBIG":
      return "a file is larger than this process may write";
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return "there is no permission to write there";
    case "ENOTDIR":
    case "EEXIST":
      return "part of its path is a file";
    case "ENOENT":
      return "its folder does not exist";
    case "EISDIR":
      return "it is a folder";
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
