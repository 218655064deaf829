import type { Manifest } from "./manifest.ts";
import type { Program } from "./program.ts";

/** What manifest.json says: behind the version that made it, and before a digest of the whole text. */
export const printManifest = (manifest: Manifest, version: string, digestOf: (text: string) => string): string => {
  const { format, ...rest } = manifest;
  const text = `${exactJson({ format, fovea: version, ...rest, digest: blankDigest }, 1)}\n`;
  return text.slice(0, -blankEnd.length) + blankEnd.replace(blankDigest, digestOf(text));
};

/** A manifest's digest, and the text that it is the digest of; null where the text does not end with one. */
export const splitManifest = (text: string): { readonly digest: string; readonly text: string } | null => {
  const found = /"digest": "([0-9a-f]{64})"\n\}\n$/.exec(text);
  const digest = found?.[1];
  return digest === undefined ? null : { digest, text: text.slice(0, -blankEnd.length) + blankEnd };
};

const blankDigest = "0".repeat(64);
const blankEnd = `"digest": "${blankDigest}"\n}\n`;

/**
 * JSON that tells all numbers apart: those that JSON has no word for (a mask's -Infinity) are written as
 * `{ "number": "-Infinity" }`. Equal data gives equal text.
 */
export const exactJson = (data: unknown, indent: number = 0): string =>
  JSON.stringify(
    data,
    (_, value: unknown) => (typeof value === "number" && !isPlain(value) ? { number: wordFor(value) } : value),
    indent,
  );

/** What a manifest says. Throws a SyntaxError where the text is not JSON; what the JSON says is not checked. */
export const parseProgramText = (text: string): unknown =>
  JSON.parse(text, (_, value: unknown) => (isNumberWord(value) ? Number(value.number) : value));

const isPlain = (value: number): boolean => Number.isFinite(value) && !Object.is(value, -0);
const wordFor = (value: number): string => (Object.is(value, -0) ? "-0" : String(value));

const isNumberWord = (value: unknown): value is { readonly number: string } =>
  typeof value === "object" &&
  value !== null &&
  "number" in value &&
  typeof value.number === "string" &&
  Object.keys(value).length === 1;

/** Metadata by which the one-file form of an artefact is told from other safetensors files: a field and its value. */
export const artefactMark = ["format", "fovea artefact"] as const;

/** What prepared weights depend on, as text: equal for programs that can share them. */
export const weightsText = ({ memory, weights }: Pick<Program, "memory" | "weights">): string =>
  exactJson([memory.weights, weights]);
