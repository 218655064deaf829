import { describe, expect, it } from "vitest";
import { emitKernel } from "../../compiler/emit/emitKernel.ts";
import type { FusedKernel } from "../../compiler/schedule/kernels.ts";
import { parseScalar } from "../../ir/scalarText.ts";
import { attentionKernel, denseTokens, grid, header } from "../kernels/attentionCase.ts";
import { access, normal, operand, product } from "../kernels/gemmCase.ts";
import { launch, type Islands } from "../kernels/harness.ts";

// Elements beyond number 2^31, of many examples or within one: a kernel on operands whose rows lie far apart computes the
// same bits as on dense ones. Memory that nobody touches takes no room.

const [rows, batch] = [20, 2];
/** Elements from one row or example to the next. */
type Spread = { readonly row: number; readonly example: number };
const spreads: readonly (readonly [string, (width: number) => Spread])[] = [
  ["examples far apart", (width) => ({ row: width, example: 2 ** 31 + 64 })],
  ["rows far apart", () => ({ row: 2 ** 27 + 64, example: rows * (2 ** 27 + 64) })],
];
type Make = (spread: (width: number) => Spread) => FusedKernel;

/** Operand 0 with 64 columns (192 of q, k and v) and the result with 64. */
const kernels: { readonly [family: string]: Make } = {
  gemm: (spread) => {
    const { row } = spread(64);
    return product("bf16", [rows, 64, 64], {
      operands: operands(spread, 64),
      a: { ...access(0, `r * ${row} + c`), mean: null },
      stores: [access(1, `r * ${row} + n`)],
    });
  },
  attention: (spread) => {
    const query = grid({ w: rows });
    const dense = attentionKernel({ precision: "bf16", pattern: { kind: "all" }, query, heads: 2, headDim: 32 });
    const columns = (first: number) => denseTokens(query, 0, spread(192).row, 32, first);
    return {
      ...dense,
      operands: operands(spread, 192),
      q: columns(0),
      k: columns(64),
      v: columns(128),
      out: denseTokens(query, 1, spread(64).row, 32, 0),
    };
  },
  convolution: (spread) => {
    const { row } = spread(64);
    return product("bf16", [rows, 64, 64], {
      operands: operands(spread, 64),
      taps: 3,
      a: { ...access(0, `(r + tap - 1) * ${row} + c`, `r + tap - 1 >= 0 && r + tap - 1 < ${rows}`), mean: null },
      stores: [access(1, `r * ${row} + n`)],
    });
  },
  "mean of rows": (spread) => {
    const { row } = spread(64);
    const mean = { count: parseScalar("4"), maxCount: 4, offset: parseScalar(`j * ${row}`) };
    return product("bf16", [rows, 64, 64], {
      operands: operands(spread, 64),
      a: { ...access(0, `min(r, ${rows - 4}) * ${row} + c`), mean },
      stores: [access(1, `r * ${row} + n`)],
    });
  },
  "axial attention": (spread) => {
    const query = grid({ w: rows });
    const dense = attentionKernel({ precision: "bf16", pattern: { kind: "all" }, query, heads: 2, headDim: 32 });
    const columns = (first: number) => denseTokens(query, 0, spread(192).row, 32, first);
    const table = access(2, `head * ${(2 * rows - 1) * 32} + row * 32 + c`);
    return {
      ...dense,
      operands: [...operands(spread, 192), { storage: "bf16", exampleStride: 0, exampleSize: 2 * (2 * rows - 1) * 32 }],
      q: columns(0),
      k: columns(64),
      v: columns(128),
      out: denseTokens(query, 1, spread(64).row, 32, 0),
      positions: { axis: "w", size: rows, query: table, key: table, value: table },
    };
  },
  row: (spread) => ({
    kind: "row",
    precision: "bf16",
    operands: operands(spread, 64),
    space: { rows, batched: true },
    columns: 64,
    statistic: { kind: "normalize", eps: 1e-6 },
    x: access(0, `r * ${spread(64).row} + n`),
    epilogue: { body: parseScalar("$0"), elements: [] },
    stores: [access(1, `r * ${spread(64).row} + n`)],
  }),
  map: (spread) => ({
    kind: "map",
    precision: "bf16",
    operands: operands(spread, 64),
    space: { rows, batched: true },
    columns: 64,
    body: parseScalar("$0 * 2"),
    elements: [access(0, `r * ${spread(64).row} + n`)],
    take: null,
    fold: null,
    stores: [access(1, `r * ${spread(64).row} + n`)],
  }),
};
const operands = (spread: (width: number) => Spread, width: number) =>
  [width, 64].map((each) => {
    const { row, example } = spread(each);
    return operand("bf16", (rows - 1) * row + each, example);
  });
const dense = (width: number): Spread => ({ row: width, example: rows * width });

const islands = (values: Float64Array, width: number, { row, example }: Spread): Islands =>
  Array.from({ length: batch * rows }, (_, at) => ({
    at: Math.floor(at / rows) * example + (at % rows) * row,
    values: values.slice(at * width, (at + 1) * width),
  }));

const run = async (family: string, spread: (width: number) => Spread): Promise<Float64Array> => {
  const kernel = kernels[family]?.(spread);
  if (kernel === undefined) throw new Error(`no kernel of the family ${family}`);
  const isAttention = kernel.kind === "attention";
  const width = isAttention ? 192 : 64;
  const table = isAttention && kernel.positions !== null ? [normal(2 * (2 * rows - 1) * 32, 3)] : [];
  const k = kernel.kind === "gemm" ? kernel.taps * kernel.channels : 64;
  const result = await launch(
    {
      name: "attention_0",
      kernel: emitKernel(kernel, header("attention_0")),
      operands: kernel.operands,
      values: [
        islands(normal(batch * rows * width, 1), width, spread(width)),
        islands(new Float64Array(batch * rows * 64).fill(NaN), 64, spread(64)),
        ...table,
      ],
      batch,
      weight: { shape: [64, k], data: normal(64 * k, 2) },
    },
    { uninitialised: 0, counters: 0, races: 0, poison: 0, memory_limit: 2 ** 36 },
  );
  return result.values[1] ?? new Float64Array(0);
};

describe.each(Object.keys(kernels))("%s", (family) => {
  it.each(spreads)("%s", async (_name, spread) => {
    const { row, example } = spread(64);
    expect(example * (batch - 1) + row * (rows - 1)).toBeGreaterThan(2 ** 31);
    const [far, near] = [await run(family, spread), await run(family, dense)];
    expect(near.length).toBe(batch * rows * 64);
    expect(near.every(Number.isFinite)).toBe(true);
    expect(far).toEqual(near);
  });
});
