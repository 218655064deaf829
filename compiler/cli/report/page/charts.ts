import * as Plot from "@observablehq/plot";
import { bytes, milliseconds, operations } from "../../units.ts";
import type { BufferLife, LaunchData, ReportData } from "../data.ts";
import { element, section } from "./dom.ts";
import { families, familyColour, movedBytes, type Selection } from "./state.ts";

/** A chart as wide as its place, drawn anew when that or the selection changes. A press chooses the launch under the pointer. */
function chart(
  selection: Selection,
  draw: (width: number, chosen: number) => ReturnType<typeof Plot.plot>,
): HTMLElement {
  const place = element("div", { class: "chart" });
  let width = 0;
  const again = (): void => {
    if (width === 0) return;
    const drawing = draw(width, selection.launch());
    drawing.addEventListener("click", () => {
      const value: unknown = drawing.value;
      if (typeof value === "object" && value !== null && "launch" in value && typeof value.launch === "number")
        selection.choose(value.launch);
    });
    place.replaceChildren(drawing);
  };
  new ResizeObserver(([entry]) => {
    const next = Math.floor(entry?.contentRect.width ?? 0);
    if (next === width) return;
    width = next;
    again();
  }).observe(place);
  selection.listen(again);
  return place;
}

/** How many operations a launch does for each byte, and how many a second: against what the device can do. */
export function roofline(data: ReportData, selection: Selection): HTMLElement {
  const points = data.launches.flatMap((launch, index) => {
    const moved = movedBytes(launch);
    if (launch.flops === 0 || moved === 0 || !(launch.milliseconds > 0)) return [];
    const rate = launch.flops / (launch.milliseconds / 1000);
    return [{ launch: index, intensity: launch.flops / moved, rate, ...launch }];
  });
  const { roof } = data;
  const peaks = [
    { name: `tensor cores ${operations(roof.tensorFlops)}/s`, flops: roof.tensorFlops },
    { name: `float32 ${operations(roof.plainFlops)}/s`, flops: roof.plainFlops },
  ];
  const least = Math.min(0.5, ...points.map(({ intensity }) => intensity)) / 2;
  const most = Math.max(1000, ...points.map(({ intensity }) => intensity)) * 2;
  const slope = [least, roof.tensorFlops / roof.memoryBytes].map((intensity) => ({
    intensity,
    rate: intensity * roof.memoryBytes,
  }));
  const kind = kinds[data.basis];
  const without = data.launches.length - points.length;
  const draw = (width: number, chosen: number): ReturnType<typeof Plot.plot> =>
    Plot.plot({
      width,
      height: 360,
      marginLeft: 58,
      marginRight: 20,
      marginTop: 30,
      marginBottom: 42,
      x: {
        type: "log",
        domain: [least, most],
        label: "FLOP for each byte of device memory",
        grid: true,
        ticks: 5,
        tickFormat: String,
      },
      y: {
        type: "log",
        label: `FLOP/s, ${kind}`,
        grid: true,
        ticks: 5,
        tickFormat: (rate: number) => (Number.isInteger(Math.log10(rate)) ? short(rate) : ""),
      },
      marks: [
        Plot.line(slope, { x: "intensity", y: "rate", stroke: "var(--roof)", strokeWidth: 2 }),
        Plot.ruleY(peaks, {
          x1: (peak: { flops: number }) => peak.flops / roof.memoryBytes,
          x2: most,
          y: "flops",
          stroke: "var(--roof)",
          strokeWidth: 2,
        }),
        // Above the upper roof and below the lower one: clear of the slope between them.
        ...peaks.map((peak, index) =>
          Plot.text([peak], {
            x: most,
            y: "flops",
            text: "name",
            textAnchor: "end",
            dy: index === 0 ? -8 : 10,
            dx: -4,
            fill: "var(--quiet)",
          }),
        ),
        Plot.text([Math.sqrt((least * roof.tensorFlops) / roof.memoryBytes)], {
          x: (middle: number) => middle,
          y: (middle: number) => middle * roof.memoryBytes,
          text: () => `memory ${short(roof.memoryBytes)}B/s`,
          textAnchor: "end",
          dx: -10,
          dy: -6,
          fill: "var(--quiet)",
        }),
        // Hollow: an estimate. Filled: a measurement.
        Plot.dot(points, {
          x: "intensity",
          y: "rate",
          r: "milliseconds",
          stroke: (point: LaunchData) => familyColour(point.family),
          strokeWidth: 2,
          fill: (point: LaunchData) => familyColour(point.family),
          fillOpacity: data.basis === "measured" ? 0.85 : 0.12,
        }),
        Plot.dot(
          points.filter(({ launch }) => launch === chosen),
          { x: "intensity", y: "rate", r: 12, stroke: "var(--accent)", strokeWidth: 3 },
        ),
        Plot.tip(
          points,
          Plot.pointer({
            x: "intensity",
            y: "rate",
            title: (point: LaunchData & { rate: number }) =>
              `${point.path}\n${point.kernel}\n${milliseconds(point.milliseconds)} ${kind}\n${operations(point.rate)}/s`,
            fill: "var(--card)",
            stroke: "var(--line)",
          }),
        ),
      ],
      r: { range: [0, 13] },
      color: { type: "identity" },
    });
  return section(
    "roofline",
    "Roofline",
    `${data.basis === "measured" ? "Filled" : "Hollow"}: ${kind}; roofs of one ${roof.name}; size is time.` +
      (without === 0 ? "" : ` ${without} without arithmetic are left out.`),
    chart(selection, draw),
    legend(data),
  );
}

