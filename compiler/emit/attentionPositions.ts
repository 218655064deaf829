import type { Scalar } from "../../ir/scalar.ts";
import { add, literal, mul, sub, variable } from "../../ir/scalarBuild.ts";
import { below, rangeOf, type Ranges } from "../../ir/scalarRange.ts";
import { isDivisible, linearIn } from "../../ir/scalarRuns.ts";
import { simplify } from "../../ir/scalarSimplify.ts";
import { bytesOf } from "../../ir/types.ts";
import { invariant } from "../diagnostics.ts";
import { positionRows, rowBytes } from "../schedule/attention/tiles.ts";
import type { Access } from "../schedule/kernels.ts";
import { asFloat } from "./attentionRows.ts";
import { cudaElement, type JobText } from "./attentionText.ts";
import { printCuda } from "./cudaScalar.ts";
import { fitsInt, type CudaVariable } from "./cudaTypes.ts";

/** The tables of relative positions, and how a thread block of one head loads its own. Fields are C++ text or numbers. */
export type PositionsView = {
  readonly rows: number;
  readonly terms: readonly PositionTerm[];
  readonly has: { readonly query: boolean; readonly key: boolean; readonly value: boolean };
};
type PositionTerm = {
  readonly role: "query" | "key" | "value";
  /** The row of the table in memory, in `row` of the one in shared memory, and whether there is one. */
  readonly at: string;
  readonly size: number;
  readonly byRow: boolean;
  readonly rowBytes: number;
  readonly copy: string;
  readonly columns: number;
  /** Where row `at` begins; or its element `c`, as a number. */
  readonly place: string;
};

export const positionsView = (text: JobText): PositionsView | null => {
  const { kernel, plan, job } = text;
  const { positions } = kernel;
  if (positions === null) return null;
  invariant(plan.valueParts === 1, "values of one row are shared out to several thread blocks, with positions");
  const { size } = positions;
  // Rows are counted from the thread block's first query.
  const streamed = job.tiles.kind === "stream";
  if (streamed) text.needs.block.add("tile");
  const first = streamed ? mul(variable("tile"), 16 * plan.warps) : literal(0);
  const queryRows = positionRows(job.tiles) - job.tiles.keySlots;
  const row = variable("row");
  const behind = add(sub(row, job.tiles.keySlots - size + 1), first);
  const before = sub(sub(row, queryRows - size + 1), first);
  const terms = [
    term(text, "query", positions.query, kernel.headDim, behind),
    term(text, "key", positions.key, kernel.headDim, before),
    term(text, "value", positions.value, plan.valueColumns, behind),
  ].flatMap((each) => each ?? []);
  const has = (role: PositionTerm["role"]): boolean => terms.some((each) => each.role === role);
  return {
    rows: positionRows(job.tiles),
    terms,
    has: { query: has("query"), key: has("key"), value: has("value") },
  };
};

const term = (
  text: JobText,
  role: PositionTerm["role"],
  access: Access | null,
  columns: number,
  at: Scalar,
): PositionTerm | null => {
  if (access === null) return null;
  const { kernel, job, plan } = text;
  const size = 2 * (kernel.positions?.size ?? 1) - 1;
  const rows: Ranges = { row: below(positionRows(job.tiles)), tile: below(job.queryTiles) };
  const variables: { readonly [name: string]: CudaVariable } = {
    row: { type: "int", text: "row", min: 0, max: positionRows(job.tiles) - 1 },
    tile: { type: "int", text: "block.tile", min: 0, max: job.queryTiles - 1 },
  };
  const shared = {
    role,
    at: printCuda(simplify(at, rows), { variables }, "int"),
    size,
    columns,
    rowBytes: rowBytes(columns, kernel.precision),
  };
  const granule = granuleOf(text, access, columns, size);
  if (granule === null) {
    return { ...shared, byRow: false, copy: "", place: element(text, role, access, columns, size) };
  }
  const { pointer, rowStep } = pointerOf(text, role, access, columns, size);
  invariant(plan.valueParts === 1, "rows are whole");
  const offset = rowStep === 1 ? "at" : `at * ${rowStep}`;
  return {
    ...shared,
    byRow: true,
    copy: `RowCopy<${columns * bytesOf[kernel.precision]}, ${granule}>`,
    place: `(const uint8_t*)(block.${pointer} + ${offset})`,
  };
};

