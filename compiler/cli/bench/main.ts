#!/usr/bin/env node
import { readdirSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { packageRoot } from "../../packageRoot.ts";
import { exitCodeOf, messageOf } from "../report.ts";
import { openTerminal, table, type Terminal } from "../terminal.ts";
import { caseFigures } from "./caseFigures.ts";
import { imageFigures, textFigures } from "./compileFigures.ts";
import { meetsGoal, type Figure } from "./figure.ts";
import { growthCases, publishedPatterns } from "./patternCases.ts";
import { growthFigure, patternFigure, type GrowthFigure, type PatternFigure } from "./patternFigures.ts";
import { printGrowth, printPatternFigures } from "./patternTables.ts";
import { launchFigures, openEmulator, throughputFigures, weightFigures } from "./runFigures.ts";
import { setGrowthCases, setGrowthFigure } from "./setFigures.ts";

type Flags = { readonly json?: true; readonly case?: string; readonly full?: true; readonly only?: string };

const program = new Command("bench")
  .description("Measures compiling and the emulated device. Times depend on the machine and on what else it does.")
  .option("--json", "print JSON")
  .option("--case <folder>", "also run this published case in bf16 through the whole plan")
  .option("--full", "also run every published case of full size that comes with fovea: minutes")
  .option("--only <part>", "text, images, throughput, launches, weights, patterns, growth, sets or case");

try {
  const flags = program.parse().opts<Flags>();
  const terminal = openTerminal(flags);
  const measured = await measure(flags, terminal);
  const [load = 0] = loadavg();
  if (flags.json) terminal.print(JSON.stringify({ load, ...measured }, null, 2));
  else {
    const { figures, patterns, growth } = measured;
    const parts = [
      figures.length > 0 ? print(figures, terminal) : "",
      patterns.length > 0 ? printPatternFigures(patterns, terminal.paint) : "",
      growth.length > 0 ? printGrowth(growth, terminal.paint) : "",
      `load average ${load.toFixed(1)}`,
    ];
    terminal.print(parts.filter((part) => part !== "").join("\n\n"));
  }
} catch (error) {
  process.stderr.write(`${messageOf(error, { colour: process.stderr.isTTY })}\n`);
  process.exitCode = exitCodeOf(error);
}

type Measured = {
  readonly figures: readonly Figure[];
  readonly patterns: readonly PatternFigure[];
  readonly growth: readonly GrowthFigure[];
};

async function measure(flags: Flags, terminal: Terminal): Promise<Measured> {
  const part = async <F>(name: string, work: () => Promise<readonly F[]> | readonly F[]): Promise<readonly F[]> =>
    flags.only === undefined || flags.only === name ? terminal.task(`measuring ${name}`, work) : [];
  const compiling = [...(await part("text", textFigures)), ...(await part("images", imageFigures))];
  using device = await openEmulator();
  const figures = [
    ...compiling,
    ...(await part("throughput", () => throughputFigures(device))),
    ...(await part("launches", () => launchFigures(device))),
    ...(await part("weights", () => weightFigures(device))),
  ];
  const patterns = await part("patterns", () => oneByOne(publishedPatterns, (each) => patternFigure(device, each)));
  const growth = [
    ...(await part("growth", () => oneByOne(growthCases, (each) => growthFigure(device, each)))),
    ...(await part("sets", () => oneByOne(setGrowthCases, (each) => setGrowthFigure(device, each)))),
  ];
  const folders = [...(flags.case === undefined ? [] : [flags.case]), ...(flags.full ? fullCases() : [])];
  for (const folder of folders) figures.push(...(await part("case", () => caseFigures(folder, terminal))));
  return { figures, patterns, growth };
}

/** One heavy thing at a time. */
async function oneByOne<T, F>(list: readonly T[], work: (each: T) => Promise<F>): Promise<readonly F[]> {
  const found: F[] = [];
  for (const each of list) found.push(await work(each));
  return found;
}

function fullCases(): readonly string[] {
  const folder = join(packageRoot(), "test", "bench");
  return readdirSync(folder).map((name) => join(folder, name));
}

function print(figures: readonly Figure[], { paint }: Terminal): string {
  const columns = [
    { head: "what" },
    { head: "measured", align: "right" },
    { head: "goal", align: "right" },
    { head: "" },
  ] as const;
  const number = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
  const rows = figures.map((each) => [
    each.what,
    (meetsGoal(each) ? paint.green : paint.yellow)(`${number(each.value)} ${each.unit}`),
    each.goal === null ? "" : `${each.goal} ${each.unit}`,
    each.note,
  ]);
  return table(columns, rows, paint);
}
