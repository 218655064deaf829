import { createHash } from "node:crypto";
import { type Contract, contractOf, printContract, printExtents } from "../../ir/contract.ts";
import type { Programs } from "../../ir/manifest.ts";
import type { Kernel, Port, PortSize, Program } from "../../ir/program.ts";
import { weightsText } from "../../ir/programText.ts";
import { InternalError } from "../diagnostics.ts";
import { packageVersion } from "../packageRoot.ts";
import { addressText, type StepView, stepView } from "./hostSteps.ts";
import { renderTemplate } from "./render.ts";

/** The files of a program's C interface, by their paths within the artefact. */
export type HostFiles = {
  /** The header and the source. */
  readonly files: ReadonlyMap<string, string>;
  readonly sourcePath: string;
  readonly libraryPath: string;
};

/** Prints the programs as C: what templates/host are given. Their kernels name their images. */
export function emitHost(programs: Programs): HostFiles {
  const view = hostView(programs);
  return {
    files: new Map([
      [`c/${view.prefix}.h`, renderTemplate("host/host.h.njk", view)],
      [view.sourcePath, renderTemplate("host/host.c.njk", view)],
    ]),
    sourcePath: view.sourcePath,
    libraryPath: view.libraryPath,
  };
}

type HostView = {
  readonly name: string;
  readonly version: string;
  readonly precision: string;
  /** "batch 1..32, t = 8 or 16" */
  readonly contract: string;
  /** What every name of the interface begins with. */
  readonly prefix: string;
  readonly upper: string;
  readonly guard: string;
  readonly sourcePath: string;
  readonly libraryPath: string;
  readonly batch: Program["batch"];
  readonly axes: readonly { readonly name: string; readonly axis: string; readonly extents: string }[];
  /** The symbolic axes' extents as C's lists of parameters have them: alone, behind others, and as results. */
  readonly axisParameters: string;
  readonly axisArguments: string;
  readonly moreParameters: string;
  readonly moreArguments: string;
  readonly matchParameters: string;
  /** "t = %d" */
  readonly axisFormat: string;
  /** A batch and extents that are allowed. */
  readonly exampleArguments: string;
  readonly maxRank: number;
  readonly inputs: readonly PortView[];
  readonly outputs: readonly PortView[];
  readonly inputComments: readonly string[];
  readonly outputComments: readonly string[];
  /** JSON, as a literal of C. */
  readonly description: string;
  readonly weights: number;
  readonly shared: number;
  /** Bytes, separated by commas. */
  readonly weightsKey: string;
  readonly kernels: readonly { readonly name: string; readonly threads: number; readonly sharedBytes: number }[];
  readonly imageFiles: readonly { readonly symbol: string; readonly path: string }[];
  readonly images: readonly ImageView[];
  readonly programs: readonly ProgramView[];
  readonly mostLaunches: number;
  readonly hasLoop: boolean;
};
/** `name` is a literal of C. */
type PortView = { readonly name: string; readonly storage: string; readonly rank: number };
type ProgramView = {
  /** Behind names of C: "_t8", or nothing where there is one program. */
  readonly suffix: string;
  /** "t=8" */
  readonly extents: string;
  readonly extentList: string;
  readonly inputs: readonly ShapeView[];
  readonly outputs: readonly ShapeView[];
  readonly activations: number;
  readonly steps: readonly StepView[];
  /** The launches as functions: all of them, or those before, in and behind the loop. */
  readonly stretches: readonly {
    readonly name: string;
    readonly comment: string;
    readonly steps: readonly StepView[];
    /** 0, or the end of the last launch's time. */
    readonly result: string;
  }[];
  readonly loop: { readonly atMost: number; readonly flag: string; readonly count: string } | null;
};
type ShapeView = { readonly fixed: string; readonly perExample: string };
type ImageView = {
  /** The file's. */
  readonly symbol: string;
  /** Its kernel's number. */
  readonly kernel: number;
  readonly kind: "EMULATED" | "BINARY" | "PTX";
  readonly major: number;
  readonly minor: number;
  readonly exact: 0 | 1;
};

