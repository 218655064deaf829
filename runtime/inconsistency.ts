import type { Argument, BufferRef, Port, Program, Weight, WeightExpr } from "../ir/program.ts";
import { bytesOf } from "../ir/types.ts";
import { weightParts, weightShape } from "../ir/weightShape.ts";

/** What in a program would lead a launch out of its memory, or to a kernel or a parameter that is not there. */
export const inconsistency = (program: Program): string | null => {
  const { memory, weights, kernels, steps, loop, parameters, batch } = program;
  if (batch.min > batch.max) return `its batches are ${batch.min}..${batch.max}`;
  const known = new Set(parameters.map(({ name }) => name));
  for (const weight of weights) {
    if (weight.offset + weight.bytes > memory.weights)
      return `weight "${weight.name}" lies outside of the weights' memory`;
    const problem = problemOf(weight, known);
    if (problem !== null) return `weight "${weight.name}" ${problem}`;
  }
  for (const [space, ports] of [
    ["input", program.inputs],
    ["output", program.outputs],
    ["kept", program.kept],
  ] as const)
    for (const [index, { name, buffer }] of ports.entries())
      if (buffer.space !== space || buffer.index !== index) return `"${name}" is not ${space} ${index}`;
  const names = new Set(kernels.map((kernel) => kernel.name));
  for (const [index, step] of steps.entries()) {
    if (!names.has(step.kernel)) return `step ${index} launches "${step.kernel}", which is no kernel of it`;
    if (step.arguments.some((argument) => isOutside(argument, program)))
      return `step ${index} (${step.kernel}) has an argument outside of the program's memory`;
  }
  if (loop !== null) {
    const isRange = loop.from < loop.to && loop.to <= steps.length;
    if (!isRange) return `its loop takes steps ${loop.from} to ${loop.to} of ${steps.length}`;
    if (isOutside({ kind: "buffer", buffer: loop.flag, offset: 0 }, program))
      return "its loop's flag lies outside of the program's memory";
  }
  return null;
};

const isOutside = (argument: Argument, program: Program): boolean => {
  if (argument.kind === "batch") return false;
  const { buffer, offset } = argument;
  switch (buffer.space) {
    case "activations":
      return buffer.offset + buffer.bytesPerExample > program.memory.activations || offset > buffer.bytesPerExample;
    case "shared":
    case "weights":
      return buffer.offset + buffer.bytes > program.memory[buffer.space] || offset > buffer.bytes;
    case "input":
    case "output":
    case "kept":
      return portFor(buffer, program) === undefined;
  }
};

const portFor = (
  { space, index }: Extract<BufferRef, { readonly index: number }>,
  { inputs, outputs, kept }: Program,
): Port | undefined => ({ input: inputs, output: outputs, kept })[space][index];

/** More than any weight has: what asks for it would fill the memory. */
const mostElements = 2 ** 32;

const problemOf = ({ value, storage, bytes }: Weight, known: ReadonlySet<string>): string | null => {
  try {
    const unknown = parametersOf(value).find((name) => !known.has(name));
    if (unknown !== undefined) return `reads "${unknown}", which is no parameter of it`;
    if (elementsOf(value) * bytesOf[storage] !== bytes) return "is not as large as its memory";
    return largestOf(value) > mostElements ? "is made of more than there can be" : null;
  } catch {
    return "names an axis that is not there";
  }
};

const elementsOf = (value: WeightExpr): number => weightShape(value).reduce((count, size) => count * size, 1);

const parametersOf = (value: WeightExpr): readonly string[] =>
  value.kind === "parameter" ? [value.name] : weightParts(value).flatMap(parametersOf);

const largestOf = (value: WeightExpr): number => Math.max(elementsOf(value), ...weightParts(value).map(largestOf));