const tableRanges = ({ kernel }: JobText, columns: number, size: number): Ranges => ({
  head: below(kernel.heads),
  row: below(size),
  c: below(columns),
});

/** Elements from a head to the next and from a row to the next, where channels are neighbours; null where they are not. */
const steps = (
  access: Access,
  ranges: Ranges,
): { readonly head: number; readonly row: number; readonly base: number } | null => {
  const inColumn = linearIn(access.offset, "c", ranges);
  if (inColumn === undefined || inColumn.coefficient !== 1) return null;
  const inRow = linearIn(inColumn.rest, "row", ranges);
  const inHead = inRow && linearIn(inRow.rest, "head", ranges);
  if (inRow === undefined || inHead === undefined) return null;
  const base = simplify(inHead.rest, ranges);
  const always = access.valid.kind === "number" && access.valid.value === 1;
  return base.kind === "number" && always
    ? { head: inHead.coefficient, row: inRow.coefficient, base: base.value }
    : null;
};

const granuleOf = (text: JobText, access: Access, columns: number, size: number): 16 | 8 | 4 | null => {
  const { kernel } = text;
  const operand = kernel.operands[access.operand];
  const found = steps(access, tableRanges(text, columns, size));
  if (operand?.storage !== kernel.precision || found === null) return null;
  const bytes = bytesOf[operand.storage];
  const pieces = [16, 8, 4] as const;
  return (
    pieces.find((granule) =>
      [columns, found.head, found.row, found.base].every((each) => isDivisible(literal(each), granule / bytes, {})),
    ) ?? null
  );
};

const pointerOf = (
  text: JobText,
  role: PositionTerm["role"],
  access: Access,
  columns: number,
  size: number,
): { readonly pointer: string; readonly rowStep: number } => {
  const { kernel, pointers, operandNames } = text;
  const found = steps(access, tableRanges(text, columns, size));
  invariant(found !== null, "a table of positions has rows");
  const pointer = `${role}_positions`;
  const terms = [
    operandNames.get(access.operand) ?? "?",
    ...(found.head > 0 && kernel.heads > 1 ? [`head * ${found.head}`] : []),
    ...(found.base === 0 ? [] : [String(found.base)]),
  ];
  pointers.set(pointer, { type: "const Element*", name: pointer, value: terms.join(" + ") });
  return { pointer, rowStep: found.row };
};

const element = (text: JobText, role: PositionTerm["role"], access: Access, columns: number, size: number): string => {
  const { kernel, pointers, operandNames, needs } = text;
  const operand = kernel.operands[access.operand];
  invariant(operand !== undefined, `operand ${access.operand} of ${kernel.operands.length} is read`);
  needs.block.add("head");
  const name = `${role}_positions`;
  const value = operandNames.get(access.operand) ?? "?";
  pointers.set(name, { type: `const ${cudaElement[operand.storage]}*`, name, value });
  const ranges = tableRanges(text, columns, size);
  const offset = simplify(access.offset, ranges);
  const variables: { readonly [name: string]: CudaVariable } = {
    head: { type: "int", text: "block.head", min: 0, max: kernel.heads - 1 },
    row: { type: "int", text: "at", min: 0, max: size - 1 },
    c: { type: "int", text: "c", min: 0, max: columns - 1 },
  };
  const place = printCuda(offset, { variables }, fitsInt(rangeOf(offset, ranges)) ? "int" : "long");
  return asFloat(operand, `ld_nc(block.${name} + (${place}))`);
};