function hostView(programs: Programs): HostView {
  const [first] = programs;
  const prefix = first.name.replaceAll(/\W/g, "_").replace(/^(?=\d)/, "_");
  const contract = contractOf(programs);
  const kernels = [
    ...new Map(programs.flatMap((each) => each.kernels.map((kernel) => [kernel.name, kernel]))).values(),
  ];
  const numbers = new Map(kernels.map(({ name }, index) => [name, index]));
  return {
    name: first.name,
    version: packageVersion(),
    precision: first.precision,
    contract: printContract(contract),
    prefix,
    upper: prefix.toUpperCase(),
    guard: `FOVEA_${prefix.toUpperCase()}_H`,
    sourcePath: `c/${prefix}.c`,
    libraryPath: `c/lib${prefix}.so`,
    batch: first.batch,
    ...axisViews(contract),
    exampleArguments: [first.batch.max, ...Object.values(first.extents)].join(", "),
    maxRank: Math.max(1, ...programs.flatMap((each) => [...each.inputs, ...outputsOf(each)].map(rankOf))),
    inputs: first.inputs.map(portView),
    outputs: outputsOf(first).map(portView),
    inputComments: portComments(programs, ({ inputs }) => inputs),
    outputComments: portComments(programs, outputsOf),
    description: JSON.stringify(JSON.stringify(describe(programs))),
    weights: first.memory.weights,
    shared: Math.max(...programs.map(({ memory }) => memory.shared)),
    weightsKey: [...createHash("sha256").update(weightsText(first)).digest()].join(", "),
    kernels: kernels.map(({ name, threads, sharedBytes }) => ({ name, threads, sharedBytes })),
    imageFiles: [...new Set(kernels.flatMap(({ images }) => Object.values(images)))].map((path) => ({
      symbol: imageSymbol(path),
      path,
    })),
    images: kernels.flatMap(imageViews),
    programs: programs.map((program) => programView(program, numbers)),
    mostLaunches: Math.max(...programs.map(({ steps }) => steps.length)),
    hasLoop: programs.some(({ loop }) => loop !== null),
  };
}

const outputsOf = ({ outputs, kept }: Program): readonly Port[] => [...outputs, ...kept];
const rankOf = ({ shape }: Port): number => shape.length;

type AxisViews = Pick<
  HostView,
  "axes" | "axisParameters" | "axisArguments" | "moreParameters" | "moreArguments" | "matchParameters" | "axisFormat"
>;

/** Each symbolic axis is a parameter of its own, named so that it can be no keyword of C. */
function axisViews({ axes }: Contract): AxisViews {
  const names = axes.map(({ axis }) => `extent_${axis}`);
  const parameters = names.map((name) => `int ${name}`);
  const behind = (list: readonly string[]): string => list.map((each) => `, ${each}`).join("");
  return {
    axes: axes.map(({ axis, extents }) => ({ name: `extent_${axis}`, axis, extents: extents.join(", ") })),
    axisParameters: parameters.join(", ") || "void",
    axisArguments: names.join(", "),
    moreParameters: behind(parameters),
    moreArguments: behind(names),
    matchParameters: behind(names.map((name) => `int* ${name}`)),
    axisFormat: axes.map(({ axis }) => `${axis} = %d`).join(", "),
  };
}

/** One line a port; where its shape depends on the symbolic axes, one for each of their extents. */
function portComments(programs: Programs, portsOf: (program: Program) => readonly Port[]): readonly string[] {
  return portsOf(programs[0]).flatMap(({ name, storage, upTo }, index) => {
    const counted = upTo === null ? "" : `; along dimension ${upTo.dimension} as many as "${upTo.count}" says`;
    const shapes = programs.map((program) => {
      const shape = portsOf(program)[index]?.shape ?? [];
      return { text: `[${shape.map(sizeText).join(", ")}]`, extents: printExtents(program.extents) };
    });
    const texts = new Set(shapes.map(({ text }) => text));
    if (texts.size === 1) return [`${name}: ${storage} ${[...texts].join("")}${counted}`];
    return [`${name}: ${storage}${counted}`, ...shapes.map(({ text, extents }) => `  ${text} for ${extents}`)];
  });
}

