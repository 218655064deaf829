import type { BlockCount } from "../../ir/program.ts";
import type { EmittedKernel, JointKernel, JointPart, KernelFamily, KernelHeader } from "../schedule/kernels.ts";
import { written } from "../schedule/mapPlan.ts";
import { declaration } from "./elementText.ts";
import { headerComment } from "./headerComment.ts";
import { emitPerceptron } from "./perceptron.ts";
import { blocksText } from "./products.ts";
import { renderTemplate } from "./render.ts";
import { emitSample } from "./sample.ts";

/** What templates/sample/joint.cu.njk prints. Fields are C++ text unless they are numbers. */
type JointView = {
  readonly header: string;
  readonly name: string;
  readonly includes: readonly string[];
  readonly threads: number;
  readonly parameters: readonly string[];
  readonly parts: readonly {
    readonly name: string;
    readonly comment: readonly string[];
    readonly source: string;
    /** How many blocks it takes. */
    readonly blocks: string;
    readonly arguments: string;
  }[];
};

/** Samplings and perceptrons in one launch: each is what it would be alone. */
export const emitJoint: KernelFamily<JointKernel> = (kernel: JointKernel, header: KernelHeader): EmittedKernel => {
  const parts = kernel.parts.map((part, number) => ({ part, emitted: emitPart(part, { ...header, name: `part_${number}` }) })); // prettier-ignore
  const [, ...others] = parts.map(({ emitted }) => emitted.threads);
  const threads = parts[0]?.emitted.threads ?? 0;
  if (others.some((each) => each !== threads)) throw new Error("internal: kernels of one launch want different blocks");
  const notes = parts.map(({ emitted }, number) => `Part ${number}: ${emitted.notes.join(" ")}`);
  const formulas = header.origin.formula.split("\n");
  const batched = kernel.parts.some(({ kernel: { space } }) => space.batched);
  const isWritten = new Set(
    kernel.parts.flatMap(({ kernel: own, operands }) =>
      [...written(own.stores)].flatMap((operand) => operands[operand] ?? []),
    ),
  );
  const nameOf = (operand: number): string => `${isWritten.has(operand) ? "y" : "x"}${operand}`;
  const view: JointView = {
    header: headerComment(header, ["The blocks of one part stand behind those of another.", ...notes]),
    name: header.name,
    includes: [...new Set(kernel.parts.map(({ kernel: own }) => includeOf[own.kind]))],
    threads,
    parameters: [
      ...kernel.operands.map((operand, index) => declaration(nameOf(index), operand, isWritten.has(index))),
      ...(batched ? ["int batch"] : []),
    ],
    parts: parts.map(({ part, emitted }, number) => ({
      name: `part_${number}`,
      comment: formulas.length === parts.length ? formulas.slice(number, number + 1) : [],
      source: emitted.source,
      blocks: blocksText(emitted.grid[0]),
      arguments: ["smem", "block", ...part.operands.map(nameOf)].join(", "),
    })),
  };
  const one: BlockCount = { factor: 1, fixed: 1, perExample: 0, divisor: 1 };
  return {
    source: renderTemplate("sample/joint.cu.njk", view),
    threads,
    sharedBytes: Math.max(...parts.map(({ emitted }) => emitted.sharedBytes)),
    grid: [parts.map(({ emitted }) => emitted.grid[0]).reduceRight((plus, first) => ({ ...first, plus })), one, one],
    parameters: [
      ...kernel.operands.map((_, operand) => ({ kind: "operand", operand }) as const),
      ...(batched ? [{ kind: "batch" } as const] : []),
    ],
    notes,
  };
};

const includeOf = { sample: "sample/sample.cuh", perceptron: "row/row.cuh" } as const;

const emitPart = ({ kernel }: JointPart, header: KernelHeader): EmittedKernel =>
  kernel.kind === "sample"
    ? emitSample(kernel, header, undefined, { kind: "gather", reason: null }, "block")
    : emitPerceptron(kernel, header, "block");
