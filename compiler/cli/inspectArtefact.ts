import { contractOf, printContract, printExtents } from "../../ir/contract.ts";
import type { Port, Program } from "../../ir/program.ts";
import { type Artefact, readArtefact } from "../../runtime/artefact.ts";
import { readFatbin } from "../../runtime/fatbin.ts";
import { printKernels, printServed, type Served, servedBy } from "./buildReport.ts";
import { CommandError, exitCodes, unknownName } from "./failure.ts";
import { bytes } from "./figures.ts";
import { printShape, programInputs } from "./ports.ts";
import { type Paint, table, type Terminal } from "./terminal.ts";

export type InspectArtefactOptions = {
  /** Prints this kernel's text, and nothing else. */
  readonly kernel: string | null;
  /** What was asked for and needs the model: an option's name. */
  readonly ofModel: string | null;
  readonly json: boolean;
};

/**
 * Shows what an artefact holds: its contract, its kernels, and the images that are in its files, by their own headers.
 * Every file is checked against its checksum.
 */
export function inspectArtefact(place: string, options: InspectArtefactOptions, terminal: Terminal): number {
  const { kernel, ofModel, json } = options;
  if (ofModel !== null)
    throw new CommandError(
      `${ofModel} has no meaning for "${place}", which is compiled already`,
      "give the model file",
    );
  const artefact = readArtefact(place);
  if (kernel !== null) terminal.print(kernelText(artefact, kernel));
  else {
    const files = filesOf(artefact);
    terminal.print(json ? JSON.stringify(asJson(artefact, files), null, 2) : describe(artefact, files, terminal.paint));
  }
  return exitCodes.success;
}

function kernelText({ programs, read }: Artefact, wanted: string): string {
  const kernels = new Map(programs.flatMap((program) => program.kernels.map((kernel) => [kernel.name, kernel])));
  const found = kernels.get(wanted);
  if (found === undefined) throw unknownName("kernel", wanted, [...kernels.keys()]);
  return new TextDecoder().decode(read(found.source)).trimEnd();
}

/** `images`: of a fatbin, the bytes of each target's. */
type File = { readonly path: string; readonly bytes: number; readonly images: { readonly [target: string]: number } };

function filesOf({ programs: [{ checksums }], read }: Artefact): readonly File[] {
  return Object.keys(checksums)
    .toSorted()
    .map((path) => {
      const content = read(path);
      const images = path.endsWith(".fatbin") ? readFatbin(content) : [];
      return {
        path,
        bytes: content.length,
        images: Object.fromEntries(images.map((image) => [image.target, image.content.length])),
      };
    });
}

function describe(artefact: Artefact, files: readonly File[], paint: Paint): string {
  const { programs } = artefact;
  const [first] = programs;
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  return [
    `${paint.bold(first.name)}, ${first.precision}, for ${printContract(contractOf(programs))}`,
    programs.map(printPorts).join("\n"),
    printKernels(programs, paint),
    printServed(programs),
    printImages(files, paint),
    `${files.length} files of ${bytes(total)}, all as they were built`,
  ].join("\n\n");
}

function printPorts(program: Program): string {
  const line = (way: string, { name, storage }: Port, shape: string): string => `${way} ${name}: ${storage} ${shape}`;
  const inputs = programInputs(program).map(printShape);
  const outputs = programInputs({ ...program, inputs: program.outputs }).map(printShape);
  return [
    ...(printExtents(program.extents) === "" ? [] : [printExtents(program.extents)]),
    ...program.inputs.map((port, index) => line("in ", port, inputs[index] ?? "")),
    ...program.outputs.map((port, index) => line("out", port, outputs[index] ?? "")),
  ].join("\n");
}

/** One line a kernel, with the bytes of its code for each GPU. */
function printImages(files: readonly File[], paint: Paint): string {
  const fatbins = files.filter(({ path }) => path.endsWith(".fatbin"));
  if (fatbins.length === 0) return "no code for GPUs";
  const targets = [...new Set(fatbins.flatMap(({ images }) => Object.keys(images)))];
  const columns = [{ head: "fatbin" }, ...targets.map((head) => ({ head, align: "right" as const }))];
  const rows = fatbins.map(({ path, images }) => [
    path,
    ...targets.map((target) => {
      const size = images[target];
      return size === undefined ? paint.red("none") : bytes(size);
    }),
  ]);
  return table(columns, rows, paint);
}

const asJson = ({ programs }: Artefact, files: readonly File[]): object => ({
  name: programs[0].name,
  precision: programs[0].precision,
  contract: contractOf(programs),
  programs: programs.map(({ extents, inputs, outputs, memory, steps }) => ({
    extents,
    inputs: inputs.map(({ name, storage, shape }) => ({ name, storage, shape })),
    outputs: outputs.map(({ name, storage, shape }) => ({ name, storage, shape })),
    memory,
    launches: steps.length,
  })),
  kernels: servedBy(programs).map(({ kernel, ...served }: Served) => ({ ...kernel, ...served })),
  files,
});
