import { beforeAll, describe, expect, it } from "vitest";
import { int, openTestDevice, type TestDevice } from "./driver.ts";
import { onGpu } from "../support/testDevice.ts";
import { bitsOf, fromBf16, fromF16, randomNumbers, toBf16, toF16 } from "./numbers.ts";

// Every primitive against its definition. The same kernels and expectations hold on a GPU.
/** Milliseconds: the first run builds the emulated device. */
const building = 120_000;
let device: TestDevice;
beforeAll(async () => {
  device = await openTestDevice();
}, building);
const threads = Array.from({ length: 128 }, (_, t) => t);
const times = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));

describe("number formats", () => {
  beforeAll(() => device.load("conversions.cu", ["narrow", "widen", "approximate"]), building);

  it("rounds float32 to bf16, f16 and tf32", () => {
    const special = [
      0,
      -0,
      1,
      -1,
      Infinity,
      -Infinity,
      65504,
      65519.99,
      65520,
      1e-8,
      2 ** -24,
      2 ** -25,
      1.5 * 2 ** -25,
    ];
    const subnormal = [2 ** -14 - 2 ** -25, 2 ** -14, 3e38, 3.4e38, 1e-40, 2 ** -130, NaN];
    const random = times(20_000, (i) => (randomNumbers(i, 1)[0] ?? 0) * 2 ** ((i % 60) - 40));
    const x = Float32Array.from([...special, ...subnormal, ...random]);
    const n = x.length;
    const [bf, half, tf, pairs] = [
      device.allocate(2 * n),
      device.allocate(2 * n),
      device.allocate(4 * n),
      device.allocate(8 * n),
    ];
    const args = [device.upload(x), bf, half, tf, pairs, int(n)] as const;
    expect(device.run("narrow", { grid: Math.ceil(n / 256), block: 256, args })).toBe(0);
    expect(device.download(new Uint16Array(n), bf)).toEqual(Uint16Array.from(x, toBf16));
    expect(device.download(new Uint16Array(n), half)).toEqual(Uint16Array.from(x, toF16));
    const packed = device.download(new Uint32Array(2 * n), pairs);
    const negated = (bits: number, v: number): number => (Number.isNaN(v) ? 0x7fff : bits ^ 0x8000);
    const expected = [...x].flatMap((v) => [toBf16(v), toF16(v)].map((b) => (b | (negated(b, v) << 16)) >>> 0));
    expect(packed).toEqual(Uint32Array.from(expected));
    // To nearest, halves away from zero, in 10 bits of fraction.
    const rounded = (v: number): number => (bitsOf(v) + 0x1000) & 0xffffe000;
    const finite = [...x.keys()].filter((i) => Number.isFinite(x[i] ?? NaN));
    const got = device.download(new Uint32Array(n), tf);
    expect(finite.map((i) => (got[i] ?? 0) & 0xffffe000)).toEqual(finite.map((i) => rounded(x[i] ?? 0)));
  });

  it("widens all 65536 values of bf16 and f16 exactly", () => {
    const [bf, half] = [device.allocate(4 << 16), device.allocate(4 << 16)];
    expect(device.run("widen", { grid: 256, block: 256, args: [bf, half] })).toBe(0);
    const all = Uint32Array.from({ length: 1 << 16 }, (_, i) => i);
    expect(device.download(new Float32Array(1 << 16), bf)).toEqual(Float32Array.from(all, fromBf16));
    expect(device.download(new Float32Array(1 << 16), half)).toEqual(Float32Array.from(all, fromF16));
  });

  it("approximates exp2, 1/x and tanh as well as the special function unit", () => {
    const x = Float32Array.from([...randomNumbers(3, 4000)].map((v) => 20 * v + Math.sign(v) * 1e-3));
    const n = x.length;
    const out = times(3, () => device.allocate(4 * n));
    expect(device.run("approximate", { grid: 16, block: 256, args: [device.upload(x), ...out, int(n)] })).toBe(0);
    const worst = (k: number, exact: (v: number) => number): number => {
      const got = device.download(new Float32Array(n), out[k] ?? device.allocate(4));
      return x.reduce((w, v, i) => Math.max(w, Math.abs((got[i] ?? 0) / exact(v) - 1)), 0);
    };
    // 2 ulp, 1 ulp and 2^-10.987, from the PTX manual.
    expect(worst(0, (v) => 2 ** v)).toBeLessThan(2.5e-7);
    expect(worst(1, (v) => 1 / v)).toBeLessThan(1.3e-7);
    expect(worst(2, Math.tanh)).toBeLessThan(6e-4);
  });
});

