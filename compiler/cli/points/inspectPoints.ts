import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Precision } from "../../../ir/types.ts";
import { openCheckpoint } from "../../../runtime/checkpoint.ts";
import { exitCodes } from "../failure.ts";
import { readablePath } from "../figures.ts";
import type { Preprocessing } from "../media/preprocess.ts";
import { type ModelOptions, traceModel } from "../model.ts";
import { readWithMotion } from "../motion.ts";
import { openRunner } from "../openRunner.ts";
import type { DeviceName, MotionSource } from "../options.ts";
import { batchOf, graphInputs, graphParameters } from "../ports.ts";
import { drawnCheckpoint, drawnInputs } from "../profile.ts";
import { framesOf } from "../report/frames.ts";
import { table, type Terminal } from "../terminal.ts";
import type { ChosenToken } from "../tokenView.ts";
import { collectPoints, type QueryPoints } from "./collect.ts";
import { describe, nameOf, pointsPicture } from "./picture.ts";
import { writeText } from "../writeWhole.ts";

export type PointsOptions = ModelOptions & {
  /** The module that samples; null: all of them. */
  readonly points: string | null;
  /** Where the query is on some of the axes. */
  readonly token: ChosenToken;
  /** Random ones where none are given. */
  readonly weights: string | null;
  readonly inputs: ReadonlyMap<string, readonly string[]>;
  readonly preprocessing: Preprocessing;
  readonly motion: MotionSource;
  readonly device: DeviceName;
  readonly precision: Precision;
  /** A folder for a picture of each sampling. */
  readonly svg: string | null;
  readonly json: boolean;
};

/** Says where a query of a network's deformable layers looks, and draws it over what it looks at. */
export async function inspectPoints(file: string, options: PointsOptions, terminal: Terminal): Promise<number> {
  const graph = await traceModel(file, options, terminal);
  const ports = graphInputs(graph);
  const isGiven = options.inputs.size > 0;
  const inputs = isGiven ? (await readWithMotion(ports, options, terminal)).inputs : drawnInputs(ports, 1);
  const batch = batchOf(ports, inputs);
  const { device, precision, weights } = options;
  using checkpoint =
    weights === null ? drawnCheckpoint({ parameters: graphParameters(graph) }) : await openCheckpoint(weights);
  const found = await collectPoints(
    graph,
    { wanted: options.points, query: options.token, example: { inputs, batch, checkpoint } },
    async (upTo, given) => {
      const request = { device, precision, keep: false, batch: { min: batch, max: batch } };
      using runner = await openRunner(upTo, checkpoint, request, terminal);
      return await terminal.task("running up to the points", () => runner.run(given));
    },
  );
  terminal.print(
    options.json
      ? JSON.stringify({ points: found }, null, 2)
      : found.map((each) => printPoints(each, terminal)).join("\n\n"),
  );
  if (options.svg === null) return exitCodes.success;
  const frames = isGiven ? await framesOf(ports, inputs) : null;
  mkdirSync(options.svg, { recursive: true });
  for (const each of found) {
    const picture = join(options.svg, `${each.path}.svg`);
    writeText(picture, pointsPicture(each, frames));
    if (!options.json) terminal.print(`wrote ${readablePath(picture)}`);
  }
  return exitCodes.success;
}

/** The points that weigh most. */
const shown = 8;

function printPoints({ path, query, maps }: QueryPoints, { paint }: Terminal): string {
  const points = maps.flatMap((map) => map.points.map((point) => ({ ...point, map })));
  const heaviest = points.toSorted((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).slice(0, shown);
  const outside = points.filter(({ x, y }) => !(x >= 0 && x <= 1 && y >= 0 && y <= 1)).length;
  const rows = heaviest.map(({ head, x, y, weight, map }) => [
    String(head),
    nameOf(map),
    (x * map.width - 0.5).toFixed(2),
    (y * map.height - 0.5).toFixed(2),
    weight.toPrecision(3),
  ]);
  const columns = [
    { head: "head" },
    { head: "map" },
    { head: "x", align: "right" },
    { head: "y", align: "right" },
    { head: "weight", align: "right" },
  ] as const;
  return [
    paint.bold(path),
    `    the query at ${describe(query)} looks at ${points.length} points, ${outside} of them outside; in pixels of their maps:`,
    table(columns, rows, paint),
  ].join("\n");
}
