import type { BlockCount } from "../../ir/program.ts";
import type { Ranges } from "../../ir/scalarRange.ts";
import { bytesOf } from "../../ir/types.ts";
import { chooseRunWidth, operandOf, strideAlong } from "./elementRuns.ts";
import type { Access, MapKernel } from "./kernels.ts";

/** Which results a thread of a map kernel computes. */
export type MapPlan = {
  /** Neighbouring threads, and the results of one thread, follow each other along rows (`n`) or down columns (`r`). */
  readonly along: "n" | "r";
  /** Results of a thread. */
  readonly width: number;
  /** Runs of results in an example. */
  readonly items: number;
  readonly threads: number;
  /** Threads that share a fold, each over every `slices`-th element. */
  readonly slices: number;
  readonly blocksPerExample: number;
  readonly ranges: Ranges;
  readonly notes: readonly string[];
};

export function planMap(kernel: MapKernel): MapPlan {
  const ranges = mapRanges(kernel);
  const accesses = [...kernel.elements, ...kernel.stores];
  const [byRow, byColumn] = [traffic(accesses, kernel, "n", ranges), traffic(accesses, kernel, "r", ranges)];
  const along = byColumn < byRow && kernel.take === null ? "r" : "n";
  const width = chooseRunWidth(accesses, kernel.operands, along, ranges);
  const items = (kernel.space.rows * kernel.columns) / width;
  const slices = chooseSlices(kernel.fold?.over ?? 1, items);
  const itemsPerBlock = Math.min(256 / slices, Math.max(32 / slices, Math.ceil((items * slices) / 32) * (32 / slices)));
  return {
    along,
    width,
    items,
    slices,
    threads: itemsPerBlock * slices,
    blocksPerExample: Math.ceil(items / itemsPerBlock),
    ranges,
    notes: [
      `A thread computes ${width === 1 ? "one result" : `${width} neighbouring results`}; ` +
        `neighbours follow each other ${along === "n" ? "along the channels" : "down the rows, as most of the arrays lie"}.`,
      ...(slices === 1
        ? []
        : [`${slices} threads share a fold: there are too few results to keep a GPU busy otherwise.`]),
    ],
  };
}

const mapRanges = (kernel: MapKernel): Ranges => ({
  r: { min: 0, max: kernel.space.rows - 1 },
  n: { min: 0, max: kernel.columns - 1 },
  ...(kernel.fold === null ? {} : { i: { min: 0, max: kernel.fold.over - 1 } }),
  ...(kernel.take === null ? {} : { taken: { min: 0, max: kernel.take.count - 1 }, isTaken: { min: 0, max: 1 } }),
});

/** Bytes moved for one result when neighbouring threads follow `along`: memory moves in sectors of 32 bytes. */
function traffic(
  accesses: readonly Access[],
  { operands, columns }: MapKernel,
  along: "n" | "r",
  ranges: Ranges,
): number {
  // A handful of channels of neighbouring rows share sectors.
  const few = along === "n" && columns < 16;
  return accesses.reduce((total, access) => {
    const bytes = bytesOf[operandOf(operands, access).storage];
    const stride = strideAlong(access.offset, along, ranges);
    if (stride === 0) return total;
    if (stride === 1) return total + bytes;
    return total + (few ? 2 * bytes : 32);
  }, 0);
}

/** Enough threads for a GPU: about 16,000 an example, or as many as there are elements to fold. */
function chooseSlices(over: number, items: number): number {
  let slices = 1;
  while (slices < 32 && slices * 16 <= over && slices * items < 16_384) slices *= 2;
  return slices;
}

export const mapGrid = (
  { blocksPerExample }: MapPlan,
  { space }: MapKernel,
): readonly [BlockCount, BlockCount, BlockCount] => {
  const one: BlockCount = { factor: 1, fixed: 1, perExample: 0, divisor: 1 };
  return [exampleBlocks(blocksPerExample, space.batched), one, one];
};

/** So many blocks for each example. */
export const exampleBlocks = (blocks: number, batched: boolean): BlockCount =>
  batched
    ? { factor: blocks, fixed: 0, perExample: 1, divisor: 1 }
    : { factor: blocks, fixed: 1, perExample: 0, divisor: 1 };

/** Operands that a kernel writes. */
export const written = (stores: readonly Access[]): ReadonlySet<number> =>
  new Set(stores.map(({ operand }) => operand));
