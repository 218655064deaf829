import { below, rangeOf, type Interval, type Ranges } from "../../ir/scalarRange.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { literal, mul } from "../../ir/scalarBuild.ts";
import { simplify } from "../../ir/scalarSimplify.ts";
import { walkScalar } from "../../ir/scalarWalk.ts";
import { invariant } from "../diagnostics.ts";
import { groupRanges } from "../schedule/attention/groups.ts";
import type { JobLengths } from "../schedule/attention/jobLengths.ts";
import { pairRanges } from "../schedule/attention/keep.ts";
import { asFloat } from "./attentionRows.ts";
import {
  blockScope,
  cudaElement,
  fieldOf,
  functionText,
  isTrue,
  mayLack,
  needOfBlock,
  needOfPair,
  pairScope,
  type BlockField,
  type JobText,
} from "./attentionText.ts";
import { floatLiteral, printCuda } from "./cudaScalar.ts";
import { fitsInt, type CudaVariable } from "./cudaTypes.ts";

/** Whether a query sees a key of the thread block. */
export const keepText = (text: JobText): string => {
  const { job, needs } = text;
  const terms = mayLack(text, "k") ? ["key.exists"] : [];
  if (job.guardsQueries && mayLack(text, "q")) terms.push("query.exists");
  const bounded = job.lengths?.queryAxis ?? null;
  if (bounded !== null) {
    needs.q.add(bounded);
    needs.block.add("length");
    terms.push(`query.${fieldOf(bounded)} < block.length`);
  }
  if (job.groupsPerBlock > 1) {
    needs.q.add("group");
    needs.k.add("group");
    terms.push("query.group == key.group");
  }
  if (!isTrue(job.keep)) {
    needOfPair(text, job.keep);
    const pattern = printCuda(job.keep, pairScope(text), "bool");
    const loose = job.keep.kind === "select" || (job.keep.kind === "binary" && job.keep.op === "or");
    terms.push(terms.length > 0 && loose ? `(${pattern})` : pattern);
  }
  return terms.join(" && ") || "true";
};

export const scoreText = (text: JobText): string => expressionText(text, text.kernel.score);

/** The thread block's own factor of products, computed once: a member of Block. */
export const factorText = (text: JobText, job: string, factor: Scalar): BlockField => {
  const { kernel, functions } = text;
  const value = expressionText(text, mul(literal(kernel.scale), factor));
  functions.push(functionText("static DEV_FN float scale_of_head(const Block& block)", [`return ${value};`]));
  return { type: "float", name: "scale", value: `${job}::scale_of_head(block)` };
};

const expressionText = (text: JobText, expr: Scalar): string => {
  const { kernel, job } = text;
  const ranges: Ranges = { ...pairRanges(job.query.tokens, job.key.tokens), head: below(kernel.heads) };
  const score = simplify(expr, ranges);
  needOfPair(text, score);
  const indexes = new Map<number, readonly Interval[]>();
  walkScalar(score, (part) => {
    if (part.kind !== "load") return;
    const known = indexes.get(part.table);
    indexes.set(
      part.table,
      part.index.map((index, i) => hull(rangeOf(index, ranges), known?.[i])),
    );
  });
  for (const [table, found] of indexes) tableFunction(text, table, found);
  return printCuda(score, pairScope(text), "float");
};

const hull = (a: Interval, b: Interval | undefined): Interval =>
  b === undefined ? a : { min: Math.min(a.min, b.min), max: Math.max(a.max, b.max) };

/** The thread block's length, which a table holds; no more than it has keys. */
export const lengthText = (text: JobText, job: string, { table, index }: JobLengths): BlockField => {
  const ranges = groupRanges(text.job.groups);
  tableFunction(
    text,
    table,
    index.map((each) => rangeOf(each, ranges)),
  );
  for (const each of index) needOfBlock(text, each);
  const at = index.map((each) => printCuda(each, blockScope(text, ranges), "int"));
  const value = `${job}::table${table}(${["block", ...at].join(", ")})`;
  return { type: "int", name: "length", value: `min((int)${value}, ${text.job.key.tokens.count})` };
};

/** Prints `tableN`, which reads an element of a table. */
const tableFunction = (
  { kernel, functions, pointers, operandNames }: JobText,
  table: number,
  indexes: readonly Interval[],
): void => {
  const access = kernel.tables[table];
  invariant(access !== undefined, `table ${table} of ${kernel.tables.length} is read`);
  const operand = kernel.operands[access.operand];
  invariant(operand !== undefined, `operand ${access.operand} of ${kernel.operands.length} is read`);
  // An index lies inside of the table, whatever the range of its expression.
  const ranges: Ranges = Object.fromEntries(
    indexes.map(({ min, max }, i) => [`i${i}`, { min: Math.max(min, 0), max: Math.min(max, operand.exampleSize - 1) }]),
  );
  const variables = Object.fromEntries(
    Object.entries(ranges).map(([name, range]): [string, CudaVariable] => [
      name,
      { type: "int", text: name, ...range },
    ]),
  );
  const offset = simplify(access.offset, ranges);
  const valid = simplify(access.valid, ranges);
  const name = `table${table}`;
  const stride = kernel.batched && operand.exampleStride > 0 ? ` + example * ${operand.exampleStride}` : "";
  const value = `${operandNames.get(access.operand) ?? "?"}${stride}`;
  pointers.set(`${name}_values`, { type: `const ${cudaElement[operand.storage]}*`, name: `${name}_values`, value });
  const at = printCuda(offset, { variables }, fitsInt(rangeOf(offset, ranges)) ? "int" : "long");
  const element = asFloat(operand, `ld_nc(block.${name}_values + (${at}))`);
  const result = isTrue(valid)
    ? element
    : `${printCuda(valid, { variables }, "bool")} ? ${element} : ${floatLiteral(access.fill)}`;
  const parameters = ["const Block& block", ...indexes.map((_, i) => `int i${i}`)].join(", ");
  functions.push(functionText(`static DEV_FN float ${name}(${parameters})`, [`return ${result};`]));
};
