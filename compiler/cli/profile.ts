import { type Checkpoint, openCheckpoint } from "../../runtime/checkpoint.ts";
import { printExtents } from "../../ir/contract.ts";
import type { Program } from "../../ir/program.ts";
import type { Build } from "../../runtime/artefact.ts";
import { planProfile, type Profile, type StepProfile } from "../../runtime/profile.ts";
import { countOf, type NumberArrays } from "./arrays.ts";
import { CommandError, exitCodes } from "./failure.ts";
import { bytes, milliseconds, operations, percent, readablePath } from "./figures.ts";
import { seededValues } from "./golden/seeded.ts";
import type { Preprocessing } from "./media/preprocess.ts";
import { readWithMotion } from "./motion.ts";
import { type Network, type NetworkOptions, openNetwork } from "./network.ts";
import { openRunner } from "./openRunner.ts";
import type { MotionSource, SortKey } from "./options.ts";
import { type ArrayPort, batchOf, shapeOfBatch } from "./ports.ts";
import { basisOf, sizeOf, timeNames } from "./report/basis.ts";
import { readReport } from "./report/against.ts";
import { collectReport, nothingShown, type Shown } from "./report/collect.ts";
import type { ReportData } from "./report/data.ts";
import { framesOf } from "./report/frames.ts";
import type { AttentionTokens } from "./report/tokenData.ts";
import { traceOf } from "./report/trace.ts";
import { type Column, table, type Terminal } from "./terminal.ts";
import { writeText } from "./writeWhole.ts";

export type ProfileOptions = NetworkOptions & {
  /** Null: random ones. The time does not depend on them. */
  readonly weights: string | null;
  readonly examples: number;
  /** The order of the table of launches. */
  readonly sort: SortKey;
  /** How many names of a module's path the table of modules tells apart. */
  readonly depth: number;
  /** Nothing runs: the floor of each launch, from its work. */
  readonly plan: boolean;
  /** Files by input; random numbers where there are none. */
  readonly inputs: ReadonlyMap<string, readonly string[]>;
  readonly preprocessing: Preprocessing;
  readonly motion: MotionSource;
  /** Modules whose attention the report shows token by token; none: the last one of each kernel. Null: none is shown. */
  readonly tokens: readonly string[] | null;
  /** Where a trace of the launches goes, for Perfetto. */
  readonly trace: string | null;
  /** Where a report goes: one HTML file. */
  readonly report: string | null;
  /** An earlier report, to be seen beside this one. */
  readonly against: string | null;
  readonly json: boolean;
};

/** Says where the time of a run goes: kernel by kernel, and rolled up by the modules of the author's source. */
export async function profile(path: string, options: ProfileOptions, terminal: Terminal): Promise<number> {
  for (const [flag, given] of [
    ["--tokens", options.tokens !== null],
    ["--against", options.against !== null],
  ] as const)
    if (given && options.report === null)
      throw new CommandError(`${flag} is a part of the report`, "say where it goes: --report FILE.html");
  const network = await openNetwork(path, options, terminal);
  if (options.plan) {
    for (const [flag, given] of [
      ["--weights", options.weights !== null],
      ["--input", options.inputs.size > 0],
      ["--tokens", options.tokens !== null],
    ] as const)
      if (given)
        throw new CommandError(`${flag} has no meaning for --plan, which runs nothing`, "leave one of them away");
    const build = await network.plan(options.examples);
    return show({ result: planProfile(build.program, options.examples), build }, nothingShown, options, terminal);
  }
  const inputs =
    options.inputs.size === 0
      ? drawnInputs(network.inputs, options.examples)
      : (await readWithMotion(network.inputs, options, terminal)).inputs;
  const batch = batchOf(network.inputs, inputs);
  using checkpoint = options.weights === null ? drawnCheckpoint(network) : await openCheckpoint(options.weights);
  const { result, build } = await measured(network, checkpoint, inputs, batch, terminal);
  const tokens =
    options.tokens === null
      ? []
      : await tokensOf(
          network,
          build.program,
          { ...options, tokens: options.tokens },
          { inputs, batch, checkpoint },
          terminal,
        );
  const frames = tokens.length === 0 ? null : await framesOf(network.inputs, inputs);
  return show({ result, build }, { tokens, frames }, options, terminal);
}

