import type { Scalar } from "../../ir/scalar.ts";
import { variablesOf } from "../../ir/scalarWalk.ts";
import { invariant } from "../diagnostics.ts";
import {
  functionText,
  mayLack,
  needOfPair,
  pairScope,
  tokenName,
  tokenType,
  type JobText,
  type SideName,
} from "./attentionText.ts";
import { printCuda } from "./cudaScalar.ts";
import type { CudaScope } from "./cudaTypes.ts";

/** What templates/attention/bias.cuh takes of a bias of relative places. Fields are C++ text or numbers. */
export type BiasView = {
  readonly count: number;
  readonly queryCode: string;
  readonly keyCode: string;
  /** In `i`: the address of an element of the head's table. */
  readonly at: string;
};

export const biasView = (text: JobText): BiasView | null => {
  const { kernel, job, pointers, operandNames } = text;
  const { bias } = job;
  if (bias === null) return null;
  const access = kernel.tables[bias.table];
  invariant(access !== undefined, `table ${bias.table} of ${kernel.tables.length} is read`);
  const exampleStride = kernel.operands[access.operand]?.exampleStride ?? 0;
  const terms = [
    operandNames.get(access.operand) ?? "?",
    ...(kernel.batched && exampleStride > 0 ? [`example * ${exampleStride}`] : []),
    ...(bias.headStep > 0 && kernel.heads > 1 ? [bias.headStep === 1 ? "head" : `head * ${bias.headStep}`] : []),
  ];
  pointers.set("bias", { type: "const float*", name: "bias", value: terms.join(" + ") });
  return {
    count: bias.count,
    queryCode: codeFunction(text, "q", bias.query, bias.noQuery),
    keyCode: codeFunction(text, "k", bias.key, bias.noKey),
    at: bias.stride === 1 ? "block.bias + i" : `block.bias + i * ${bias.stride}`,
  };
};

/** `query_code` and `key_code`: of a slot of the thread block. */
const codeFunction = (text: JobText, side: SideName, code: Scalar, none: number): string => {
  const { job, needs } = text;
  const token = tokenName(side);
  const { tokens } = side === "q" ? job.query : job.key;
  needOfPair(text, code);
  if (variablesOf(code).has(`${side}.group`)) needs[side].add("group");
  const scope: CudaScope = {
    ...pairScope(text),
    variables: {
      ...pairScope(text).variables,
      [`${side}.group`]: { type: "int", text: `${token}.group`, min: 0, max: job.groupsPerBlock - 1 },
    },
  };
  // A query that there is not reads what the last one reads, and its result goes nowhere.
  const clamped = side === "q" && job.groupsPerBlock === 1 && tokens.count < job.query.layout.unitSlots;
  const slot = clamped ? `slot < ${tokens.count} ? slot : ${tokens.count - 1}` : "slot";
  const value = printCuda(code, scope, "int");
  return functionText(`static DEV_FN int ${token}_code(const Block& block, int slot)`, [
    `const ${tokenType(side)} ${token} = ${token}_at(block, ${slot});`,
    `return ${mayLack(text, side) ? `${token}.exists ? ${value} : ${none}` : value};`,
  ]);
};
