import type { BlockCount } from "../../ir/program.ts";
import type { Ranges } from "../../ir/scalarRange.ts";
import { chooseRunWidth } from "./elementRuns.ts";
import type { PerceptronKernel } from "./kernels.ts";
import { exampleBlocks } from "./mapPlan.ts";
import { chooseThreads } from "./rowPlan.ts";

/** Which rows, and which hidden elements of them, a thread of a perceptron takes. */
export type PerceptronPlan = {
  /** Neighbouring elements that a thread takes at a time. */
  readonly width: number;
  /** Lanes of a warp that share a row. */
  readonly rowThreads: number;
  readonly rowsPerBlock: number;
  readonly threads: number;
  readonly blocksPerExample: number;
  readonly ranges: Ranges;
  readonly notes: readonly string[];
};

/** As many as every other kernel has that may share its launch. */
const threads = 128;

export function planPerceptron(kernel: PerceptronKernel): PerceptronPlan {
  const { rows } = kernel.space;
  const ranges: Ranges = {
    r: { min: 0, max: rows - 1 },
    n: { min: 0, max: kernel.hidden - 1 },
    i: { min: 0, max: kernel.over - 1 },
    o: { min: 0, max: kernel.columns - 1 },
  };
  const accesses = [...kernel.term.elements, ...kernel.start.elements, ...kernel.activation.elements, kernel.weight];
  const width = chooseRunWidth(accesses, kernel.operands, "n", ranges);
  const rowThreads = chooseThreads(kernel.hidden, width);
  const rowsPerBlock = threads / rowThreads;
  return {
    width,
    rowThreads,
    rowsPerBlock,
    threads,
    blocksPerExample: Math.ceil(rows / rowsPerBlock),
    ranges,
    notes: [
      `A row's ${kernel.hidden} hidden elements stay in the registers of ${rowThreads === 1 ? "one thread" : `${rowThreads} lanes`}, ` +
        `which add up its ${kernel.columns === 1 ? "result" : `${kernel.columns} results`} together: nothing hidden is written.`,
    ],
  };
}

export const perceptronGrid = (
  { blocksPerExample }: PerceptronPlan,
  { space }: PerceptronKernel,
): readonly [BlockCount, BlockCount, BlockCount] => {
  const one: BlockCount = { factor: 1, fixed: 1, perExample: 0, divisor: 1 };
  return [exampleBlocks(blocksPerExample, space.batched), one, one];
};
