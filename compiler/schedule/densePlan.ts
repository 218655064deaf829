import { literal, mul, add, sub, variable } from "../../ir/scalarBuild.ts";
import type { BlockCount } from "../../ir/program.ts";
import type { Scalar } from "../../ir/scalar.ts";
import type { Ranges } from "../../ir/scalarRange.ts";
import { simplify } from "../../ir/scalarSimplify.ts";
import { substitute, variablesOf } from "../../ir/scalarWalk.ts";
import { operandOf } from "./elementRuns.ts";
import type { SampleKernel } from "./kernels.ts";
import { exampleBlocks } from "./mapPlan.ts";
import { planSample } from "./samplePlan.ts";
import { usualTarget, type Target } from "./target.ts";

/**
 * Sampling of small maps as products: what the points of a row take of each pixel of a map is written down, zeros and
 * all, and multiplied with the map on the tensor cores. A block takes rows of one head that look at the same maps.
 */
export type DensePlan = {
  readonly threads: number;
  /** Rows of a block: 16 a warp. */
  readonly tileRows: number;
  /** Rows that follow each other and look at the same maps. */
  readonly runRows: number;
  readonly tilesPerRun: number;
  readonly blocksPerExample: number;
  /** Channels that a thread stores at a time. */
  readonly run: number;
  readonly levels: readonly DenseLevel[];
  /** Pixels of the largest map. */
  readonly pixels: number;
  /** Most points of a head of a row on one map. */
  readonly mapPoints: number;
  /** Maps in shared memory at a time. */
  readonly buffers: 1 | 2;
  readonly minBlocks: number;
  readonly sharedBytes: number;
  readonly ranges: Ranges;
};
/** Maps of one shape: `count` of them, each with the next `points` points. */
export type DenseLevel = { readonly pixels: number; readonly count: number; readonly points: number };

const widest = 128;
const slabRows = 16;
/** Shared memory of a multiprocessor of sm_80, and what each block costs besides its own. */
const multiprocessorBytes = 164 * 1024;
const blockBytes = 1024;

/** Null where the kernel has no dense form. */
export function planDense(kernel: SampleKernel, target: Target = usualTarget): DensePlan | null {
  const { operands, precision, width, space, heads } = kernel;
  const { run, ranges } = planSample(kernel);
  const stored = kernel.levels.every(({ values }) => operandOf(operands, values).storage === precision);
  // Shares of a softmax are at most one, and what float16 loses of them is little beside the largest.
  const exact = precision === "f32" || (precision === "f16" && kernel.normalize === "none");
  if (kernel.scores !== null || exact || !stored || run !== 8 || width % 8 !== 0 || width > widest) return null;
  const offsets = kernel.levels.map(({ values }, level) => substitute(values.offset, { g: literal(level) }));
  const runRows = Math.min(...offsets.map((offset) => steadyRun(offset, "r", space.rows, ranges)));
  if (runRows < slabRows || space.rows % runRows !== 0) return null;
  const levels = kernel.levels.map(({ sizes }, level): DenseLevel => {
    const points = steadyRun(offsets[level] ?? literal(0), "p", kernel.points, ranges);
    return { pixels: sizes[0] * sizes[1], count: kernel.points / points, points };
  });
  const pixels = Math.max(...levels.map((level) => level.pixels));
  const mapPoints = Math.max(...levels.map((level) => level.points));
  const warps = Math.min(4, Math.ceil(runRows / slabRows));
  const layout = layoutOf({ pixels, mapPoints, width, warps }, target);
  if (layout === null) return null;
  const tileRows = warps * slabRows;
  const tilesPerRun = Math.ceil(runRows / tileRows);
  return {
    threads: warps * 32,
    tileRows,
    runRows,
    tilesPerRun,
    blocksPerExample: tilesPerRun * heads * (space.rows / runRows),
    run,
    levels,
    pixels,
    mapPoints,
    ...layout,
    ranges,
  };
}

/** Two maps at a time, so that one comes while the other is multiplied, where two blocks of it share a multiprocessor; else one. */
function layoutOf(
  {
    pixels,
    mapPoints,
    width,
    warps,
  }: { readonly pixels: number; readonly mapPoints: number; readonly width: number; readonly warps: number },
  target: Target,
): Pick<DensePlan, "buffers" | "sharedBytes" | "minBlocks"> | null {
  const columns = Math.ceil(pixels / 16) * 16;
  const slab = slabRows * Math.max(columns + 8, width + 8) * 4;
  const points = slabRows * 8 + mapPoints * (slabRows + 1) * 16;
  const bytes = (buffers: 1 | 2): number => buffers * columns * width * 2 + warps * (slab + points);
  const blocks = (shared: number): number => Math.floor(multiprocessorBytes / (shared + blockBytes));
  const buffers = bytes(2) <= target.sharedBytes && blocks(bytes(2)) >= Math.min(2, blocks(bytes(1))) ? 2 : 1;
  const sharedBytes = bytes(buffers);
  if (sharedBytes > target.sharedBytes) return null;
  return { buffers, sharedBytes, minBlocks: Math.max(1, Math.min(4, blocks(sharedBytes))) };
}

/** The longest runs, all equal, that a range divides into and an address stays the same within. */
function steadyRun(offset: Scalar, name: string, size: number, ranges: Ranges): number {
  if (!variablesOf(offset).has(name)) return size;
  const isSteady = (length: number): boolean => {
    const within: Ranges = { ...ranges, run: { min: 0, max: size / length - 1 }, step: { min: 0, max: length - 1 } };
    const start = mul(variable("run"), length);
    const at = (place: Scalar): Scalar => substitute(offset, { [name]: place });
    const difference = simplify(sub(at(add(start, variable("step"))), at(start)), within);
    return difference.kind === "number" && difference.value === 0;
  };
  let length = size;
  while (length > 1 && !(size % length === 0 && isSteady(length))) length--;
  return length;
}

export const denseGrid = (
  { blocksPerExample }: DensePlan,
  { space }: SampleKernel,
): readonly [BlockCount, BlockCount, BlockCount] => {
  const one: BlockCount = { factor: 1, fixed: 1, perExample: 0, divisor: 1 };
  return [exampleBlocks(blocksPerExample, space.batched), one, one];
};
