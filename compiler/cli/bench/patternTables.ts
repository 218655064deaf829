import { type Paint, table } from "../terminal.ts";
import type { GrowthFigure, PatternFigure } from "./patternFigures.ts";

/** What each pattern computes at its published shape, what it moves, and how far that is from the least. */
export function printPatternFigures(figures: readonly PatternFigure[], paint: Paint): string {
  const columns = [
    { head: "pattern" },
    { head: "tokens" },
    { head: "launches", align: "right" },
    { head: "computed", align: "right" },
    { head: "tensor", align: "right" },
    { head: "exp", align: "right" },
    { head: "moved", align: "right" },
    { head: "of it once", align: "right" },
    { head: "conflicts", align: "right" },
    { head: "floor", align: "right" },
    { head: "estimate", align: "right" },
  ] as const;
  const rows = figures.map((each) => [
    each.name,
    each.tokens,
    String(each.launches),
    `${(each.computed / each.pairs).toFixed(2)} x`,
    `${(each.tensorFlops / 1e9).toFixed(2)} GFLOP`,
    `${(each.exponentials / 1e6).toFixed(2)} M`,
    `${(each.globalBytes / 1e6).toFixed(2)} MB`,
    `${(each.uniqueBytes / 1e6).toFixed(2)} MB`,
    each.conflicts.toLocaleString("en-US"),
    `${each.floor.microseconds.toFixed(1)} us ${each.floor.bound}`,
    `${each.predicted.microseconds.toFixed(1)} us ${each.predicted.bound}`,
  ]);
  return [
    "one example in bfloat16; computed: pairs multiplied for each pair that sees; floor and estimate: of an H200",
    table(columns, rows, paint),
  ].join("\n");
}

/** How what is computed and moved grows with the tokens: 8.0 at eight times as many is linear, 64 quadratic. */
export function printGrowth(figures: readonly GrowthFigure[], paint: Paint): string {
  const factorsOf = ({ points }: GrowthFigure): string => points.map(({ times }) => times).join();
  // Those that were run for as many tokens stand in one table.
  const kinds = [...new Set(figures.map(factorsOf))];
  const tables = kinds.map((kind) => {
    const group = figures.filter((figure) => factorsOf(figure) === kind);
    const factors = group[0]?.points.map(({ times }) => times) ?? [];
    const columns = [
      { head: "pattern" },
      { head: "tokens" },
      ...factors.map((times) => ({ head: `pairs x${times}`, align: "right" as const })),
      ...factors.map((times) => ({ head: `bytes x${times}`, align: "right" as const })),
    ];
    const rows = group.map(({ name, points }) => [
      name,
      points[0]?.tokens ?? "",
      ...points.map(({ computed }) => computed.toFixed(2)),
      ...points.map(({ globalBytes }) => globalBytes.toFixed(2)),
    ]);
    return table(columns, rows, paint);
  });
  return ["growth with the tokens", ...tables].join("\n");
}
