import { bytes, milliseconds, operations, percent } from "../../units.ts";
import { timeNames } from "../basis.ts";
import type { LaunchData, ReportData } from "../data.ts";
import { element, section } from "./dom.ts";
import { familyClass, movedBytes, type Selection } from "./state.ts";

type Row = LaunchData & { readonly index: number };
type Column = {
  readonly head: string;
  readonly value: (row: Row) => number | string;
  readonly text: (row: Row) => string;
};

/** All launches: a press on a heading sorts by it, and again the other way round. */
export function launchTable(data: ReportData, selection: Selection): HTMLElement {
  const columns = columnsOf(data);
  const rows = data.launches.map((launch, index): Row => ({ ...launch, index }));
  const body = element("tbody");
  let sorted = { by: 0, down: false };
  let wanted = "";

  const draw = (): void => {
    const column = columns[sorted.by];
    const list = rows
      .filter(({ kernel, path, formula }) => `${kernel} ${path} ${formula}`.toLowerCase().includes(wanted))
      .toSorted((a, b) => (column === undefined ? 0 : compare(column.value(a), column.value(b))));
    if (sorted.down) list.reverse();
    body.replaceChildren(...list.map((row) => rowOf(row, columns, selection)));
    for (const [index, head] of heads.entries()) {
      const direction = sorted.down ? "descending" : "ascending";
      head.setAttribute("aria-sort", index === sorted.by ? direction : "none");
    }
    mark(selection.launch());
  };
  const mark = (chosen: number): void => {
    for (const each of body.querySelectorAll("tr")) {
      const isChosen = each.dataset["launch"] === String(chosen);
      each.classList.toggle("chosen", isChosen);
      each.setAttribute("aria-selected", String(isChosen));
    }
  };
  const heads = columns.map(({ head, value }, index) => {
    const isNumber = rows[0] !== undefined && typeof value(rows[0]) === "number";
    return element(
      "th",
      { scope: "col", class: isNumber ? "number" : "" },
      element(
        "button",
        {
          type: "button",
          onclick: () => {
            // The largest come first, and names from A.
            sorted = { by: index, down: sorted.by === index ? !sorted.down : isNumber && index > 0 };
            draw();
          },
        },
        head,
      ),
    );
  });
  const filter = element("input", {
    type: "search",
    placeholder: "Kernel, module or formula",
    "aria-label": "show only launches with this text",
    oninput: () => {
      wanted = filter.value.trim().toLowerCase();
      draw();
    },
  });
  draw();
  selection.listen(mark);
  return section(
    "kernels",
    "Kernels",
    "Press a heading to sort. J and K go to the next and the previous launch anywhere on this page.",
    element("div", { class: "tools" }, filter),
    element(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "all launches" },
      element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body),
    ),
  );
}

function columnsOf(data: ReportData): Column[] {
  const kernels = new Map(data.kernels.map((kernel) => [kernel.name, kernel]));
  const number = (head: string, value: (row: Row) => number, text: (value: number) => string): Column => ({
    head,
    value,
    text: (row) => text(value(row)),
  });
  const words = (head: string, value: (row: Row) => string): Column => ({ head, value, text: value });
  const targets = [...new Set(data.kernels.flatMap(({ ptxas }) => Object.keys(ptxas)))];
  const counts = data.launches.some(({ counted }) => counted !== null);
  return [
    number("#", ({ index }) => index, String),
    words("Kernel", ({ kernel }) => kernel),
    words("Module", ({ path }) => path),
    number(timeNames[data.basis], (row) => row.milliseconds, milliseconds),
    number("Share", (row) => row.milliseconds / data.milliseconds, percent),
    ...(data.basis === "planned"
      ? [words("Bound by", ({ floor }) => floor.bound)]
      : [
          number(
            "x floor",
            (row) => row.milliseconds / row.floor.milliseconds,
            (ratio) => ratio.toFixed(2),
          ),
        ]),
    ...(counts ? [words("Bound by", ({ counted }) => counted?.bound ?? "")] : []),
    number("Work", ({ flops }) => flops, operations),
    number("Least bytes", (row) => row.readBytes + row.writeBytes, bytes),
    number(
      "Intensity",
      (row) => row.flops / Math.max(1, movedBytes(row)),
      (value) => `${value.toPrecision(3)} FLOP/B`,
    ),
    ...(counts ? [number("Bytes", movedBytes, bytes)] : []),
    number(
      "Rate",
      (row) => row.flops / (row.milliseconds / 1000),
      (rate) => `${operations(rate)}/s`,
    ),
    ...(counts ? [number("Conflicts", ({ counted }) => counted?.bankConflicts ?? 0, grouped)] : []),
    number("Blocks", ({ blocks }) => blocks, grouped),
    number("Threads", ({ kernel }) => kernels.get(kernel)?.threads ?? 0, String),
    ...targets.map((target) =>
      number(`Registers ${target}`, ({ kernel }) => kernels.get(kernel)?.ptxas[target]?.registers ?? 0, String),
    ),
  ];
}

const grouped = (count: number): string => count.toLocaleString("en");

function rowOf(row: Row, columns: readonly Column[], selection: Selection): HTMLElement {
  return element(
    "tr",
    { "data-launch": row.index, onclick: () => selection.choose(row.index) },
    ...columns.map((column, index) => {
      const isNumber = typeof column.value(row) === "number";
      const text = column.text(row);
      const content =
        index === 1
          ? element("button", { type: "button", class: `link ${familyClass(row.family)}` }, text)
          : element("span", index === 2 ? { title: row.formula } : {}, text);
      return element("td", { class: isNumber ? "number" : "" }, content);
    }),
  );
}

const compare = (a: number | string, b: number | string): number =>
  typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
