import { bytes, milliseconds, operations } from "../../units.ts";
import { basisOf, sizeOf } from "../basis.ts";
import type { Earlier, ReportData } from "../data.ts";
import { element, section } from "./dom.ts";

/** Two profiles side by side: each module's time in both, to one scale, as deep as one opens it. */
export function compared(data: ReportData): HTMLElement[] {
  const { against } = data;
  if (against === null) return [];
  const scale = Math.max(data.milliseconds, against.milliseconds);
  const head = (text: string, index: number): HTMLElement =>
    element("th", { class: index === 0 || text === "" ? "" : "number" }, text);
  return [
    section(
      "compared",
      "Compared",
      `Above: ${titleOf(against)}. Below: ${titleOf(data)}. Press a module for its parts.`,
      element(
        "table",
        { class: "compared" },
        element(
          "thead",
          {},
          element("tr", {}, ...["module", "time", "", "change", "launches", "work", "least bytes"].map(head)),
        ),
        element("tbody", {}, ...rowsOf(against, data, "", 0, scale)),
      ),
    ),
  ];
}

const titleOf = (report: Earlier): string =>
  `${report.name}, ${report.precision}, ${sizeOf(report)}, ${basisOf(report)}`;

/** The network, or what lies right below a module. Further parts are made when they are opened. */
function rowsOf(before: Earlier, after: Earlier, path: string, depth: number, scale: number): HTMLElement[] {
  const names = new Set([...childrenOf(after, path), ...childrenOf(before, path)]);
  const parts = [...names].map((name) => {
    const below = path === "" ? name : `${path}.${name}`;
    const isOpenable = childrenOf(after, below).size + childrenOf(before, below).size > 0;
    const inside = isWithin(below);
    const row = rowOf(name, depth, totalOf(before, inside), totalOf(after, inside), scale);
    if (isOpenable) addOpener(row, () => rowsOf(before, after, below, depth + 1, scale));
    return row;
  });
  const isOwn = (of: string): boolean => of === path;
  const [own, owned] = [totalOf(before, isOwn), totalOf(after, isOwn)];
  return own === null && owned === null ? parts : [...parts, rowOf("itself", depth, own, owned, scale)];
}

const childrenOf = ({ launches }: Earlier, path: string): Set<string> =>
  new Set(
    launches.flatMap(({ path: full }) => {
      const rest = path === "" ? full : full.startsWith(`${path}.`) ? full.slice(path.length + 1) : "";
      const [name = ""] = rest.split(".");
      return name === "" ? [] : [name];
    }),
  );

type Total = { readonly time: number; readonly launches: number; readonly flops: number; readonly bytes: number };

const isWithin =
  (path: string) =>
  (of: string): boolean =>
    `${of}.`.startsWith(`${path}.`);

function totalOf({ launches }: Earlier, counts: (path: string) => boolean): Total | null {
  const own = launches.filter(({ path }) => counts(path));
  if (own.length === 0) return null;
  const sum = (value: (launch: Earlier["launches"][number]) => number): number =>
    own.reduce((total, launch) => total + value(launch), 0);
  return {
    time: sum((launch) => launch.milliseconds),
    launches: own.length,
    flops: sum(({ flops }) => flops),
    bytes: sum(({ readBytes, writeBytes }) => readBytes + writeBytes),
  };
}

function rowOf(name: string, depth: number, before: Total | null, after: Total | null, scale: number): HTMLElement {
  const both = (print: (total: Total) => string): HTMLElement => {
    const [old, now] = [before, after].map((total) => (total === null ? "none" : print(total)));
    return element("td", { class: "number" }, old === now ? (now ?? "") : `${old} → ${now}`);
  };
  const bar = (total: Total | null, kind: string): HTMLElement =>
    element("i", { class: kind, style: `width:${(100 * (total?.time ?? 0)) / scale}%` });
  const ratio =
    before === null || after === null || before.time === 0 ? "" : `x ${(after.time / before.time).toFixed(2)}`;
  return element(
    "tr",
    {},
    element("td", { style: `padding-left:${8 + 16 * depth}px` }, element("span", {}, name)),
    both(({ time }) => milliseconds(time)),
    element("td", { class: "bars" }, bar(before, "before"), bar(after, "after")),
    element("td", { class: "number" }, ratio),
    both(({ launches }) => String(launches)),
    both(({ flops }) => operations(flops)),
    both((total) => bytes(total.bytes)),
  );
}

function addOpener(row: HTMLElement, parts: () => readonly HTMLElement[]): void {
  const name = row.querySelector("span");
  if (name === null) return;
  let open: readonly HTMLElement[] = [];
  const button = element(
    "button",
    { type: "button", class: "link", "aria-expanded": "false" },
    `+ ${name.textContent}`,
  );
  button.addEventListener("click", () => {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    button.textContent = `${isOpen ? "+" : "−"} ${name.textContent}`;
    if (isOpen) {
      // Parts of parts close with them.
      for (const each of open) {
        each.querySelector<HTMLElement>('button[aria-expanded="true"]')?.click();
        each.remove();
      }
      return;
    }
    open = parts();
    row.after(...open);
  });
  name.replaceWith(button);
}
