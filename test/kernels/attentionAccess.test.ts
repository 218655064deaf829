import { describe, expect, it } from "vitest";
import { emitAttention } from "../../compiler/emit/attention.ts";
import type { Access, AttentionKernel, TokenAccess } from "../../compiler/schedule/kernels.ts";
import { parseScalar } from "../../ir/scalarText.ts";
import type { Precision, StorageType } from "../../ir/types.ts";
import { attentionKernel, grid, header, runAttention, toleranceOf } from "./attentionCase.ts";
import { all, along, prefix, union } from "./attentionPatterns.ts";

const check = async (kernel: AttentionKernel, batch = 2): Promise<string> => {
  const { worst, source } = await runAttention(kernel, batch);
  expect(worst).toBeLessThan(toleranceOf(kernel.precision, kernel.headDim));
  return source;
};

const access = (operand: number, offset: string, valid = "1", fill = 0): Access => ({
  operand,
  offset: parseScalar(offset),
  valid: parseScalar(valid),
  fill,
});
const tokens = (gridAccess: Access, prefixAccess: Access | null = null): TokenAccess => ({
  grid: gridAccess,
  prefix: prefixAccess,
});
const operand = (storage: StorageType, size: number, stride: number = size): AttentionKernel["operands"][number] => ({
  storage,
  exampleSize: size,
  exampleStride: stride,
});

const base = (precision: Precision, headDim = 16): AttentionKernel =>
  attentionKernel({ precision, pattern: all, query: grid({ h: 6, w: 6 }), headDim });

describe("keys and values that are not there", () => {
  // A border of one token around a grid of 4 x 4.
  const inside = "1 <= h && h < 5 && 1 <= w && w < 5";
  const padded = (precision: Precision, fill: number): AttentionKernel => ({
    ...base(precision),
    operands: [operand(precision, 36 * 96), operand(precision, 36 * 32), operand(precision, 16 * 64)],
    k: tokens(access(2, "(h - 1) * 256 + (w - 1) * 64 + head * 16 + c", inside, fill)),
    v: tokens(access(2, "(h - 1) * 256 + (w - 1) * 64 + 32 + head * 16 + c", inside, fill)),
  });
  it.each(["bf16", "f32"] as const)("are zeros, and take part, in %s", async (precision) => {
    expect(await check(padded(precision, 0))).toContain("k_row");
  });
  it("are another number where the access says so", async () => {
    expect(await check(padded("bf16", 0.5))).toContain("k_element");
  });
});

describe("rows of any place", () => {
  it.each([
    ["bf16", 4, "8-byte pieces"],
    ["bf16", 2, "4-byte pieces"],
    ["bf16", 1, "elements"],
    ["f32", 1, "4-byte pieces"],
  ] as const)("%s rows %i elements off are copied in %s", async (precision, shift, _pieces) => {
    const kernel = base(precision, 24);
    const pitch = 6 * 24 + shift;
    const start = (column: number): TokenAccess =>
      tokens(access(0, `${shift} + (h * 6 + w) * ${pitch} + ${column} + head * 24 + c`));
    const out = tokens(access(1, `${shift} + (w * 6 + h) * ${48 + shift} + head * 24 + c`));
    const operands = [operand(precision, 36 * pitch + shift), operand(precision, 36 * (48 + shift) + shift)];
    await check({ ...kernel, operands, q: start(0), k: start(48), v: start(96), out });
  });

  it("channels that are not neighbours are gathered", async () => {
    const kernel = base("bf16");
    const at = (part: number): TokenAccess => tokens(access(0, `((c * 2 + head) * 3 + ${part}) * 36 + h * 6 + w`));
    await check({ ...kernel, q: at(0), k: at(1), v: at(2), out: tokens(access(1, "(c * 2 + head) * 36 + w * 6 + h")) });
  });

  it("a query of another storage is converted", async () => {
    const kernel = base("bf16");
    const operands = [operand("bf16", 36 * 64), operand("f32", 36 * 32), operand("f32", 36 * 32)];
    await check({
      ...kernel,
      operands,
      q: tokens(access(2, "(h * 6 + w) * 32 + head * 16 + c")),
      k: tokens(access(0, "(h * 6 + w) * 64 + head * 16 + c")),
      v: tokens(access(0, "(h * 6 + w) * 64 + 32 + head * 16 + c")),
      out: tokens(access(1, "(h * 6 + w) * 32 + head * 16 + c")),
    });
  });

  it("results outside of the grid are dropped", async () => {
    const kernel = base("f16");
    const out = tokens(access(1, "h * 96 + (w - 1) * 32 + head * 16 + c", "1 <= w && w < 4"));
    await check({ ...kernel, operands: [operand("f16", 36 * 96), operand("f16", 6 * 96)], out });
  });

  it("queries that all examples share are read from one place", async () => {
    const kernel = base("bf16");
    const operands = [operand("bf16", 36 * 64), operand("bf16", 36 * 32), operand("bf16", 36 * 32, 0)];
    await check({
      ...kernel,
      operands,
      q: tokens(access(2, "(h * 6 + w) * 32 + head * 16 + c")),
      k: tokens(access(0, "(h * 6 + w) * 64 + head * 16 + c")),
      v: tokens(access(0, "(h * 6 + w) * 64 + 32 + head * 16 + c")),
    });
  });

  it("an attention without a batch is one example", async () => {
    await check({ ...base("bf16"), batched: false }, 1);
  });
});

describe("prefix tokens in a buffer of their own", () => {
  const type = grid({ t: 3, h: 4, w: 4 }, { count: 1, over: ["t"] });
  const kernel = (pattern: AttentionKernel["pattern"]): AttentionKernel => {
    const plain = attentionKernel({ precision: "bf16", pattern, query: type, headDim: 16 });
    // The class token is one row for all frames, its results one for each.
    const row = (column: number): TokenAccess =>
      tokens(
        access(0, `((t * 4 + h) * 4 + w) * 96 + ${column} + head * 16 + c`),
        access(2, `${column} + head * 16 + c`),
      );
    return {
      ...plain,
      operands: [operand("bf16", 48 * 96), operand("bf16", 48 * 32), operand("bf16", 96), operand("bf16", 3 * 32)],
      q: row(0),
      k: row(32),
      v: row(64),
      out: tokens(access(1, "((t * 4 + h) * 4 + w) * 32 + head * 16 + c"), access(3, "t * 32 + head * 16 + c")),
    };
  };
  it("are queries and keys of their frame", async () => {
    await check(kernel(union(prefix, along("h", "w"))));
  });
  it("are queries and keys of all", async () => {
    await check(kernel(all));
  });
});

describe("offsets", () => {
  it("of rows beyond 2^31 elements have 64 bits", () => {
    const kernel = attentionKernel({
      precision: "bf16",
      pattern: along("w"),
      query: grid({ h: 3_000_000, w: 8 }),
      headDim: 64,
      heads: 4,
    });
    expect(emitAttention(kernel, header("far")).source).toMatch(/\(int64_t\)key\.h \* 6144/);
  });
});
