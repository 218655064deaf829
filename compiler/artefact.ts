import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile, readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { Kernel, Program, PtxasReport } from "../ir/program.ts";
import { printProgram } from "../ir/programText.ts";
import type { Compiled } from "./compile.ts";
import type { KernelImage } from "./toolchain/compileImages.ts";

/** An artefact that could not be written. What stood at its place before is there still. */
export class ArtefactError extends Error {
  override readonly name: string = "ArtefactError";
}

const manifestName = "manifest.json";

/** A program with its images, and all files of its artefact but the manifest, by path. */
export type PackedArtefact = { readonly program: Program; readonly files: ReadonlyMap<string, Uint8Array> };

/** Names the images kernels/NAME.TARGET.cubin (.so for the emulated device) and sums up every file. */
export function packArtefact(
  { program, sources }: Pick<Compiled, "program" | "sources">,
  images: readonly KernelImage[],
): PackedArtefact {
  const files = new Map<string, Uint8Array>();
  for (const [path, source] of sources) files.set(path, Buffer.from(source, "utf8"));
  const kernels = program.kernels.map((kernel) => withImages(kernel, images, files));
  const checksums = Object.fromEntries([...files].map(([path, content]) => [path, sha256(content)]));
  return { program: { ...program, kernels, checksums }, files };
}

/**
 * Writes manifest.json and the files. Everything is written beside `directory` first and then takes its place in one
 * step, so that whoever reads it finds the old artefact or the new one and never half of either, whatever else writes
 * there and whenever the disk is full. `directory` may be missing, empty, or an artefact; anything else is left alone
 * and refused.
 */
export async function writeArtefact({ program, files }: PackedArtefact, directory: string): Promise<void> {
  const place = resolve(directory);
  await mustBeReplaceable(place);
  const draft = beside(place);
  try {
    await mkdir(dirname(place), { recursive: true });
    for (const [path, content] of [...files, [manifestName, Buffer.from(printProgram(program), "utf8")] as const]) {
      await mkdir(dirname(join(draft, path)), { recursive: true });
      await writeFile(join(draft, path), content, { flush: true });
    }
    await takePlace(draft, place);
  } catch (error) {
    // What went wrong first is what is told, even if the draft cannot be removed either.
    await rm(draft, { recursive: true, force: true }).catch(() => {});
    throw new ArtefactError(`the artefact "${directory}" could not be written: ${reasonOf(error)}`, { cause: error });
  }
}

function withImages(kernel: Kernel, images: readonly KernelImage[], files: Map<string, Uint8Array>): Kernel {
  const paths: Record<string, string> = {};
  const reports: Record<string, PtxasReport> = {};
  for (const { target, image, ptxas } of images.filter((each) => each.kernel === kernel.name)) {
    const path = `${dirname(kernel.source)}/${kernel.name}.${target}.${target === "emulated" ? "so" : "cubin"}`;
    files.set(path, image);
    paths[target] = path;
    if (ptxas !== null) reports[target] = ptxas;
  }
  return { ...kernel, images: paths, ptxas: reports };
}

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
  if (!found.isDirectory()) throw new ArtefactError(`"${place}" is a file; an artefact is a folder`);
  const entries = await readdir(place);
  if (entries.length === 0) return;
  const manifest = await readFile(join(place, manifestName), "utf8").catch(() => "");
  if (!/^\{\s*"format":/.test(manifest)) {
    throw new ArtefactError(
      `"${place}" holds other files (${entries.slice(0, 3).join(", ")}): choose a folder of its own`,
    );
  }
}

const sha256 = (content: Uint8Array): string => createHash("sha256").update(content).digest("hex");

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";

function reasonOf(error: unknown): string {
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
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
