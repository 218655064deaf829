import { variablesOf } from "../../ir/scalarWalk.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { invariant } from "../diagnostics.ts";
import type { Access, EmittedKernel, KernelHeader, MapKernel } from "../schedule/kernels.ts";
import { mapGrid, planMap, written, type MapPlan } from "../schedule/mapPlan.ts";
import { printCudaLocals } from "./cudaLocals.ts";
import { floatLiteral, printCuda, printCudaOperand } from "./cudaScalar.ts";
import { typeName, type CudaScope, type CudaType } from "./cudaTypes.ts";
import {
  arrayNames,
  declaration,
  elementText,
  elementType,
  elementValue,
  exampleShifts,
  indexScope,
  isCoarse,
  loadForEach,
  loadForRun,
  loadOne,
  storeOne,
  storeRun,
  type ElementText,
} from "./elementText.ts";
import { headerComment } from "./headerComment.ts";
import { renderTemplate } from "./render.ts";

/** What templates/map/map.cu.njk prints: statements, one a line, and expressions. */
type MapView = {
  readonly header: string;
  readonly name: string;
  readonly threads: number;
  readonly parameters: readonly string[];
  /** Which results the thread computes: `example`, `item`, `r`, `n` as far as they are used; arrays moved to the example; `taken`. */
  readonly place: readonly string[];
  readonly width: number;
  /** More than one result. */
  readonly vector: boolean;
  /** Elements that serve all results of the thread. */
  readonly loads: readonly string[];
  /** For element j of a fold. */
  readonly lane: readonly string[];
  readonly fold: FoldView | null;
  readonly resultType: string;
  /** For result j. */
  readonly result: readonly string[];
  readonly stores: readonly string[];
};
type FoldView = {
  /** Of what is folded. */
  readonly type: string;
  readonly start: string;
  readonly over: number;
  readonly first: string;
  readonly slices: number;
  /** Short loops are unrolled whole. */
  readonly unroll: string;
  readonly combine: string;
  /** Threads share the fold: `items` results a block. */
  readonly shared: boolean;
  readonly items: number;
  readonly merge: string;
  readonly idle: string;
};

/** The CUDA text of a map kernel: as many threads as there are runs of results. */
export function emitMap(kernel: MapKernel, header: KernelHeader): EmittedKernel {
  const plan = planMap(kernel);
  return {
    source: renderTemplate("map/map.cu.njk", mapView(kernel, plan, header)),
    threads: plan.threads,
    sharedBytes:
      plan.slices === 1
        ? 0
        : (plan.slices - 1) * (plan.threads / plan.slices) * plan.width * (kernel.fold?.kind === "argmax" ? 8 : 4),
    grid: mapGrid(plan, kernel),
    parameters: kernel.operands.map((_, operand) => ({ kind: "operand", operand })),
    notes: plan.notes,
  };
}

function mapView(kernel: MapKernel, plan: MapPlan, header: KernelHeader): MapView {
  const { operands } = kernel;
  const names = arrayNames(operands, written(kernel.stores));
  const element = (access: Access): ElementText => elementText(access, operands, names, plan);
  const [elements, stores] = [kernel.elements.map(element), kernel.stores.map(element)];
  const scopes = scopesOf(plan);
  // Integers are computed in 64 bits, as their sums may need them, and stored in their own.
  const computed: CudaType = stores.every(({ storage }) => elementType(storage) === "int") ? "long" : "float";
  const used = usedVariables(kernel, plan, elements, stores);
  const as = kernel.fold === null ? computed : "float";
  const body = bodyOf(kernel.body, as, elements, scopes.lane, isCoarse(stores));
  const lane = [...used.laneIndex, ...body.statements];
  const fold = kernel.fold === null ? null : foldView(kernel.fold, plan, body.value);
  const finished =
    kernel.fold === null ? body.value : finishFold(kernel.fold, plan.width === 1 ? "0" : "j", scopes.lane);
  const runs = stores.filter(({ form }) => form === "run");
  const each = stores.filter(({ form }) => form !== "run");
  const value = plan.width === 1 ? "value" : "value[j]";
  return {
    header: headerComment(header, plan.notes),
    name: header.name,
    threads: plan.threads,
    parameters: operands.map((operand, index) =>
      declaration(names[index] ?? "", operand, written(kernel.stores).has(index)),
    ),
    place: [
      ...placeOf(kernel, plan, used),
      ...exampleShifts(names, operands),
      ...takenOf(kernel, plan, element, scopes.base),
    ],
    width: plan.width,
    vector: plan.width > 1,
    loads: elements.flatMap((text, index) => loadForRun(text, `a${index}`, plan.width, scopes.base)),
    lane,
    fold,
    resultType: typeName[computed],
    result: [
      ...(kernel.fold === null ? lane : used.finishIndex),
      plan.width === 1 ? `const ${typeName[computed]} value = ${finished};` : `${value} = ${finished};`,
      ...each.map((text) => storeOne(text, value, scopes.lane)),
    ],
    stores: runs.map((text) => storeRun(text, "value", scopes.base)),
  };
}

