import type { EmittedKernel, KernelHeader, SelectKernel } from "../schedule/kernels.ts";
import { exampleBlocks, written } from "../schedule/mapPlan.ts";
import { planSelect, type SelectPlan } from "../schedule/selectPlan.ts";
import type { CudaScope } from "./cudaTypes.ts";
import {
  arrayNames,
  declaration,
  elementText,
  elementType,
  exampleShifts,
  indexScope,
  loadOne,
  storeOne,
} from "./elementText.ts";
import { headerComment } from "./headerComment.ts";
import { renderTemplate } from "./render.ts";

/** What templates/select/select.cu.njk prints: statements, one a line, and expressions. */
type SelectView = {
  readonly header: string;
  readonly name: string;
  readonly threads: number;
  readonly parameters: readonly string[];
  readonly topK: boolean;
  readonly over: number;
  readonly count: number;
  readonly own: number;
  /** Of the elements that come out. */
  readonly type: string;
  /** Which set: `example`, `r`, `n`, and `first` of the bins; arrays moved to the example. */
  readonly place: readonly string[];
  /** Element i of the set. */
  readonly load: string;
  /** `value` at place k. */
  readonly stores: readonly string[];
};

/** The CUDA text of a select kernel: a block for each set, or several for its many bins. */
export function emitSelect(kernel: SelectKernel, header: KernelHeader): EmittedKernel {
  const plan = planSelect(kernel);
  const one = { factor: 1, fixed: 1, perExample: 0, divisor: 1 };
  return {
    source: renderTemplate("select/select.cu.njk", selectView(kernel, plan, header)),
    threads: plan.threads,
    sharedBytes: plan.sharedBytes,
    grid: [exampleBlocks(plan.blocksPerExample, kernel.space.batched), one, one],
    parameters: kernel.operands.map((_, operand) => ({ kind: "operand", operand })),
    notes: plan.notes,
  };
}

function selectView(kernel: SelectKernel, plan: SelectPlan, header: KernelHeader): SelectView {
  const { operands, select, over, count } = kernel;
  const isWritten = written(kernel.stores);
  const names = arrayNames(operands, isWritten);
  const runs = { along: "n", width: 1, ranges: plan.ranges };
  const x = elementText(kernel.x, operands, names, runs);
  const scope: CudaScope = { variables: indexScope({ r: "r", n: "n", i: "i", k: "k" }, plan.ranges) };
  return {
    header: headerComment(header, plan.notes),
    name: header.name,
    threads: plan.threads,
    parameters: operands.map((operand, index) => declaration(names[index] ?? "", operand, isWritten.has(index))),
    topK: select === "topK",
    over,
    count,
    own: plan.own,
    type: elementType(x.storage),
    place: [...placeOf(kernel, plan), ...exampleShifts(names, operands)],
    load: loadOne(x, scope),
    stores: kernel.stores.map((store) => storeOne(elementText(store, operands, names, runs), "value", scope)),
  };
}

function placeOf({ select, space, columns, operands }: SelectKernel, plan: SelectPlan): readonly string[] {
  const { blocksPerExample, blocksPerSet } = plan;
  const moved = space.batched && operands.some(({ exampleStride }) => exampleStride > 0);
  const block = blocksPerExample === 1 ? "0" : space.batched ? `blockIdx.x % ${blocksPerExample}` : "blockIdx.x";
  return [
    ...(moved ? [`const int example = blockIdx.x${blocksPerExample === 1 ? "" : ` / ${blocksPerExample}`};`] : []),
    `[[maybe_unused]] const int block = ${block};`,
    ...(select === "histogram"
      ? [`const int first = ${blocksPerSet === 1 ? "0" : `block % ${blocksPerSet} * OWN`};`]
      : []),
    `[[maybe_unused]] const int r = ${space.rows === 1 ? "0" : `block / ${blocksPerSet * columns}`};`,
    `[[maybe_unused]] const int n = ${columns === 1 ? "0" : `block / ${blocksPerSet} % ${columns}`};`,
  ];
}