const kinds: { readonly [B in ReportData["basis"]]: string } = {
  measured: "measured",
  counted: "predicted",
  planned: "at best, not run",
};

const legend = ({ launches }: ReportData): HTMLElement =>
  element(
    "p",
    { class: "legend" },
    ...[...families, "other"]
      .filter((family) => launches.some((launch) => nameOf(launch.family) === family))
      .map((family) => element("span", {}, element("i", { style: `background:${familyColour(family)}` }), family)),
  );
const nameOf = (family: string): string => (families.includes(family) ? family : "other");

const short = (value: number): string => {
  const [unit, size] = (
    [
      ["P", 1e15],
      ["T", 1e12],
      ["G", 1e9],
      ["M", 1e6],
    ] as const
  ).find(([, each]) => value >= each) ?? ["", 1];
  return `${Number((value / size).toPrecision(2))} ${unit}`;
};

/** Which bytes of the arena hold a value, launch by launch. */
export function memory(data: ReportData, selection: Selection): HTMLElement {
  const lives = data.lives
    .filter(({ space }) => space === "activations")
    .map((life) => ({ ...life, launch: life.from }));
  const unit = data.memory.activations >= 1 << 22 ? { name: "MiB", size: 1 << 20 } : { name: "KiB", size: 1 << 10 };
  const madeBy = (life: BufferLife): LaunchData | undefined => data.launches[life.from];
  const draw = (width: number, chosen: number): ReturnType<typeof Plot.plot> =>
    Plot.plot({
      width,
      height: 360,
      marginLeft: 58,
      marginRight: 20,
      marginTop: 30,
      marginBottom: 42,
      x: { label: "launch", domain: [-0.5, data.launches.length - 0.5] },
      y: { label: `place in the arena, ${unit.name}`, domain: [0, Math.max(1, data.memory.activations) / unit.size] },
      marks: [
        Plot.rectX([chosen], {
          x1: (at: number) => at - 0.5,
          x2: (at: number) => at + 0.5,
          fill: "var(--accent)",
          fillOpacity: 0.18,
        }),
        Plot.rect(lives, {
          x1: (life: BufferLife) => life.from - 0.5,
          x2: (life: BufferLife) => life.to + 0.5,
          y1: (life: BufferLife) => life.offset / unit.size,
          y2: (life: BufferLife) => (life.offset + life.bytes) / unit.size,
          inset: 0.75,
          fill: (life: BufferLife) => familyColour(madeBy(life)?.family ?? ""),
          fillOpacity: 0.55,
          stroke: (life: BufferLife) =>
            life.from <= chosen && chosen <= life.to ? "var(--accent)" : familyColour(madeBy(life)?.family ?? ""),
        }),
        Plot.ruleY([0]),
        Plot.tip(
          lives,
          Plot.pointer({
            x: (life: BufferLife) => (life.from + life.to) / 2,
            y: (life: BufferLife) => (life.offset + life.bytes / 2) / unit.size,
            title: (life: BufferLife) =>
              `${bytes(life.bytes)}, launches ${life.from} to ${life.to}\nwritten by ${madeBy(life)?.path ?? ""}`,
            fill: "var(--card)",
            stroke: "var(--line)",
          }),
        ),
      ],
      color: { type: "identity" },
    });
  return section(
    "memory",
    "Memory",
    `${bytes(data.memory.activations)} hold all activations; colour is the kernel that writes first.`,
    chart(selection, draw),
  );
}
