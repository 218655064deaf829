import type { Scalar } from "../../ir/scalar.ts";
import { literal, sub } from "../../ir/scalarBuild.ts";
import { below, rangeOf, type Ranges } from "../../ir/scalarRange.ts";
import { isDivisible, linearIn } from "../../ir/scalarRuns.ts";
import { simplify } from "../../ir/scalarSimplify.ts";
import { variablesOf } from "../../ir/scalarWalk.ts";
import { bytesOf, type StorageType, type TensorType } from "../../ir/types.ts";
import type { Access, AttentionKernel, TokenAccess } from "../schedule/kernels.ts";
import { fitsInt, type CudaType } from "./cudaTypes.ts";

/** How the rows of q, k, v or the result are read or written. */
export type RowAccess = {
  readonly role: Role;
  readonly grid: Part | null;
  readonly prefix: Part | null;
  /** Bytes of a piece that every row can be copied in; null: element by element. */
  readonly granule: 16 | 8 | 4 | null;
};
export type Role = "q" | "k" | "v" | "out";

/** Where the grid's tokens lie, or the prefix tokens. */
export type Part = {
  readonly operand: number;
  readonly storage: StorageType;
  /** Elements that the head adds to where a row starts; null where `row` holds the head. */
  readonly headStep: number | null;
  /** Elements from the operand's start (and the head's columns) to a row, in coordinates, `prefix` and maybe `head`; with `c` where it is no run of elements. */
  readonly row: Scalar;
  readonly type: CudaType;
  readonly valid: Scalar;
  readonly fill: number;
};

type Shape = { readonly type: TensorType; readonly columns: number };

export const tokenRanges = (type: TensorType, heads: number, columns: number): Ranges => ({
  prefix: below(Math.max(1, type.prefix.count)),
  ...Object.fromEntries(type.axes.map(({ axis, size }) => [axis, below(size)])),
  head: below(heads),
  c: below(columns),
});

/** `columnStep`: thread blocks take parts of the head's columns that start at its multiples; "ragged" where the last part is shorter. */
export const rowAccess = (
  kernel: AttentionKernel,
  role: Role,
  shape: Shape,
  columnStep: number | "ragged",
  used: { readonly grid: boolean; readonly prefix: boolean },
): RowAccess => {
  const access: TokenAccess = kernel[role];
  const ranges = tokenRanges(shape.type, kernel.heads, shape.columns);
  const parts = {
    grid: used.grid ? partOf(kernel, access.grid, ranges) : null,
    prefix: used.prefix && access.prefix !== null ? partOf(kernel, access.prefix, ranges) : null,
  };
  const pieces = [parts.grid, parts.prefix].flatMap((part) =>
    part === null ? [] : [granuleOf(kernel, part, role, shape, columnStep, ranges)],
  );
  const smallest = pieces.reduce<16 | 8 | 4 | null>(
    (least, each) => (least === null || each === null ? null : each < least ? each : least),
    16,
  );
  const granule = pieces.length === 0 ? null : smallest;
  const asElements = (part: Part | null, of: Access | null): Part | null =>
    part === null || of === null || granule !== null ? part : elementPart(kernel, of, ranges);
  return { role, granule, grid: asElements(parts.grid, access.grid), prefix: asElements(parts.prefix, access.prefix) };
};

const operandOf = (kernel: AttentionKernel, { operand }: Access): AttentionKernel["operands"][number] => {
  const found = kernel.operands[operand];
  if (found === undefined) throw new RangeError(`operand ${operand} of ${kernel.operands.length}`);
  return found;
};

const intType = (expr: Scalar, ranges: Ranges): CudaType => (fitsInt(rangeOf(expr, ranges)) ? "int" : "long");

const partOf = (kernel: AttentionKernel, access: Access, ranges: Ranges): Part => {
  const whole = elementPart(kernel, access, ranges);
  const inColumn = linearIn(whole.row, "c", ranges);
  if (inColumn === undefined || inColumn.coefficient !== 1) return whole;
  const inHead = linearIn(inColumn.rest, "head", ranges);
  const row = inHead === undefined ? inColumn.rest : inHead.rest;
  return { ...whole, headStep: inHead === undefined ? null : inHead.coefficient, row, type: intType(row, ranges) };
};

const elementPart = (kernel: AttentionKernel, access: Access, ranges: Ranges): Part => {
  const row = simplify(access.offset, ranges);
  return {
    operand: access.operand,
    storage: operandOf(kernel, access).storage,
    headStep: null,
    row,
    type: intType(row, ranges),
    valid: simplify(access.valid, ranges),
    fill: access.fill,
  };
};

const granuleOf = (
  kernel: AttentionKernel,
  part: Part,
  role: Role,
  { columns }: Shape,
  columnStep: number | "ragged",
  ranges: Ranges,
): 16 | 8 | 4 | null => {
  if (
    columnStep === "ragged" ||
    part.storage !== kernel.precision ||
    variablesOf(part.row).has("c") ||
    variablesOf(part.valid).has("c")
  )
    return null;
  const always = part.valid.kind === "number" && part.valid.value === 1;
  if (role !== "out" && !always && part.fill !== 0) return null;
  const bytes = bytesOf[part.storage];
  const stride = kernel.operands[part.operand]?.exampleStride ?? 0;
  for (const granule of [16, 8, 4] as const) {
    const elements = granule / bytes;
    const aligned = [columns, columnStep, stride, part.headStep ?? 0].every((each) => each % elements === 0);
    if (aligned && isDivisible(part.row, elements, ranges)) return granule;
  }
  return null;
};

/** Elements from the rows of `a` to those of `b`, where that is one number for all tokens; undefined where it is not. */
export const distance = (a: RowAccess, b: RowAccess, ranges: Ranges): number | undefined => {
  if (a.granule === null || a.granule !== b.granule) return undefined;
  const steps = (["grid", "prefix"] as const).flatMap((kind) => {
    const [left, right] = [a[kind], b[kind]];
    return left === null && right === null
      ? []
      : [left !== null && right !== null ? partDistance(left, right, ranges) : undefined];
  });
  return steps.every((step) => step === steps[0]) ? steps[0] : undefined;
};

const partDistance = (a: Part, b: Part, ranges: Ranges): number | undefined => {
  const same = a.operand === b.operand && a.headStep === b.headStep && isZero(sub(a.valid, b.valid), ranges);
  const step = simplify(sub(b.row, a.row), ranges);
  return same && step.kind === "number" ? step.value : undefined;
};

const isZero = (expr: Scalar, ranges: Ranges): boolean => {
  const simple = simplify(expr, ranges);
  return simple.kind === "number" && simple.value === 0;
};

/** The part's row without a constant, which goes into the pointer that rows are counted from. */
export const withoutConstant = (part: Part, constant: number, ranges: Ranges): Scalar =>
  simplify(sub(part.row, literal(constant)), ranges);

/** What the row is where all its variables are 0: what can go into the pointer. */
export const constantOf = (part: Part, ranges: Ranges): number => {
  const zero = Object.fromEntries([...variablesOf(part.row)].map((name) => [name, { min: 0, max: 0 }]));
  const at = simplify(part.row, { ...ranges, ...zero });
  return at.kind === "number" ? at.value : 0;
};
