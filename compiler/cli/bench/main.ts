#!/usr/bin/env node
import { loadavg } from "node:os";
import { Command } from "commander";
import { exitCodeOf, messageOf } from "../report.ts";
import { openTerminal, table, type Terminal } from "../terminal.ts";
import { caseFigures } from "./caseFigures.ts";
import { imageFigures, textFigures } from "./compileFigures.ts";
import { meetsGoal, type Figure } from "./figure.ts";
import { launchFigures, openEmulator, throughputFigures, weightFigures } from "./runFigures.ts";

type Flags = { readonly json?: true; readonly case?: string; readonly only?: string };

const program = new Command("bench")
  .description("Measures compiling and the emulated device. Times depend on the machine and on what else it does.")
  .option("--json", "print JSON")
  .option("--case <folder>", "also run this published case in bf16 through the whole plan")
  .option("--only <part>", "text, images, throughput, launches, weights or case");

try {
  const flags = program.parse().opts<Flags>();
  const terminal = openTerminal(flags);
  const figures = await measure(flags, terminal);
  const [load = 0] = loadavg();
  if (flags.json) terminal.print(JSON.stringify({ load, figures }, null, 2));
  else terminal.print(`${print(figures, terminal)}\n\nload average ${load.toFixed(1)}`);
} catch (error) {
  process.stderr.write(`${messageOf(error, { colour: process.stderr.isTTY })}\n`);
  process.exitCode = exitCodeOf(error);
}

async function measure(flags: Flags, terminal: Terminal): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  const part = async (name: string, work: () => Promise<readonly Figure[]> | readonly Figure[]): Promise<void> => {
    if (flags.only === undefined || flags.only === name)
      figures.push(...(await terminal.task(`measuring ${name}`, work)));
  };
  await part("text", textFigures);
  await part("images", imageFigures);
  using device = await openEmulator();
  await part("throughput", () => throughputFigures(device));
  await part("launches", () => launchFigures(device));
  await part("weights", () => weightFigures(device));
  const folder = flags.case;
  if (folder !== undefined) await part("case", () => caseFigures(folder, terminal));
  return figures;
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
