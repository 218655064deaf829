import { createTwoFilesPatch } from "diff";
import { printExtents } from "../../ir/contract.ts";
import type { Kernel, Program, Step } from "../../ir/program.ts";
import { type Artefact, readArtefact } from "../../runtime/artefact.ts";
import type { Profile } from "../../runtime/profile.ts";
import { chooseDevice } from "./device.ts";
import { exitCodes } from "./failure.ts";
import { bytes, milliseconds, operations } from "./figures.ts";
import { deviceRunner } from "./openRunner.ts";
import { programInputs } from "./ports.ts";
import { drawnCheckpoint, drawnInputs } from "./profile.ts";
import { collectReport } from "./report/collect.ts";
import type { LaunchData } from "./report/data.ts";
import { textsOf } from "./report/flows.ts";
import { type Column, type Paint, table, type Terminal } from "./terminal.ts";

export type DiffOptions = {
  /** Prints how the kernels' texts differ. */
  readonly text: boolean;
  /** Runs both on the emulated device, for counters and predicted times. */
  readonly counters: boolean;
  readonly examples: number;
  readonly json: boolean;
};

/** Says which kernels of two builds differ and why, and what that does to their counts and predicted times. */
export async function diff(before: string, after: string, options: DiffOptions, terminal: Terminal): Promise<number> {
  const [old, now] = [readArtefact(before), readArtefact(after)];
  const kernels = compareKernels(old, now);
  const works: Works[] = [];
  if (options.counters)
    for (const { extents, pair } of paired(old, now)) {
      const [first, second] = pair;
      works.push({
        extents,
        before: first === null ? null : await workOf(old, first, options, terminal),
        after: second === null ? null : await workOf(now, second, options, terminal),
      });
    }
  terminal.print(
    options.json
      ? JSON.stringify({ before, after, kernels, programs: options.counters ? works.map(asJson) : null }, null, 2)
      : printDiff(kernels, works, options, terminal.paint),
  );
  return exitCodes.success;
}

/** Programs for the same extents; one build may have some that the other lacks. */
function paired(
  before: Artefact,
  after: Artefact,
): readonly { readonly extents: string; readonly pair: ProgramPair }[] {
  const [old, now] = [before, after].map(
    ({ programs }) => new Map(programs.map((program) => [printExtents(program.extents), program])),
  );
  const all = new Set([...(old?.keys() ?? []), ...(now?.keys() ?? [])]);
  return [...all].map((extents) => ({ extents, pair: [old?.get(extents) ?? null, now?.get(extents) ?? null] }));
}
type ProgramPair = readonly [before: Program | null, after: Program | null];

export type KernelDiff = {
  /** In the newer build, or in the older where the newer has none. */
  readonly name: string;
  /** Its name in the older build; null where that has none. */
  readonly was: string | null;
  readonly kind: "same" | "changed" | "added" | "removed";
  /** What differs, as the schedules tell it: tiles, launches, memory, registers. */
  readonly because: readonly string[];
  /** The texts' differences, as a unified patch; empty where they are the same. */
  readonly patch: string;
};

/** A kernel is the same one where it has the same name, or else where it makes the same modules' values. */
export function compareKernels(before: Family, after: Family): readonly KernelDiff[] {
  const [old, now] = [described(before), described(after)];
  const left = new Map([...old].filter(([name]) => !now.has(name)));
  const pairs = [...now].map(([name, kernel]): Pair => {
    const partner = old.get(name) ?? [...left.values()].find((each) => each.makes === kernel.makes);
    if (partner !== undefined) left.delete(partner.kernel.name);
    return [partner ?? null, kernel];
  });
  return [...pairs, ...[...left.values()].map((kernel): Pair => [kernel, null])].map(compare);
}

type Family = Pick<Artefact, "programs" | "read">;
type Described = {
  readonly kernel: Kernel;
  readonly text: string;
  readonly steps: readonly Step[];
  /** The modules and formulas of its launches. */
  readonly makes: string;
};
type Pair = readonly [before: Described | null, after: Described | null];

function described({ programs, read }: Family): Map<string, Described> {
  const kernels = new Map(programs.flatMap((program) => program.kernels.map((kernel) => [kernel.name, kernel])));
  const all = programs.flatMap(({ steps }) => steps);
  const texts = textsOf([...kernels.values()], read);
  return new Map(
    [...kernels.values()].map((kernel) => {
      const steps = all.filter((step) => step.kernel === kernel.name);
      const makes = steps.map(({ origin }) => `${origin.path} ${origin.formula}`).join("\n");
      return [kernel.name, { kernel, steps, makes, text: texts.get(kernel.name) ?? "" }];
    }),
  );
}

