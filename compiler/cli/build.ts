import { relative } from "node:path";
import type { Kernel, Program } from "../../ir/program.ts";
import type { Precision } from "../../ir/types.ts";
import { packArtefact, writeArtefact } from "../artefact.ts";
import { compileGraph, type Compiled } from "../compile.ts";
import type { ImageTarget } from "../toolchain/compileImages.ts";
import { exitCodes } from "./failure.ts";
import { bytes, milliseconds } from "./figures.ts";
import { compileKernels, usualTargets, withPtx } from "./images.ts";
import { type ModelOptions, traceModel } from "./model.ts";
import type { BatchRange } from "./options.ts";
import { type Column, type Paint, table, type Terminal } from "./terminal.ts";

export type BuildOptions = ModelOptions & {
  readonly precision: Precision;
  readonly batch: BatchRange;
  /** Null: see usualTargets. */
  readonly targets: readonly ImageTarget[] | null;
  /** Where the artefact goes; null: a folder of the model's name here. */
  readonly out: string | null;
  readonly json: boolean;
};

/** Compiles a model to an artefact: a folder that the runtime loads, and that people can read. */
export async function build(file: string, options: BuildOptions, terminal: Terminal): Promise<number> {
  const graph = await traceModel(file, options, terminal);
  const compiled = await terminal.task(`compiling ${graph.name}`, () =>
    compileGraph(graph, { precision: options.precision, batch: options.batch, keep: false }),
  );
  const targets = withPtx(options.targets ?? (await usualTargets()));
  const images = await compileKernels(compiled, targets, terminal);
  const folder = options.out ?? `${graph.name.replaceAll("/", "-")}-${options.precision}`;
  const artefact = packArtefact(compiled, images);
  await writeArtefact(artefact, folder);
  const { program } = artefact;

  if (options.json) terminal.print(JSON.stringify({ folder, targets, program }, null, 2));
  else {
    terminal.print(printStages(compiled, terminal.paint));
    terminal.print(`\n${printKernels(program, terminal.paint)}`);
    terminal.print(`\n${printTotals(program)}`);
    terminal.print(`wrote ${terminal.paint.bold(relative(".", folder) || ".")} for ${targets.join(", ")}`);
  }
  return exitCodes.success;
}

/** One line a pass: what it left, and how long it took. Passes are told apart by number where one runs twice. */
export function printStages({ stages, program }: Compiled, paint: Paint): string {
  const columns: readonly Column[] = [
    { head: "" },
    { head: "pass" },
    { head: "values", align: "right" },
    { head: "" },
    { head: "time", align: "right" },
  ];
  const rows = stages.map(({ name, graph, ms }, index) => {
    const isUnchanged = stages[index - 1]?.graph === graph;
    return [
      String(index),
      name,
      String(graph.nodes.length),
      isUnchanged ? paint.dim("unchanged") : "",
      index === 0 ? "" : milliseconds(ms),
    ];
  });
  return `${table(columns, rows, paint)}\n${program.steps.length} launches of ${program.kernels.length} kernels`;
}

/** One line a kernel: how often it is launched, and what each compiler made of it. */
export function printKernels(program: Program, paint: Paint): string {
  const targets = [...new Set(program.kernels.flatMap(({ ptxas }) => Object.keys(ptxas)))];
  const columns: readonly Column[] = [
    { head: "kernel" },
    { head: "family" },
    { head: "launches", align: "right" },
    { head: "threads", align: "right" },
    { head: "shared", align: "right" },
    ...targets.map((target): Column => ({ head: target })),
    { head: "tiles" },
  ];
  const launches = (name: string): number => program.steps.filter(({ kernel }) => kernel === name).length;
  const rows = program.kernels.map((kernel) => [
    kernel.name,
    kernel.family,
    String(launches(kernel.name)),
    String(kernel.threads),
    bytes(kernel.sharedBytes),
    ...targets.map((target) => printReport(kernel, target, paint)),
    headline(kernel.notes[0] ?? ""),
  ]);
  return table(columns, rows, paint);
}

/** A note up to its reasons, which `inspect --kernel` prints in full above the kernel. */
const headline = (note: string): string => note.split(/[:.](?: |$)/)[0] ?? "";

function printReport(kernel: Kernel, target: string, paint: Paint): string {
  const report = kernel.ptxas[target];
  if (report === undefined) return "";
  const spills = report.spillBytes > 0 ? paint.red(`, ${bytes(report.spillBytes)} spilled`) : "";
  return `${report.registers} registers${spills}`;
}

function printTotals({ memory, batch }: Program): string {
  const range = batch.min === batch.max ? `a batch of ${batch.min}` : `batches of ${batch.min} to ${batch.max}`;
  const shared = memory.shared > 0 ? `, ${bytes(memory.shared)} for all examples` : "";
  return `${range}: ${bytes(memory.weights)} of weights, ${bytes(memory.activations)} for each example${shared}`;
}
