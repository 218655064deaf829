import { readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { CommandError } from "../failure.ts";
import type { SeededRule, SeededTensor } from "./seeded.ts";

/** One run of published code: a network, its inputs, and what came out. */
export type GoldenCase = {
  readonly folder: string;
  readonly system: string;
  readonly case: string;
  /** The class of the model file that the case is about. */
  readonly entry: string;
  readonly config: { readonly [name: string]: unknown };
  /** A file of the folder, rules by name, or nothing where the network has no weights. */
  readonly weights: string | { readonly seeded: { readonly rules: readonly SeededRule[] } } | null;
  /** The file of the folder that holds inputs, intermediates and outputs. */
  readonly io: string;
  readonly inputs: { readonly [name: string]: CaseInput };
  readonly outputs: { readonly [name: string]: CaseTensor };
  readonly intermediates: { readonly [name: string]: CaseTensor };
  readonly tolerance: { readonly f32: CaseTolerance; readonly bf16: CaseTolerance };
};
export type CaseTensor = { readonly shape: readonly number[] };
/** `seeded` instead of elements in the file: drawn by name, see seeded.ts. */
type CaseInput = CaseTensor & { readonly seeded: SeededTensor | null };
export type CaseTolerance = {
  readonly rel_l2: number;
  readonly max_abs?: number | undefined;
  /** The only tensors that are held to it. */
  readonly on?: readonly string[] | undefined;
};

// Other keys of a case (where its numbers are from, how sensitive they are) are for people.
const tensor = z.object({ shape: z.array(z.int().nonnegative()) });
const tolerance = z.object({
  rel_l2: z.number(),
  max_abs: z.number().optional(),
  on: z.array(z.string()).optional(),
});
const rule = z.object({
  match: z.string(),
  mean: z.number().optional(),
  scale: z.number().optional(),
  gain: z.number().optional(),
});
const seeded = z.union([
  z.string().transform((name) => ({ name, mean: 0, deviation: 1 })),
  z
    .object({ name: z.string(), mean: z.number().default(0), scale: z.number().default(1) })
    .transform(({ name, mean, scale }) => ({ name, mean, deviation: scale })),
]);
const caseFile: z.ZodType<Omit<GoldenCase, "folder">> = z.object({
  system: z.string(),
  case: z.string(),
  entry: z.string(),
  config: z.record(z.string(), z.unknown()),
  weights: z.union([z.string(), z.object({ seeded: z.object({ rules: z.array(rule) }) }), z.null()]),
  io: z.string(),
  inputs: z.record(z.string(), tensor.extend({ seeded: seeded.nullable().default(null) })),
  outputs: z.record(z.string(), tensor),
  intermediates: z.record(z.string(), tensor).default({}),
  tolerance: z.object({ f32: tolerance, bf16: tolerance }),
});

/** `folder` holds case.json and the files that it names; the path of case.json itself is taken too. */
export function readCase(folder: string): GoldenCase {
  const stat = statSync(folder, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new CommandError(`there is no case "${folder}"`, "give a folder that holds a case.json");
  const file = stat.isDirectory() ? join(folder, "case.json") : folder;
  const text = readText(file);
  const parsed = caseFile.safeParse(parseJson(file, text));
  if (!parsed.success) throw new CommandError(`"${file}" is not a case:\n${z.prettifyError(parsed.error)}`);
  return { ...parsed.data, folder: dirname(file) };
}

function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CommandError(`"${file}" is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    throw new CommandError(
      `there is no file "${file}"`,
      "a case is a folder with case.json, io.safetensors and its weights",
    );
  }
}

/** The model file of a system within `models/`: "video-swin" is in videoSwin.ts. */
export const modelFileOf = (system: string): string =>
  `${(inFull[system] ?? system).replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())}.ts`;
const inFull: { readonly [system: string]: string } = { dac: "deep-amortized-clustering" };