function compare([before, after]: Pair): KernelDiff {
  const name = (after ?? before)?.kernel.name ?? "";
  const was = before?.kernel.name ?? null;
  // A renamed kernel bears its name in its text: that alone is no difference.
  const old = before === null ? "" : before.text.replaceAll(new RegExp(`\\b${before.kernel.name}\\b`, "g"), name);
  const now = after?.text ?? "";
  const patch =
    old === now
      ? ""
      : createTwoFilesPatch(`before/${was ?? name}.cu`, `after/${name}.cu`, old, now, "", "", { context: 2 });
  if (before === null || after === null) {
    const kind = before === null ? "added" : "removed";
    const [step] = (after ?? before)?.steps ?? [];
    return {
      name,
      was,
      kind,
      because: step === undefined ? [] : [`${step.origin.path}: ${step.origin.formula}`],
      patch,
    };
  }
  const because = [...reasons(before, after)];
  if (patch !== "" && because.length === 0) because.push("its text alone");
  return { name, was, kind: because.length === 0 ? "same" : "changed", because, patch };
}

function* reasons(before: Described, after: Described): Generator<string> {
  const [a, b] = [before.kernel, after.kernel];
  if (a.name !== b.name) yield `was named ${a.name}`;
  for (const note of b.notes.filter((each) => !a.notes.includes(each))) yield `now: ${note}`;
  for (const note of a.notes.filter((each) => !b.notes.includes(each))) yield `before: ${note}`;
  if (a.threads !== b.threads) yield `${a.threads} -> ${b.threads} threads`;
  if (a.sharedBytes !== b.sharedBytes) yield `${bytes(a.sharedBytes)} -> ${bytes(b.sharedBytes)} of shared memory`;
  if (before.steps.length !== after.steps.length) yield `${before.steps.length} -> ${after.steps.length} launches`;
  const formulas = [before, after].map(({ steps }) =>
    [...new Set(steps.map(({ origin }) => origin.formula))].join("; "),
  );
  if (formulas[0] !== formulas[1]) yield `computes ${formulas[1]}, before ${formulas[0]}`;
  const grids = [before, after].map(({ steps }) => JSON.stringify(steps.map(({ grid }) => grid)));
  if (before.steps.length === after.steps.length && grids[0] !== grids[1]) yield "its grid";
  for (const [target, report] of Object.entries(b.ptxas)) {
    const old = a.ptxas[target];
    if (old === undefined) continue;
    if (old.registers !== report.registers) yield `${target}: ${old.registers} -> ${report.registers} registers`;
    if (old.spillBytes !== report.spillBytes)
      yield `${target}: ${bytes(old.spillBytes)} -> ${bytes(report.spillBytes)} spilled`;
  }
}

type Work = { readonly launches: readonly LaunchData[]; readonly memory: Program["memory"] };
/** What the programs for some extents do; null where a build has none for them. */
type Works = { readonly extents: string; readonly before: Work | null; readonly after: Work | null };

async function workOf(
  artefact: Artefact,
  program: Program,
  { examples }: DiffOptions,
  terminal: Terminal,
): Promise<Work> {
  using checkpoint = drawnCheckpoint(program);
  const device = await chooseDevice("emulated", { compiled: true }, terminal);
  using runner = await deviceRunner(device, artefact, program, checkpoint, terminal);
  const inputs = drawnInputs(programInputs(program), examples);
  const result: Profile | undefined = await terminal.task(`counting ${artefact.folder}`, () =>
    runner.profile?.(inputs),
  );
  if (result === undefined) return { launches: [], memory: program.memory };
  return { launches: collectReport(result, { program, read: artefact.read }).launches, memory: program.memory };
}

const asJson = ({ extents, before, after }: Works): object => ({
  extents,
  totals: [before, after].map((work) => (work === null ? null : totalOf(work))),
  launches: [before?.launches ?? null, after?.launches ?? null],
});

type Figures = {
  readonly [
    name in
      | "launches"
      | "milliseconds"
      | "flops"
      | "memoryBytes"
      | "cacheBytes"
      | "tensorFlops"
      | "bankConflicts"
      | "activations"
      | "weights"
  ]: number;
};

