import { partName } from "../schedule/attention/groups.ts";
import { pairRanges } from "../schedule/attention/keep.ts";
import type { AttentionPlan, Job } from "../schedule/attention/plan.ts";
import type { AttentionKernel } from "../schedule/kernels.ts";
import { variablesOf } from "../../ir/scalarWalk.ts";
import type { Ranges } from "../../ir/scalarRange.ts";
import type { Scalar } from "../../ir/scalar.ts";
import type { StorageType, TensorType } from "../../ir/types.ts";
import type { CudaScope, CudaVariable } from "./cudaTypes.ts";

/** What a job's struct is printed from, and what has been found to be needed while printing it. */
export type JobText = {
  readonly kernel: AttentionKernel;
  readonly plan: AttentionPlan;
  readonly job: Job;
  readonly operandNames: ReadonlyMap<number, string>;
  readonly needs: Needs;
  /** Pointers of the thread block, by name. */
  readonly pointers: Map<string, BlockField>;
  /** Functions of the struct that others call. */
  readonly functions: string[];
};
/** Variables that are read: of the thread block (`head`, `column`, `first`, `tile`, `part.AXIS`), of a query and of a key. */
export type Needs = { readonly block: Set<string>; readonly q: Set<string>; readonly k: Set<string> };
/** A variable of the kernel or a member of the struct Block, with its value. */
export type BlockField = { readonly type: string; readonly name: string; readonly value: string };

export type SideName = "q" | "k";
export const tokenName = (side: SideName): "query" | "key" => (side === "q" ? "query" : "key");
export const tokenType = (side: SideName): "Query" | "Key" => (side === "q" ? "Query" : "Key");
export const typeOfSide = (kernel: AttentionKernel, side: SideName): TensorType =>
  side === "q" ? kernel.query : kernel.key;

export const cudaElement: { readonly [S in StorageType]: string } = {
  f32: "float",
  f16: "f16",
  bf16: "bf16",
  i32: "int32_t",
  u8: "uint8_t",
};

/** The member of a token that holds its position on an axis. */
export const fieldOf = (axis: string): string => (reserved.has(axis) ? `${axis}_axis` : axis);
const reserved: ReadonlySet<string> = new Set(
  "exists is_prefix prefix group first head tile column float int long short double char auto bool half".split(" "),
);

/** The variables of an access: coordinates of the token, `prefix`, `head` and `c`. */
export const tokenScope = ({ kernel }: JobText, side: SideName, columns: number): CudaScope => {
  const type = typeOfSide(kernel, side);
  const token = tokenName(side);
  const variables: { [name: string]: CudaVariable } = {
    prefix: { type: "int", text: `${token}.prefix`, min: 0, max: Math.max(0, type.prefix.count - 1) },
    head: headVariable(kernel),
    c: { type: "int", text: "c", min: 0, max: columns - 1 },
    isPrefix: { type: "bool", text: `${token}.is_prefix` },
  };
  for (const { axis, size } of type.axes)
    variables[axis] = { type: "int", text: `${token}.${fieldOf(axis)}`, min: 0, max: size - 1 };
  return { variables };
};

const headVariable = ({ heads }: AttentionKernel): CudaVariable => ({
  type: "int",
  text: "block.head",
  min: 0,
  max: heads - 1,
});

/** The variables of a predicate or a score: `s`, `head` and those of the query and the key. */
export const pairScope = ({ kernel, job }: JobText): CudaScope => {
  const variables: { [name: string]: CudaVariable } = { s: { type: "float", text: "s" }, head: headVariable(kernel) };
  for (const side of ["q", "k"] as const) {
    const most = Math.max(0, typeOfSide(kernel, side).prefix.count - 1);
    variables[`${side}.prefix`] = { type: "int", text: `${tokenName(side)}.prefix`, min: 0, max: most };
  }
  for (const [name, { min, max }] of Object.entries(pairRanges(job.query.tokens, job.key.tokens))) {
    const { side, field } = pairVariable(name);
    const token = tokenName(side);
    if (field === "isPrefix") variables[name] = { type: "bool", text: `${token}.is_prefix` };
    else variables[name] = { type: "int", text: `${token}.${fieldOf(field)}`, min, max };
  }
  const tables = kernel.tables.map((_, index) => ({
    type: "float" as const,
    element: (at: readonly string[]): string => `table${index}(${["block", ...at].join(", ")})`,
  }));
  return { variables, tables };
};

const pairVariable = (name: string): { readonly side: SideName; readonly field: string } => ({
  side: name.startsWith("q.") ? "q" : "k",
  field: name.slice(2),
});

/** The variables of a thread block, and `slot`, `place` and others that are what they are called. */
export const blockScope = ({ job }: JobText, ranges: Ranges): CudaScope => {
  const variables: { [name: string]: CudaVariable } = {};
  for (const [name, { min, max }] of Object.entries(ranges)) {
    const ofBlock = name === "first" || name === "length" || name.startsWith("part.");
    variables[name] = { type: "int", text: ofBlock ? `block.${blockMember(job, name)}` : name, min, max };
  }
  return { variables };
};

/** The member of Block for `first` or `part.AXIS`. */
export const blockMember = ({ groups }: Job, name: string): string => {
  const found = groups.axes.find(({ axis }) => partName(axis) === name);
  if (found === undefined) return name;
  const names = {
    same: found.axis,
    window: `window_${found.axis}`,
    residue: `phase_${found.axis}`,
    tile: `tile_${found.axis}`,
  };
  return fieldOf(names[found.part.kind]);
};

export const needOfBlock = ({ needs }: JobText, expr: Scalar): void => {
  for (const name of variablesOf(expr))
    if (name === "first" || name === "length" || name.startsWith("part.")) needs.block.add(name);
};

/** Notes what an expression of a token's coordinates reads. */
export const needOfToken = ({ needs }: JobText, side: SideName, expr: Scalar): void => {
  for (const name of variablesOf(expr)) {
    if (name === "head") needs.block.add(name);
    else if (name !== "c") needs[side].add(name);
  }
};

/** Notes what an expression of a query and a key reads. */
export const needOfPair = ({ needs }: JobText, expr: Scalar): void => {
  for (const name of variablesOf(expr)) {
    if (name === "head") needs.block.add(name);
    else if (name !== "s") {
      const { side, field } = pairVariable(name);
      needs[side].add(field);
    }
  }
};

/** Whether some slots of the side have no token; the token then says so. */
export const mayLack = ({ job, needs }: JobText, side: SideName): boolean => {
  const { exists } = (side === "q" ? job.query : job.key).slot;
  const always = exists.kind === "number" && exists.value === 1;
  if (!always) needs[side].add("exists");
  return !always;
};

export const isTrue = (expr: Scalar): boolean => expr.kind === "number" && expr.value === 1;

/** A function on one line where it fits. */
export const functionText = (signature: string, lines: readonly string[]): string => {
  const [only = ""] = lines;
  if (lines.length === 1 && signature.length + only.length < 112) return `${signature} { ${only} }`;
  return `${signature} {\n${lines.map((line) => `  ${line}`).join("\n")}\n}`;
};