describe("warps and barriers", () => {
  beforeAll(() => device.load("warps.cu", ["shuffles", "barriers"]), building);
  const rows = (got: Int32Array): number[][] =>
    times(got.length / 128, (k) => [...got.subarray(128 * k, 128 * k + 128)]);

  it("shuffles, votes and reduces", () => {
    const out = device.allocate(13 * 512);
    expect(device.run("shuffles", { block: 128, args: [out] })).toBe(0);
    const ballot = (t: number): number =>
      times(32, (i) => (((t & ~31) + i) % 3 === 0 ? 1 << i : 0)).reduce((a, b) => a | b);
    const expected: ((t: number) => number)[] = [
      (t) => ((t & ~31) + 5) * 3,
      (t) => ((t & 31) < 3 ? t : t - 3),
      (t) => ((t & 7) + 4 >= 8 ? t : t + 4),
      (t) => t ^ 9,
      (t) => (t & ~15) + 3,
      (t) => (t & ~31) + ((t & 31) < 16 ? 2 : 20),
      ballot,
      (t) => (t >> 5 === 1 ? 1 : 0),
      (t) => (t < 32 ? 1 : 0),
      (t) => t >> 5,
      (t) => 496 + ((t & 31) | 3),
      (t) => (t | 7) * 1000 + (t & ~7),
      (t) => (4 * (t & 28) + 6) * 1000 + 4,
    ];
    expect(rows(device.download(new Int32Array(13 * 128), out))).toEqual(expected.map((f) => threads.map(f)));
  });

  it("counts at barriers, lets half a block go on, and adds atomically", () => {
    const out = device.allocate(5 * 512);
    const totals = device.upload(new Int32Array(5));
    expect(device.run("barriers", { grid: 8, block: 128, shared: 128, args: [out, totals] })).toBe(0);
    const expected = [() => 26, () => 1, () => 0, () => 8128, (t: number) => (t < 64 ? 0 : 77)];
    expect(rows(device.download(new Int32Array(5 * 128), out))).toEqual(expected.map((f) => threads.map(f)));
    expect([...device.download(new Int32Array(5), totals)]).toEqual([1024, 127, -127, bitsOf(512), 7]);
  });
});

describe("copies", () => {
  beforeAll(() => device.load("copies.cu", ["async_copies", "plain_copies", "strided"]), building);
  const bytes = (n: number): Uint8Array => Uint8Array.from({ length: n }, (_, i) => (i * 7 + (i >> 8)) & 255);

  it("copies 16, 8 and 4 bytes asynchronously, and zeros for dead copies", () => {
    const from = bytes(1792);
    const out = device.allocate(1792);
    expect(device.run("async_copies", { block: 64, shared: 1792, args: [device.upload(from), out] })).toBe(0);
    const expected = from.map((v, i) => {
      const size = i < 1024 ? 16 : i < 1536 ? 8 : 4;
      const t = Math.floor((i < 1024 ? i : i < 1536 ? i - 1024 : i - 1536) / size);
      if (i >= 1024) return t % 3 === 2 ? 0 : v;
      return (63 - t) % 3 === 2 ? 0 : (from[(63 - t) * 16 + (i % 16)] ?? 0);
    });
    expect(device.download(new Uint8Array(1792), out)).toEqual(expected);
  });

  it("loads and stores every size with every hint", () => {
    const from = bytes(128 * (16 + 8 + 4 + 2 + 2 + 1));
    const out = device.allocate(from.length);
    expect(device.run("plain_copies", { block: 32, args: [device.upload(from), out] })).toBe(0);
    expect(device.download(new Uint8Array(from.length), out)).toEqual(from);
  });
});

