import { printExtents } from "../../../ir/contract.ts";
import { readFileSync } from "node:fs";
import type { Build } from "../../../runtime/artefact.ts";
import { h200 } from "../../../runtime/predict.ts";
import type { Profile, StepProfile } from "../../../runtime/profile.ts";
import type { Counted, LaunchData, ReportData } from "./data.ts";
import { blocksOf, flowsOf, textsOf } from "./flows.ts";

/** Parts of a report that are there where they were asked for. */
export type Shown = Pick<ReportData, "tokens" | "frames" | "against">;
export const nothingShown: Shown = { tokens: [], frames: null, against: null };

/** Puts together what a profile says of a program and what its artefact holds. */
export function collectReport(profile: Profile, build: Build, shown: Shown = nothingShown): ReportData {
  const { batch } = profile;
  const { read } = build;
  // As it ran: the steps of a loop one behind another.
  const program = {
    ...build.program,
    steps: profile.steps.flatMap(({ number }) => build.program.steps[number] ?? []),
  };
  const texts = textsOf(program.kernels, read);
  const families = new Map(program.kernels.map(({ name, family }) => [name, family]));
  const launches = profile.steps.map((step, index): LaunchData => {
    const { kernel, origin, work, time, floor } = step;
    const launched = program.steps[index];
    return {
      kernel,
      family: families.get(kernel) ?? "",
      file: origin.file,
      line: origin.line,
      path: origin.path,
      formula: origin.formula,
      blocks: launched === undefined ? 0 : blocksOf(launched, batch),
      milliseconds: time.milliseconds,
      ...work,
      counted: countedOf(step),
      floor,
    };
  });
  return {
    name: program.name,
    precision: program.precision,
    device: profile.device,
    extents: printExtents(program.extents),
    batch,
    basis: profile.basis,
    milliseconds: profile.milliseconds,
    replayMilliseconds: profile.replayMilliseconds,
    roof: {
      name: h200.name,
      memoryBytes: h200.memoryBytes,
      tensorFlops: h200.tensorFlops,
      plainFlops: h200.plainFlops,
    },
    memory: { ...program.memory, activations: program.memory.activations * batch },
    launches,
    ...flowsOf(program, texts, batch),
    kernels: program.kernels.map(({ name, family, threads, sharedBytes, notes, ptxas }) => ({
      name,
      family,
      text: texts.get(name) ?? "",
      threads,
      sharedBytes,
      notes,
      ptxas,
    })),
    files: [...new Set(launches.map(({ file }) => file))].flatMap((file) => {
      const text = textOf(file);
      return text === null ? [] : [{ file, text }];
    }),
    ...shown,
  };
}

function countedOf({ time }: StepProfile): Counted | null {
  if (time.kind !== "counted") return null;
  const { global, shared, tensorFlops, specialOps, barriers } = time.counters;
  const traffic = [global.read, global.written, global.atomic];
  return {
    bound: time.bound,
    parts: time.parts,
    memoryBytes: traffic.reduce((sum, { uniqueBytes }) => sum + uniqueBytes, 0),
    cacheBytes: traffic.reduce((sum, { sectors }) => sum + sectorBytes * sectors, 0),
    tensorFlops,
    specialOps,
    bankConflicts: Object.values(shared).reduce((sum, { conflicts }) => sum + conflicts, 0),
    barriers,
  };
}
const sectorBytes = 32;

/** An artefact may have travelled without the files it was made from. */
function textOf(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return null;
  }
}
