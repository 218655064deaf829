import { describe, expect, it } from "vitest";
import { printScalar } from "../../ir/scalarText.ts";
import type { GemmKernel } from "../../compiler/schedule/kernels.ts";
import { parseScalar } from "../../ir/scalarText.ts";
import type { Precision } from "../../ir/types.ts";
import { emitGemm } from "../../compiler/emit/gemm.ts";
import { access, check, header, normal, operand, product, shared } from "./gemmCase.ts";

const precisions: readonly Precision[] = ["bf16", "f16", "f32"];

describe.each(precisions)("a product in %s", (precision) => {
  it.each([
    [37, 64, 96],
    [130, 96, 64],
    [5, 7, 20],
    [33, 10, 42],
    [64, 33, 3],
    [17, 40, 2],
    [1, 100, 136],
    [70, 129, 100],
  ] as const)("of %i rows, %i columns, K = %i", async (rows, columns, k) => {
    await check(product(precision, [rows, columns, k]), { batch: 3 });
  });

  it("adds a bias and a residual behind an activation", async () => {
    const [rows, columns, k] = [50, 72, 64];
    await check(
      product(precision, [rows, columns, k], {
        operands: [
          operand(precision, rows * k),
          operand(precision, rows * columns),
          shared("f32", columns),
          operand(precision, rows * columns),
        ],
        epilogue: {
          body: parseScalar("($0 + $1) * 0.5 * (1 + erf(($0 + $1) / 1.4142135623730951)) + $2"),
          elements: [access(2, "n"), access(3, `r * ${columns} + n`)],
        },
      }),
    );
  });

  it("multiplies by what belongs to a row, and reads rows and columns in the epilogue", async () => {
    const [rows, columns, k] = [21, 40, 32];
    await check(
      product(precision, [rows, columns, k], {
        operands: [
          operand(precision, rows * k),
          operand(precision, rows * columns),
          operand("f32", rows),
          shared("u8", 64),
        ],
        epilogue: {
          body: parseScalar("r < 4 ? $0 : $0 * $1 + n * 0.01 + $2 * 0.002"),
          elements: [access(2, "r"), access(3, "n + 3")],
        },
      }),
    );
  });

  it("stores to several places, transposed, with rows dropped and columns moved", async () => {
    const [rows, columns, k] = [30, 48, 16];
    await check(
      product(precision, [rows, columns, k], {
        operands: [
          operand(precision, rows * k),
          operand(precision, rows * columns),
          operand("f32", rows * columns),
          operand(precision, 20 * columns, 20 * columns + 8),
        ],
        stores: [
          access(1, `r * ${columns} + n`),
          access(2, `n * ${rows} + r`),
          access(3, `(r - 5) * ${columns} + mod(n + 24, ${columns})`, "r >= 5 && r < 25"),
        ],
      }),
    );
  });

  it("fills what a residual lacks", async () => {
    const [rows, columns, k] = [24, 32, 24];
    await check(
      product(precision, [rows, columns, k], {
        operands: [operand(precision, rows * k), operand(precision, rows * columns), operand(precision, 10 * columns)],
        epilogue: {
          body: parseScalar("$0 + $1"),
          elements: [access(2, `(r - 8) * ${columns} + n`, "r >= 8 && r < 18 && n < 30", 2.5)],
        },
      }),
    );
  });

  it("without a batch, rows of a shared operand", async () => {
    const [rows, columns, k] = [45, 24, 40];
    await check(
      product(precision, [rows, columns, k], {
        operands: [shared(precision, rows * k), shared(precision, rows * columns)],
        space: { rows, batched: false },
      }),
    );
  });
});

describe("a product of float32 in tf32", () => {
  it.each([
    [37, 64, 96],
    [5, 7, 20],
    [33, 10, 42],
    [17, 40, 2],
    [140, 129, 100],
  ] as const)("of %i rows, %i columns, K = %i", async (rows, columns, k) => {
    const { emitted } = await check(product("f32", [rows, columns, k], { tf32: true }), { batch: 3 });
    expect(emitted.source).toContain("gemm/tf32.cuh");
  });

  it("of normalised rows of another storage, stored in it again", async () => {
    const [rows, columns, k] = [33, 24, 40];
    const operands = [operand("bf16", rows * k), operand("bf16", rows * columns)];
    await check(product("f32", [rows, columns, k], { tf32: true, norm: { eps: 1e-5 }, operands }));
  });

  it("meets no bank conflict", async () => {
    const { counters } = await check(product("f32", [256, 128, 64], { tf32: true }));
    const { load, store, cpAsync } = counters.shared;
    expect([load.conflicts, store.conflicts, cpAsync.conflicts]).toEqual([0, 0, 0]);
  });
});

