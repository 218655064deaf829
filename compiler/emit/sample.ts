import { literal } from "../../ir/scalarBuild.ts";
import { invariant } from "../diagnostics.ts";
import { operandOf } from "../schedule/elementRuns.ts";
import type { EmittedKernel, KernelHeader, SampleKernel, SampleLevel } from "../schedule/kernels.ts";
import { written } from "../schedule/mapPlan.ts";
import { chooseForm, type SampleForm } from "../schedule/sampleForm.ts";
import { planSample, sampleGrid, type SamplePlan } from "../schedule/samplePlan.ts";
import type { Target } from "../schedule/target.ts";
import { emitDense } from "./denseSample.ts";
import { byLevel, computedText } from "./samplePoint.ts";
import { floatLiteral, printCuda, printIndex } from "./cudaScalar.ts";
import type { CudaScope } from "./cudaTypes.ts";
import { arrayNames, declaration, elementText, exampleShifts, indexScope, storeOne, storeRun } from "./elementText.ts";
import type { BlockName } from "./blockName.ts";
import { headerComment } from "./headerComment.ts";
import { renderTemplate } from "./render.ts";

/** What templates/sample/sample.cu.njk prints: statements, one a line, and expressions. */
type SampleView = {
  readonly header: string;
  /** One of several kernels in a launch. */
  readonly part: boolean;
  readonly name: string;
  readonly threads: number;
  readonly parameters: readonly string[];
  readonly items: number;
  readonly heads: number;
  readonly width: number;
  readonly levels: readonly LevelView[];
  /** Points of a level. */
  readonly points: number;
  readonly run: number;
  readonly softmax: boolean;
  readonly border: boolean;
  /** The block's example and its first item; arrays moved to the example. */
  readonly place: readonly string[];
  readonly firstItem: string;
  readonly itemsPerExample: number;
  /** For a point: `r`, `h`, `g` and `p` are known. */
  readonly weight: readonly string[];
  readonly weightValue: string;
  readonly position: readonly string[];
  readonly first: string;
  readonly second: string;
  readonly map: string;
  readonly values: string;
  /** Where scores are computed: of keys at the points, and of queries, `r` and `h` being known. */
  readonly scores: {
    readonly scale: string;
    readonly width: number;
    readonly run: number;
    readonly lanes: number;
    readonly minBlocks: number;
    readonly query: string;
    readonly queryStep: number;
    readonly map: string;
    readonly values: string;
    readonly levels: readonly LevelView[];
  } | null;
  /** For result j of a run. */
  readonly result: readonly string[];
  readonly stores: readonly string[];
};
type LevelView = {
  readonly number: number;
  readonly array: string;
  readonly shape: string;
  /** Elements to the neighbouring corners; 0 on an axis of one pixel, where there is none. */
  readonly firstStep: number;
  readonly secondStep: number;
  readonly channelStep: number;
};

/** Of a multiprocessor: as many leave 80 registers for each thread. Left alone, ptxas takes 32 on sm_90a, and spills. */
const scoredBlocks = 6;

/** The CUDA text of a sampling kernel, in the form that is estimated to be faster where none is given. */
export function emitSample(
  kernel: SampleKernel,
  header: KernelHeader,
  target?: Target,
  form: SampleForm = chooseForm(kernel, target),
  block: BlockName = "blockIdx.x",
): EmittedKernel {
  if (form.kind === "dense") return emitDense(kernel, form.plan, header, form.reason);
  const plan = planSample(kernel);
  const notes = [...plan.notes, ...(form.reason === null ? [] : [form.reason])];
  return {
    source: renderTemplate(
      "sample/sample.cu.njk",
      sampleView(kernel, plan, headerComment(header, notes), header.name, block),
    ),
    threads: plan.threads,
    sharedBytes: plan.sharedBytes,
    grid: sampleGrid(plan, kernel),
    parameters: kernel.operands.map((_, operand) => ({ kind: "operand", operand })),
    notes,
  };
}

