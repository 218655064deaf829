import { basisOf, sizeOf } from "./basis.ts";
import type { LaunchData, ReportData } from "./data.ts";

type TraceEvent = { readonly name: string; readonly ph: string; readonly pid: number } & {
  readonly [field: string]: unknown;
};
export type Trace = {
  readonly displayTimeUnit: "ns";
  readonly otherData: { readonly [name: string]: string };
  readonly traceEvents: readonly TraceEvent[];
};

/**
 * The launches one behind another, below the modules that make them, in the Trace Event Format that Perfetto and
 * chrome://tracing read: complete events, in microseconds. A prediction says so in its process's name.
 */
export function traceOf(data: ReportData): Trace {
  const starts = [0];
  for (const { milliseconds } of data.launches) starts.push((starts.at(-1) ?? 0) + 1e6 * milliseconds);
  const nanoseconds = (index: number): number => Math.round(starts[index] ?? 0);
  const at = (index: number): number => microseconds(nanoseconds(index));
  const span = (from: number, to: number): object => ({
    ts: at(from),
    dur: microseconds(nanoseconds(to) - nanoseconds(from)),
  });
  const what = basisOf(data);
  const modules = moduleRuns(data.launches.map(({ path }) => path.split("."))).map(({ path, from, to }) => ({
    name: path.at(-1) ?? "",
    cat: "module",
    ph: "X",
    pid: 1,
    tid: 1,
    ...span(from, to),
    args: { path: path.join("."), launches: to - from },
  }));
  const launches = data.launches.map((launch, index) => ({
    name: launch.kernel,
    cat: launch.family,
    ph: "X",
    pid: 1,
    tid: 2,
    ...span(index, index + 1),
    args: argumentsOf(launch, data.basis),
  }));
  // One more than there are launches: at the end nothing is in use.
  const alive = starts.map((_, index) => ({
    name: "activations in use",
    ph: "C",
    pid: 1,
    ts: at(index),
    args: {
      bytes: data.lives
        .filter(({ space, from, to }) => space === "activations" && from <= index && index <= to)
        .reduce((sum, { bytes }) => sum + bytes, 0),
    },
  }));
  return {
    displayTimeUnit: "ns",
    otherData: { model: data.name, precision: data.precision, size: sizeOf(data), times: what },
    traceEvents: [
      { name: "process_name", ph: "M", pid: 1, args: { name: `${data.name} (${what})` } },
      { name: "thread_name", ph: "M", pid: 1, tid: 1, args: { name: "modules" } },
      { name: "thread_name", ph: "M", pid: 1, tid: 2, args: { name: "launches" } },
      ...modules,
      ...launches,
      ...alive,
    ],
  };
}

/**
 * Readers make whole nanoseconds of them and drop the rest: where 1000 times the nearest number is less than that, the next
 * one is it. A slice that ended a nanosecond behind the one around it would be taken out of it.
 */
const microseconds = (nanoseconds: number): number => {
  const nearest = nanoseconds / 1000;
  return Math.trunc(nearest * 1000) === nanoseconds ? nearest : nearest * (1 + Number.EPSILON);
};

const argumentsOf = (launch: LaunchData, basis: ReportData["basis"]): object => ({
  module: launch.path,
  line: `${launch.file}:${launch.line}`,
  formula: launch.formula,
  time: basis,
  floor: launch.floor.milliseconds,
  flops: launch.flops,
  readBytes: launch.readBytes,
  writeBytes: launch.writeBytes,
  blocks: launch.blocks,
  ...(launch.counted === null ? {} : { boundBy: launch.counted.bound }),
});

type Run = { readonly path: readonly string[]; readonly from: number; readonly to: number };

/** Stretches of launches of one module, outer ones before those in them: slices that nest. */
function moduleRuns(paths: readonly (readonly string[])[]): Run[] {
  const runs: Run[] = [];
  const deepest = Math.max(0, ...paths.map(({ length }) => length));
  for (let depth = 1; depth <= deepest; depth++) {
    let from = 0;
    for (let index = 1; index <= paths.length; index++) {
      const name = (each: number): string => (paths[each] ?? []).slice(0, depth).join(".");
      if (index < paths.length && name(index) === name(from)) continue;
      const path = paths[from] ?? [];
      if (path.length >= depth) runs.push({ path: path.slice(0, depth), from, to: index });
      from = index;
    }
  }
  return runs;
}
