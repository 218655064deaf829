import type { BlockCount } from "../../ir/program.ts";
import type { Ranges } from "../../ir/scalarRange.ts";
import { chooseRunWidth } from "./elementRuns.ts";
import type { RowKernel } from "./kernels.ts";
import { exampleBlocks } from "./mapPlan.ts";

/** Which rows, and which elements of them, a thread of a row kernel takes. */
export type RowPlan = {
  /** Neighbouring elements that a thread takes at a time. */
  readonly width: number;
  /** Threads of a row: lanes of a warp, or a block. */
  readonly rowThreads: number;
  readonly rowsPerBlock: number;
  readonly threads: number;
  /** The row stays in registers. */
  readonly held: boolean;
  readonly blocksPerExample: number;
  readonly sharedBytes: number;
  readonly ranges: Ranges;
  readonly notes: readonly string[];
};

/** Elements that a thread holds at most. */
const heldByWarp = 48;
/** Of a row, at most, where a warp holds it. */
export const warpRow: number = 32 * heldByWarp;
const heldByBlock = 32;
const blockThreads = 256;

export function planRow(kernel: RowKernel): RowPlan {
  const { rows } = kernel.space;
  const { columns } = kernel;
  const ranges: Ranges = { r: { min: 0, max: rows - 1 }, n: { min: 0, max: columns - 1 } };
  const accesses = [kernel.x, ...kernel.epilogue.elements, ...kernel.stores];
  const width = chooseRunWidth(accesses, kernel.operands, "n", ranges);
  const rowThreads = chooseThreads(columns, width);
  const held = columns <= rowThreads * heldByBlock || rowThreads <= 32;
  const rowsPerBlock =
    rowThreads > 32 ? 1 : Math.min(blockThreads / rowThreads, Math.ceil((rows * rowThreads) / 32) * (32 / rowThreads));
  return {
    width,
    rowThreads,
    rowsPerBlock,
    threads: rowThreads * rowsPerBlock,
    held,
    blocksPerExample: Math.ceil(rows / rowsPerBlock),
    sharedBytes: rowThreads > 32 ? (rowThreads / 32) * 4 : 0,
    ranges,
    notes: [
      `A row belongs to ${rowThreads === 1 ? "one thread" : rowThreads <= 32 ? `${rowThreads} lanes of a warp` : `a block of ${rowThreads} threads`}, ` +
        (held
          ? "which hold it in registers between the passes."
          : "which read it again for every pass: it is too long for registers."),
    ],
  };
}

/** As many lanes as there are runs, a warp at most; a block where a warp cannot hold the row. */
export function chooseThreads(columns: number, width: number): number {
  if (columns <= warpRow) return Math.min(32, 2 ** Math.floor(Math.log2(columns / width)));
  let threads = 64;
  while (threads < 512 && threads * heldByBlock < columns) threads *= 2;
  return threads;
}

export const rowGrid = (
  { blocksPerExample }: RowPlan,
  { space }: RowKernel,
): readonly [BlockCount, BlockCount, BlockCount] => {
  const one: BlockCount = { factor: 1, fixed: 1, perExample: 0, divisor: 1 };
  return [exampleBlocks(blocksPerExample, space.batched), one, one];
};
