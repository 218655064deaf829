import { contractOf, printContract, printExtents } from "../../ir/contract.ts";
import type { Programs } from "../../ir/manifest.ts";
import type { Kernel, Program } from "../../ir/program.ts";
import type { Compiled } from "../compile.ts";
import { bytes, milliseconds } from "./figures.ts";
import { type Column, type Paint, table } from "./terminal.ts";

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
  return `${table(columns, rows, paint)}\n${program.steps.length} launches of ${program.kernels.length} kernels${repeated(program)}`;
}

/** One line a kernel: how often it is launched, and what each compiler made of it. */
export function printKernels(programs: Programs, paint: Paint): string {
  const kernels = servedBy(programs);
  const targets = [...new Set(kernels.flatMap(({ kernel: { ptxas } }) => Object.keys(ptxas)))];
  const isFamily = programs.length > 1;
  const columns: readonly Column[] = [
    { head: "kernel" },
    { head: "family" },
    ...(isFamily ? [{ head: "serves" }] : []),
    { head: "launches", align: "right" },
    { head: "threads", align: "right" },
    { head: "shared", align: "right" },
    ...targets.map((target): Column => ({ head: target })),
    { head: "tiles" },
  ];
  const rows = kernels.map(({ kernel, launches, serves }) => [
    kernel.name,
    kernel.family,
    ...(isFamily ? [serves.length === programs.length ? "all" : serves.join(", ")] : []),
    [...new Set(launches)].join(", "),
    String(kernel.threads),
    bytes(kernel.sharedBytes),
    ...targets.map((target) => printReport(kernel, target, paint)),
    headline(kernel.notes[0] ?? ""),
  ]);
  return table(columns, rows, paint);
}

export type Served = {
  readonly kernel: Kernel;
  /** The extents whose programs launch it: "t=8". */
  readonly serves: readonly string[];
  /** How often each of these does. */
  readonly launches: readonly number[];
};

/** Every kernel that the contract implies, with the extents that it serves. Nothing else is ever compiled or run. */
export function servedBy(programs: Programs): readonly Served[] {
  const kernels = new Map(programs.flatMap((program) => program.kernels.map((kernel) => [kernel.name, kernel])));
  return [...kernels.values()].map((kernel): Served => {
    const own = programs.filter((program) => program.kernels.some(({ name }) => name === kernel.name));
    return {
      kernel,
      serves: own.map(({ extents }) => printExtents(extents)),
      launches: own.map(({ steps }) => steps.filter((step) => step.kernel === kernel.name).length),
    };
  });
}

/** A note up to its reasons, which `inspect --kernel` prints in full above the kernel. */
const headline = (note: string): string => note.split(/[:.](?: |$)/)[0] ?? "";

function printReport(kernel: Kernel, target: string, paint: Paint): string {
  const report = kernel.ptxas[target];
  if (report === undefined) return "";
  const spills = report.spillBytes > 0 ? paint.red(`, ${bytes(report.spillBytes)} spilled`) : "";
  return `${report.registers} registers${spills}`;
}

export function printServed(programs: Programs): string {
  const [{ batch, memory }] = programs;
  const kernels = servedBy(programs);
  const common = kernels.filter(({ serves }) => serves.length === programs.length).length;
  const range = batch.min === batch.max ? `a batch of ${batch.min}` : `batches of ${batch.min} to ${batch.max}`;
  const lines = programs.map(({ extents, memory: { activations, shared }, steps }) => {
    const forAll = shared > 0 ? `, ${bytes(shared)} for all examples` : "";
    const which = programs.length > 1 ? `${printExtents(extents)}: ${steps.length} launches, ` : `${range}: `;
    return `${which}${bytes(activations)} for each example${forAll}`;
  });
  const weights = `${bytes(memory.weights)} of weights`;
  if (programs.length === 1) return `${lines.join("")}, ${weights}`;
  return [
    `${printContract(contractOf(programs))}: ${programs.length} programs of ${kernels.length} kernels, ${common} of them in all, and ${weights} in common`,
    ...lines.map((line) => `  ${line}`),
    "nothing is compiled at run time; other shapes are refused",
  ].join("\n");
}

const repeated = ({ loop }: Program): string =>
  loop === null ? "" : `; ${loop.to - loop.from} of them are a step of the loop, which takes ${loop.atMost} at most`;
