import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Precision } from "../../ir/types.ts";
import { printGraph } from "../../ir/print.ts";
import { compileGraph, type Compiled, type FusionNote } from "../compile.ts";
import { printKernels, printStages } from "./buildReport.ts";
import { exitCodes, unknownName } from "./failure.ts";
import { readablePath } from "./figures.ts";
import { patternMaps, patternPictures, printPatterns } from "./patterns.ts";
import { type ModelOptions, traceModel } from "./model.ts";
import { printRemarks } from "./remarks.ts";
import type { ChosenToken } from "./tokenView.ts";
import type { BatchRange } from "./options.ts";
import type { Paint, Terminal } from "./terminal.ts";
import { writeText } from "./writeWhole.ts";

export type InspectOptions = ModelOptions & {
  readonly precision: Precision;
  readonly batch: BatchRange;
  /** The plan that keeps every published intermediate. */
  readonly keep: boolean;
  /** Prints the graph as this pass left it, and nothing else. */
  readonly stage: string | null;
  /** Prints this kernel's text, and nothing else. */
  readonly kernel: string | null;
  /** Draws which tiles of queries meet which keys, and nothing else. */
  readonly pattern: boolean;
  /** Whose keys are drawn. */
  readonly token: ChosenToken;
  /** A folder for a picture of each pattern. */
  readonly svg: string | null;
  readonly json: boolean;
};

/** Shows what the compiler makes of a model, without any compiler of CUDA. */
export async function inspect(file: string, options: InspectOptions, terminal: Terminal): Promise<number> {
  const graph = await traceModel(file, options, terminal);
  const compiled = await terminal.task(`compiling ${graph.name}`, () => compileGraph(graph, options));
  terminal.print(describe(compiled, options, terminal.paint));
  if (options.svg !== null) writePictures(compiled, options.token, options.svg, terminal);
  return exitCodes.success;
}

function writePictures(compiled: Compiled, token: ChosenToken, folder: string, terminal: Terminal): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, picture] of patternPictures(compiled, token)) {
    const file = join(folder, `${name}.svg`);
    writeText(file, picture);
    terminal.print(`wrote ${readablePath(file)}`);
  }
}

function describe(compiled: Compiled, { stage, kernel, pattern, token, json }: InspectOptions, paint: Paint): string {
  if (stage !== null) return stageText(compiled, stage);
  if (kernel !== null) return kernelText(compiled, kernel);
  if (pattern)
    return json
      ? JSON.stringify({ patterns: patternMaps(compiled, token) }, null, 2)
      : printPatterns(compiled, token, paint);
  if (json) {
    const stages = compiled.stages.map(({ name, graph, ms }) => ({ name, values: graph.nodes.length, ms }));
    return JSON.stringify({ stages, fusions: compiled.fusions, program: compiled.program }, null, 2);
  }
  return [
    printStages(compiled, paint),
    printKernels([compiled.program], paint),
    printSteps(compiled),
    printFusions(compiled.fusions, paint),
    printRemarks([compiled], paint),
  ]
    .filter((part) => part !== "")
    .join("\n\n");
}

/** By number, or by name: the last of that name. */
function stageText({ stages }: Compiled, wanted: string): string {
  const stage = /^\d+$/.test(wanted) ? stages[Number(wanted)] : stages.findLast(({ name }) => name === wanted);
  if (stage === undefined) throw unknownName("pass", wanted, [...new Set(stages.map(({ name }) => name))]);
  return printGraph(stage.graph).trimEnd();
}

function kernelText({ program, sources }: Compiled, wanted: string): string {
  const kernel = program.kernels.find(({ name }) => name === wanted);
  if (kernel === undefined)
    throw unknownName(
      "kernel",
      wanted,
      program.kernels.map(({ name }) => name),
    );
  return (sources.get(kernel.source) ?? "").trimEnd();
}

const printSteps = ({ program: { steps, loop } }: Compiled): string =>
  steps
    .flatMap(({ kernel, origin }, index) => [
      ...(index === loop?.from ? [`every step of the loop, ${loop.atMost} at most:`] : []),
      ...(index === loop?.to ? ["when the loop has ended:"] : []),
      `${kernel}  ${origin.path}  (${readablePath(origin.file)}:${origin.line})\n    ${origin.formula}`,
    ])
    .join("\n");

/**
 * What became part of another kernel, and what did not, with the reason, in the order of the source. Blocks of one class
 * say the same of each of their instances: one line tells of all.
 */
function printFusions(fusions: readonly FusionNote[], paint: Paint): string {
  const lines = new Map<string, string[]>();
  for (const { span, path, fused, what, because } of fusions) {
    const verdict = fused ? paint.green("fused") : paint.yellow("not fused");
    const line = `${readablePath(span.file)}:${span.line}:${span.column}  ${what} ${verdict}: ${because}`;
    lines.set(line, [...(lines.get(line) ?? []), path]);
  }
  return [...lines]
    .map(
      ([line, paths]) =>
        `${line}\n    ${paint.dim(`${paths[0]}${paths.length > 1 ? ` and ${paths.length - 1} more` : ""}`)}`,
    )
    .join("\n");
}