describe("matrix units", () => {
  beforeAll(
    () => device.load("matrix.cu", ["ldmatrix_layout", "multiply_bf16", "multiply_f16", "multiply_tf32"]),
    building,
  );

  it("ldmatrix gives each lane its pair of a row, or of a column", () => {
    const out = device.allocate(12 * 128);
    expect(device.run("ldmatrix_layout", { block: 32, shared: 512, args: [out] })).toBe(0);
    const pair = (matrix: number, lane: number, transposed: boolean): number => {
      const at = (k: number): number => {
        const [row, column] = [lane >> 2, 2 * (lane & 3) + k];
        return 64 * matrix + (transposed ? 8 * column + row : 8 * row + column);
      };
      return at(0) | (at(1) << 16);
    };
    const registers: [number, boolean][] = [
      ...times(4, (i): [number, boolean] => [i, false]),
      ...times(4, (i): [number, boolean] => [i, true]),
    ];
    registers.push([0, false], [1, false], [0, true], [1, true]);
    const expected = registers.flatMap(([m, transposed]) => times(32, (lane) => pair(m, lane, transposed)));
    expect([...device.download(new Uint32Array(12 * 32), out)]).toEqual(expected);
  });

  it.each([
    ["multiply_bf16", toBf16, fromBf16],
    ["multiply_f16", toF16, fromF16],
  ] as const)("%s by blocks and by rows", (kernel, narrow, widen) => {
    const a = Uint16Array.from(randomNumbers(1, 512), narrow);
    const b = Uint16Array.from(randomNumbers(2, 512), narrow);
    const out = device.allocate(8192);
    expect(device.run(kernel, { block: 32, shared: 2048, args: [device.upload(a), device.upload(b), out] })).toBe(0);
    const c = device.download(new Float32Array(2048), out);
    const exact = times(1024, (i) =>
      times(16, (k) => widen(a[(i >> 5) * 16 + k] ?? 0) * widen(b[(i & 31) * 16 + k] ?? 0)).reduce((x, y) => x + y, 1),
    );
    for (const part of [c.subarray(0, 1024), c.subarray(1024)]) expect(worstError(part, exact)).toBeLessThan(2e-6);
  });

  it("multiplies in tf32", () => {
    const [a, b] = [randomNumbers(1, 128), randomNumbers(2, 64)];
    const out = device.allocate(512);
    expect(device.run("multiply_tf32", { block: 32, args: [device.upload(a), device.upload(b), out] })).toBe(0);
    const exact = times(128, (i) =>
      times(8, (k) => (a[(i >> 3) * 8 + k] ?? 0) * (b[(i & 7) * 8 + k] ?? 0)).reduce((x, y) => x + y),
    );
    expect(worstError(device.download(new Float32Array(128), out), exact)).toBeLessThan(4e-3);
  });
});

describe("TMA and bulk copies", () => {
  beforeAll(
    () => device.load("tma.cu", ["tma_box", "tma_put", "bulk_ring", "stmatrix_layout", "cluster_exchange"]),
    building,
  );
  const swizzled = (at: number, mode: number): number => at ^ ((at >> 3) & ([0, 0x10, 0x30, 0x70][mode] ?? 0));

  it.each([
    [[64, 100], [64, 64], 3, [0, 64]],
    [[40, 30], [32, 16], 2, [16, -3]],
    [[24, 10], [16, 8], 1, [-8, 5]],
    [[24, 10, 7], [64, 4, 3], 3, [-5, 8, 5]],
    [[16, 5, 4, 3], [16, 3, 2, 2], 0, [3, 3, -1, 2]],
    [[32, 3, 3, 3, 3], [32, 2, 2, 2, 2], 2, [0, 2, 1, -1, 2]],
  ])("loads of %j a box of %j with swizzle %i from %j", (extents, box, swizzle, at) => {
    const from = Uint16Array.from({ length: extents.reduce((a, b) => a * b) }, (_, i) => i + 1);
    const count = box.reduce((a, b) => a * b);
    const out = device.allocate(2 * count);
    const struct = new Uint8Array(Int32Array.from([extents.length, 2 * count, ...at, 0, 0, 0]).buffer, 0, 28);
    const map = device.tensorMap(device.upload(from), extents, box, swizzle);
    expect(device.run("tma_box", { block: 64, shared: 32784, args: [map, out, { bytes: struct, align: 4 }] })).toBe(0);
    const expected = new Uint16Array(count);
    for (let i = 0; i < count; i++) {
      let [rest, index, pitch, inside] = [i, 0, 1, true];
      extents.forEach((extent, d) => {
        const x = (at[d] ?? 0) + (rest % (box[d] ?? 1));
        rest = Math.floor(rest / (box[d] ?? 1));
        inside &&= x >= 0 && x < extent;
        index += x * pitch;
        pitch *= extent;
      });
      expected[swizzled(2 * i, swizzle) / 2] = inside ? (from[index] ?? 0) : 0;
    }
    expect(device.download(new Uint16Array(count), out)).toEqual(expected);
  });

  it("stores a swizzled box and clips it", () => {
    const to = device.upload(new Uint16Array(2000));
    const args = [device.tensorMap(to, [40, 50], [32, 16], 2), int(1024), int(20), int(40), int(0)];
    expect(device.run("tma_put", { block: 64, shared: 1024, args })).toBe(0);
    const expected = Uint16Array.from({ length: 2000 }, (_, i) => {
      const [x, y] = [(i % 40) - 20, Math.floor(i / 40) - 40];
      return x >= 0 && x < 32 && y >= 0 && y < 16 ? swizzled((32 * y + x) * 2, 2) / 2 : 0;
    });
    expect(device.download(new Uint16Array(2000), to)).toEqual(expected);
  });

  it("adds boxes of float32", () => {
    const to = device.upload(new Float32Array(64).fill(5));
    const args = [device.tensorMap(to, [8, 8], [8, 4], 0, 7), int(128), int(0), int(6), int(1)];
    expect(device.run("tma_put", { grid: 3, block: 64, shared: 1024, args })).toBe(0);
    expect([...device.download(new Float32Array(64), to)]).toEqual(times(64, (i) => (i < 48 ? 5 : 8)));
  });

  it("moves tiles through a ring of bulk copies", () => {
    const from = Uint32Array.from({ length: 7 * 32 }, (_, i) => i * i);
    const to = device.allocate(128);
    expect(device.run("bulk_ring", { block: 64, shared: 544, args: [device.upload(from), to, int(7)] })).toBe(0);
    const sums = times(32, (i) => times(7, (t) => (32 * t + i) ** 2).reduce((a, b) => a + b));
    expect([...device.download(new Uint32Array(32), to)]).toEqual(sums);
  });

  it.skipIf(onGpu)("moves them whatever the schedule, without a race", () => {
    const from = Uint32Array.from({ length: 7 * 32 }, (_, i) => i * i);
    const sums = times(32, (i) => times(7, (t) => (32 * t + i) ** 2).reduce((a, b) => a + b));
    device.set("races", 1);
    for (let seed = 1; seed <= 20; seed++) {
      device.set("seed", seed);
      const to = device.allocate(128);
      expect(device.run("bulk_ring", { block: 64, shared: 544, args: [device.upload(from), to, int(7)] })).toBe(0);
      expect([...device.download(new Uint32Array(32), to)]).toEqual(sums);
    }
    device.set("races", 0);
    device.set("seed", 0);
  });

  it("stmatrix undoes ldmatrix", () => {
    const out = device.allocate(1024);
    expect(device.run("stmatrix_layout", { block: 32, shared: 1024, args: [out] })).toBe(0);
    const place = (i: number, transposed: boolean): number => {
      const [matrix, a, b] = [i >> 6, (i >> 3) & 7, i & 7];
      const [row, column] = transposed ? [b, a] : [a, b];
      return 8 * (4 * row + (column >> 1)) + 2 * matrix + (column & 1);
    };
    const expected = [...times(256, (i) => place(i, false)), ...times(256, (i) => place(i, true))];
    expect([...device.download(new Uint16Array(512), out)]).toEqual(expected);
  });

  it("lets the blocks of a cluster meet, and multicasts to them", () => {
    const from = Uint32Array.from({ length: 32 }, (_, i) => 3 * i);
    const out = device.allocate(1024);
    const map = device.tensorMap(device.upload(from), [32, 1], [32, 1], 0, 7);
    expect(device.run("cluster_exchange", { grid: 8, block: 32, shared: 8256, cluster: 2, args: [map, out] })).toBe(0);
    expect([...device.download(new Uint32Array(256), out)]).toEqual(
      times(256, (i) => 3 * (i & 31) + 1000 * ((i >> 5) & 1)),
    );
  });
});