/** The number that names a row, and whether it does. */
function takenOf(
  { take }: MapKernel,
  { ranges }: MapPlan,
  element: (access: Access) => ElementText,
  scope: CudaScope,
): readonly string[] {
  if (take === null) return [];
  const elements = take.number.elements.map(element);
  const at = {
    ...scope,
    arguments: elements.map(({ storage }, index) => ({ type: elementType(storage), text: `i${index}` })),
  };
  return [
    ...elements.map(
      (text, index) => `const ${typeName[elementType(text.storage)]} i${index} = ${loadOne(text, scope)};`,
    ),
    `const int taken = ${printCuda(take.number.body, at, "int")};`,
    `const bool isTaken = taken >= 0 && taken <= ${ranges["taken"]?.max ?? 0};`,
  ];
}

type Scopes = {
  /** At the first result of the run. */ readonly base: CudaScope;
  /** At result j. */ readonly lane: CudaScope;
};

const scopesOf = ({ along, width, ranges }: MapPlan): Scopes => {
  const lane = { r: "r", n: "n", i: "i", taken: "taken" };
  const base = width === 1 ? lane : { ...lane, [along]: `${along}0` };
  const scope = (names: typeof lane): CudaScope => ({
    variables: { ...indexScope(names, ranges), isTaken: { type: "bool", text: "isTaken" } },
  });
  return { base: scope(base), lane: scope(lane) };
};

/** The body for result j: elements that it alone reads, then what occurs twice, then the value. */
function bodyOf(
  body: Scalar,
  as: CudaType,
  elements: readonly ElementText[],
  lane: CudaScope,
  fast: boolean,
): { readonly statements: readonly string[]; readonly value: string } {
  const values = elements.map((text, index) => elementValue(text, `a${index}`));
  const printed = printCudaLocals([{ scalar: body, as }], { ...lane, arguments: values, fast }, "t");
  const reads = elements.flatMap((text, index) => loadForEach(text, `a${index}`, lane));
  return { statements: [...reads, ...printed.statements], value: printed.values[0] ?? "" };
}

type Fold = NonNullable<MapKernel["fold"]>;

function foldView(
  { kind, over }: Fold,
  { slices, threads, items, blocksPerExample }: MapPlan,
  value: string,
): FoldView {
  const itemsPerBlock = threads / slices;
  const ragged = blocksPerExample * itemsPerBlock !== items;
  const shared = slices > 1;
  const combine: { readonly [K in Fold["kind"]]: string } = {
    sum: `folded[j] + ${/[?]/.test(value) ? `(${value})` : value}`,
    mean: `folded[j] + ${/[?]/.test(value) ? `(${value})` : value}`,
    max: `fmaxf(folded[j], ${value})`,
    argmax: `fold_first(folded[j], numbered(${value}, i))`,
  };
  const start = { sum: "0.0f", mean: "0.0f", max: "-INFINITY", argmax: "0" };
  return {
    type: kind === "argmax" ? "uint64_t" : "float",
    start: start[kind],
    over,
    first: shared ? (ragged ? `item < ${items} ? slice : ${over}` : "slice") : "0",
    slices,
    unroll: over / slices <= 16 ? "#pragma unroll" : "#pragma unroll 4",
    combine: combine[kind],
    shared,
    items: itemsPerBlock,
    merge: kind === "argmax" ? "fold_first" : kind === "max" ? "fold_max" : "fold_sum",
    idle: ragged ? `slice > 0 || item >= ${items}` : "slice > 0",
  };
}