// Maps know of bfloat16 and float16 only that they have two bytes.
describe.each(["bf16", "f32"] as const)("maps of A in %s", (precision) => {
  it("reads prefix rows from one place and grid rows from another", async () => {
    const [rows, columns, k] = [28, 32, 64];
    const base = product(precision, [rows, columns, k]);
    await check({
      ...base,
      operands: [operand(precision, 40 * k), operand(precision, rows * columns)],
      a: { ...access(0, `(r < 4 ? 36 + r : r - 4) * ${k} + c`), mean: null },
    });
  });

  it("merges 2 x 2 tokens, zeros where the grid ends", async () => {
    // 5 x 7 tokens of 24 channels become 3 x 4 of 96.
    const [height, width, channels] = [5, 7, 24];
    const [y, x] = ["floorDiv(r, 4) * 2 + floorDiv(c, 48)", "mod(r, 4) * 2 + mod(floorDiv(c, 24), 2)"];
    const base = product(precision, [12, 40, 96]);
    await check({
      ...base,
      operands: [operand(precision, height * width * channels), operand(precision, 12 * 40)],
      a: {
        ...access(
          0,
          `((${y}) * ${width} + ${x}) * ${channels} + mod(c, ${channels})`,
          `${y} < ${height} && ${x} < ${width}`,
        ),
        mean: null,
      },
    });
  });

  it.each([
    [64, 3, 1, 1],
    [24, 3, 2, 1],
    [8, 7, 2, 3],
    [3, 3, 1, 1],
    [1, 5, 1, 2],
  ] as const)("convolves %i channels by %i x %i windows", async (channels, size, stride, before) => {
    await check(convolution(precision, { channels, size, stride, before, height: 11, width: 9, columns: 40 }));
  });

  it.each([
    [8, 2, 64],
    [12, 3, 32],
  ] as const)("convolves %i channels a group in %i groups of %i columns", async (channels, groups, columns) => {
    const [height, width, wide] = [6, 5, channels * groups];
    const base = convolution(precision, { channels, size: 3, stride: 1, before: 1, height, width, columns: groups * columns }); // prettier-ignore
    const row = "(floorDiv(r, 5) + floorDiv(tap, 3) - 1) * 5 + mod(r, 5) + mod(tap, 3) - 1";
    await check({
      ...base,
      groups,
      operands: [operand(precision, height * width * wide), ...base.operands.slice(1)],
      a: { ...base.a, ...access(0, `(${row}) * ${wide} + group * ${channels} + c`, printScalar(base.a.valid)) },
    });
  });

  it("convolves 3 x 3 x 3 windows", async () => {
    const [frames, height, width, channels, columns] = [4, 6, 5, 16, 24];
    const [t, y, x] = [
      "floorDiv(r, 30) + floorDiv(tap, 9) - 1",
      "mod(floorDiv(r, 5), 6) + mod(floorDiv(tap, 3), 3) - 1",
      "mod(r, 5) + mod(tap, 3) - 1",
    ];
    const base = product(precision, [frames * height * width, columns, 27 * channels]);
    const inside = `${t} >= 0 && ${t} < ${frames} && ${y} >= 0 && ${y} < ${height} && ${x} >= 0 && ${x} < ${width}`;
    await check({
      ...base,
      operands: [operand(precision, frames * height * width * channels), operand(precision, 120 * columns)],
      taps: 27,
      channels,
      a: { ...access(0, `(((${t}) * ${height} + ${y}) * ${width} + ${x}) * ${channels} + c`, inside), mean: null },
    });
  });

  it("embeds patches of a channel-first float32 video", async () => {
    // [3 channels, 4 frames, 16 x 24] in tubelets of 2 x 8 x 8: k runs over (channel, frame, row, column).
    const [y, x] = ["floorDiv(mod(r, 6), 3) * 8 + mod(floorDiv(c, 8), 8)", "mod(r, 3) * 8 + mod(c, 8)"];
    const frame = "floorDiv(r, 6) * 2 + mod(floorDiv(c, 64), 2)";
    const base = product(precision, [12, 48, 384]);
    await check({
      ...base,
      operands: [operand("f32", 3 * 4 * 16 * 24), operand(precision, 12 * 48)],
      a: { ...access(0, `((floorDiv(c, 128) * 4 + ${frame}) * 16 + ${y}) * 24 + ${x}`), mean: null },
    });
  });

  it.each(["u8", "i32", "f32"] as const)("converts %s", async (storage) => {
    const [rows, columns, k] = [19, 24, 48];
    const base = product(precision, [rows, columns, k]);
    await check({
      ...base,
      operands: [operand(storage, rows * k), operand(precision, rows * columns)],
      prologue: parseScalar("($0 - 7) * 0.03"),
    });
  });

  it("applies a prologue that knows its place, and not to fills", async () => {
    const [rows, columns, k] = [26, 24, 40];
    const base = product(precision, [rows, columns, k]);
    await check({
      ...base,
      a: { ...access(0, `r * ${k} + c`, "r + c < 50", -0.5), mean: null },
      prologue: parseScalar("max($0, 0) + (c < 20 ? 0.25 : r * 0.125)"),
    });
  });

  it("averages the first rows over their repetitions", async () => {
    // Two prefix rows, each the mean of 5 repetitions 2 rows apart, then 11 rows behind those.
    const [rows, columns, k] = [13, 24, 32];
    const base = product(precision, [rows, columns, k]);
    const mean = { count: parseScalar("r < 2 ? 5 : 1"), maxCount: 5, offset: parseScalar(`j * ${2 * k}`) };
    const averaged: GemmKernel = {
      ...base,
      operands: [operand(precision, 21 * k), operand(precision, rows * columns)],
      a: { ...access(0, `r * ${k} + (r < 2 ? 0 : ${8 * k}) + c`), mean },
    };
    await check(averaged);
    await check({ ...averaged, prologue: parseScalar("$0 * $0") });
  });

  it.each([32, 20, 3])("averages windows of 2 x 2 tokens of %d channels", async (k) => {
    const [height, width, columns] = [6, 10, 24];
    const rows = (height / 2) * (width / 2);
    const first = `(floorDiv(r, ${width / 2}) * ${2 * width} + mod(r, ${width / 2}) * 2) * ${k} + c`;
    const mean = {
      count: parseScalar("4"),
      maxCount: 4,
      offset: parseScalar(`floorDiv(j, 2) * ${width * k} + mod(j, 2) * ${k}`),
    };
    const averaged: GemmKernel = {
      ...product(precision, [rows, columns, k]),
      operands: [operand(precision, height * width * k), operand(precision, rows * columns)],
      a: { ...access(0, first), mean },
    };
    await check(averaged);
    await check({ ...averaged, prologue: parseScalar("max($0, 0)") });
  });
});

