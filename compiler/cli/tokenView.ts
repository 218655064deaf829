import { tokensOf } from "../../ir/tokens.ts";
import { rowsOf, sizeOf, type TensorType } from "../../ir/types.ts";
import { visibleKeys } from "../../ir/visibleKeys.ts";
import type { AttentionKernel } from "../schedule/kernels.ts";
import { didYouMean } from "../diagnostics.ts";
import { CommandError } from "./failure.ts";
import type { Paint } from "./terminal.ts";

/** Which token is looked at: coordinates by axis, in the middle of an axis that is not named; "prefix": the first prefix token. */
export type ChosenToken = "prefix" | { readonly [axis: string]: number };

/** The keys that one query sees. */
export type SeenKeys = {
  /** `t 3, h 7, w 7`, or `prefix 0`. */
  readonly query: string;
  readonly count: number;
  readonly of: number;
  readonly prefix: { readonly seen: number; readonly of: number };
  /** One for each place on the axes but the last two; those far from all that is seen are left out. */
  readonly panels: readonly Panel[];
  /** `h 5 to 15, w 4 to 18`: the part of a large grid that the panels show; empty where it is the whole. */
  readonly part: string;
};
export type Panel = {
  /** `t 3`; empty where the keys have no further axis. */
  readonly title: string;
  /** Rows of cells; where the grid is large, those around what is seen. */
  readonly cells: readonly (readonly Cell[])[];
};
export type Cell = "unseen" | "seen" | "query" | "seen query";

/** What the token that is nearest to the chosen one sees. */
export function seenKeys(kernel: AttentionKernel, chosen: ChosenToken): SeenKeys {
  const row = rowOf(kernel.query, chosen);
  const group = visibleKeys(kernel.pattern, kernel.query, kernel.key).find(({ queries }) => queries.includes(row));
  const keys = new Set(group?.keys ?? []);
  const { prefixRows } = tokensOf(kernel.key);
  const prefix = [...keys].filter((key) => key < prefixRows).length;
  return {
    query: nameOf(kernel.query, row),
    count: keys.size,
    of: rowsOf(kernel.key),
    prefix: { seen: prefix, of: prefixRows },
    ...panelsOf(kernel, row, keys),
  };
}

/** The nearest to what is asked for: stages of a network have shorter axes, some kernels others. */
function rowOf(type: TensorType, chosen: ChosenToken): number {
  const { prefixRows } = tokensOf(type);
  if (chosen === "prefix" && prefixRows > 0) return 0;
  const asked = chosen === "prefix" ? {} : chosen;
  return (
    type.axes.reduce(
      (flat, { axis, size }) => flat * size + Math.min(size - 1, asked[axis] ?? Math.floor(size / 2)),
      0,
    ) + prefixRows
  );
}

/** Throws a CommandError where no attention has such a token. */
export function checkToken(kernels: readonly AttentionKernel[], chosen: ChosenToken): void {
  if (chosen === "prefix") {
    if (kernels.some(({ query }) => query.prefix.count > 0)) return;
    throw new CommandError("no query is a prefix token", "--token names axes: --token t=3,h=7");
  }
  for (const [axis, at] of Object.entries(chosen)) {
    const sizes = kernels.flatMap(({ query }) => sizeOf(query, axis) ?? []);
    const axes = [...new Set(kernels.flatMap(({ query }) => query.axes.map((each) => each.axis)))];
    if (sizes.length === 0)
      throw new CommandError(
        `no queries have an axis "${axis}"`,
        didYouMean(axis, axes) || `there are ${axes.join(", ")}`,
      );
    if (at >= Math.max(...sizes))
      throw new CommandError(`the axis "${axis}" has ${Math.max(...sizes)} positions, and ${at} is none of them`);
  }
}

function nameOf(type: TensorType, row: number): string {
  const { coordinates, prefixRows, prefixIndex } = tokensOf(type);
  if (row < prefixRows) return `prefix ${prefixIndex[row] ?? 0}`;
  return type.axes.map(({ axis }) => `${axis} ${coordinates.get(axis)?.[row] ?? 0}`).join(", ");
}

/** More would fill no terminal. */
const most = { rows: 16, columns: 32, panels: 16 };