function totalOf({ launches, memory }: Work): Figures {
  const sum = (value: (launch: LaunchData) => number): number =>
    launches.reduce((total, each) => total + value(each), 0);
  return {
    launches: launches.length,
    milliseconds: sum((launch) => launch.milliseconds),
    flops: sum(({ flops }) => flops),
    memoryBytes: sum(({ counted }) => counted?.memoryBytes ?? 0),
    cacheBytes: sum(({ counted }) => counted?.cacheBytes ?? 0),
    tensorFlops: sum(({ counted }) => counted?.tensorFlops ?? 0),
    bankConflicts: sum(({ counted }) => counted?.bankConflicts ?? 0),
    activations: memory.activations,
    weights: memory.weights,
  };
}

function printDiff(
  kernels: readonly KernelDiff[],
  works: readonly Works[],
  { text }: DiffOptions,
  paint: Paint,
): string {
  const different = kernels.filter(({ kind }) => kind !== "same");
  const same = kernels.length - different.length;
  const mark = {
    added: paint.green("added"),
    removed: paint.red("removed"),
    changed: paint.yellow("changed"),
    same: "",
  };
  const parts = different.map(({ name, kind, because, patch }) =>
    [
      `${mark[kind]} ${paint.bold(name)}`,
      ...because.map((reason) => `    ${reason}`),
      ...(text && patch !== "" ? [coloured(patch, paint)] : []),
    ].join("\n"),
  );
  parts.push(`${different.length} of ${kernels.length} kernels differ, ${same} are the same`);
  for (const each of works) parts.push(printKernelWork(different, each, paint), printTotals(each, paint));
  return parts.filter((part) => part !== "").join("\n\n");
}

const coloured = (patch: string, paint: Paint): string =>
  patch
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => (line.startsWith("+") ? paint.green(line) : line.startsWith("-") ? paint.red(line) : line))
    .join("\n");

function printKernelWork(kernels: readonly KernelDiff[], { extents, before, after }: Works, paint: Paint): string {
  if (kernels.length === 0) return "";
  const columns: readonly Column[] = [
    { head: `kernel, all launches${extents === "" ? "" : ` of ${extents}`}` },
    { head: "predicted", align: "right" },
    { head: "memory", align: "right" },
    { head: "cache", align: "right" },
    { head: "conflicts", align: "right" },
  ];
  const of = (work: Work | null, name: string): Figures | null => {
    const launches = work?.launches.filter(({ kernel }) => kernel === name) ?? [];
    return work === null || launches.length === 0 ? null : totalOf({ ...work, launches });
  };
  const rows = kernels.flatMap(({ name, was, kind }) => {
    const old = was === null ? null : of(before, was);
    const now = kind === "removed" ? null : of(after, name);
    if (old === null && now === null) return [];
    const change = (figure: keyof Figures, print: (value: number) => string): string =>
      changed(old?.[figure] ?? null, now?.[figure] ?? null, print);
    return [
      [
        name,
        change("milliseconds", milliseconds),
        change("memoryBytes", bytes),
        change("cacheBytes", bytes),
        change("bankConflicts", String),
      ],
    ];
  });
  return table(columns, rows, paint);
}

function printTotals({ extents, before, after }: Works, paint: Paint): string {
  const [old, now] = [before, after].map((work) => (work === null ? null : totalOf(work)));
  const figures: readonly (readonly [string, keyof Figures, (value: number) => string])[] = [
    ["predicted for one H200, not measured", "milliseconds", milliseconds],
    ["launches", "launches", String],
    ["work", "flops", operations],
    ["different bytes of memory", "memoryBytes", bytes],
    ["from the cache", "cacheBytes", bytes],
    ["tensor cores", "tensorFlops", operations],
    ["bank conflicts", "bankConflicts", String],
    ["activations an example", "activations", bytes],
    ["weights", "weights", bytes],
  ];
  const columns: readonly Column[] = [
    { head: `in all${extents === "" ? "" : `, ${extents}`}` },
    { head: "before -> after", align: "right" },
  ];
  return table(
    columns,
    figures.map(([name, figure, print]) => [name, changed(old?.[figure] ?? null, now?.[figure] ?? null, print)]),
    paint,
  );
}

function changed(before: number | null, after: number | null, print: (value: number) => string): string {
  const text = (value: number | null): string => (value === null ? "none" : print(value));
  if (before === after) return text(after);
  const ratio = before === null || after === null || before === 0 ? "" : ` (x ${(after / before).toFixed(2)})`;
  return `${text(before)} -> ${text(after)}${ratio}`;
}
