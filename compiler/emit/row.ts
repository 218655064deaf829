import { variablesOf } from "../../ir/scalarWalk.ts";
import type { Scalar } from "../../ir/scalar.ts";
import type { Access, EmittedKernel, KernelHeader, RowKernel } from "../schedule/kernels.ts";
import { written } from "../schedule/mapPlan.ts";
import { planRow, rowGrid, type RowPlan } from "../schedule/rowPlan.ts";
import { printCudaLocals } from "./cudaLocals.ts";
import { floatLiteral } from "./cudaScalar.ts";
import type { CudaScope } from "./cudaTypes.ts";
import {
  arrayNames,
  declaration,
  elementText,
  elementValue,
  exampleShifts,
  indexScope,
  isCoarse,
  loadForEach,
  loadForRun,
  loadOne,
  loadRun,
  storeOne,
  storeRun,
  type ElementText,
} from "./elementText.ts";
import { headerComment } from "./headerComment.ts";
import { renderTemplate } from "./render.ts";

/** What templates/row/row.cu.njk prints: statements, one a line, and expressions. */
type RowView = {
  readonly header: string;
  readonly name: string;
  readonly threads: number;
  readonly parameters: readonly string[];
  readonly columns: number;
  readonly rowThreads: number;
  readonly width: number;
  /** Which row: `example`, `r`, `inside` as far as they are used; arrays moved to the example. */
  readonly place: readonly string[];
  /** The thread's number within its row. */
  readonly thread: string;
  /** Elements n0 … of the row into `run`. */
  readonly load: readonly string[];
  readonly held: boolean;
  /** A block shares the row, and shared memory. */
  readonly block: boolean;
  readonly shared: string;
  readonly statistic: "normalize" | "softmax";
  readonly eps: string;
  /** Some threads have no row of their own, and store nothing. */
  readonly ragged: boolean;
  readonly loads: readonly string[];
  /** For result j of a run. */
  readonly result: readonly string[];
  readonly stores: readonly string[];
};

/** The CUDA text of a row kernel: lanes of a warp, a warp or a block for each row. */
export function emitRow(kernel: RowKernel, header: KernelHeader): EmittedKernel {
  const plan = planRow(kernel);
  return {
    source: renderTemplate("row/row.cu.njk", rowView(kernel, plan, header)),
    threads: plan.threads,
    sharedBytes: plan.sharedBytes,
    grid: rowGrid(plan, kernel),
    parameters: kernel.operands.map((_, operand) => ({ kind: "operand", operand })),
    notes: plan.notes,
  };
}

function rowView(kernel: RowKernel, plan: RowPlan, header: KernelHeader): RowView {
  const { operands, statistic } = kernel;
  const isWritten = written(kernel.stores);
  const names = arrayNames(operands, isWritten);
  const runs = { along: "n", width: plan.width, ranges: plan.ranges };
  const element = (access: Access): ElementText => elementText(access, operands, names, runs);
  const [x, elements, stores] = [element(kernel.x), kernel.epilogue.elements.map(element), kernel.stores.map(element)];
  const base: CudaScope = { variables: indexScope({ r: "r", n: "n0" }, plan.ranges) };
  const lane: CudaScope = { variables: indexScope({ r: "r", n: "n" }, plan.ranges) };
  const block = plan.rowThreads > 32;
  return {
    header: headerComment(header, plan.notes),
    name: header.name,
    threads: plan.threads,
    parameters: operands.map((operand, index) => declaration(names[index] ?? "", operand, isWritten.has(index))),
    columns: kernel.columns,
    rowThreads: plan.rowThreads,
    width: plan.width,
    place: [...placeOf(kernel, plan), ...exampleShifts(names, operands)],
    thread: block ? "threadIdx.x" : `threadIdx.x % THREADS`,
    load: loadOfRow(x, base, lane),
    held: plan.held,
    block,
    shared: block ? "smem_u32(smem)" : "0",
    statistic: statistic.kind,
    eps: statistic.kind === "normalize" ? floatLiteral(statistic.eps) : "",
    ragged: isRagged(kernel, plan),
    loads: elements.flatMap((text, index) => loadForRun(text, `a${index + 1}`, "WIDTH", base)),
    result: resultOf(kernel, elements, stores, lane),
    stores: stores.filter(({ form }) => form === "run").map((text) => storeRun(text, "value", base)),
  };
}

