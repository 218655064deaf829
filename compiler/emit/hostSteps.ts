import type { Argument, BlockCount, BufferRef, Program, Step } from "../../ir/program.ts";
import { InternalError } from "../diagnostics.ts";

/** A launch as templates/host/launches.c.njk prints it. */
export type StepView = {
  readonly index: number;
  readonly kernel: number;
  readonly name: string;
  readonly comment: string;
  readonly formula: readonly string[];
  readonly grid: string;
  readonly arguments: readonly { readonly type: string; readonly name: string; readonly value: string }[];
  /** Without what C adds behind the last one. */
  readonly argumentBytes: number;
};

export function stepView(step: Step, index: number, numbers: ReadonlyMap<string, number>, program: Program): StepView {
  const kernel = numbers.get(step.kernel);
  if (kernel === undefined) throw new InternalError(`step ${index} launches "${step.kernel}", which is no kernel`);
  const { origin } = step;
  const place = origin.file === "" ? "" : ` (${origin.file}:${origin.line})`;
  return {
    index,
    kernel,
    name: step.kernel,
    comment: `${step.kernel}${origin.path === "" ? "" : `, ${origin.path}`}${place}`,
    formula: origin.formula.split("\n").filter((line) => line.trim() !== ""),
    grid: step.grid.map(blocks).join(", "),
    arguments: step.arguments.map((argument, position) => ({
      type: argument.kind === "batch" ? "int32_t" : "CUdeviceptr",
      name: `a${position}`,
      value: argument.kind === "batch" ? "batch" : addressText(argument.buffer, argument.offset, program),
    })),
    argumentBytes: argumentBytes(step.arguments),
  };
}

/** factor * ceil((fixed + perExample * n) / divisor), with as little of it as there is. */
function blocks({ plus, ...first }: BlockCount): string {
  return plus === undefined ? blocksOf(first) : `${blocksOf(first)} + ${blocks(plus)}`;
}

function blocksOf({ factor, fixed, perExample, divisor }: BlockCount): string {
  if (perExample === 0) return String(factor * Math.ceil(fixed / divisor));
  const count = `${fixed === 0 ? "" : `${fixed} + `}${perExample === 1 ? "n" : `${perExample} * n`}`;
  const parts = divisor === 1 ? count : `(${count} + ${divisor - 1}) / ${divisor}`;
  if (factor === 1) return parts;
  return `${factor} * (${parts})`;
}

export function addressText(buffer: BufferRef, offset: number, { outputs }: Program): string {
  const bytes = (count: number): string => (count === 0 ? "" : ` + ${count}`);
  switch (buffer.space) {
    case "activations":
      return `activations${buffer.offset === 0 ? "" : ` + UINT64_C(${buffer.offset}) * n`}${bytes(offset)}`;
    case "shared":
    case "weights":
      return `${buffer.space}${bytes(buffer.offset + offset)}`;
    case "input":
      return `inputs[${buffer.index}]${bytes(offset)}`;
    case "output":
      return `outputs[${buffer.index}]${bytes(offset)}`;
    case "kept":
      return `outputs[${outputs.length + buffer.index}]${bytes(offset)}`;
  }
}

/** As in a C struct, each aligned to its own size. */
function argumentBytes(list: readonly Argument[]): number {
  let end = 0;
  for (const { kind } of list) {
    const size = kind === "batch" ? 4 : 8;
    end = Math.ceil(end / size) * size + size;
  }
  return end;
}
