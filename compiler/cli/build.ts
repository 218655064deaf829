import { relative } from "node:path";
import { manifestOf } from "../../ir/manifest.ts";
import type { Precision } from "../../ir/types.ts";
import { openCheckpoint } from "../../runtime/checkpoint.ts";
import { manifestJsonSchema } from "../../runtime/manifestSchema.ts";
import { encodePreparedWeights } from "../../runtime/preparedWeights.ts";
import { type Family, packArtefact, type PackedArtefact, writeArtefact } from "../artefact.ts";
import { type Compiled, compileVariants } from "../compile.ts";
import { InternalError } from "../diagnostics.ts";
import { emitBinding } from "../emit/binding.ts";
import { emitHost } from "../emit/host.ts";
import { targetOf } from "../schedule/target.ts";
import { buildLibrary } from "../toolchain/buildLibrary.ts";
import type { ImageTarget, KernelImage } from "../toolchain/compileImages.ts";
import { printKernels, printServed, printStages, type Served, servedBy } from "./buildReport.ts";
import { exitCodes } from "./failure.ts";
import { compileKernels, hasHostCompiler, usualTargets, withPtx } from "./images.ts";
import { type ModelOptions, traceFamily } from "./model.ts";
import type { ContractFlags } from "./options.ts";
import { printRemarks } from "./remarks.ts";
import type { Terminal } from "./terminal.ts";

export type BuildOptions = Omit<ModelOptions, "axis"> & {
  readonly precision: Precision;
  readonly contract: ContractFlags;
  /** Null: see usualTargets. */
  readonly targets: readonly ImageTarget[] | null;
  /** Of the GPU; null: as usual. */
  readonly multiprocessors: number | null;
  /** Where the artefact goes; null: a folder of the model's name here. */
  readonly out: string | null;
  /** A checkpoint, to be prepared for the C interface; null: none. */
  readonly weights: string | null;
  readonly json: boolean;
};

/** Compiles a model to an artefact: a folder that the runtime loads, and that people can read. */
export async function build(file: string, options: BuildOptions, terminal: Terminal): Promise<number> {
  const { variants, batch } = await traceFamily(file, options, options.contract, terminal);
  const [{ graph }] = variants;
  const asked = options.targets ?? (await usualTargets());
  const { precision, multiprocessors } = options;
  const target = { ...targetOf(asked), ...(multiprocessors === null ? {} : { multiprocessors }) };
  const compiled = await terminal.task(`compiling ${graph.name}`, () =>
    compileVariants(variants, { precision, batch, keep: false, target }),
  );
  const family = familyOf(compiled);
  const targets = withPtx(asked);
  const images = await compileKernels(family, targets, terminal);
  const folder = options.out ?? `${graph.name.replaceAll("/", "-")}-${options.precision}`;
  const artefact = await terminal.task("packing the artefact", () => packAll(family, images, options.weights));
  await writeArtefact(artefact, folder);
  const { programs } = artefact;

  if (options.json) {
    const { contract, ...manifest } = manifestOf(programs);
    terminal.print(
      JSON.stringify({ folder, targets, contract, kernels: servedBy(programs).map(asJson), manifest }, null, 2),
    );
  } else {
    for (const each of compiled) terminal.print(`${printStages(each, terminal.paint)}\n`);
    terminal.print(printKernels(programs, terminal.paint));
    const remarks = printRemarks(compiled, terminal.paint);
    if (remarks !== "") terminal.print(`\n${remarks}`);
    terminal.print(`\n${printServed(programs)}`);
    terminal.print(`wrote ${terminal.paint.bold(relative(".", folder) || ".")} for ${targets.join(", ")}`);
  }
  return exitCodes.success;
}

function familyOf(compiled: readonly Compiled[]): Family {
  const [first, ...others] = compiled;
  if (first === undefined) throw new InternalError("nothing was compiled");
  return { programs: [first.program, ...others.map(({ program }) => program)], sources: first.sources };
}

/** The artefact with its interfaces: TypeScript's, and C's where there is a compiler for it. */
async function packAll(
  family: Family,
  images: readonly KernelImage[],
  weights: string | null,
): Promise<PackedArtefact> {
  const { programs, files } = packArtefact(family, images);
  const host = emitHost(programs);
  const schema = `${JSON.stringify(manifestJsonSchema(), null, 1)}\n`;
  const more = new Map<string, Uint8Array>([["manifest.schema.json", Buffer.from(schema)]]);
  for (const [path, text] of [...emitBinding(programs), ...host.files]) more.set(path, Buffer.from(text, "utf8"));
  if (await hasHostCompiler())
    more.set(host.libraryPath, await buildLibrary(host.sourcePath, new Map([...files, ...more])));
  if (weights !== null) {
    using checkpoint = await openCheckpoint(weights);
    more.set("weights.bin", encodePreparedWeights(programs[0], checkpoint));
  }
  return packArtefact(family, images, more);
}

const asJson = ({ kernel, ...served }: Served): object => ({ kernel: kernel.name, ...served });