describe.each(precisions)("a normalised product in %s", (precision) => {
  const [rows, columns, k] = [40, 64, 192];
  it.each([0.3, 10, 100])("holds where the mean is %d deviations", async (ratio) => {
    const inputs = { 0: (count: number) => normal(count, 5).map((x) => 768 + (768 / ratio) * x) };
    await check(product(precision, [rows, columns, k], { norm: { eps: 1e-6 } }), { inputs });
  });

  it("holds where the mean is 1000 deviations", async () => {
    // Of bfloat16's neighbours of 768, 4 apart, one in 28 is taken: anything finer would not be in the rows at all.
    const inputs = {
      0: (count: number) => normal(count, 5).map((x, at) => 768 + (at % 28 === 0 ? 4 * Math.sign(x) : 0)),
    };
    await check(product(precision, [rows, columns, k], { norm: { eps: 1e-6 } }), { inputs });
  });

  it("holds for channels far from the others", async () => {
    const inputs = {
      0: (count: number) => normal(count, 6).map((x, at) => (at % k < 3 ? x + 200 : at % k < 9 ? 60 * x : x)),
    };
    await check(product(precision, [rows, columns, k], { norm: { eps: 1e-6 } }), { inputs });
  });

  it.each([20, 42, 100, 200])("of K = %i", async (odd) => {
    const inputs = { 0: (count: number) => normal(count, 7).map((x) => x + 3) };
    await check(product(precision, [rows, columns, odd], { norm: { eps: 1e-5 } }), { inputs });
  });

  it("behind a conversion from float32", async () => {
    const base = product(precision, [rows, columns, k], { norm: { eps: 1e-5 } });
    await check({ ...base, operands: [operand("f32", rows * k), operand(precision, rows * columns)] });
  });

  it("with a bias, stored as float32", async () => {
    await check(
      product(precision, [rows, columns, k], {
        norm: { eps: 1e-5 },
        operands: [operand(precision, rows * k), operand("f32", rows * columns), shared("f32", columns)],
        epilogue: { body: parseScalar("$0 + $1"), elements: [access(2, "n")] },
      }),
    );
  });
});

