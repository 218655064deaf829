import { bytes, milliseconds, operations, percent } from "../../units.ts";
import { timeNames } from "../basis.ts";
import type { LaunchData, ReportData } from "../data.ts";
import { element } from "./dom.ts";
import { familyClass, type Selection } from "./state.ts";

/** Everything known of the chosen launch. */
export function details(data: ReportData, selection: Selection): HTMLElement {
  const body = element("div", { "aria-live": "polite" });
  const go = (by: number) => (): void => selection.choose(selection.launch() + by);
  selection.listen((chosen) => {
    const launch = data.launches[chosen];
    if (launch === undefined) return;
    const kernel = data.kernels.find(({ name }) => name === launch.kernel);
    body.replaceChildren(
      element("h2", { class: familyClass(launch.family) }, launch.kernel),
      element("p", { class: "path" }, launch.path),
      element("p", { class: "formula" }, launch.formula),
      facts([
        [
          timeNames[data.basis],
          `${milliseconds(launch.milliseconds)}, ${percent(launch.milliseconds / data.milliseconds)}`,
        ],
        ["Source", `${launch.file}:${launch.line}`],
        ...floorFacts(data, launch),
        ["Work", operations(launch.flops)],
        ["Least traffic", `${bytes(launch.readBytes)} in, ${bytes(launch.writeBytes)} out`],
        ...countedFacts(launch),
        ["Grid", `${launch.blocks.toLocaleString("en")} x ${kernel?.threads ?? 0} threads`],
        ["Shared memory", bytes(kernel?.sharedBytes ?? 0)],
        ...Object.entries(kernel?.ptxas ?? {}).map(([target, { registers, spillBytes }]): [string, string] => [
          target,
          `${registers} registers${spillBytes > 0 ? `, ${bytes(spillBytes)} spilled` : ""}`,
        ]),
      ]),
      ...partsOf(launch),
      ...(kernel?.notes ?? []).map((note) => element("p", { class: "note" }, note)),
    );
  });
  return element(
    "aside",
    { "aria-label": "the chosen launch" },
    element(
      "div",
      { class: "tools" },
      element("button", { type: "button", onclick: go(-1), title: "K" }, "← Previous"),
      element("button", { type: "button", onclick: go(1), title: "J" }, "Next →"),
      element("a", { href: "#code" }, "Code"),
    ),
    body,
  );
}

const facts = (list: readonly (readonly [string, string])[]): HTMLElement =>
  element(
    "dl",
    {},
    ...list.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, ...breakable(value))]),
  );

/** A path too long for a line breaks behind a folder, not within the number of its line. */
const breakable = (text: string): (string | HTMLElement)[] =>
  text.split(/(?<=\/)/).flatMap((part, index) => (index === 0 ? [part] : [element("wbr", {}), part]));

function countedFacts({ counted }: LaunchData): [string, string][] {
  if (counted === null) return [];
  const { memoryBytes, cacheBytes, tensorFlops, bankConflicts } = counted;
  return [
    ["Memory", `${bytes(memoryBytes)}, ${bytes(cacheBytes)} from the cache`],
    ["Tensor cores", operations(tensorFlops)],
    ["Bank conflicts", bankConflicts.toLocaleString("en")],
  ];
}

/** How far the launch is from what no kernel can beat; nothing to say where that is all that is known. */
function floorFacts({ basis, roof }: ReportData, { milliseconds: time, floor }: LaunchData): [string, string][] {
  const bound = `${milliseconds(floor.milliseconds)} on one ${roof.name}, ${floor.bound}`;
  if (basis === "planned") return [["Bound by", floor.bound]];
  return [["Floor", `${bound}; ${(time / floor.milliseconds).toFixed(2)} times that`]];
}

/** What each resource alone would take: the longest is what the launch waits for. */
function partsOf({ counted }: LaunchData): HTMLElement[] {
  if (counted === null) return [];
  const parts = Object.entries(counted.parts).toSorted(([, a], [, b]) => b - a);
  const most = Math.max(...parts.map(([, time]) => time));
  return [
    element("h3", {}, `Bound by ${counted.bound}`),
    element(
      "div",
      { class: "parts" },
      ...parts.flatMap(([name, time]) => [
        element("span", {}, name),
        element("i", {}, element("b", { style: `width:${(100 * time) / most}%` })),
        element("span", { class: "number" }, milliseconds(time)),
      ]),
    ),
  ];
}
