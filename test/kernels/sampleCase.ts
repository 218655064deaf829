import { emitSample } from "../../compiler/emit/sample.ts";
import { lower } from "../../compiler/schedule/lower/lower.ts";
import { planDense } from "../../compiler/schedule/densePlan.ts";
import type { EmittedKernel, KernelHeader, SampleKernel } from "../../compiler/schedule/kernels.ts";
import type { SampleForm } from "../../compiler/schedule/sampleForm.ts";
import { usualTarget } from "../../compiler/schedule/target.ts";
import { evaluate } from "../../ir/evaluate.ts";
import { parseGraph } from "../../ir/parse.ts";
import type { Precision } from "../../ir/types.ts";
import type { LaunchCounters } from "../../runtime/emulated.ts";
import { type Checks, elementsOf, launch, type Launch, type LaunchResult } from "./harness.ts";
import { normal, stored, worstError } from "./testData.ts";

/** Sampling alone, as the graph says it; maps and results are stored in `precision`, points and weights in float32. */
export type SampleCase = {
  readonly levels: readonly (readonly [height: number, width: number])[];
  readonly queries: number;
  readonly heads: number;
  readonly points: number;
  /** Channels of a head. */
  readonly width: number;
  readonly precision: Precision;
  /** Channels of a head of queries and of maps of keys, where scores are computed of them. */
  readonly keyWidth?: number;
  readonly coordinates?: "pixels" | "edges" | "centres";
  readonly padding?: "zeros" | "border";
  readonly normalize?: "softmax" | "none";
  /** Positions to use among random ones, in turn. */
  readonly positions?: readonly number[];
  /** No random ones among them. */
  readonly exactly?: boolean;
  /** Other weights or logits than random ones far below zero. */
  readonly weight?: (index: number) => number;
  readonly values?: (index: number) => number | undefined;
  /** The form to compute it in; the gathered one where none is given. */
  readonly dense?: boolean;
};

const header: KernelHeader = {
  name: "sample_test",
  origin: { file: "model.ts", line: 1, column: 1, path: "model.block", formula: "y = sample(x)" },
  shapes: ["x: [h, w, c]", "y: [q, c]"],
};

const batch = 2;

const graphOf = (test: SampleCase): string => {
  const { levels, queries, heads, points, width } = test;
  const axes = `q ${queries}, head ${heads}, level ${levels.length}, point ${points}`;
  const scored = test.keyWidth !== undefined;
  const map = (name: string, [h, w]: readonly [number, number], channels: number): string =>
    `[b, h ${h}, w ${w}; ${heads * channels}] = input {name="${name}", layout="b h w c"}`;
  const inputs = [
    ...(scored ? [`[b, q ${queries}; ${heads * (test.keyWidth ?? 0)}] = input {name="query", layout="b q c"}`] : []),
    ...(scored ? levels.map((size, i) => map(`k${i}`, size, test.keyWidth ?? 0)) : []),
    ...levels.map((size, i) => map(`x${i}`, size, width)),
  ].map((line, i) => `%${i + 2}: ${line}`);
  const attributes = [
    "axes=[w, h], heads=[head], levels=[level], over=[point]",
    `coordinates=${test.coordinates ?? "edges"}`,
    `padding=${test.padding ?? "zeros"}`,
    `normalize=${test.normalize ?? "softmax"}`,
    ...(scored ? ["scale=0.25"] : []),
  ].join(", ");
  const result = inputs.length + 2;
  return `graph "sample"
%0: [b, ${axes}; 2] = input {name="points", layout="b q head level point c"}
%1: [b, ${axes}; 1] = input {name="weights", layout="b q head level point"}
${inputs.join("\n")}
%${result} = sample ${Array.from({ length: result }, (_, id) => `%${id}`).join(", ")} {${attributes}}
output "y" = %${result} "b q c"
`;
};

export const kernelOf = (test: SampleCase): SampleKernel => {
  const [first] = lower(parseGraph(graphOf(test)), test.precision).launches;
  if (first?.kernel.kind !== "sample") throw new Error("no sampling kernel");
  const { kernel } = first;
  // A caller's maps are float32; those of a network are not.
  const { scores } = kernel;
  const inner = new Set([
    ...[...kernel.levels, ...(scores?.keys ?? [])].map(({ values }) => values.operand),
    ...(scores === null ? [] : [scores.query.operand]),
    ...kernel.stores.map((s) => s.operand),
  ]);
  const operands = kernel.operands.map((operand, i) =>
    inner.has(i) ? { ...operand, storage: test.precision } : operand,
  );
  return { ...kernel, operands };
};

