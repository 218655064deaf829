import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { BufferRef, Program } from "../ir/program.ts";
import { parseProgramText } from "../ir/programText.ts";
import { RuntimeError } from "./errors.ts";

/** A compiled program in its folder. Files are read when they are wanted, and checked against the manifest's checksums. */
export type Artefact = {
  readonly folder: string;
  readonly program: Program;
  /** A file by its path within the folder, as the manifest names it. */
  readonly read: (path: string) => Uint8Array;
};

/** The one format that this version reads. */
const readableFormat = 1;

/** Reads a program's manifest. Throws a RuntimeError where it is missing, damaged, or of another version. */
export const readArtefact = (folder: string): Artefact => {
  const fail = (problem: string): never => {
    throw new RuntimeError(`the artefact "${folder}" ${problem}`);
  };
  const program = readManifest(folder, fail);
  const problem = inconsistency(program);
  if (problem !== null) fail(`is damaged: ${problem}`);
  const checksums = new Map(Object.entries(program.checksums));
  return {
    folder,
    program,
    read: (path) => {
      const expected = checksums.get(path);
      if (expected === undefined || path.split("/").includes(".."))
        return fail(`names no file "${path}" in its checksums`);
      const content = readOr(join(folder, path), (reason) => fail(`lacks "${path}": ${reason}`));
      if (createHash("sha256").update(content).digest("hex") !== expected)
        return fail(`is damaged: "${path}" is not what was built\n  hint: build it again`);
      return content;
    },
  };
};

type Fail = (problem: string) => never;

const readManifest = (folder: string, fail: Fail): Program => {
  const text = readOr(join(folder, "manifest.json"), (reason) =>
    fail(`has no manifest.json that can be read: ${reason}`),
  );
  let manifest: unknown;
  try {
    manifest = parseProgramText(new TextDecoder().decode(text));
  } catch (cause) {
    fail(`is damaged: manifest.json is not JSON (${reasonOf(cause)})`);
  }
  if (typeof manifest !== "object" || manifest === null || !("format" in manifest))
    return fail("is damaged: manifest.json does not say its format");
  if (manifest.format !== readableFormat)
    fail(
      `has format ${JSON.stringify(manifest.format)}, this version of fovea reads ${readableFormat}\n  hint: build it again`,
    );
  const missing = fields.find((field) => !(field in manifest));
  if (missing !== undefined) fail(`is damaged: manifest.json lacks "${missing}"`);
  return manifest as Program;
};

const fields: readonly (keyof Program)[] = [
  "name",
  "batch",
  "inputs",
  "outputs",
  "kept",
  "parameters",
  "unused",
  "weights",
  "memory",
  "kernels",
  "steps",
  "checksums",
];

/** What in the program would lead a launch out of its memory or to a kernel that is not there. */
const inconsistency = ({ memory, weights, kernels, steps, inputs, outputs, kept }: Program): string | null => {
  const names = new Set(kernels.map((kernel) => kernel.name));
  const ends = { activations: memory.activations, shared: memory.shared, weights: memory.weights };
  const ports = { input: inputs.length, output: outputs.length, kept: kept.length };
  const isOutside = (buffer: BufferRef): boolean => {
    switch (buffer.space) {
      case "activations":
        return buffer.offset < 0 || buffer.offset + buffer.bytesPerExample > ends.activations;
      case "shared":
      case "weights":
        return buffer.offset < 0 || buffer.offset + buffer.bytes > ends[buffer.space];
      case "input":
      case "output":
      case "kept":
        return buffer.index < 0 || buffer.index >= ports[buffer.space];
    }
  };
  for (const { name, offset, bytes } of weights)
    if (offset < 0 || offset + bytes > memory.weights) return `weight "${name}" lies outside of the weights' memory`;
  for (const [index, step] of steps.entries()) {
    if (!names.has(step.kernel)) return `step ${index} launches "${step.kernel}", which is no kernel of it`;
    if (step.arguments.some((argument) => argument.kind === "buffer" && isOutside(argument.buffer)))
      return `step ${index} (${step.kernel}) has an argument outside of the program's memory`;
  }
  return null;
};

const readOr = (path: string, otherwise: (reason: string) => never): Uint8Array => {
  try {
    return readFileSync(path);
  } catch (cause) {
    return otherwise(reasonOf(cause));
  }
};

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));
