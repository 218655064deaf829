import type { Ranges } from "../../ir/scalarRange.ts";
import type { SelectKernel } from "./kernels.ts";

/** How blocks share the sets of a select kernel. */
export type SelectPlan = {
  readonly threads: number;
  /** Places of the result that a block finds: all of a set's largest, or some of its bins. */
  readonly own: number;
  readonly blocksPerSet: number;
  readonly blocksPerExample: number;
  readonly sharedBytes: number;
  readonly ranges: Ranges;
  readonly notes: readonly string[];
};

/** Keys that a block keeps and sorts in shared memory, and bins that it counts there. */
export const mostKeys = 4096;
const mostBins = 8192;

export function planSelect({ select, space, columns, over, count }: SelectKernel): SelectPlan {
  const own = select === "topK" ? count : Math.min(count, mostBins);
  const blocksPerSet = Math.ceil(count / own);
  const threads = over >= 2 ** 16 ? 1024 : 256;
  const slots = 2 ** Math.ceil(Math.log2(Math.max(1, own)));
  return {
    threads,
    own,
    blocksPerSet,
    blocksPerExample: space.rows * columns * blocksPerSet,
    sharedBytes: select === "topK" ? (256 + 1 + slots) * 4 : own * 4,
    ranges: {
      r: { min: 0, max: space.rows - 1 },
      n: { min: 0, max: columns - 1 },
      i: { min: 0, max: over - 1 },
      k: { min: 0, max: count - 1 },
    },
    notes: [
      select === "topK"
        ? `A block of ${threads} threads finds the ${count} largest of a set: it reads the ${over} elements five times.`
        : `A block of ${threads} threads counts ${own} bins of a set in shared memory: it reads the ${over} elements once.`,
    ],
  };
}
