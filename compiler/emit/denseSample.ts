import type { DensePlan } from "../schedule/densePlan.ts";
import { denseGrid } from "../schedule/densePlan.ts";
import type { EmittedKernel, KernelHeader, SampleKernel } from "../schedule/kernels.ts";
import { written } from "../schedule/mapPlan.ts";
import { printIndex } from "./cudaScalar.ts";
import type { CudaScope } from "./cudaTypes.ts";
import {
  arrayNames,
  declaration,
  elementText,
  exampleShifts,
  indexScope,
  storeOne,
  storeRun,
  type ElementText,
} from "./elementText.ts";
import { cudaStorage } from "./gemmNames.ts";
import { headerComment } from "./headerComment.ts";
import { renderTemplate } from "./render.ts";
import { computedText } from "./samplePoint.ts";

/** What templates/sample/dense.cu.njk prints: statements, one a line, and expressions. */
type DenseView = {
  readonly header: string;
  readonly name: string;
  readonly element: string;
  readonly threads: number;
  readonly minBlocks: number;
  readonly parameters: readonly string[];
  readonly width: number;
  readonly points: number;
  readonly run: number;
  /** Pixels of the largest map. */
  readonly pixels: number;
  /** Most points on a map. */
  readonly mapPoints: number;
  readonly buffers: number;
  readonly softmax: boolean;
  readonly border: boolean;
  /** The block's example, run of rows, head `h` and tile; arrays moved to the example. */
  readonly place: readonly string[];
  readonly firstRow: string;
  readonly rows: string;
  /** For a point: `r`, `h`, `g` and `p` are known. */
  readonly weight: readonly string[];
  readonly weightValue: string;
  readonly position: readonly string[];
  readonly first: string;
  readonly second: string;
  readonly levels: readonly {
    readonly number: number;
    /** Extents of its maps, and elements between neighbours. */
    readonly first: number;
    readonly second: number;
    readonly firstStep: number;
    readonly secondStep: number;
    /** Maps, and points on each. */
    readonly count: number;
    readonly points: number;
    readonly array: string;
    /** Of a map's first pixel, by `r`, `h` and `p`. */
    readonly offset: string;
  }[];
  /** For result j of a run. */
  readonly result: readonly string[];
  readonly stores: readonly string[];
};

/** The CUDA text of a sampling kernel in its dense form. `reason`: why this form. */
export function emitDense(
  kernel: SampleKernel,
  plan: DensePlan,
  header: KernelHeader,
  reason: string | null,
): EmittedKernel {
  const notes = [...notesOf(kernel, plan), ...(reason === null ? [] : [reason])];
  return {
    source: renderTemplate("sample/dense.cu.njk", denseView(kernel, plan, headerComment(header, notes), header.name)),
    threads: plan.threads,
    sharedBytes: plan.sharedBytes,
    grid: denseGrid(plan, kernel),
    parameters: kernel.operands.map((_, operand) => ({ kind: "operand", operand })),
    notes,
  };
}

const notesOf = (kernel: SampleKernel, plan: DensePlan): readonly string[] => [
  `Dense: a block computes ${plan.tileRows} rows of a head, a warp 16 of them. Map after map, what the points of a row take of each ` +
    `pixel goes to shared memory (${plan.levels.map(({ pixels, count }) => `${count} of ${pixels} pixels`).join(", ")}), and is multiplied with the map on the tensor cores.`,
  `${plan.buffers === 2 ? "A map is copied while the one before it is multiplied" : "One map at a time"}: ` +
    `${Math.ceil(plan.sharedBytes / 1024)} KiB of shared memory, in which shares are float32 sums, rounded once.`,
  ...(plan.runRows === kernel.space.rows ? [] : [`${plan.runRows} rows that follow each other look at the same maps.`]),
];

function denseView(kernel: SampleKernel, plan: DensePlan, header: string, name: string): DenseView {
  const { operands, levels } = kernel;
  const { ranges } = plan;
  const isWritten = written(kernel.stores);
  const names = arrayNames(operands, isWritten);
  const scope: CudaScope = { variables: indexScope({ r: "r", h: "h", g: "g", p: "p" }, ranges) };
  const lane: CudaScope = { variables: indexScope({ r: "r", n: "n" }, ranges) };
  const base: CudaScope = { variables: indexScope({ r: "r", n: "n0" }, ranges) };
  const [first, second] = kernel.position;
  const texts = { kernel, names, scope, ranges };
  const weight = computedText([kernel.weight], "a", texts);
  const position = computedText([first, second], "b", texts);
  const stores = kernel.stores.map((access) => elementText(access, operands, names, { along: "n", width: plan.run, ranges })); // prettier-ignore
  const isAlone = ({ form }: ElementText): boolean => form !== "run";
  return {
    header,
    name,
    element: cudaStorage[kernel.precision],
    threads: plan.threads,
    minBlocks: plan.minBlocks,
    parameters: operands.map((operand, index) => declaration(names[index] ?? "", operand, isWritten.has(index))),
    width: kernel.width,
    points: kernel.points,
    run: plan.run,
    pixels: plan.pixels,
    mapPoints: plan.mapPoints,
    buffers: plan.buffers,
    softmax: kernel.normalize === "softmax",
    border: kernel.padding === "border",
    ...placeOf(kernel, plan, names),
    weight: weight.statements,
    weightValue: weight.values[0] ?? "",
    position: position.statements,
    first: position.values[0] ?? "",
    second: position.values[1] ?? "",
    levels: levels.map(({ sizes, steps, values }, number) => ({
      number,
      first: sizes[0],
      second: sizes[1],
      firstStep: steps[0],
      secondStep: steps[1],
      count: plan.levels[number]?.count ?? 0,
      points: plan.levels[number]?.points ?? 0,
      array: names[values.operand] ?? "",
      offset: printIndex(values.offset, scope),
    })),
    result: stores.some(isAlone)
      ? ["const int n = n0 + j;", ...stores.filter(isAlone).map((text) => storeOne(text, "value[j]", lane))]
      : [],
    stores: stores.filter((text) => !isAlone(text)).map((text) => storeRun(text, "value", base)),
  };
}

function placeOf(
  { space, heads, operands }: SampleKernel,
  { blocksPerExample, tilesPerRun, tileRows, runRows }: DensePlan,
  names: readonly string[],
): Pick<DenseView, "place" | "firstRow" | "rows"> {
  const moved = space.batched && operands.some(({ exampleStride }) => exampleStride > 0);
  const runs = space.rows / runRows;
  const part = (divisor: number, of: number): string =>
    of === 1 ? "0" : divisor === 1 ? `block % ${of}` : `block / ${divisor} % ${of}`;
  const start = runs === 1 ? "" : `${part(tilesPerRun * heads, runs)} * ${runRows} + `;
  return {
    place: [
      `[[maybe_unused]] const int block = blockIdx.x${space.batched ? ` % ${blocksPerExample}` : ""};`,
      ...(moved ? [`const int example = blockIdx.x / ${blocksPerExample};`] : []),
      ...exampleShifts(names, operands),
      "// Rows of a head that look at the same maps, in tiles.",
      `const int h = ${part(tilesPerRun, heads)}, tile = ${part(1, tilesPerRun)};`,
    ],
    firstRow: `${start}tile * ROWS`,
    rows: runRows % tileRows === 0 ? "ROWS" : `min(ROWS, ${runRows} - tile * ROWS)`,
  };
}