function panelsOf(
  { query, key }: AttentionKernel,
  row: number,
  keys: ReadonlySet<number>,
): Pick<SeenKeys, "panels" | "part"> {
  const { prefixRows } = tokensOf(key);
  const sizes = key.axes.map(({ size }) => size);
  const [height, width] = [sizes.at(-2) ?? 1, sizes.at(-1) ?? 1];
  const others = key.axes.slice(0, -2);
  // Where queries and keys lie on one grid, the query has a place among its keys.
  const own =
    query.axes.map(({ axis, size }) => `${axis} ${size}`).join() ===
    key.axes.map(({ axis, size }) => `${axis} ${size}`).join();
  const queryAt = own && row >= tokensOf(query).prefixRows ? row - tokensOf(query).prefixRows : -1;
  const shown = [...keys].map((each) => each - prefixRows).filter((each) => each >= 0);
  if (queryAt >= 0) shown.push(queryAt);
  const rows = around(
    shown.map((each) => Math.floor(each / width) % height),
    height,
    most.rows,
  );
  const columns = around(
    shown.map((each) => each % width),
    width,
    most.columns,
  );
  const places = [...new Set(shown.map((each) => Math.floor(each / (height * width))))].toSorted((a, b) => a - b);
  const part = [
    [key.axes.at(-2)?.axis ?? "", rows, height],
    [key.axes.at(-1)?.axis ?? "", columns, width],
  ] as const;
  const panels = places.slice(0, most.panels).map((place): Panel => ({
    title: titleOf(others, place),
    cells: rows.map((y) =>
      columns.map((x): Cell => {
        const at = (place * height + y) * width + x;
        const seen = keys.has(prefixRows + at);
        if (at === queryAt) return seen ? "seen query" : "query";
        return seen ? "seen" : "unseen";
      }),
    ),
  }));
  const cut = part.filter(([, shownOf, size]) => shownOf.length < size);
  const range = (of: readonly number[]): string => `${of[0] ?? 0} to ${of.at(-1) ?? 0}`;
  return { panels, part: cut.map(([axis, shownOf]) => `${axis} ${range(shownOf)}`).join(", ") };
}

const titleOf = (axes: TensorType["axes"], place: number): string => {
  const parts: string[] = [];
  let rest = place;
  for (const { axis, size } of axes.toReversed()) {
    parts.unshift(`${axis} ${rest % size}`);
    rest = Math.floor(rest / size);
  }
  return parts.join(", ");
};

/** All positions of an axis that is short enough, otherwise those from the first to the last used, and two more to each side. */
const around = (used: readonly number[], size: number, limit: number): readonly number[] => {
  const whole = size <= limit || used.length === 0;
  const first = whole ? 0 : Math.max(0, Math.min(...used) - 2);
  const last = whole ? size - 1 : Math.min(size - 1, Math.max(...used) + 2);
  return Array.from({ length: Math.min(limit, last - first + 1) }, (_, i) => first + i);
};

/** The panels side by side, as many as fit. */
export function printSeenKeys(seen: SeenKeys, paint: Paint): readonly string[] {
  const signs: { readonly [C in Cell]: string } = {
    unseen: paint.dim("·"),
    seen: "█",
    query: paint.yellow("o"),
    "seen query": paint.yellow("◆"),
  };
  const lines = [headlineOf(seen)];
  const width = Math.max(1, ...seen.panels.map(({ title, cells }) => Math.max(title.length, cells[0]?.length ?? 0)));
  const side = Math.max(1, Math.floor(100 / (width + 2)));
  for (let from = 0; from < seen.panels.length; from += side) {
    const row = seen.panels.slice(from, from + side);
    if (row.some(({ title }) => title !== ""))
      lines.push(
        row
          .map(({ title }) => title.padEnd(width))
          .join("  ")
          .trimEnd(),
      );
    for (let y = 0; y < (row[0]?.cells.length ?? 0); y++)
      lines.push(
        row
          .map(
            ({ cells }) =>
              (cells[y] ?? []).map((cell) => signs[cell]).join("") + " ".repeat(width - (cells[y]?.length ?? 0)),
          )
          .join("  ")
          .trimEnd(),
      );
  }
  return lines;
}

export const headlineOf = ({ query, count, of, prefix, part }: SeenKeys): string =>
  `the query at ${query} sees ${count.toLocaleString("en-US")} of ${of.toLocaleString("en-US")} keys${prefix.of > 0 ? `, ${prefix.seen} of ${prefix.of} prefix tokens among them` : ""}${part === "" ? "" : `; ${part} of it`}`;

const cellColours: { readonly [C in Cell]: string } = {
  unseen: "#f2f2f2",
  seen: "#1d4e89",
  query: "#f4a261",
  "seen query": "#e76f51",
};
const cell = 8;

/** The panels as rectangles of an SVG from `top` on, and where they end. */
export function drawSeenKeys(
  { panels }: SeenKeys,
  top: number,
): { readonly parts: readonly string[]; readonly width: number; readonly bottom: number } {
  const parts: string[] = [];
  const columns = Math.max(1, ...panels.map(({ cells }) => cells[0]?.length ?? 0));
  const step = Math.max(columns * cell, 7 * Math.max(0, ...panels.map(({ title }) => title.length))) + 2 * cell;
  const side = Math.max(1, Math.floor(960 / step));
  let y = top;
  for (let from = 0; from < panels.length; from += side) {
    const row = panels.slice(from, from + side);
    const titled = row.some(({ title }) => title !== "");
    for (const [i, { title, cells }] of row.entries()) {
      const x = cell + i * step;
      if (titled) parts.push(`<text x="${x}" y="${y + cell}">${title}</text>`);
      for (const [v, line] of cells.entries())
        for (const [u, each] of line.entries())
          parts.push(
            `<rect x="${x + u * cell}" y="${y + (titled ? 2 * cell : 0) + v * cell}" width="${cell - 1}" height="${cell - 1}" fill="${cellColours[each]}"/>`,
          );
    }
    y += (titled ? 2 * cell : 0) + Math.max(...row.map(({ cells }) => cells.length)) * cell + 2 * cell;
  }
  return { parts, width: cell + Math.min(side, panels.length) * step, bottom: y };
}
