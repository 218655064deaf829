import { writeFileSync } from "node:fs";
import { type Checkpoint, openCheckpoint } from "../../runtime/checkpoint.ts";
import type { Program } from "../../ir/program.ts";
import type { Artefact } from "../../runtime/artefact.ts";
import type { Profile, StepProfile } from "../../runtime/profile.ts";
import { countOf, type NumberArrays } from "./arrays.ts";
import { CommandError, exitCodes } from "./failure.ts";
import { bytes, milliseconds, operations, percent, readablePath } from "./figures.ts";
import { seededValues } from "./golden/seeded.ts";
import { readInputs } from "./inputs.ts";
import type { Preprocessing } from "./media/preprocess.ts";
import { type Network, type NetworkOptions, openNetwork } from "./network.ts";
import { openRunner } from "./openRunner.ts";
import { type ArrayPort, batchOf, shapeOfBatch } from "./ports.ts";
import { collectReport } from "./report/collect.ts";
import type { ReportData } from "./report/data.ts";
import { framesOf } from "./report/frames.ts";
import type { AttentionTokens } from "./report/tokenData.ts";
import { traceOf } from "./report/trace.ts";
import { type Column, table, type Terminal } from "./terminal.ts";

export type ProfileOptions = NetworkOptions & {
  /** Null: random ones. The time does not depend on them. */
  readonly weights: string | null;
  readonly examples: number;
  /** Files by input; random numbers where there are none. */
  readonly inputs: ReadonlyMap<string, readonly string[]>;
  readonly preprocessing: Preprocessing;
  /** Modules whose attention the report shows token by token; none: the last one of each kernel. Null: none is shown. */
  readonly tokens: readonly string[] | null;
  /** Where a trace of the launches goes, for Perfetto. */
  readonly trace: string | null;
  /** Where a report goes: one HTML file. */
  readonly report: string | null;
  readonly json: boolean;
};

/** Says where the time of a run goes: kernel by kernel, and rolled up by the modules of the author's source. */
export async function profile(path: string, options: ProfileOptions, terminal: Terminal): Promise<number> {
  if (options.tokens !== null && options.report === null)
    throw new CommandError("--tokens is a part of the report", "say where it goes: --report FILE.html");
  const network = await openNetwork(path, options, terminal);
  const inputs =
    options.inputs.size === 0
      ? drawnInputs(network.inputs, options.examples)
      : await terminal.task("reading inputs", () => readInputs(options.inputs, network.inputs, options.preprocessing));
  const batch = batchOf(network.inputs, inputs);
  using checkpoint = options.weights === null ? drawnCheckpoint(network) : await openCheckpoint(options.weights);
  const { result, artefact } = await measured(network, checkpoint, inputs, batch, terminal);
  const tokens =
    options.tokens === null
      ? []
      : await tokensOf(
          network,
          artefact.program,
          { ...options, tokens: options.tokens },
          { inputs, batch, checkpoint },
          terminal,
        );
  const frames = tokens.length === 0 ? null : await framesOf(network.inputs, inputs);
  await writeFiles(() => collectReport(result, artefact, { tokens, frames }), options);
  terminal.print(options.json ? JSON.stringify(asJson(result), null, 2) : printProfile(result, terminal));
  if (!options.json) {
    for (const file of [options.trace, options.report])
      if (file !== null) terminal.print(`wrote ${readablePath(file)}`);
  }
  return exitCodes.success;
}

type Measured = { readonly result: Profile; readonly artefact: Artefact };

async function measured(
  network: Network,
  checkpoint: Checkpoint,
  inputs: NumberArrays,
  batch: number,
  terminal: Terminal,
): Promise<Measured> {
  using runner = await network.open(checkpoint, batch);
  const { profile: measure, artefact } = runner;
  if (measure === null || artefact === null)
    throw new CommandError("the evaluator launches no kernels", "profile on --device cuda or emulated");
  return { result: await terminal.task(`profiling on ${runner.device}`, () => measure(inputs)), artefact };
}

async function tokensOf(
  { graph }: Network,
  program: Program,
  { device, tokens }: ProfileOptions & { readonly tokens: readonly string[] },
  example: { readonly inputs: NumberArrays; readonly batch: number; readonly checkpoint: Checkpoint },
  terminal: Terminal,
): Promise<AttentionTokens[]> {
  if (graph === null)
    throw new CommandError("an artefact does not say what its tokens are", "give the model file to see --tokens");
  const { collectTokens } = await import("./report/tokens.ts");
  const { precision } = program;
  const { batch, checkpoint } = example;
  const wanted = tokens.length === 0 ? null : tokens;
  return collectTokens(graph, program, { ...example, precision, wanted }, async (upTo, inputs) => {
    using runner = await openRunner(
      upTo,
      checkpoint,
      { device, precision, keep: false, batch: { min: batch, max: batch } },
      terminal,
    );
    return await terminal.task("running up to the attentions shown", () => runner.run(inputs));
  });
}

