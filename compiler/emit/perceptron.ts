import { literal } from "../../ir/scalarBuild.ts";
import { simplify } from "../../ir/scalarSimplify.ts";
import { substitute } from "../../ir/scalarWalk.ts";
import type { Access, EmittedKernel, KernelHeader, PerceptronKernel } from "../schedule/kernels.ts";
import { written } from "../schedule/mapPlan.ts";
import { perceptronGrid, planPerceptron, type PerceptronPlan } from "../schedule/perceptronPlan.ts";
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
  loadForEach,
  loadForRun,
  storeOne,
  type ElementText,
} from "./elementText.ts";
import type { BlockName } from "./blockName.ts";
import { headerComment } from "./headerComment.ts";
import { renderTemplate } from "./render.ts";

/** What templates/row/perceptron.cu.njk prints: statements, one a line, and expressions. */
type PerceptronView = {
  readonly header: string;
  /** One of several kernels in a launch. */
  readonly part: boolean;
  readonly name: string;
  readonly threads: number;
  readonly parameters: readonly string[];
  readonly hidden: number;
  readonly over: number;
  readonly rowThreads: number;
  readonly width: number;
  /** Which row: `example`, `r`, `inside` as far as they are used; arrays moved to the example. */
  readonly place: readonly string[];
  /** For elements n0 … of a row, and each of them: how its sum begins, and a term of it. */
  readonly startLoads: readonly string[];
  readonly start: readonly string[];
  readonly unroll: string;
  readonly termLoads: readonly string[];
  readonly term: readonly string[];
  readonly normalize: boolean;
  readonly eps: string;
  /** For elements n0 …, and each of them: what it adds to all results. */
  readonly loads: readonly string[];
  readonly activation: readonly string[];
  /** Some threads have no row of their own, and store nothing. */
  readonly ragged: boolean;
  /** For each result of a row. */
  readonly columns: readonly (readonly string[])[];
};

/** The CUDA text of a perceptron: lanes of a warp for each row. */
export function emitPerceptron(
  kernel: PerceptronKernel,
  header: KernelHeader,
  block: BlockName = "blockIdx.x",
): EmittedKernel {
  const plan = planPerceptron(kernel);
  return {
    source: renderTemplate("row/perceptron.cu.njk", perceptronView(kernel, plan, header, block)),
    threads: plan.threads,
    sharedBytes: 0,
    grid: perceptronGrid(plan, kernel),
    parameters: kernel.operands.map((_, operand) => ({ kind: "operand", operand })),
    notes: plan.notes,
  };
}