export const emitted = (test: SampleCase, name = header.name): EmittedKernel => {
  const kernel = kernelOf(test);
  return emitSample(kernel, { ...header, name }, usualTarget, formOf(test, kernel));
};
const formOf = (test: SampleCase, kernel: SampleKernel): SampleForm => {
  if (test.dense !== true) return { kind: "gather", reason: null };
  const plan = planDense(kernel);
  if (plan === null) throw new Error(`no dense form: ${JSON.stringify(test)}`);
  return { kind: "dense", plan, reason: "Chosen by the test." };
};

export type SampleInputs = { readonly [name: string]: Float64Array };

/** The results of both, which begin with the same stored numbers. */
export const evaluated = (test: SampleCase, inputs: SampleInputs, examples: number): Float64Array =>
  evaluate(parseGraph(graphOf(test)), { batch: examples, inputs, parameters: {} }).outputs["y"] ?? new Float64Array();

export function sampleLaunch(test: SampleCase, inputs: SampleInputs, examples: number, name = header.name): Launch {
  const kernel = kernelOf(test);
  const { sources } = lower(parseGraph(graphOf(test)), test.precision).launches[0] ?? { sources: [] };
  const names = Object.keys(inputs);
  const values = sources.map((source) =>
    source.kind === "port" && source.space === "input" ? (inputs[names[source.index] ?? ""] ?? null) : null,
  );
  return { name, kernel: emitted(test, name), operands: kernel.operands, values, batch: examples };
}

export const resultOf = (test: SampleCase, { values }: LaunchResult): Float64Array =>
  values[kernelOf(test).stores[0]?.operand ?? 0] ?? new Float64Array();

/** Runs the kernel on the emulated device and compares with the evaluator. */
export async function runCase(
  test: SampleCase,
  checks?: Checks,
): Promise<{ readonly worst: number; readonly values: Float64Array; readonly counters: LaunchCounters }> {
  const inputs = inputsOf(test);
  const result = await launch(sampleLaunch(test, inputs, batch), checks);
  const actual = resultOf(test, result);
  return {
    worst: worstError(actual, evaluated(test, inputs, batch)).error,
    values: actual,
    counters: result.counters as unknown as LaunchCounters,
  };
}

export function inputsOf(test: SampleCase): SampleInputs {
  const { levels, queries, heads, points, width, positions = [] } = test;
  const count = batch * queries * heads * levels.length * points;
  // Around the whole of a map, and a third of it outside.
  const spread = test.coordinates === "pixels" ? 4 : 0.45;
  const drawn = normal(1, 2 * count, test.coordinates === "pixels" ? 2 : 0.5, spread);
  const at = drawn.map((value, i) =>
    (i % 3 === 0 && test.exactly !== true) || positions.length === 0
      ? value
      : (positions[i % positions.length] ?? value),
  );
  const weights = normal(2, count, -40, 3).map((value, i) => test.weight?.(i) ?? value);
  const kernel = kernelOf(test);
  const drawnMap = (seed: number, rows: number, channels: number, mean: number): Float64Array => {
    const size = rows * heads * channels;
    return normal(seed, elementsOf({ storage: "f32", exampleSize: size, exampleStride: size }, batch), mean, 1);
  };
  const maps = levels.map(([h, w], i) => {
    const map = drawnMap(i + 3, h * w, width, 2).map((value, index) => test.values?.(index) ?? value);
    return [`x${i}`, stored(map, kernel.precision)] as const;
  });
  const { keyWidth } = test;
  const scored =
    keyWidth === undefined
      ? []
      : [
          ["query", stored(drawnMap(91, queries, keyWidth, 0), kernel.precision)] as const,
          ...levels.map(
            ([h, w], i) => [`k${i}`, stored(drawnMap(i + 92, h * w, keyWidth, 0), kernel.precision)] as const,
          ),
        ];
  return {
    points: stored(at, "f32"),
    weights: stored(weights, "f32"),
    ...Object.fromEntries([...scored, ...maps]),
  };
}
