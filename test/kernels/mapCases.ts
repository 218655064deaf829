import { parseScalar } from "../../ir/scalarText.ts";
import type { Precision, StorageType } from "../../ir/types.ts";
import type { Access, KernelHeader, MapKernel, Operand } from "../../compiler/schedule/kernels.ts";

export const header: KernelHeader = {
  name: "map_test",
  origin: { file: "model.ts", line: 1, column: 1, path: "model.block", formula: "y = f(x)" },
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
  /** Inputs, then outputs: elements of an example; `stride` where examples do not follow each other at once. */
  readonly operands: readonly {
    readonly size: number;
    readonly stride?: number;
    readonly storage?: StorageType;
    readonly mean?: number;
  }[];
  readonly body: string;
  readonly elements: readonly Access[];
  readonly fold?: { readonly kind: "sum" | "mean" | "max"; readonly over: number; readonly count?: string };
  readonly stores: readonly Access[];
  /** What the plan should have come to. */
  readonly along?: "n" | "r";
  readonly width?: { readonly f32: number; readonly f16: number; readonly bf16: number };
  readonly slices?: number;
};
const wide = { f32: 4, f16: 8, bf16: 8 };
const one = { f32: 1, f16: 1, bf16: 1 };

export const cases: { readonly [name: string]: Case } = {
  "a pointwise op on rows of whole vectors, with a bias and a number for each row": {
    rows: 37, columns: 96, batch: 3,
    operands: [{ size: 37 * 96 }, { size: 96, stride: 0, storage: "f32" }, { size: 37 }, { size: 37 * 96 }],
    body: "0.5 * ($0 + $1) * (1 + erf(($0 + $1) / 1.4142135623730951)) * $2 + r * 0.25",
    elements: [at(0, "r * 96 + n"), at(1, "n"), at(2, "r")], stores: [at(3, "r * 96 + n")],
    along: "n", width: wide,
  },
  "rows of odd length": {
    rows: 29, columns: 13, batch: 2,
    operands: [{ size: 29 * 13 }, { size: 29 * 13 }],
    body: "sigmoid($0) * $0 - (n == 3 ? 1 : 0)", elements: [at(0, "r * 13 + n")], stores: [at(1, "r * 13 + n")],
    along: "n", width: one,
  },
  "examples apart, and not at a multiple of a vector": {
    rows: 8, columns: 16, batch: 3,
    operands: [{ size: 128, stride: 130 }, { size: 128, stride: 136 }],
    body: "tanh($0)", elements: [at(0, "r * 16 + n")], stores: [at(1, "r * 16 + n")],
    along: "n", width: { f32: 2, f16: 2, bf16: 2 },
  },
  "a picture whose channels lie apart": {
    rows: 14 * 10, columns: 3, batch: 2,
    operands: [{ size: 3 * 140, storage: "f32" }, { size: 3 * 140 }],
    body: "$0 * 2 - 1", elements: [at(0, "n * 140 + r")], stores: [at(1, "r * 3 + n")],
    along: "n", width: one,
  },
  "one channel": {
    rows: 64, columns: 1, batch: 2,
    operands: [{ size: 64 }, { size: 64 }],
    body: "$0 * $0", elements: [at(0, "r")], stores: [at(1, "r")],
    along: "r", width: wide,
  },
  "arrays that lie down the columns, but for one": {
    rows: 40, columns: 24, batch: 2,
    operands: [{ size: 960 }, { size: 960 }, { size: 960 }, { size: 960 }],
    body: "$0 + $1 * $2", elements: [at(0, "n * 40 + r"), at(1, "n * 40 + r"), at(2, "r * 24 + n")], stores: [at(3, "n * 40 + r")],
    along: "r", width: wide,
  },
  "a shifted copy with a border, which drops some results": {
    rows: 30, columns: 32, batch: 2,
    operands: [{ size: 960 }, { size: 960 }],
    body: "$0 + 1", elements: [at(0, "(r - 3) * 32 + n", "r >= 3 && r < 28", -2)], stores: [at(1, "r * 32 + n", "r != 7 && r % 1 == 0".replace(" && r % 1 == 0", ""))],
    along: "n", width: wide,
  },
  "two results, one for a port": {
    rows: 12, columns: 20, batch: 2,
    operands: [{ size: 240 }, { size: 240 }, { size: 240, storage: "f32" }],
    body: "$0 * 3", elements: [at(0, "r * 20 + n")], stores: [at(1, "r * 20 + n"), at(2, "n * 12 + r")],
    along: "n", width: { f32: 4, f16: 4, bf16: 4 },
  },
  "a value that every example shares": {
    rows: 50, columns: 8, batched: false,
    operands: [{ size: 400, stride: 0 }, { size: 400, stride: 0 }],
    body: "exp($0)", elements: [at(0, "r * 8 + n")], stores: [at(1, "r * 8 + n")],
    along: "n", width: wide,
  },
  "integers that choose": {
    rows: 10, columns: 24, batch: 2,
    operands: [{ size: 240 }, { size: 10, storage: "i32" }, { size: 24, stride: 0, storage: "u8" }, { size: 240 }],
    body: "$1 == 2 || $2 > 5 ? $0 : -1000 - $1", elements: [at(0, "r * 24 + n"), at(1, "r"), at(2, "n")], stores: [at(3, "r * 24 + n")],
    along: "n", width: one,
  },
  "integers that stay integers": {
    rows: 10, columns: 24, batch: 2,
    operands: [{ size: 240, storage: "i32", mean: 1e9 }, { size: 240, storage: "i32" }],
    body: "$0 + 1", elements: [at(0, "r * 24 + n")], stores: [at(1, "r * 24 + n")],
    along: "n", width: one,
  },
  "a mean over tokens, far from zero": {
    rows: 1, columns: 96, batch: 3,
    operands: [{ size: 197 * 96, mean: 100 }, { size: 96 }],
    body: "$0", elements: [at(0, "i * 96 + n")], fold: { kind: "mean", over: 197, count: "197" }, stores: [at(1, "n")],
    along: "n", width: wide, slices: 16,
  },
  "a maximum over tokens far below zero": {
    rows: 5, columns: 9, batch: 2,
    operands: [{ size: 5 * 50 * 9, mean: -200 }, { size: 45 }],
    body: "$0", elements: [at(0, "r * 450 + i * 9 + n", "i != 3", -Infinity)], fold: { kind: "max", over: 50 }, stores: [at(1, "r * 9 + n")],
    along: "n", width: one, slices: 4,
  },
  "pooling the maximum, with padding": {
    rows: 6 * 5, columns: 16, batch: 2,
    operands: [{ size: 11 * 9 * 16, mean: -5 }, { size: 30 * 16 }],
    body: "$0",
    elements: [at(0, "((floorDiv(r, 5) * 2 + floorDiv(i, 3) - 1) * 9 + mod(r, 5) * 2 + mod(i, 3) - 1) * 16 + n",
      "floorDiv(r, 5) * 2 + floorDiv(i, 3) >= 1 && floorDiv(r, 5) * 2 + floorDiv(i, 3) <= 11 && mod(r, 5) * 2 + mod(i, 3) >= 1 && mod(r, 5) * 2 + mod(i, 3) <= 9", -Infinity)],
    fold: { kind: "max", over: 9 }, stores: [at(1, "r * 16 + n")],
    along: "n", width: wide,
  },
  "pooling the mean of what is there": {
    rows: 7, columns: 8, batch: 2,
    operands: [{ size: 7 * 8 }, { size: 7 * 8 }],
    body: "$0", elements: [at(0, "(r + i - 1) * 8 + n", "r + i >= 1 && r + i <= 7")],
    fold: { kind: "mean", over: 3, count: "min(r + 2, 7) - max(r - 1, 0)" }, stores: [at(1, "r * 8 + n")],
    along: "n", width: wide,
  },
  "a convolution in groups": {
    rows: 15, columns: 12, batch: 2,
    operands: [{ size: 17 * 6 }, { size: 12 * 9, stride: 0 }, { size: 15 * 12 }],
    body: "$0 * $1",
    elements: [at(0, "(r + floorDiv(i, 3)) * 6 + floorDiv(n, 6) * 3 + mod(i, 3)"), at(1, "n * 9 + i")],
    fold: { kind: "sum", over: 9 }, stores: [at(2, "r * 12 + n")],
    along: "n", width: { f32: 4, f16: 4, bf16: 4 },
  },
  "means of repeated tokens in front of a grid": {
    rows: 21, columns: 8, batch: 2,
    operands: [{ size: (4 + 20) * 8 }, { size: 21 * 8 }],
    body: "$0", elements: [at(0, "r < 1 ? i * 8 + n : (r + 3) * 8 + n", "r < 1 || i == 0")],
    fold: { kind: "mean", over: 4, count: "r < 1 ? 4 : 1" }, stores: [at(1, "r * 8 + n")],
    along: "n", width: wide,
  },
}; // prettier-ignore

export function kernelOf(test: Case, precision: Precision): MapKernel {
  const operands = test.operands.map(({ size, stride, storage }): Operand => ({
    storage: storage ?? precision,
    exampleStride: stride ?? size,
    exampleSize: size,
  }));
  return {
    kind: "map",
    precision,
    operands,
    space: { rows: test.rows, batched: test.batched ?? true },
    columns: test.columns,
    body: parseScalar(test.body),
    elements: test.elements,
    take: null,
    fold:
      test.fold === undefined
        ? null
        : { kind: test.fold.kind, over: test.fold.over, count: parseScalar(test.fold.count ?? "1") },
    stores: test.stores,
  };
}
