import type { Compiled } from "../compile.ts";
import type { JobMap, Meeting, PatternMap } from "../schedule/attention/patternMap.ts";
import { patternMap } from "../schedule/attention/patternMap.ts";
import type { Paint } from "./terminal.ts";
import {
  checkToken,
  type ChosenToken,
  drawSeenKeys,
  headlineOf,
  printSeenKeys,
  type SeenKeys,
  seenKeys,
} from "./tokenView.ts";

/** Each attention kernel, what it computes of all pairs of a query and a key, and drawings of it and of what a token sees. */
export function printPatterns(compiled: Compiled, token: ChosenToken, paint: Paint): string {
  const maps = patternMaps(compiled, token);
  if (maps.length === 0) return "no kernel attends";
  return maps.map((each) => printPattern(each, paint)).join("\n\n");
}

/** The same as pictures, by kernel. */
export function patternPictures(compiled: Compiled, token: ChosenToken): ReadonlyMap<string, string> {
  return new Map(patternMaps(compiled, token).map((each) => [each.name, picture(each)]));
}

/** The same as data, for `--json`. */
export type NamedPattern = {
  readonly name: string;
  readonly where: string;
  readonly map: PatternMap;
  readonly seen: SeenKeys;
};

export function patternMaps({ program, computations }: Compiled, token: ChosenToken): readonly NamedPattern[] {
  const found = program.kernels.flatMap(({ name }) => {
    const kernel = computations.get(name);
    const step = program.steps.find((each) => each.kernel === name);
    return kernel?.kind === "attention" && step !== undefined ? [{ name, where: step.origin.formula, kernel }] : [];
  });
  if (found.length > 0)
    checkToken(
      found.map(({ kernel }) => kernel),
      token,
    );
  return found.map(({ name, where, kernel }) => ({
    name,
    where,
    map: patternMap(kernel),
    seen: seenKeys(kernel, token),
  }));
}

function printPattern({ name, where, map, seen }: NamedPattern, paint: Paint): string {
  const { pairs, allPairs, jobs } = map;
  const computed = jobs.reduce((sum, job) => sum + job.computed, 0);
  return [
    paint.bold(name),
    `    ${where}`,
    `    ${number(pairs)} of ${number(allPairs)} pairs see each other; ${number(computed)} are computed, ${ratio(computed / pairs)} times as many`,
    `    ${waste(map)}`,
    ...jobs.flatMap((job) => ["", ...printJob(job, paint)]),
    "",
    ...printSeenKeys(seen, paint).map((line) => `    ${line}`.trimEnd()),
  ].join("\n");
}

/** What is computed and not needed: pairs that do not see each other in tiles that are seen in part, and slots without a token. */
function waste({ pairs, jobs }: PatternMap): string {
  const sum = (field: "computed" | "tokenPairs"): number => jobs.reduce((total, job) => total + job[field], 0);
  const [computed, tokens] = [sum("computed"), sum("tokenPairs")];
  const share = (part: number): string => `${((100 * part) / Math.max(1, computed)).toFixed(0)} %`;
  return `of the computed, ${number(tokens - pairs)} (${share(tokens - pairs)}) are tokens that do not see each other, ${number(computed - tokens)} (${share(computed - tokens)}) padding`;
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
function picture({ name, where, map, seen }: NamedPattern): string {
  const { pairs, jobs } = map;
  const computed = jobs.reduce((sum, job) => sum + job.computed, 0);
  let y = 3 * cell;
  const text = (value: string): string => {
    const line = `<text x="${cell}" y="${y}">${escape(value)}</text>`;
    y += 2 * cell;
    return line;
  };
  const parts = [
    text(`${name}: ${where}`),
    text(`${number(pairs)} pairs, ${number(computed)} computed: ${ratio(computed / pairs)} times as many`),
    text(waste(map)),
    text(
      "tiles of queries downwards, blocks of keys to the right: dark is seen whole, light pair by pair, grey skipped",
    ),
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
  parts.push(text(headlineOf(seen)));
  const drawing = drawSeenKeys(seen, y - cell);
  parts.push(...drawing.parts);
  const width = Math.max(640, drawing.width, ...jobs.map(({ blocks }) => blocks * cell)) + 2 * cell;
  y = drawing.bottom;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" font-family="sans-serif" font-size="11">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    ...parts,
    "</svg>\n",
  ].join("\n");
}

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