async function show(
  { result, build }: Measured,
  shown: Pick<Shown, "tokens" | "frames">,
  options: ProfileOptions,
  terminal: Terminal,
): Promise<number> {
  const against = options.against === null ? null : readReport(options.against);
  await writeFiles(() => collectReport(result, build, { ...shown, against }), options);
  const { extents } = build.program;
  terminal.print(
    options.json
      ? JSON.stringify({ extents, ...asJson(result) }, null, 2)
      : printProfile(result, { ...options, extents: printExtents(extents) }, terminal),
  );
  if (!options.json) {
    for (const file of [options.trace, options.report])
      if (file !== null) terminal.print(`wrote ${readablePath(file)}`);
  }
  return exitCodes.success;
}

type Measured = { readonly result: Profile; readonly build: Build };

async function measured(
  network: Network,
  checkpoint: Checkpoint,
  inputs: NumberArrays,
  batch: number,
  terminal: Terminal,
): Promise<Measured> {
  using runner = await network.open(checkpoint, batch);
  const { profile: measure, build } = runner;
  if (measure === null || build === null)
    throw new CommandError("the evaluator launches no kernels", "profile on --device cuda or emulated");
  return { result: await terminal.task(`profiling on ${runner.device}`, () => measure(inputs)), build };
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
  if (trace !== null) writeText(trace, JSON.stringify(traceOf(collect())));
  if (report !== null) {
    const { reportPage } = await import("./report/html.ts");
    writeText(report, await reportPage(collect()));
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

/** Greater comes first; equal ones stay in the order of their launches. */
const sortKeys = {
  time: (step: StepProfile) => step.time.milliseconds,
  work: (step: StepProfile) => step.work.flops,
  bytes: (step: StepProfile) => bytesOf(step),
  launch: () => 0,
} satisfies { readonly [K in SortKey]: (step: StepProfile) => number };

const bytesOf = ({ work }: StepProfile): number => work.readBytes + work.writeBytes;
const everyDepth = Infinity;

const asJson = (result: Profile): object => ({
  ...result,
  steps: result.steps.map((step) => ({
    ...step,
    share: step.time.milliseconds / result.milliseconds,
    intensity: step.work.flops / Math.max(1, bytesOf(step)),
    timesFloor: step.time.milliseconds / step.floor.milliseconds,
  })),
  modules: rollUp(result, everyDepth),
});

function printProfile(
  result: Profile,
  { sort, depth, extents }: Pick<ProfileOptions, "sort" | "depth"> & { readonly extents: string },
  { paint }: Terminal,
): string {
  const { steps, basis } = result;
  const heading = `${sizeOf({ ...result, extents })}: ${basisOf({ ...result, roof: { name: result.target } })}`;
  const time = timeNames[basis].toLowerCase();
  const columns: readonly Column[] = [
    { head: "kernel" },
    { head: "line" },
    { head: time, align: "right" },
    { head: "share", align: "right" },
    { head: "work", align: "right" },
    { head: "bytes", align: "right" },
    ...(basis === "planned" ? [] : [{ head: "x floor", align: "right" as const }]),
    { head: "intensity", align: "right" },
    ...(basis === "measured" ? [] : [{ head: "bound by" }]),
    { head: "module" },
  ];
  const keyOf = sortKeys[sort];
  const rows = steps
    .toSorted((a, b) => keyOf(b) - keyOf(a))
    .map((step) => [
      step.kernel,
      `${readablePath(step.origin.file)}:${step.origin.line}`,
      milliseconds(step.time.milliseconds),
      percent(step.time.milliseconds / result.milliseconds),
      operations(step.work.flops),
      bytes(bytesOf(step)),
      ...(basis === "planned" ? [] : [(step.time.milliseconds / step.floor.milliseconds).toFixed(2)]),
      `${(step.work.flops / Math.max(1, bytesOf(step))).toPrecision(3)} FLOP/B`,
      ...(step.time.kind === "counted" ? [step.time.bound] : basis === "planned" ? [step.floor.bound] : []),
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
  const modules = rollUp(result, depth).map((module) => [
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
