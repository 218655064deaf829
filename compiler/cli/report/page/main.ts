import { bytes, milliseconds, operations } from "../../units.ts";
import { basisOf, sizeOf, timeNames } from "../basis.ts";
import type { ReportData } from "../data.ts";
import { memory, roofline } from "./charts.ts";
import { code } from "./code.ts";
import { compared } from "./compared.ts";
import { details } from "./details.ts";
import { element } from "./dom.ts";
import { flame } from "./flame.ts";
import { graph } from "./graph.ts";
import { launchTable } from "./launchTable.ts";
import { createSelection } from "./state.ts";
import { tokens } from "./tokens.ts";
import { moduleTree } from "./tree.ts";

const data = JSON.parse(document.querySelector("#data")?.textContent ?? "") as ReportData;
const selection = createSelection(data);
const tree = moduleTree(data.name, data.launches);

document.body.append(
  top(),
  element(
    "main",
    {},
    element(
      "div",
      { class: "parts-of-page" },
      flame(data, tree, selection),
      ...compared(data),
      graph(data, tree, selection),
      element("div", { class: "pair" }, roofline(data, selection), memory(data, selection)),
      launchTable(data, selection),
      ...tokens(data, selection),
      code(data, selection),
    ),
    details(data, selection),
  ),
);

// Now that everything has its place, the chosen launch is brought into view.
selection.choose(selection.launch());

document.addEventListener("keydown", (event) => {
  const { target } = event;
  if (target instanceof HTMLInputElement || target instanceof HTMLSelectElement) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "j") selection.choose(selection.launch() + 1);
  if (event.key === "k") selection.choose(selection.launch() - 1);
});

function top(): HTMLElement {
  const { basis, launches } = data;
  const sum = (value: (launch: ReportData["launches"][number]) => number): number =>
    launches.reduce((total, launch) => total + value(launch), 0);
  const figures: [string, string][] = [
    [timeNames[basis].toLowerCase(), milliseconds(data.milliseconds)],
    ...(data.replayMilliseconds === null
      ? []
      : [["as one graph", milliseconds(data.replayMilliseconds)] as [string, string]]),
    [`launches of ${data.kernels.length} kernels`, String(launches.length)],
    ["work", operations(sum(({ flops }) => flops))],
    ["least traffic", bytes(sum(({ readBytes, writeBytes }) => readBytes + writeBytes))],
    ["activations", bytes(data.memory.activations)],
    ["weights", bytes(data.memory.weights)],
  ];
  return element(
    "header",
    { class: "top" },
    element(
      "div",
      { class: "title" },
      element("h1", {}, data.name),
      element("span", {}, `${data.precision}, ${sizeOf(data)}`),
      element("strong", { class: basis === "measured" ? "measured" : "predicted" }, basisOf(data)),
      element("button", { type: "button", onclick: otherTheme }, "Light or dark"),
    ),
    element(
      "dl",
      {},
      ...figures.map(([name, value]) => element("div", {}, element("dd", {}, value), element("dt", {}, name))),
    ),
    element(
      "nav",
      { "aria-label": "parts of this page" },
      ...[
        "Time",
        ...(data.against === null ? [] : ["Compared"]),
        "Network",
        "Roofline",
        "Memory",
        "Kernels",
        ...(data.tokens.length > 0 ? ["Tokens"] : []),
        "Code",
      ].map((name) => element("a", { href: `#${name.toLowerCase()}` }, name)),
    ),
  );
}

function otherTheme(): void {
  const { style } = document.documentElement;
  const scheme = style.colorScheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  style.colorScheme = scheme === "dark" ? "light" : "dark";
}
