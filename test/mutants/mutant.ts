import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packageRoot } from "../../compiler/packageRoot.ts";
import { launch, type Checks, type LaunchResult } from "../kernels/harness.ts";
import { entry, probe, type Probe, type ProbeName } from "./probes.ts";

/** A bug, planted by changing text: of the emitted kernel, or of a header below templates/. */
export type Mutant = {
  /** What is wrong with it. */
  readonly bug: string;
  readonly file: string;
  readonly from: string | RegExp;
  readonly to: string;
  /** Where it shows, ... */
  readonly probe: ProbeName;
  /** ... and as what, in one schedule at least. */
  readonly caught: Symptom;
};
/**
 * How a bug shows. "numbers": results far from float64's. "unfinished": a thread ends before its copies.
 * "conflicts": nothing of that, but the banks of shared memory get in each other's way.
 */
export type Symptom = "numbers" | "race" | "uninitialised" | "bounds" | "unfinished" | "conflicts";

/** Threads in their order or shuffled, and asynchronous copies done when they are waited for or as soon as they are asked for. */
export const schedules: readonly Checks[] = [
  { seed: 0, late_copies: 1 },
  { seed: 1, late_copies: 1 },
  { seed: 2, late_copies: 1 },
  { seed: 3, late_copies: 0 },
];

/** What a probe shows in each schedule: null, unless there is a bug. */
export async function symptomsOf(
  name: ProbeName,
  source: string,
  headers?: string,
): Promise<readonly (Symptom | null)[]> {
  const found: (Symptom | null)[] = [];
  for (const schedule of schedules) found.push(await symptom(probe(name), source, headers, schedule));
  return found;
}

async function symptom(
  { kernel, emitted, values, batch, weight, expected, tolerance }: Probe,
  source: string,
  headers: string | undefined,
  checks: Checks,
): Promise<Symptom | null> {
  let result: LaunchResult;
  try {
    result = await launch(
      {
        name: entry,
        kernel: { ...emitted, source },
        operands: kernel.operands,
        values,
        batch,
        ...(weight === undefined ? {} : { weight }),
        ...(headers === undefined ? {} : { headers }),
      },
      { ...checks, counters: 1 },
    );
  } catch (error) {
    return reported(error);
  }
  const wrong = expected.some((each, index) => each !== null && !(errorOf(result.values[index], each) <= tolerance));
  if (wrong) return "numbers";
  const { shared } = result.counters as {
    readonly shared?: { readonly [kind: string]: { readonly conflicts: number } };
  };
  // Biases are looked up where they lie, and so are pixels at points: there ordinary loads may meet conflicts.
  const scattered = kernel.kind === "sample" || (kernel.kind === "attention" && kernel.tables.length > 0);
  const loads = scattered ? [] : ["load"];
  const conflicts = ["ldmatrix", "cpAsync", ...loads].some((kind) => (shared?.[kind]?.conflicts ?? 0) > 0);
  return conflicts ? "conflicts" : null;
}

/** What the emulated device has to say. */
function reported(error: unknown): Symptom {
  const text = String(error);
  if (/race/.test(text)) return "race";
  if (/never written/.test(text)) return "uninitialised";
  if (/ended with a cp\.async/.test(text)) return "unfinished";
  if (/out of bounds|outside|beyond|no memory|not in/.test(text)) return "bounds";
  throw error;
}

/** The largest error relative to the largest value; infinite where only one of both is NaN. */
const errorOf = (actual: Float64Array | undefined, expected: Float64Array): number => {
  let [most, worst] = [0, 0];
  for (const [at, wanted] of expected.entries()) {
    const value = actual?.[at] ?? NaN;
    if (Number.isNaN(wanted) && Number.isNaN(value)) continue;
    if (Number.isNaN(wanted) || Number.isNaN(value)) return Infinity;
    most = Math.max(most, Math.abs(wanted));
    worst = Math.max(worst, Math.abs(value - wanted));
  }
  return worst / most;
};

/** Plants the bug and runs the probe. Throws if the text is not there (once): the mutant has to follow the kernel. */
export async function symptomsOfMutant({
  bug,
  file,
  from,
  to,
  probe: name,
}: Mutant): Promise<readonly (Symptom | null)[]> {
  const { source } = probe(name).emitted;
  if (file === "kernel") return symptomsOf(name, planted(bug, source, from, to));
  const headers = await mkdtemp(join(tmpdir(), "fovea-mutant-"));
  try {
    await cp(join(packageRoot(), "templates"), headers, { recursive: true });
    const text = await readFile(join(headers, file), "utf8");
    await writeFile(join(headers, file), planted(bug, text, from, to));
    return await symptomsOf(name, source, headers);
  } finally {
    await rm(headers, { recursive: true, force: true });
  }
}

function planted(bug: string, text: string, from: string | RegExp, to: string): string {
  const places =
    typeof from === "string" ? text.split(from).length - 1 : [...text.matchAll(new RegExp(from, "g"))].length;
  if (places === 0) throw new Error(`"${bug}" has nowhere to go: there is no ${String(from)}`);
  const mutated = typeof from === "string" ? text.replace(from, () => to) : text.replace(from, to);
  if (mutated === text) throw new Error(`"${bug}" changes nothing`);
  return mutated;
}
