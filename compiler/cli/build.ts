import { relative } from "node:path";
import type { Kernel, Program } from "../../ir/program.ts";
import type { Precision } from "../../ir/types.ts";
import { openCheckpoint } from "../../runtime/checkpoint.ts";
import { encodePreparedWeights } from "../../runtime/preparedWeights.ts";
import { packArtefact, type PackedArtefact, writeArtefact } from "../artefact.ts";
import { compileGraph, type Compiled } from "../compile.ts";
import { emitBinding } from "../emit/binding.ts";
import { emitHost } from "../emit/host.ts";
import { targetOf } from "../schedule/target.ts";
import { buildLibrary } from "../toolchain/buildLibrary.ts";
import type { ImageTarget, KernelImage } from "../toolchain/compileImages.ts";
import { exitCodes } from "./failure.ts";
import { bytes, milliseconds } from "./figures.ts";
import { compileKernels, hasHostCompiler, usualTargets, withPtx } from "./images.ts";
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
  /** A checkpoint, to be prepared for the C interface; null: none. */
  readonly weights: string | null;
  readonly json: boolean;
};

/** Compiles a model to an artefact: a folder that the runtime loads, and that people can read. */
export async function build(file: string, options: BuildOptions, terminal: Terminal): Promise<number> {
  const graph = await traceModel(file, options, terminal);
  const asked = options.targets ?? (await usualTargets());
  const { precision, batch } = options;
  const compiled = await terminal.task(`compiling ${graph.name}`, () =>
    compileGraph(graph, { precision, batch, keep: false, target: targetOf(asked) }),
  );
  const targets = withPtx(asked);
  const images = await compileKernels(compiled, targets, terminal);
  const folder = options.out ?? `${graph.name.replaceAll("/", "-")}-${options.precision}`;
  const artefact = await terminal.task("packing the artefact", () => packAll(compiled, images, options.weights));
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

/** The artefact with its interfaces: TypeScript's, and C's where there is a compiler for it. */
async function packAll(
  compiled: Compiled,
  images: readonly KernelImage[],
  weights: string | null,
): Promise<PackedArtefact> {
  const { program, files } = packArtefact(compiled, images);
  const host = emitHost(program);
  const more = new Map<string, Uint8Array>();
  for (const [path, text] of [...emitBinding(program), ...host.files]) more.set(path, Buffer.from(text, "utf8"));
  if (await hasHostCompiler())
    more.set(host.libraryPath, await buildLibrary(host.sourcePath, new Map([...files, ...more])));
  if (weights !== null) {
    using checkpoint = await openCheckpoint(weights);
    more.set("weights.bin", encodePreparedWeights(program, checkpoint));
  }
  return packArtefact(compiled, images, more);
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
