import { parseScalar } from "../../ir/scalarText.ts";
import type { Precision, StorageType } from "../../ir/types.ts";
import type { Access, KernelHeader, Operand, RowKernel } from "../../compiler/schedule/kernels.ts";

export const header: KernelHeader = {
  name: "row_test",
  origin: {
    file: "model.ts",
    line: 1,
    column: 1,
    path: "model.norm",
    formula: "y = (x - mean) / sqrt(variance + eps)",
  },
  shapes: ["x, y: [r, n]"],
};
const at = (operand: number, offset: string, valid = "1", fill = 0): Access => ({
  operand,
  offset: parseScalar(offset),
  valid: parseScalar(valid),
  fill,
});

export type Case = {
  readonly rows: number;
  readonly columns: number;
  readonly batch?: number;
  readonly batched?: boolean;
  readonly operands: readonly {
    readonly size: number;
    readonly stride?: number;
    readonly storage?: StorageType;
    readonly mean?: number;
    readonly deviation?: number;
  }[];
  readonly statistic: "normalize" | "softmax";
  readonly x: Access;
  readonly body?: string;
  readonly elements?: readonly Access[];
  readonly stores: readonly Access[];
  /** What the plan should have come to, for float32. */
  readonly rowThreads: number;
  readonly held?: boolean;
};

/** Rows that follow each other. */
const dense = (rows: number, columns: number, more: Partial<Case> & { readonly rowThreads: number; readonly mean?: number; readonly deviation?: number }): Case => ({
  rows, columns, batch: 2,
  operands: [{ size: rows * columns, mean: more.mean ?? 0, deviation: more.deviation ?? 1 }, { size: rows * columns }],
  statistic: "normalize", x: at(0, `r * ${columns} + n`), stores: [at(1, `r * ${columns} + n`)],
  ...more,
}); // prettier-ignore

export const cases: { readonly [name: string]: Case } = {
  "short rows, several to a warp": dense(7, 24, { rowThreads: 4 }),
  "rows of one element": { ...dense(40, 1, { rowThreads: 1 }), statistic: "softmax" },
  "rows of odd length": dense(9, 37, { rowThreads: 32, mean: 3 }),
  "a mean far above the deviation": dense(11, 768, { rowThreads: 32, mean: 1000 }),
  "a mean farther above": dense(5, 100, { rowThreads: 16, mean: -3000, deviation: 0.5 }),
  "rows that a warp just holds": dense(3, 1536, { rowThreads: 32 }),
  "rows that a block holds": dense(3, 2500, { rowThreads: 128, mean: 50 }),
  "rows of odd length that a block holds": dense(2, 5001, { rowThreads: 256 }),
  "rows too long for registers": dense(2, 33_333, { rowThreads: 512, held: false, mean: 100 }),
  "rows all alike": dense(3, 64, { rowThreads: 16, mean: 5, deviation: 0 }),
  "affine parameters, a residual, and two results": {
    rows: 13, columns: 96, batch: 3,
    operands: [{ size: 13 * 96, mean: 10 }, { size: 96, stride: 0, storage: "f32" }, { size: 96, stride: 0, storage: "f32" }, { size: 13 * 96 }, { size: 13 * 96 }, { size: 13 * 96, storage: "f32" }],
    statistic: "normalize", x: at(0, "r * 96 + n"),
    body: "$0 * $1 + $2 + $3 * (r + 1)", elements: [at(1, "n"), at(2, "n"), at(3, "r * 96 + n")],
    stores: [at(4, "r * 96 + n"), at(5, "n * 13 + r")], rowThreads: 16,
  },
  "groups of channels over all tokens": {
    rows: 8, columns: 25 * 4, batch: 2,
    operands: [{ size: 25 * 32, mean: -20 }, { size: 25 * 32 }],
    statistic: "normalize", x: at(0, "floorDiv(n, 4) * 32 + r * 4 + mod(n, 4)"),
    body: "max($0, 0)", stores: [at(1, "floorDiv(n, 4) * 32 + r * 4 + mod(n, 4)")], rowThreads: 16,
  },
  "a softmax far below zero": { ...dense(6, 49, { rowThreads: 32, mean: -5000, deviation: 3 }), statistic: "softmax" },
  "a softmax of whole runs": { ...dense(5, 320, { rowThreads: 32, deviation: 10 }), statistic: "softmax" },
  "a softmax of long rows": { ...dense(2, 20_000, { rowThreads: 512, held: false, mean: -50 }), statistic: "softmax" },
  "a softmax of rows that see nothing, or little": {
    rows: 4, columns: 64, batch: 2, operands: [{ size: 256 }, { size: 256 }],
    statistic: "softmax", x: at(0, "r * 64 + n", "r != 2 && (r != 3 || n == 5)", -Infinity), stores: [at(1, "r * 64 + n")], rowThreads: 32,
  },
  "a softmax down the columns, of a value that every example shares": {
    rows: 12, columns: 33, batched: false, operands: [{ size: 396, stride: 0 }, { size: 396, stride: 0 }],
    statistic: "softmax", x: at(0, "n * 12 + r"), body: "$0 * (n + 1)", stores: [at(1, "n * 12 + r")], rowThreads: 32,
  },
}; // prettier-ignore

export function kernelOf(test: Case, precision: Precision): RowKernel {
  const operands = test.operands.map(({ size, stride, storage }): Operand => ({
    storage: storage ?? precision,
    exampleStride: stride ?? size,
    exampleSize: size,
  }));
  return {
    kind: "row",
    precision,
    operands,
    space: { rows: test.rows, batched: test.batched ?? true },
    columns: test.columns,
    x: test.x,
    statistic: test.statistic === "normalize" ? { kind: "normalize", eps: 1e-5 } : { kind: "softmax" },
    epilogue: { body: parseScalar(test.body ?? "$0"), elements: test.elements ?? [] },
    stores: test.stores,
  };
}
