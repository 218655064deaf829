import { createHash } from "node:crypto";
import type { Argument, BlockCount, BufferRef, Kernel, Port, PortSize, Program, Step } from "../../ir/program.ts";
import { weightsText } from "../../ir/programText.ts";
import { InternalError } from "../diagnostics.ts";
import { packageVersion } from "../packageRoot.ts";
import { renderTemplate } from "./render.ts";

/** The files of a program's C interface, by their paths within the artefact. */
export type HostFiles = {
  /** The header and the source. */
  readonly files: ReadonlyMap<string, string>;
  readonly sourcePath: string;
  readonly libraryPath: string;
};

/** Prints the program as C: what templates/host.h.njk and host.c.njk are given. `program.kernels` name their images. */
export function emitHost(program: Program): HostFiles {
  const view = hostView(program);
  return {
    files: new Map([
      [`c/${view.prefix}.h`, renderTemplate("host.h.njk", view)],
      [view.sourcePath, renderTemplate("host.c.njk", view)],
    ]),
    sourcePath: view.sourcePath,
    libraryPath: view.libraryPath,
  };
}

type HostView = {
  readonly name: string;
  readonly version: string;
  readonly precision: string;
  /** What every name of the interface begins with. */
  readonly prefix: string;
  readonly upper: string;
  readonly guard: string;
  readonly sourcePath: string;
  readonly libraryPath: string;
  readonly batch: Program["batch"];
  readonly maxRank: number;
  readonly inputs: readonly PortView[];
  readonly outputs: readonly PortView[];
  readonly memory: Program["memory"];
  /** Bytes, separated by commas. */
  readonly weightsKey: string;
  readonly kernels: readonly { readonly name: string; readonly threads: number; readonly sharedBytes: number }[];
  readonly images: readonly ImageView[];
  readonly steps: readonly StepView[];
};
type PortView = {
  /** A literal of C. */
  readonly name: string;
  readonly storage: string;
  readonly rank: number;
  readonly fixed: string;
  readonly perExample: string;
  readonly comment: string;
};
type ImageView = {
  readonly symbol: string;
  readonly path: string;
  /** Its kernel's number. */
  readonly kernel: number;
  readonly kind: "EMULATED" | "BINARY" | "PTX";
  readonly major: number;
  readonly minor: number;
  readonly exact: 0 | 1;
};
type StepView = {
  readonly index: number;
  readonly kernel: number;
  readonly name: string;
  readonly comment: string;
  readonly formula: readonly string[];
  readonly grid: string;
  readonly arguments: readonly { readonly type: string; readonly name: string; readonly value: string }[];
  /** Without what C adds behind the last one. */
  readonly argumentBytes: number;
};

function hostView(program: Program): HostView {
  const prefix = program.name.replaceAll(/\W/g, "_").replace(/^(?=\d)/, "_");
  const outputs = [...program.outputs, ...program.kept];
  const numbers = new Map(program.kernels.map(({ name }, index) => [name, index]));
  return {
    name: program.name,
    version: packageVersion(),
    precision: program.precision,
    prefix,
    upper: prefix.toUpperCase(),
    guard: `FOVEA_${prefix.toUpperCase()}_H`,
    sourcePath: `c/${prefix}.c`,
    libraryPath: `c/lib${prefix}.so`,
    batch: program.batch,
    maxRank: Math.max(1, ...[...program.inputs, ...outputs].map(({ shape }) => shape.length)),
    inputs: program.inputs.map(portView),
    outputs: outputs.map(portView),
    memory: program.memory,
    weightsKey: [...createHash("sha256").update(weightsText(program)).digest()].join(", "),
    kernels: program.kernels.map(({ name, threads, sharedBytes }) => ({ name, threads, sharedBytes })),
    images: program.kernels.flatMap(imageViews),
    steps: program.steps.map((step, index) => stepView(step, index, numbers, program)),
  };
}

