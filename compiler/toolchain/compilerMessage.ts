import { readFileSync } from "node:fs";
import { join } from "node:path";
import { codeFrame } from "../codeFrame.ts";

/** The first real error among a compiler's messages. `file` is as the compiler names it. */
export type CompilerMessage = {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly text: string;
};

const forms: readonly RegExp[] = [
  // g++ and clang++: `name.cu:12:5: error: text`, `fatal error: text`
  /^(?<file>[^\s:][^:\n]*):(?<line>\d+):(?<column>\d+): (?:fatal )?error: (?<text>.*)$/m,
  // nvcc: `name.cu(12): error: text`, `catastrophic error`
  /^(?<file>[^\s(][^(\n]*)\((?<line>\d+)\): (?:catastrophic )?error(?: #[\w-]+)?: (?<text>.*)$/m,
];

/** What to do where this machine is to blame for a compiler's failure; `otherwise` where it is not. */
export function adviceOn(output: string, otherwise: string): string {
  if (/No space left on device|Disk quota exceeded/.test(output))
    return "the disk is full: make room, or set FOVEA_CACHE to a folder on another one";
  if (/Failed to preprocess host compiler|Cannot find compiler|host compiler .*not found/.test(output))
    return "nvcc needs a C++ compiler of this machine (Debian, Ubuntu: apt install g++)";
  if (/virtual memory exhausted|[Oo]ut of memory|cannot allocate memory|Killed signal terminated/.test(output))
    return "this machine's memory does not suffice: end other programs";
  return otherwise;
}

export function firstError(output: string): CompilerMessage | undefined {
  const matches = forms.map((form) => form.exec(output)).filter((match) => match !== null);
  const [first] = matches.toSorted((a, b) => a.index - b.index);
  if (first?.groups === undefined) return undefined;
  const { file = "", line = "1", column = "1", text = "" } = first.groups;
  return { file, line: Number(line), column: Number(column), text };
}

/** The message with the code around its place, which lies in the generated text or in one of fovea's headers. */
export function explainError(
  output: string,
  generated: { readonly file: string; readonly source: string },
  headers: string,
): string {
  const error = firstError(output);
  if (error === undefined) return firstLines(output, 5);
  const inGenerated = error.file === generated.file;
  const file = inGenerated ? error.file : error.file.replace(headers, "templates");
  const source = inGenerated ? generated.source : readIfThere(inFolder(error.file, headers));
  const place = { file, line: error.line, column: error.column };
  return [
    `${error.text}`,
    `  ${file}:${error.line}`,
    ...(source === undefined ? [] : [codeFrame(source, place, "")]),
  ].join("\n");
}

const inFolder = (file: string, headers: string): string =>
  file.startsWith("templates/") ? join(headers, file.slice(10)) : file;

const firstLines = (text: string, count: number): string =>
  text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .slice(0, count)
    .join("\n");

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
