import type { Compiled } from "../compile.ts";
import type { JobMap, Meeting, PatternMap } from "../schedule/attention/patternMap.ts";
import { patternMap } from "../schedule/attention/patternMap.ts";
import type { Paint } from "./terminal.ts";

/** Each attention kernel, what it computes of all pairs of a query and a key, and a drawing of it. */
export function printPatterns(compiled: Compiled, paint: Paint): string {
  const maps = patternMaps(compiled);
  if (maps.length === 0) return "no kernel attends";
  return maps.map(({ name, where, map }) => printPattern(name, where, map, paint)).join("\n\n");
}

/** The same as pictures, by kernel. */
export function patternPictures(compiled: Compiled): ReadonlyMap<string, string> {
  return new Map(patternMaps(compiled).map(({ name, where, map }) => [name, picture(`${name}: ${where}`, map)]));
}

/** The same as data, for `--json`. */
export type NamedPattern = { readonly name: string; readonly where: string; readonly map: PatternMap };

export function patternMaps({ program, computations }: Compiled): readonly NamedPattern[] {
  return program.kernels.flatMap(({ name }): readonly NamedPattern[] => {
    const kernel = computations.get(name);
    const step = program.steps.find((each) => each.kernel === name);
    if (kernel?.kind !== "attention" || step === undefined) return [];
    return [{ name, where: step.origin.formula, map: patternMap(kernel) }];
  });
}

function printPattern(name: string, where: string, { pairs, allPairs, jobs }: PatternMap, paint: Paint): string {
  const computed = jobs.reduce((sum, job) => sum + job.computed, 0);
  return [
    paint.bold(name),
    `    ${where}`,
    `    ${number(pairs)} of ${number(allPairs)} pairs see each other; ${number(computed)} are computed, ${ratio(computed / pairs)} times as many`,
    ...jobs.flatMap((job) => ["", ...printJob(job, paint)]),
  ].join("\n");
}

const who = { all: "queries", grid: "the grid's queries", prefix: "queries of prefix tokens" };
/** Larger maps are drawn coarser: a sign stands for several tiles and blocks. */
const most = { rows: 32, columns: 72 };

function printJob(job: JobMap, paint: Paint): readonly string[] {
  const { met, tiles, blocks } = job;
  const step = { rows: Math.ceil(tiles / most.rows), columns: Math.ceil(blocks / most.columns) };
  const rows = Array.from({ length: Math.ceil(tiles / step.rows) }, (_, row) =>
    Array.from({ length: Math.ceil(blocks / step.columns) }, (__, column) => {
      const part = met
        .slice(row * step.rows, (row + 1) * step.rows)
        .flatMap((each) => each.slice(column * step.columns, (column + 1) * step.columns));
      return sign(part, paint);
    }).join(""),
  );
  return [`    ${describe(job)}`, ...rows.map((row) => `    ${row}`)];
}

function describe({ queries, groupBlocks, tiles, tileSlots, blocks, blockSlots, met }: JobMap): string {
  const meetings = met.flat().filter((each) => each !== "skipped").length;
  const several = groupBlocks > 1 ? `each of ${number(groupBlocks)} thread blocks: ` : "";
  return `${several}${tiles} x ${tileSlots} ${who[queries]} by ${blocks} x ${blockSlots} keys, ${number(meetings)} of ${number(tiles * blocks)} tiles`;
}

const sign = (part: readonly Meeting[], paint: Paint): string => {
  if (part.every((each) => each === "skipped")) return paint.dim("·");
  return part.every((each) => each === "full") ? "█" : part.includes("skipped") ? "░" : "▒";
};

const number = (value: number): string => Math.round(value).toLocaleString("en-US");
const ratio = (value: number): string => (Number.isFinite(value) ? value.toFixed(2) : "any number of");

const colours: { readonly [M in Meeting]: string } = { skipped: "#f2f2f2", partial: "#8ecae6", full: "#1d4e89" };
const cell = 8;

/** One square a tile and block of keys, queries downwards. */
function picture(title: string, { pairs, jobs }: PatternMap): string {
  const computed = jobs.reduce((sum, job) => sum + job.computed, 0);
  const width = Math.max(480, ...jobs.map(({ blocks }) => blocks * cell)) + 2 * cell;
  let y = 3 * cell;
  const text = (value: string): string => {
    const line = `<text x="${cell}" y="${y}">${escape(value)}</text>`;
    y += 2 * cell;
    return line;
  };
  const parts = [
    text(title),
    text(`${number(pairs)} pairs, ${number(computed)} computed: ${ratio(computed / pairs)} times as many`),
  ];
  for (const job of jobs) {
    parts.push(text(describe(job)));
    y -= cell;
    for (const row of job.met) {
      for (const [column, meeting] of row.entries())
        parts.push(
          `<rect x="${cell * (column + 1)}" y="${y}" width="${cell - 1}" height="${cell - 1}" fill="${colours[meeting]}"/>`,
        );
      y += cell;
    }
    y += 2 * cell;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" font-family="sans-serif" font-size="11">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    ...parts,
    "</svg>\n",
  ].join("\n");
}

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
