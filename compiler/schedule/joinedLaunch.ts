import type { Linear } from "../../ir/program.ts";
import type { FusedKernel, Operand } from "./kernels.ts";
import type { Launch } from "./lower/context.ts";
import type { Source } from "./lower/memory.ts";

/** What launches that become one have in common, whatever their kernels are. */

/** Whether one reads or writes what the other writes. */
export const meet = (a: Launch | undefined, b: Launch): boolean =>
  a !== undefined &&
  (a.writes.some((buffer) => b.reads.includes(buffer) || b.writes.includes(buffer)) ||
    b.writes.some((buffer) => a.reads.includes(buffer)));

/** Operands of several launches, each piece of memory once. */
export const shareOperands = (): {
  readonly operands: readonly Operand[];
  readonly sources: readonly Source[];
  /** The numbers of a launch's operands among all; they are added where they are new. */
  readonly numbersOf: (launch: Launch) => readonly number[];
} => {
  const operands: Operand[] = [];
  const sources: Source[] = [];
  const keys: string[] = [];
  const numbersOf = ({ kernel, sources: own }: Launch): readonly number[] =>
    kernel.operands.map((operand, i) => {
      const source = own[i];
      if (source === undefined) throw new Error("internal: an operand without a source");
      const key = JSON.stringify(source);
      if (!keys.includes(key)) {
        keys.push(key);
        operands.push(operand);
        sources.push(source);
      }
      return keys.indexOf(key);
    });
  return { operands, sources, numbersOf };
};

/** One launch for several, whose formulas stand below each other. */
export const joinedLaunch = (members: readonly Launch[], kernel: FusedKernel, sources: readonly Source[]): Launch => {
  const [first] = members;
  if (first === undefined) throw new Error("internal: no launches to join");
  return {
    kernel,
    sources,
    weights: members.flatMap(({ weights }) => weights),
    reads: members.flatMap(({ reads }) => reads),
    writes: members.flatMap(({ writes }) => writes),
    inPlace: [],
    stage: first.stage,
    origin: { ...first.origin, formula: members.map(({ origin }) => origin.formula).join("\n") },
    shapes: members.flatMap(({ shapes }) => shapes),
    work: {
      flops: sumOf(members.map(({ work }) => work.flops)),
      readBytes: sumOf(members.map(({ work }) => work.readBytes)),
      writeBytes: sumOf(members.map(({ work }) => work.writeBytes)),
    },
  };
};

const sumOf = (parts: readonly Linear[]): Linear => ({
  fixed: parts.reduce((all, { fixed }) => all + fixed, 0),
  perExample: parts.reduce((all, { perExample }) => all + perExample, 0),
});