async function writeFiles(collect: () => ReportData, { trace, report }: ProfileOptions): Promise<void> {
  if (trace !== null) writeFileSync(trace, JSON.stringify(traceOf(collect())));
  if (report !== null) {
    const { reportPage } = await import("./report/html.ts");
    writeFileSync(report, await reportPage(collect()));
  }
}

/** Time, work and traffic of some steps. */
type Total = { readonly milliseconds: number; readonly flops: number; readonly bytes: number; readonly share: number };
type Module = Total & { readonly path: string; readonly launches: number };

/** Each module with all that its parts launch, in the order of the source; `depth` names of the path at most. */
function rollUp({ steps, milliseconds: all }: Profile, depth: number): Module[] {
  const modules = new Map<string, StepProfile[]>();
  for (const step of steps) {
    const names = step.origin.path.split(".");
    for (let length = 1; length <= Math.min(depth, names.length); length++) {
      const path = names.slice(0, length).join(".");
      modules.set(path, [...(modules.get(path) ?? []), step]);
    }
  }
  return [...modules].map(([path, list]) => ({ path, launches: list.length, ...totalOf(list, all) }));
}

function totalOf(steps: readonly StepProfile[], all: number): Total {
  const sum = (value: (step: StepProfile) => number): number => steps.reduce((total, step) => total + value(step), 0);
  const time = sum((step) => step.time.milliseconds);
  return { milliseconds: time, flops: sum(({ work }) => work.flops), bytes: sum(bytesOf), share: time / all };
}

const bytesOf = ({ work }: StepProfile): number => work.readBytes + work.writeBytes;
const everyDepth = Infinity;

const asJson = (result: Profile): object => ({
  ...result,
  steps: result.steps.map((step) => ({ ...step, share: step.time.milliseconds / result.milliseconds })),
  modules: rollUp(result, everyDepth),
});

function printProfile(result: Profile, { paint }: Terminal): string {
  const { steps, predicted } = result;
  const [first] = steps;
  const target = first?.time.kind === "predicted" ? first.time.target : "";
  const heading = predicted
    ? `${result.device}, batch ${result.batch}: predicted for one ${target} from exact counts, not measured`
    : `${result.device}, batch ${result.batch}: measured on the device`;
  const time = predicted ? "predicted" : "time";
  const columns: readonly Column[] = [
    { head: "kernel" },
    { head: "line" },
    { head: time, align: "right" },
    { head: "share", align: "right" },
    { head: "work", align: "right" },
    { head: "bytes", align: "right" },
    ...(predicted ? [{ head: "bound by" }] : []),
    { head: "module" },
  ];
  const rows = steps.map((step) => [
    step.kernel,
    `${readablePath(step.origin.file)}:${step.origin.line}`,
    milliseconds(step.time.milliseconds),
    percent(step.time.milliseconds / result.milliseconds),
    operations(step.work.flops),
    bytes(bytesOf(step)),
    ...(step.time.kind === "predicted" ? [step.time.bound] : []),
    step.origin.path,
  ]);
  const moduleColumns: readonly Column[] = [
    { head: "module" },
    { head: "launches", align: "right" },
    { head: time, align: "right" },
    { head: "share", align: "right" },
    { head: "work", align: "right" },
    { head: "bytes", align: "right" },
  ];
  // Blocks and their parts: deeper than that every line of the first table would come again.
  const modules = rollUp(result, 4).map((module) => [
    `${"  ".repeat(module.path.split(".").length - 1)}${module.path.split(".").at(-1) ?? ""}`,
    String(module.launches),
    milliseconds(module.milliseconds),
    percent(module.share),
    operations(module.flops),
    bytes(module.bytes),
  ]);
  const total = totalOf(steps, result.milliseconds);
  return [
    paint.bold(heading),
    table(columns, rows, paint),
    table(moduleColumns, modules, paint),
    `${milliseconds(total.milliseconds)} in ${steps.length} launches, ${operations(total.flops)}, ${bytes(total.bytes)}`,
  ].join("\n\n");
}

export const drawnInputs = (ports: readonly ArrayPort[], examples: number): NumberArrays =>
  new Map(
    ports.map((port) => {
      const shape = shapeOfBatch(port, examples);
      const values = port.integer
        ? new Int32Array(countOf(shape))
        : seededValues({ name: `input.${port.name}`, mean: 0, deviation: 1 }, countOf(shape));
      return [port.name, { shape, values }];
    }),
  );

export function drawnCheckpoint({ parameters }: Pick<Network, "parameters">): Checkpoint & Disposable {
  const tensors = parameters.map(({ name, shape }) => {
    const drawn = { name, mean: 0, deviation: 1 / Math.sqrt(countOf(shape.slice(1))) };
    return [name, { shape, values: () => seededValues(drawn, countOf(shape)) }] as const;
  });
  return { source: "random weights", tensors: new Map(tensors), [Symbol.dispose]: () => {} };
}