it("addresses examples of more than 2^31 elements in 64 bits", () => {
  const [rows, columns, k] = [3_000_000, 1024, 1024];
  const base = product("bf16", [rows, columns, k]);
  expect(emitGemm(base, header("product")).source).toContain("int a_at[Copy::count]");
  const moved = emitGemm(
    { ...base, a: { ...access(0, `(r < 5 ? r + ${rows - 5} : r - 5) * ${k} + c`), mean: null } },
    header("product"),
  );
  expect(moved.source).toContain("int64_t a_at[Copy::count]");
  expect(moved.source).toContain("(int64_t)");
});

describe("traffic", () => {
  it.each(["bf16", "f16", "f32"] as const)(
    "meets no bank conflict and stores each sector once in %s",
    async (precision) => {
      const [rows, columns, k] = [128, 192, 128];
      const { counters } = await check(product(precision, [rows, columns, k]), { batch: 1 });
      const { load, store, ldmatrix, cpAsync } = counters.shared;
      expect([load.conflicts, store.conflicts, ldmatrix.conflicts, cpAsync.conflicts]).toEqual([0, 0, 0, 0]);
      const bytes = precision === "f32" ? 4 : 2;
      expect(counters.global.written).toMatchObject({
        bytes: rows * columns * bytes,
        sectors: (rows * columns * bytes) / 32,
      });
      expect(counters.global.read.uniqueBytes).toBe((rows * k + columns * k) * bytes);
      expect(counters.global.read.sectors * 32).toBe(counters.global.read.bytes);
    },
  );

  it("meets none where A passes through registers", async () => {
    const base = product("bf16", [64, 64, 96]);
    const { counters } = await check(
      { ...base, operands: [operand("f32", 64 * 96), operand("bf16", 64 * 64)] },
      { batch: 1 },
    );
    expect(counters.shared.store.conflicts).toBe(0);
  });
});

describe("in any order of threads and copies", () => {
  it.each([1, 2, 3, 4])("seed %i", async (seed) => {
    const checks = { seed, races: 1 };
    await check(product("bf16", [70, 64, 320], { norm: { eps: 1e-6 } }), { checks });
    await check(product("bf16", [70, 64, 330]), { checks });
    await check(product("f32", [40, 64, 80], { norm: { eps: 1e-6 } }), { checks });
    await check(convolution("f16", { channels: 24, size: 3, stride: 1, before: 1, height: 6, width: 7, columns: 32 }), {
      checks,
    });
  });
});

/** A square window over a grid of tokens, channels last. */
function convolution(
  precision: Precision,
  of: { readonly channels: number; readonly size: number; readonly stride: number; readonly before: number; readonly height: number; readonly width: number; readonly columns: number }, // prettier-ignore
): GemmKernel {
  const { channels, size, stride, before, height, width, columns } = of;
  const extent = (length: number): number => Math.floor((length + 2 * before - size) / stride) + 1;
  const [outHeight, outWidth] = [extent(height), extent(width)];
  const y = `floorDiv(r, ${outWidth}) * ${stride} + floorDiv(tap, ${size}) - ${before}`;
  const x = `mod(r, ${outWidth}) * ${stride} + mod(tap, ${size}) - ${before}`;
  const inside = `${y} >= 0 && ${y} < ${height} && ${x} >= 0 && ${x} < ${width}`;
  const base = product(precision, [outHeight * outWidth, columns, size * size * channels]);
  return {
    ...base,
    operands: [operand(precision, height * width * channels), operand(precision, outHeight * outWidth * columns)],
    taps: size * size,
    channels,
    a: { ...access(0, `((${y}) * ${width} + ${x}) * ${channels} + c`, inside), mean: null },
  };
}