function sampleView(
  kernel: SampleKernel,
  plan: SamplePlan,
  header: string,
  name: string,
  block: BlockName,
): SampleView {
  const { operands, levels } = kernel;
  const isWritten = written(kernel.stores);
  const names = arrayNames(operands, isWritten);
  const scope: CudaScope = { variables: indexScope({ r: "r", h: "h", g: "g", p: "p" }, plan.ranges) };
  for (const { values } of [...levels, ...(kernel.scores?.keys ?? [])])
    invariant(
      operandOf(operands, values).exampleSize < 2 ** 31,
      "a map of an example has more elements than fovea counts",
    );

  const [first, second] = kernel.position;
  const weight = computedText([kernel.weight], "a", { kernel, names, scope, ranges: plan.ranges });
  const position = computedText([first, second], "b", { kernel, names, scope, ranges: plan.ranges });
  const runs = { along: "n", width: plan.run, ranges: plan.ranges };
  const stores = kernel.stores.map((access) => elementText(access, operands, names, runs));
  const lane: CudaScope = { variables: indexScope({ r: "r", n: "n" }, plan.ranges) };
  const base: CudaScope = { variables: indexScope({ r: "r", n: "n0" }, plan.ranges) };
  const alone = stores.filter(({ form }) => form !== "run");
  return {
    header,
    part: block === "block",
    name,
    threads: plan.threads,
    parameters: operands.map((operand, index) => declaration(names[index] ?? "", operand, isWritten.has(index))),
    items: plan.items,
    heads: kernel.heads,
    width: kernel.width,
    levels: levelViews(levels, names),
    points: kernel.points,
    run: plan.run,
    softmax: kernel.normalize === "softmax",
    border: kernel.padding === "border",
    ...placeOf(kernel, plan, names, block),
    itemsPerExample: plan.itemsPerExample,
    weight: weight.statements,
    weightValue: weight.values[0] ?? "",
    position: position.statements,
    first: position.values[0] ?? "",
    second: position.values[1] ?? "",
    map: mapText(levels, scope),
    values: printIndex(byLevel(levels.map(({ values }) => values.offset)), scope),
    scores: kernel.scores && {
      scale: floatLiteral(kernel.scores.scale),
      width: kernel.scores.width,
      run: plan.keyRun,
      lanes: plan.keyLanes,
      minBlocks: scoredBlocks,
      query: `${names[kernel.scores.query.operand] ?? ""} + ${printIndex(kernel.scores.query.offset, scope)}`,
      queryStep: kernel.scores.queryStep,
      map: mapText(kernel.scores.keys, scope),
      values: printIndex(byLevel(kernel.scores.keys.map(({ values }) => values.offset)), scope),
      levels: levelViews(kernel.scores.keys, names),
    },
    result:
      alone.length === 0 ? [] : ["const int n = n0 + j;", ...alone.map((text) => storeOne(text, "value[j]", lane))],
    stores: stores.filter(({ form }) => form === "run").map((text) => storeRun(text, "value", base)),
  };
}

const levelViews = (levels: readonly SampleLevel[], names: readonly string[]): readonly LevelView[] =>
  levels.map(({ sizes, steps, values, channelStep }, number) => ({
    number,
    array: names[values.operand] ?? "",
    shape: sizes.join(" x "),
    firstStep: sizes[0] > 1 ? steps[0] : 0,
    secondStep: sizes[1] > 1 ? steps[1] : 0,
    channelStep,
  }));

/** Extents and steps of the level's map. */
const mapText = (levels: readonly SampleLevel[], scope: CudaScope): string => {
  const ofLevel = (numbers: readonly number[]): string => printCuda(byLevel(numbers.map(literal)), scope, "int");
  return [
    ...[0, 1].map((axis) => ofLevel(levels.map(({ sizes }) => sizes[axis] ?? 1))),
    ...[0, 1].map((axis) => ofLevel(levels.map(({ steps }) => steps[axis] ?? 0))),
  ].join(", ");
};

function placeOf(
  kernel: SampleKernel,
  { blocksPerExample, items }: SamplePlan,
  names: readonly string[],
  of: BlockName,
): { readonly place: readonly string[]; readonly firstItem: string } {
  const { batched } = kernel.space;
  const moved = batched && kernel.operands.some(({ exampleStride }) => exampleStride > 0);
  const block = !batched ? of : blocksPerExample === 1 ? "0" : `${of} % ${blocksPerExample}`;
  return {
    place: [
      ...(moved ? [`const int example = ${of}${blocksPerExample === 1 ? "" : ` / ${blocksPerExample}`};`] : []),
      ...exampleShifts(names, kernel.operands),
    ],
    firstItem: block === "0" ? "0" : `${block} * ${items}`,
  };
}
