import type { Graph } from "../../ir/graph.ts";
import type { Precision } from "../../ir/types.ts";
import type { NumberArrays } from "./arrays.ts";
import { exitCodes } from "./failure.ts";
import { small } from "./figures.ts";
import { caseCheckpoint, caseInputs, expectedArray, readCaseArrays } from "./golden/arrays.ts";
import { type CaseTensor, type GoldenCase, readCase } from "./golden/case.ts";
import { boundOf, compare, type Comparison } from "./golden/compare.ts";
import { batchOf, graphInputs, graphParameters } from "./ports.ts";
import { keepOnly, stepsApart } from "./keptValues.ts";
import { traceCase } from "./model.ts";
import { type DeviceName } from "./options.ts";
import { messageOf } from "./report.ts";
import { openRunner } from "./openRunner.ts";
import type { Runner } from "./runner.ts";
import { table, type Terminal } from "./terminal.ts";

export type VerifyOptions = { readonly device: DeviceName; readonly precision: Precision; readonly json: boolean };

/** One case in `--json`. `error` says why it could not be run; it has no comparisons then. */
type VerifiedCase = {
  readonly system: string;
  readonly case: string;
  readonly device: string;
  readonly dtype: Precision;
  /** Launches of one run of the plan that users get; null where nothing is launched. */
  readonly kernels: number | null;
  readonly ok: boolean;
  readonly outputs: readonly Comparison[];
  readonly intermediates: readonly Comparison[];
  readonly error: string | null;
};

/**
 * Runs published cases and compares what comes out: the outputs with the plan that users get, the intermediates with a
 * plan that keeps them all. A case that cannot be run does not keep the others from it.
 */
export async function verify(folders: readonly string[], options: VerifyOptions, terminal: Terminal): Promise<number> {
  const results: VerifiedCase[] = [];
  for (const golden of folders.map(readCase)) {
    const result = await verifyCase(golden, options, terminal);
    results.push(result);
    if (!options.json) terminal.print(`${printCase(result, terminal)}\n`);
  }
  if (options.json) terminal.print(JSON.stringify({ cases: results }, null, 2));
  else if (results.length > 1)
    terminal.print(`${results.filter(({ ok }) => ok).length} of ${results.length} cases agree`);
  if (results.some(({ error }) => error !== null)) return exitCodes.failed;
  return results.every(({ ok }) => ok) ? exitCodes.success : exitCodes.missed;
}

async function verifyCase(golden: GoldenCase, options: VerifyOptions, terminal: Terminal): Promise<VerifiedCase> {
  const { system, case: name } = golden;
  const about = { system, case: name, dtype: options.precision };
  try {
    const graph = keepOnly(await traceCase(golden, terminal), Object.keys(golden.intermediates));
    const stored = readCaseArrays(golden);
    const inputs = caseInputs(golden, stored);
    const held = (computed: NumberArrays, tensors: { readonly [name: string]: CaseTensor }): Comparison[] =>
      Object.entries(tensors).map(([tensor, { shape }]) => {
        const expected = expectedArray(golden, stored, tensor);
        const integer = expected.kind === "full" && expected.integer;
        return compare(
          tensor,
          shape,
          computed.get(tensor),
          expected,
          boundOf(golden, tensor, options.precision, integer),
        );
      });

    const plain = await runPlan(golden, graph, inputs, { ...options, keep: false }, terminal);
    const outputs = held(plain.computed, golden.outputs);
    // The evaluator gives all of them at once.
    const isFused = Object.keys(golden.intermediates).some((tensor) => !plain.computed.has(tensor));
    const full = isFused ? await runPlan(golden, graph, inputs, { ...options, keep: true }, terminal) : plain;
    const intermediates = held(full.computed, golden.intermediates);
    const ok = [...outputs, ...intermediates].every((each) => each.ok);
    return { ...about, device: plain.device, kernels: plain.kernels, ok, outputs, intermediates, error: null };
  } catch (error) {
    return {
      ...about,
      device: options.device,
      kernels: null,
      ok: false,
      outputs: [],
      intermediates: [],
      error: messageOf(error),
    };
  }
}

type Run = { readonly computed: NumberArrays; readonly device: Runner["kind"]; readonly kernels: number | null };
type PlanOptions = VerifyOptions & { readonly keep: boolean };

async function runPlan(
  golden: GoldenCase,
  graph: Graph,
  inputs: NumberArrays,
  options: PlanOptions,
  terminal: Terminal,
): Promise<Run> {
  const batch = batchOf(graphInputs(graph), inputs);
  using checkpoint = await caseCheckpoint(golden, graphParameters(graph));
  const request = {
    device: options.device,
    precision: options.precision,
    keep: options.keep,
    batch: { min: 1, max: Math.max(batch, 32) },
  };
  using runner = await openRunner(graph, checkpoint, request, terminal);
  const plan = options.keep ? "with every intermediate" : "as users get it";
  const computed = await terminal.task(`running ${golden.system}/${golden.case} ${plan}`, () => runner.run(inputs));
  return { computed: stepsApart(graph, computed), device: runner.kind, kernels: runner.kernels };
}

function printCase(result: VerifiedCase, { paint }: Terminal): string {
  const verdict = result.ok ? paint.green("agrees") : paint.red(result.error === null ? "MISSES" : "could not be run");
  const launched = result.kernels === null ? "" : `, ${result.kernels} kernels`;
  const title = `${paint.bold(`${result.system}/${result.case}`)}  ${verdict}  ${paint.dim(`(${result.dtype} on ${result.device}${launched})`)}`;
  if (result.error !== null) return `${title}\n  ${result.error.replaceAll("\n", "\n  ")}`;
  const row = (each: Comparison): string[] => [
    each.name,
    `[${each.shape.join(", ")}]`,
    each.relL2 === null ? "-" : small(each.relL2),
    each.maxAbs === null ? "-" : small(each.maxAbs),
    each.tolerance === null ? "-" : small(each.tolerance),
    `${each.ok ? paint.green("ok") : paint.red("MISSES")}${each.note === "" ? "" : ` ${each.note}`}`,
  ];
  const columns = [
    { head: "tensor" },
    { head: "shape" },
    { head: "relative L2", align: "right" },
    { head: "largest error", align: "right" },
    { head: "tolerance", align: "right" },
    { head: "verdict" },
  ] as const;
  return `${title}\n${table(columns, [...result.outputs, ...result.intermediates].map(row), paint)}`;
}
