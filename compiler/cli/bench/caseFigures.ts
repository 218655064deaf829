import { availableParallelism } from "node:os";
import { boundOf, compare } from "../golden/compare.ts";
import { caseCheckpoint, caseInputs, expectedArray, readCaseArrays } from "../golden/arrays.ts";
import { readCase } from "../golden/case.ts";
import { traceCase } from "../model.ts";
import { openRunner } from "../openRunner.ts";
import { graphParameters } from "../ports.ts";
import type { Terminal } from "../terminal.ts";
import { figure, type Figure } from "./figure.ts";

/** One published case in bf16 through the whole plan on the emulated device: how long it takes, and how far off it is. */
export async function caseFigures(folder: string, terminal: Terminal): Promise<readonly Figure[]> {
  const golden = readCase(folder);
  const graph = await traceCase(golden, terminal);
  const stored = readCaseArrays(golden);
  const inputs = caseInputs(golden, stored);
  using checkpoint = await caseCheckpoint(golden, graphParameters(graph));
  const request = { device: "emulated", precision: "bf16", keep: false, batch: { min: 1, max: 1 } } as const;
  const loading = performance.now();
  using runner = await openRunner(graph, checkpoint, request, terminal);
  const start = performance.now();
  const cpu = process.cpuUsage();
  const computed = await terminal.task(`running ${golden.system}/${golden.case}`, () => runner.run(inputs));
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const results = Object.entries(golden.outputs).map(([name, { shape }]) => {
    const bound = boundOf(golden, name, "bf16", false);
    return compare(name, shape, computed.get(name), expectedArray(golden, stored, name), bound);
  });
  const cores = availableParallelism();
  const quiet = (user + system) / 1e6 / cores;
  const errors = results.map(
    ({ name, relL2, ok }) => `${name} ${ok ? "agrees" : "MISSES"} (${relL2?.toExponential(1)})`,
  );
  const note = `${errors.join(", ")}; ${quiet.toFixed(0)} s if ${cores} cores were its own; ${((start - loading) / 1000).toFixed(0)} s before it for kernels and weights`;
  return [figure(`${golden.case} on the emulated device`, seconds, "s", { goal: 180, note })];
}