const isRagged = ({ space }: RowKernel, { blocksPerExample, rowsPerBlock }: RowPlan): boolean =>
  blocksPerExample * rowsPerBlock !== space.rows;

function placeOf(kernel: RowKernel, plan: RowPlan): readonly string[] {
  const { batched, rows } = kernel.space;
  const { blocksPerExample, rowsPerBlock } = plan;
  const moved = batched && kernel.operands.some(({ exampleStride }) => exampleStride > 0);
  const block = !batched ? "blockIdx.x" : blocksPerExample === 1 ? "" : `blockIdx.x % ${blocksPerExample}`;
  const inBlock = rowsPerBlock === 1 ? "" : "threadIdx.x / THREADS";
  const place = [...(block === "" ? [] : [rowsPerBlock === 1 ? block : `${block} * ${rowsPerBlock}`]), inBlock]
    .filter((part) => part !== "")
    .join(" + ");
  const used = [kernel.x, ...kernel.epilogue.elements, ...kernel.stores].some(({ offset, valid }) =>
    [offset, valid, kernel.epilogue.body].some((scalar) => variablesOf(scalar).has("r")),
  );
  const ragged = isRagged(kernel, plan);
  const row = place === "" ? "0" : place;
  return [
    ...(moved ? [`const int example = blockIdx.x${blocksPerExample === 1 ? "" : ` / ${blocksPerExample}`};`] : []),
    ...(ragged ? [`const bool inside = ${row} < ${rows};`] : []),
    ...(used ? [ragged ? `const int r = inside ? ${row} : ${rows - 1};` : `const int r = ${row};`] : []),
  ];
}

function loadOfRow(x: ElementText, base: CudaScope, lane: CudaScope): readonly string[] {
  if (x.form === "run") return [loadRun(x, "run", base)];
  return [
    "#pragma unroll",
    "for (int j = 0; j < WIDTH; j++) {",
    "  const int n = n0 + j;",
    `  run[j] = ${loadOne(x, lane)};`,
    "}",
  ];
}

/** Result j: elements that it alone reads, what occurs twice, the value, and stores of it alone. */
function resultOf(
  kernel: RowKernel,
  elements: readonly ElementText[],
  stores: readonly ElementText[],
  lane: CudaScope,
): readonly string[] {
  const values = elements.map((text, index) => elementValue(text, `a${index + 1}`));
  const scope: CudaScope = { ...lane, arguments: [{ type: "float", text: "a0" }, ...values], fast: isCoarse(stores) };
  const body = printCudaLocals([{ scalar: kernel.epilogue.body, as: "float" }], scope, "t");
  const each = (texts: readonly ElementText[]): readonly ElementText[] => texts.filter(({ form }) => form !== "run");
  const alone = [...each(stores), ...elements.filter(({ form }) => form === "each")];
  const scalars: readonly Scalar[] = [
    kernel.epilogue.body,
    ...alone.flatMap(({ access }) => [access.offset, access.valid]),
  ];
  return [
    ...(scalars.some((scalar) => variablesOf(scalar).has("n")) ? ["const int n = n0 + j;"] : []),
    "const float a0 = statistic.of(run[j]);",
    ...elements.flatMap((text, index) => loadForEach(text, `a${index + 1}`, lane)),
    ...body.statements,
    `value[j] = ${body.values[0] ?? "a0"};`,
    ...each(stores).map((text) => storeOne(text, "value[j]", lane)),
  ];
}
