import { evaluateScalar } from "../../ir/scalarEvaluate.ts";
import type { Access, MapKernel, Operand, RowKernel } from "../../compiler/schedule/kernels.ts";
import { elementsOf } from "./harness.ts";

type Variables = { readonly [name: string]: number };

/** The element that an access names, its fill where there is none. */
function read(
  access: Access,
  values: readonly (Float64Array | null)[],
  operands: readonly Operand[],
  example: number,
  variables: Variables,
): number {
  if (evaluateScalar(access.valid, { variables }) === 0) return access.fill;
  const at = place(access, operands, example, variables);
  const value = values[access.operand]?.[at];
  if (value === undefined) throw new Error(`operand ${access.operand} has no element ${at}`);
  return value;
}

function place(
  { operand, offset }: Access,
  operands: readonly Operand[],
  example: number,
  variables: Variables,
): number {
  const described = operands[operand];
  const within = evaluateScalar(offset, { variables });
  if (described === undefined || !(within >= 0 && within < described.exampleSize))
    throw new Error(`offset ${within} is outside of operand ${operand}`);
  return example * described.exampleStride + within;
}

/** What the operands hold after the kernel, in float64; NaN where nothing is written. */
export function outputs(
  kernel: MapKernel | RowKernel,
  values: readonly (Float64Array | null)[],
  batch: number,
): readonly Float64Array[] {
  const results = kernel.operands.map(
    (operand, index) => values[index]?.slice() ?? new Float64Array(elementsOf(operand, batch)).fill(NaN),
  );
  const examples = kernel.space.batched ? batch : 1;
  for (let example = 0; example < examples; example++) {
    for (let r = 0; r < kernel.space.rows; r++) {
      const row =
        kernel.kind === "map" ? mapRow(kernel, values, example, r) : normalisedRow(kernel, values, example, r);
      for (const [n, value] of row.entries()) {
        for (const store of kernel.stores) {
          if (evaluateScalar(store.valid, { variables: { r, n } }) === 0) continue;
          const result = results[store.operand];
          if (result !== undefined) result[place(store, kernel.operands, example, { r, n })] = value;
        }
      }
    }
  }
  return results;
}

function mapRow(
  kernel: MapKernel,
  values: readonly (Float64Array | null)[],
  example: number,
  r: number,
): readonly number[] {
  return Array.from({ length: kernel.columns }, (_, n) => {
    const at = (i: number): number => {
      const variables = { r, n, i };
      const elements = kernel.elements.map((access) => read(access, values, kernel.operands, example, variables));
      return evaluateScalar(kernel.body, { variables, arguments: elements });
    };
    if (kernel.fold === null) return at(0);
    const folded = Array.from({ length: kernel.fold.over }, (_unused, i) => at(i));
    if (kernel.fold.kind === "max") return folded.reduce((a, b) => Math.max(a, b), -Infinity);
    const sum = folded.reduce((a, b) => a + b, 0);
    return kernel.fold.kind === "sum" ? sum : sum / evaluateScalar(kernel.fold.count, { variables: { r, n } });
  });
}

function normalisedRow(
  kernel: RowKernel,
  values: readonly (Float64Array | null)[],
  example: number,
  r: number,
): readonly number[] {
  const row = Array.from({ length: kernel.columns }, (_, n) =>
    read(kernel.x, values, kernel.operands, example, { r, n }),
  );
  return statistic(row, kernel.statistic).map((value, n) => {
    const elements = kernel.epilogue.elements.map((access) => read(access, values, kernel.operands, example, { r, n }));
    return evaluateScalar(kernel.epilogue.body, { variables: { r, n }, arguments: [value, ...elements] });
  });
}

function statistic(row: readonly number[], of: RowKernel["statistic"]): readonly number[] {
  if (of.kind === "softmax") {
    const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
    // A row that sees nothing gives zeros.
    if (most === -Infinity) return row.map(() => 0);
    const weights = row.map((x) => Math.exp(x - most));
    const sum = weights.reduce((a, b) => a + b, 0);
    return weights.map((weight) => weight / sum);
  }
  const mean = row.reduce((a, b) => a + b, 0) / row.length;
  const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length;
  return row.map((x) => (x - mean) / Math.sqrt(variance + of.eps));
}
