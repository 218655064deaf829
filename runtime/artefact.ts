import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Manifest, type Programs, programsOf } from "../ir/manifest.ts";
import type { Program } from "../ir/program.ts";
import { artefactMark, splitManifest } from "../ir/programText.ts";
import { RuntimeError } from "./errors.ts";
import { inconsistency } from "./inconsistency.ts";
import { manifestSchema } from "./manifestSchema.ts";
import { openSafetensors, SafetensorsError } from "./safetensors.ts";

/** A compiled network in its folder or file. Files are read when they are wanted, and checked against their checksums. */
export type Artefact = {
  /** Where it is. */
  readonly folder: string;
  /** One for each combination of the symbolic axes' extents. */
  readonly programs: Programs;
  /** A file by its path within the artefact, as the manifest names it. */
  readonly read: (path: string) => Uint8Array;
};

/** One program of an artefact, and its files. */
export type Build = { readonly program: Program; readonly read: Artefact["read"] };

/** Why an artefact was refused. */
export type ArtefactProblem =
  /** There is nothing, or it cannot be read. */
  | "missing"
  /** It is no artefact at all. */
  | "foreign"
  /** Another version of fovea made it. */
  | "version"
  /** Part of it is not there. */
  | "truncated"
  /** It is not what was built. */
  | "damaged";

/** An artefact that cannot be used, and why. Nothing of it has run. */
export class ArtefactFileError extends RuntimeError {
  override readonly name: string = "ArtefactFileError";
  readonly problem: ArtefactProblem;

  constructor(place: string, problem: ArtefactProblem, said: string) {
    super(`the artefact "${place}" ${said}${problem in hints ? `\n  hint: ${hints[problem]}` : ""}`);
    this.problem = problem;
  }
}

const hints: { readonly [P in ArtefactProblem]?: string } = {
  foreign: "fovea build writes artefacts: a folder, or one file",
  version: "build it again with this version",
  truncated: "copy or build it again",
  damaged: "copy or build it again",
};

/** The one format that this version reads. */
const readableFormat = 3;
const manifestName = "manifest.json";

/** Reads a program's manifest from its folder or file. Throws an ArtefactFileError. */
export const readArtefact = (place: string): Artefact => {
  const fail: Fail = (problem, said) => {
    throw new ArtefactFileError(place, problem, said);
  };
  const found = statSync(place, { throwIfNoEntry: false });
  if (found === undefined) return fail("missing", "is not there");
  const container = found.isDirectory() ? folderAt(place) : fileAt(place, fail);
  const [first, ...others] = programsOf(parseManifest(container, fail));
  if (first === undefined) return fail("damaged", "is damaged: it has no program");
  for (const program of [first, ...others]) {
    const problem = inconsistency(program);
    if (problem !== null) fail("damaged", `is damaged: ${problem}`);
  }
  const checksums = new Map(Object.entries(first.checksums));
  return {
    folder: place,
    programs: [first, ...others],
    read: (path) => {
      const expected = checksums.get(path);
      if (expected === undefined || path.split("/").includes(".."))
        return fail("damaged", `names no file "${path}" in its checksums`);
      const content = container(path, (reason) => fail("truncated", `lacks "${path}": ${reason}`));
      if (sha256(content) !== expected) return fail("damaged", `is damaged: "${path}" is not what was built`);
      return content;
    },
  };
};

type Fail = (problem: ArtefactProblem, said: string) => never;
/** Gives a file of the artefact, or the reason why not. */
type Container = (path: string, otherwise: (reason: string) => never) => Uint8Array;

const folderAt =
  (folder: string): Container =>
  (path, otherwise) => {
    try {
      return readFileSync(join(folder, path));
    } catch (cause) {
      return otherwise(reasonOf(cause));
    }
  };

/** The one-file form is a safetensors file of bytes: its reader is careful already, and other tools can look into it. */
const fileAt = (place: string, fail: Fail): Container => {
  const [field, mark] = artefactMark;
  const open = (): ReturnType<typeof openSafetensors> => {
    try {
      return openSafetensors(place);
    } catch (cause) {
      if (!(cause instanceof SafetensorsError)) return fail("missing", `cannot be read: ${reasonOf(cause)}`);
      const isCut = cause.message.includes("truncated");
      const isOurs = readFileSync(place).subarray(0, 4096).includes(mark);
      if (!isOurs) return fail("foreign", `is no artefact: ${cause.message}`);
      return isCut ? fail("truncated", `is cut: ${cause.message}`) : fail("damaged", `is damaged: ${cause.message}`);
    }
  };
  using first = open();
  if (first.metadata.get(field) !== mark)
    return fail("foreign", "is no artefact but a safetensors file of something else");
  return (path, otherwise) => {
    using file = open();
    const entry = file.tensors.get(path);
    return entry === undefined ? otherwise("it is not in the file") : file.bytes(entry);
  };
};

const parseManifest = (container: Container, fail: Fail): Manifest => {
  const bytes = container(manifestName, (reason) =>
    fail("foreign", `has no manifest.json that can be read: ${reason}`),
  );
  const text = new TextDecoder().decode(bytes);
  // Another version's manifest may differ in every other way.
  const format = /^\{\s*"format": *(\d+)/.exec(text)?.[1];
  if (format === undefined) {
    const isJson = parseOr(text, () => undefined) !== undefined;
    return fail(
      isJson ? "foreign" : "damaged",
      isJson
        ? "is none of fovea: manifest.json does not begin with its format"
        : "is damaged: manifest.json is not JSON",
    );
  }
  if (Number(format) !== readableFormat) {
    const by = /^[^{]*\{\s*"format": *\d+,\s*"fovea": *"([\w.+-]{1,40})"/.exec(text)?.[1];
    fail(
      "version",
      `has format ${format}${by === undefined ? "" : ` (fovea ${by})`}, this version of fovea reads ${readableFormat}`,
    );
  }
  const split = splitManifest(text);
  if (split === null) return fail("truncated", "is cut: manifest.json does not end with its digest");
  if (sha256(Buffer.from(split.text)) !== split.digest)
    fail("damaged", "is damaged: manifest.json is not what was written");
  const manifest = parseOr(text, (cause) =>
    fail("damaged", `is damaged: manifest.json is not JSON (${reasonOf(cause)})`),
  );
  const { data, error } = manifestSchema.safeParse(manifest);
  if (data !== undefined) return data;
  const [issue] = error.issues;
  return fail("damaged", `is damaged: manifest.json: ${placeOf(issue?.path ?? [])}${issue?.message ?? error.message}`);
};

const parseOr = (text: string, otherwise: (cause: unknown) => unknown): unknown => {
  try {
    return JSON.parse(text);
  } catch (cause) {
    return otherwise(cause);
  }
};

/** "programs.0.steps: " */
const placeOf = (path: readonly PropertyKey[]): string => (path.length === 0 ? "" : `${path.map(String).join(".")}: `);

const sha256 = (content: Uint8Array): string => createHash("sha256").update(content).digest("hex");

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