function finishFold({ kind, count }: Fold, result: string, scope: CudaScope): string {
  if (kind === "argmax") return `number_of(folded[${result}])`;
  if (kind !== "mean") return `folded[${result}]`;
  const divisor = count.kind === "number" ? floatLiteral(count.value) : printCudaOperand(count, scope, "float");
  return `folded[${result}] / ${divisor}`;
}

type Used = {
  readonly r: boolean;
  readonly n: boolean;
  /** Statements that name result j's own index, in the loop over results and in the one that finishes a fold. */
  readonly laneIndex: readonly string[];
  readonly finishIndex: readonly string[];
};

function usedVariables(
  kernel: MapKernel,
  { along, width }: MapPlan,
  elements: readonly ElementText[],
  stores: readonly ElementText[],
): Used {
  const numbers =
    kernel.take === null ? [] : [kernel.take.number.body, ...kernel.take.number.elements.map(({ offset }) => offset)];
  const inAccess = ({ access }: ElementText): readonly Scalar[] => [access.offset, access.valid];
  const each = (texts: readonly ElementText[]): readonly Scalar[] =>
    texts.filter(({ form }) => form === "each").flatMap(inAccess);
  const finish = [...each(stores), ...(kernel.fold?.kind === "mean" ? [kernel.fold.count] : [])];
  const lane = [kernel.body, ...each(elements)];
  const all = new Set(
    [...numbers, ...lane, ...finish, ...elements.flatMap(inAccess), ...stores.flatMap(inAccess)].flatMap((scalar) => [
      ...variablesOf(scalar),
    ]),
  );
  const index = (scalars: readonly Scalar[]): readonly string[] =>
    width > 1 && scalars.some((scalar) => variablesOf(scalar).has(along))
      ? [`const int ${along} = ${along}0 + j;`]
      : [];
  return {
    r: all.has("r"),
    n: all.has("n"),
    laneIndex: index(kernel.fold === null ? [...lane, ...finish] : lane),
    finishIndex: index(finish),
  };
}

function placeOf(kernel: MapKernel, plan: MapPlan, used: Used): readonly string[] {
  const { along, width, items, threads, slices, blocksPerExample } = plan;
  const itemsPerBlock = threads / slices;
  invariant(blocksPerExample * itemsPerBlock < 2 ** 31, "an example has more results than fovea counts");
  const batched = kernel.space.batched;
  const moved = batched && kernel.operands.some(({ exampleStride }) => exampleStride > 0);
  const block = !batched ? "blockIdx.x" : blocksPerExample === 1 ? "" : `blockIdx.x % ${blocksPerExample}`;
  const thread = slices === 1 ? "threadIdx.x" : `threadIdx.x % ${itemsPerBlock}`;
  const extent = (along === "n" ? kernel.columns : kernel.space.rows) / width;
  const slow = extent === items ? "0" : extent === 1 ? "item" : `item / ${extent}`;
  const fast =
    extent === 1 ? "0" : `${extent === items ? "item" : `item % ${extent}`}${width === 1 ? "" : ` * ${width}`}`;
  const [r, n] = along === "n" ? [slow, fast] : [fast, slow];
  const name = (variable: "r" | "n"): string => (variable === along && width > 1 ? `${variable}0` : variable);
  const ragged = blocksPerExample * itemsPerBlock !== items;
  return [
    ...(moved ? [`const int example = blockIdx.x${blocksPerExample === 1 ? "" : ` / ${blocksPerExample}`};`] : []),
    `const int item = ${block === "" ? "" : `${block} * ${itemsPerBlock} + `}${thread};`,
    ...(slices === 1 ? [] : [`const int slice = threadIdx.x / ${itemsPerBlock};`]),
    ...(ragged && slices === 1 ? [`if (item >= ${items}) return;`] : []),
    ...(used.r ? [`const int ${name("r")} = ${r};`] : []),
    ...(used.n ? [`const int ${name("n")} = ${n};`] : []),
  ];
}