function perceptronView(
  kernel: PerceptronKernel,
  plan: PerceptronPlan,
  header: KernelHeader,
  block: BlockName,
): PerceptronView {
  const { operands, term, start, activation, columns } = kernel;
  const { ranges, width } = plan;
  const isWritten = written(kernel.stores);
  const names = arrayNames(operands, isWritten);
  const element = (access: Access): ElementText => elementText(access, operands, names, { along: "n", width, ranges });
  const base: CudaScope = { variables: indexScope({ r: "r", n: "n0", i: "i" }, ranges) };
  const lane: CudaScope = { variables: indexScope({ r: "r", n: "n", i: "i" }, ranges) };
  const printed = (
    { body, elements }: { readonly body: PerceptronKernel["term"]["body"]; readonly elements: readonly Access[] },
    prefix: string,
    first: readonly string[],
  ): { readonly loads: readonly string[]; readonly statements: readonly string[]; readonly value: string } => {
    const texts = elements.map(element);
    const values = texts.map((text, index) => elementValue(text, `${prefix}${index}`));
    const known = first.map((text) => ({ type: "float", text }) as const);
    const locals = printCudaLocals([{ scalar: body, as: "float" }], { ...lane, arguments: [...known, ...values] }, `${prefix}t`); // prettier-ignore
    const each = texts.flatMap((text, index) => loadForEach(text, `${prefix}${index}`, lane));
    const statements = [...each, ...locals.statements];
    return {
      loads: texts.flatMap((text, index) => loadForRun(text, `${prefix}${index}`, "WIDTH", base)),
      statements: [...(/\bn\b/u.test([...statements, locals.values[0]].join("\n")) ? ["const int n = n0 + j;"] : []), ...statements],
      value: locals.values[0] ?? "0.0f",
    };
  }; // prettier-ignore
  const [sums, terms, active] = [printed(start, "s", []), printed(term, "f", []), printed(activation, "a", ["hidden"])];
  const weights = Array.from({ length: columns }, (_, o) =>
    element({ ...kernel.weight, offset: simplify(substitute(kernel.weight.offset, { o: literal(o) }), ranges) }),
  );
  const eachWeight = weights.flatMap((text, o) => loadForEach(text, `w${o}`, lane));
  const needsN = eachWeight.length > 0 && !active.statements.includes("const int n = n0 + j;");
  return {
    header: headerComment(header, plan.notes),
    part: block === "block",
    name: header.name,
    threads: plan.threads,
    parameters: operands.map((operand, index) => declaration(names[index] ?? "", operand, isWritten.has(index))),
    hidden: kernel.hidden,
    over: kernel.over,
    rowThreads: plan.rowThreads,
    width,
    place: [...placeOf(kernel, plan, block), ...exampleShifts(names, operands)],
    startLoads: sums.loads,
    start: [...sums.statements, `run[j] = ${sums.value};`],
    unroll: kernel.over <= 16 ? "#pragma unroll" : "#pragma unroll 4",
    termLoads: terms.loads,
    term: [...terms.statements, `run[j] += ${terms.value};`],
    normalize: kernel.norm !== null,
    eps: kernel.norm === null ? "" : floatLiteral(kernel.norm.eps),
    loads: [...active.loads, ...weights.flatMap((text, o) => loadForRun(text, `w${o}`, "WIDTH", base))],
    activation: [
      ...(needsN ? ["const int n = n0 + j;"] : []),
      `const float hidden = ${kernel.norm === null ? "run[j]" : "statistic.of(run[j])"};`,
      ...active.statements,
      ...eachWeight,
      `const float active = ${active.value};`,
      ...weights.map((text, o) => `sum[${o}] = fmaf(active, ${elementValue(text, `w${o}`).text}, sum[${o}]);`),
    ],
    ragged: isRagged(kernel, plan),
    columns: Array.from({ length: columns }, (_, o) => columnText(kernel, plan, names, o)),
  };
}

/** Result o of a row: its epilogue, and where it goes. */
function columnText(
  { operands, epilogue, stores }: PerceptronKernel,
  { ranges }: PerceptronPlan,
  names: readonly string[],
  o: number,
): readonly string[] {
  const scope: CudaScope = { variables: indexScope({ r: "r" }, ranges) };
  const at = (access: Access): ElementText =>
    elementText(
      {
        ...access,
        offset: simplify(substitute(access.offset, { o: literal(o) }), ranges),
        valid: simplify(substitute(access.valid, { o: literal(o) }), ranges),
      },
      operands,
      names,
      { along: "n", width: 1, ranges },
    );
  const elements = epilogue.elements.map(at);
  const values = elements.map((text, index) => elementValue(text, `e${index}`));
  const scalar = substitute(epilogue.body, { o: literal(o) });
  const known = [{ type: "float", text: `sum[${o}]` } as const, ...values];
  const body = printCudaLocals([{ scalar, as: "float" }], { ...scope, arguments: known }, "t");
  return [
    ...elements.flatMap((text, index) => loadForEach(text, `e${index}`, scope)),
    ...body.statements,
    `const float value = ${body.values[0] ?? "0.0f"};`,
    ...stores.map(at).map((text) => storeOne(text, "value", scope)),
  ];
}

const isRagged = ({ space }: PerceptronKernel, { blocksPerExample, rowsPerBlock }: PerceptronPlan): boolean =>
  blocksPerExample * rowsPerBlock !== space.rows;

function placeOf(kernel: PerceptronKernel, plan: PerceptronPlan, of: BlockName): readonly string[] {
  const { batched, rows } = kernel.space;
  const { blocksPerExample, rowsPerBlock } = plan;
  const moved = batched && kernel.operands.some(({ exampleStride }) => exampleStride > 0);
  const block = !batched ? of : `${of} % ${blocksPerExample}`;
  const row = `${block} * ${rowsPerBlock} + threadIdx.x / THREADS`;
  const ragged = isRagged(kernel, plan);
  return [
    ...(moved ? [`const int example = ${of} / ${blocksPerExample};`] : []),
    ...(ragged ? [`const bool inside = ${row} < ${rows};`] : []),
    `[[maybe_unused]] const int r = ${ragged ? `inside ? ${row} : ${rows - 1}` : row};`,
  ];
}