describe("wgmma", () => {
  const kernels = [
    "bf16_128",
    "bf16_128_tb",
    "bf16_128_ta_tb",
    "bf16_128_registers",
    "f16_128",
    "f16_128_registers_tb",
  ];
  kernels.push("bf16_64", "bf16_64_tb", "bf16_32", "f16_32_ta_tb");
  beforeAll(() => device.load("wgmma.cu", kernels), building);

  it.each(kernels)("%s", (kernel) => {
    const [narrow, widen] = kernel.startsWith("bf16") ? [toBf16, fromBf16] : [toF16, fromF16];
    const a = Uint16Array.from(randomNumbers(1, 4096), narrow);
    const b = Uint16Array.from(randomNumbers(2, 4096), narrow);
    const out = device.allocate(16384);
    expect(device.run(kernel, { block: 128, shared: 16384, args: [device.upload(a), device.upload(b), out] })).toBe(0);
    const transposed = (name: string, row: number, k: number): number =>
      kernel.includes(name) ? 64 * k + row : 64 * row + k;
    const exact = times(4096, (i) =>
      times(
        64,
        (k) => widen(a[transposed("_ta", i >> 6, k)] ?? 0) * widen(b[transposed("_tb", i & 63, k)] ?? 0),
      ).reduce((x, y) => x + y),
    );
    expect(worstError(device.download(new Float32Array(4096), out), exact)).toBeLessThan(1e-5);
  });
});

function worstError(got: Float32Array, exact: readonly number[]): number {
  return exact.reduce(
    (worst, x, i) => Math.max(worst, Math.abs(x - (got[i] ?? NaN)) || (Number.isNaN(got[i]) ? Infinity : 0)),
    0,
  );
}