/** What programs that load the library while they run want to know of it. */
function describe(programs: Programs): object {
  const [{ name, precision }] = programs;
  const ports = (list: readonly Port[]): object[] =>
    list.map((port) => ({
      name: port.name,
      type: port.storage,
      shape: port.shape.map((size) => (typeof size === "number" ? size : sizeText(size))),
    }));
  return {
    name,
    precision,
    fovea: packageVersion(),
    contract: contractOf(programs),
    programs: programs.map((program) => ({
      extents: program.extents,
      inputs: ports(program.inputs),
      outputs: ports(outputsOf(program)),
      launches: program.steps.length,
    })),
  };
}

function programView(program: Program, numbers: ReadonlyMap<string, number>): ProgramView {
  const extents = Object.entries(program.extents);
  const steps = program.steps.map((step, index) => stepView(step, index, numbers, program));
  const { loop } = program;
  return {
    suffix: extents.map(([axis, extent]) => `_${axis}${extent}`).join(""),
    extents: printExtents(program.extents),
    // C has no empty list.
    extentList: Object.values(program.extents).join(", ") || "0",
    inputs: program.inputs.map(shapeView),
    outputs: outputsOf(program).map(shapeView),
    activations: program.memory.activations,
    steps,
    stretches: stretchesOf(program, steps),
    loop: loop && {
      atMost: loop.atMost,
      flag: addressText(loop.flag, 0, program),
      count: loop.flag.space === "activations" ? "batch" : "1",
    },
  };
}

function stretchesOf({ loop }: Program, steps: readonly StepView[]): ProgramView["stretches"] {
  const result = `events != NULL && TRY(cuEventRecord(events[${steps.length}], stream))`;
  if (loop === null) return [{ name: "launch_all", comment: "every launch of a run", steps, result }];
  return [
    { name: "launch_before", comment: "what stands before the loop", steps: steps.slice(0, loop.from), result: "0" },
    { name: "launch_step", comment: "a step of the loop", steps: steps.slice(loop.from, loop.to), result: "0" },
    { name: "launch_after", comment: "what follows when the loop has ended", steps: steps.slice(loop.to), result },
  ];
}

const portView = ({ name, storage, shape }: Port): PortView => ({
  name: JSON.stringify(name),
  storage,
  rank: shape.length,
});

function shapeView({ shape }: Port): ShapeView {
  const fixed = shape.map((size) => (typeof size === "number" ? size : 0));
  const perExample = shape.map((size) => (typeof size === "number" ? 0 : size.batchTimes));
  return { fixed: fixed.join(", ") || "0", perExample: perExample.join(", ") || "0" };
}

function sizeText(size: PortSize): string {
  if (typeof size === "number") return String(size);
  return size.batchTimes === 1 ? "batch" : `${size.batchTimes} * batch`;
}

function imageViews({ images }: Kernel, kernel: number): readonly ImageView[] {
  return Object.entries(images).map(([target, path]): ImageView => {
    const common = { symbol: imageSymbol(path), kernel };
    if (target === "emulated") return { ...common, kind: "EMULATED", major: 0, minor: 0, exact: 0 };
    const [, form, major, minor, special] = /^(sm|compute)_(\d+)(\d)([af]?)$/.exec(target) ?? [];
    if (form === undefined) throw new InternalError(`the target "${target}" is no architecture`);
    return {
      ...common,
      kind: form === "sm" ? "BINARY" : "PTX",
      major: Number(major),
      minor: Number(minor),
      exact: special === "a" ? 1 : 0,
    };
  });
}

/** "kernels/gemm_qkv.fatbin": gemm_qkv_fatbin */
const imageSymbol = (path: string): string => path.replace(/^kernels\//, "").replaceAll(/\W/g, "_");