function portView({ name, storage, shape }: Port): PortView {
  const fixed = shape.map((size) => (typeof size === "number" ? size : 0));
  const perExample = shape.map((size) => (typeof size === "number" ? 0 : size.batchTimes));
  return {
    name: JSON.stringify(name),
    storage,
    rank: shape.length,
    // C has no empty list.
    fixed: fixed.join(", ") || "0",
    perExample: perExample.join(", ") || "0",
    comment: `${name}: ${storage} [${shape.map(sizeText).join(", ")}]`,
  };
}

function sizeText(size: PortSize): string {
  if (typeof size === "number") return String(size);
  return size.batchTimes === 1 ? "batch" : `${size.batchTimes} * batch`;
}

function imageViews({ name, images }: Kernel, kernel: number): readonly ImageView[] {
  return Object.entries(images).map(([target, path]): ImageView => {
    const common = { symbol: `image_${name}_${target}`, path, kernel };
    if (target === "emulated") return { ...common, kind: "EMULATED", major: 0, minor: 0, exact: 0 };
    const [, form, major, minor, special] = /^(sm|compute)_(\d+)(\d)([af]?)$/.exec(target) ?? [];
    if (form === undefined) throw new InternalError(`the target "${target}" is no architecture`);
    return {
      ...common,
      kind: form === "sm" ? "BINARY" : "PTX",
      major: Number(major),
      minor: Number(minor),
      exact: special === "" ? 0 : 1,
    };
  });
}

function stepView(step: Step, index: number, numbers: ReadonlyMap<string, number>, program: Program): StepView {
  const kernel = numbers.get(step.kernel);
  if (kernel === undefined) throw new InternalError(`step ${index} launches "${step.kernel}", which is no kernel`);
  const { origin } = step;
  const place = origin.file === "" ? "" : ` (${origin.file}:${origin.line})`;
  return {
    index,
    kernel,
    name: step.kernel,
    comment: `${step.kernel}${origin.path === "" ? "" : `, ${origin.path}`}${place}`,
    formula: origin.formula.split("\n").filter((line) => line.trim() !== ""),
    grid: step.grid.map(blocks).join(", "),
    arguments: step.arguments.map((argument, position) => ({
      type: argument.kind === "batch" ? "int32_t" : "CUdeviceptr",
      name: `a${position}`,
      value: argument.kind === "batch" ? "batch" : addressText(argument.buffer, argument.offset, program),
    })),
    argumentBytes: argumentBytes(step.arguments),
  };
}

/** factor * ceil((fixed + perExample * n) / divisor), with as little of it as there is. */
function blocks({ factor, fixed, perExample, divisor }: BlockCount): string {
  if (perExample === 0) return String(factor * Math.ceil(fixed / divisor));
  const count = `${fixed === 0 ? "" : `${fixed} + `}${perExample === 1 ? "n" : `${perExample} * n`}`;
  const parts = divisor === 1 ? count : `(${count} + ${divisor - 1}) / ${divisor}`;
  if (factor === 1) return parts;
  return `${factor} * (${parts})`;
}

function addressText(buffer: BufferRef, offset: number, { outputs }: Program): string {
  const bytes = (count: number): string => (count === 0 ? "" : ` + ${count}`);
  switch (buffer.space) {
    case "activations":
      return `activations${buffer.offset === 0 ? "" : ` + UINT64_C(${buffer.offset}) * n`}${bytes(offset)}`;
    case "shared":
    case "weights":
      return `${buffer.space}${bytes(buffer.offset + offset)}`;
    case "input":
      return `inputs[${buffer.index}]${bytes(offset)}`;
    case "output":
      return `outputs[${buffer.index}]${bytes(offset)}`;
    case "kept":
      return `outputs[${outputs.length + buffer.index}]${bytes(offset)}`;
  }
}

/** As in a C struct, each aligned to its own size. */
function argumentBytes(list: readonly Argument[]): number {
  let end = 0;
  for (const { kind } of list) {
    const size = kind === "batch" ? 4 : 8;
    end = Math.ceil(end / size) * size + size;
  }
  return end;
}
