import { describe, expect, it } from "vitest";
import { compileGraph, type Compiled } from "../../compiler/compile.ts";
import { usualTarget } from "../../compiler/schedule/target.ts";
import type { Precision } from "../../ir/types.ts";
import setTransformer from "../../models/setTransformer.ts";
import type { LaunchCounters } from "../../runtime/emulated.ts";
import { drawnInputs, loadOnEmulator } from "../support/emulatedProgram.ts";

// What an induced block moves, as the emulated device counts it: the published width and heads, one long set.

const [points, dim, heads, num_inds] = [3000, 128, 4, 16];
const compileIsab = (precision: Precision, n: number, multiprocessors?: number): Compiled =>
  compileGraph(
    setTransformer.trace({
      entry: "ISAB",
      config: { dim_in: dim, dim_out: dim, num_heads: heads, num_inds, points: n },
    }),
    {
      precision,
      batch: { min: 1, max: 8 },
      keep: false,
      ...(multiprocessors === undefined ? {} : { target: { ...usualTarget, multiprocessors } }),
    },
  );

describe.each(["bf16", "f32"] as const)("an induced set attention block in %s", (precision) => {
  const counted = (async () => {
    using executable = await loadOnEmulator(compileIsab(precision, points, 4));
    const { steps } = await executable.profile(drawnInputs(executable, 1), { by: "counters" });
    return steps.map(({ kernel, time, origin }) => {
      if (time.kind !== "counted") throw new Error(`${kernel} was not counted`);
      return { kernel, path: origin.path, counters: time.counters };
    });
  })();
  // What the caller hands over is float32.
  const setBytes = points * dim * 4;

  it("reads the set once in its first half and writes nothing of its size", async () => {
    const half = (await counted).filter(({ path }) => path.startsWith("mab0"));
    expect(half.map(({ kernel }) => kernel)).toEqual(["attention_mab0", "combine_mab0", "gemm_mab0", "gemm_fc_o"]);
    const [first] = half;
    const set = first?.counters.buffers.find((buffer) => "parameter" in buffer && buffer.parameter === 1)?.address;
    const isOfSet = ({ address }: LaunchCounters["buffers"][number]): boolean => address === set;
    const reads = half.flatMap(({ counters }) => counters.buffers.filter(isOfSet).map(({ read }) => read.bytes));
    expect(reads).toHaveLength(1);
    expect(reads.reduce((sum, bytes) => sum + bytes, 0) / setBytes).toBeLessThanOrEqual(1.05);
    const written = half.reduce((sum, { counters }) => sum + counters.global.written.bytes, 0);
    expect(written).toBeLessThan(setBytes / 4);
  });

  it.runIf(precision === "bf16")(
    "is one kernel behind keys and values in its second half, from the set to the result",
    async () => {
      const half = (await counted).filter(({ path }) => path.startsWith("mab1"));
      expect(half.map(({ kernel }) => kernel)).toEqual(["gemm_fc_k", "mab_mab1"]);
      const { read, written } = half[1]?.counters.global ?? { read: { bytes: 0 }, written: { bytes: 0 } };
      expect(written.bytes).toBe(setBytes);
      // Besides the set: weights, keys and values, once for each of as many thread blocks as there are multiprocessors.
      expect(read.bytes).toBeLessThan(setBytes + 4 * 80 * 1024);
      const set = half[1]?.counters.buffers.find((buffer) => "parameter" in buffer && buffer.parameter === 0);
      expect((set?.read.bytes ?? 0) / setBytes).toBe(1);
    },
  );

  it("meets no conflict of banks", async () => {
    for (const { kernel, counters } of await counted) {
      const { ldmatrix, cpAsync, load } = counters.shared;
      expect([ldmatrix.conflicts, cpAsync.conflicts, load.conflicts], kernel).toEqual([0, 0, 0]);
    }
  });
});

describe("a long set", () => {
  const noteOf = ({ program }: Compiled): string =>
    program.kernels.flatMap(({ notes }) => notes).find((note) => note.startsWith("Keys are split")) ?? "none is split";
  const chunksOf = (compiled: Compiled): number => Number(/into (\d+) chunks/.exec(noteOf(compiled))?.[1] ?? 1);

  it("is split over all multiprocessors of the device that it is built for", () => {
    for (const multiprocessors of [132, 8]) {
      const chunks = chunksOf(compileIsab("bf16", 100_000, multiprocessors)) / multiprocessors;
      expect(chunks).toBeGreaterThan(0.9);
      expect(chunks).toBeLessThanOrEqual(4);
    }
    expect(chunksOf(compileIsab("bf16", 1000))).toBe(1);
  });

  it("of many points, and more than 2^31 elements, has 64-bit offsets", () => {
    const { sources, program } = compileIsab("bf16", 20_000_000);
    expect(program.steps[0]?.work.readBytes.perExample).toBeGreaterThan(2 ** 31);
    const attention = sources.get("kernels/attention_mab0.cu");
    expect(attention).toContain("block.k + ((int64_t)key.n * 128");
  });
});

describe("a ragged set", () => {
  const ragged = compileGraph(
    setTransformer.trace({
      entry: "SAB",
      config: { dim_in: 8, dim_out: 8, num_heads: 2, points: 40, sets: 2, masked: true },
    }),
    { precision: "f32", batch: { min: 1, max: 2 }, keep: false },
  );
  const run = async (lengths: readonly number[], X = drawn(2 * 40 * 8)) => {
    using executable = await loadOnEmulator(ragged);
    const { out } = await executable.run({
      X: { shape: [2, 40, 8], data: X },
      lengths: { shape: [2], data: Int32Array.from(lengths) },
    });
    return [...(out?.data ?? [])];
  };
  const drawn = (count: number): Float32Array => Float32Array.from({ length: count }, (_, i) => Math.sin(12.9898 * i));

  it.each([[[41, 3]], [[3, -1]]])("of lengths %o is refused, with the lengths that are taken", async (lengths) => {
    await expect(run(lengths)).rejects.toThrow(
      /input "lengths" is (41 at 0|-1 at 1): the program takes lengths from 0 to 40/,
    );
  });

  it("gives the same whatever stands behind its last point, zeros if it has none, and each point its own in any order", async () => {
    const X = drawn(2 * 40 * 8);
    const one = await run([17, 0], X);
    expect(one.slice(0, 17 * 8).every((value) => value !== 0)).toBe(true);
    expect(one.slice(17 * 8).every((value) => value === 0)).toBe(true);
    const behind = X.map((value, i) => (i >= 17 * 8 ? 1e6 : value));
    expect(await run([17, 0], behind)).toEqual(one);

    const turned = X.map((value, i) => (i < 17 * 8 ? (X[(16 - Math.floor(i / 8)) * 8 + (i % 8)] ?? 0) : value));
    const other = await run([17, 0], turned);
    for (const [i, value] of one.slice(0, 17 * 8).entries())
      expect(other[(16 - Math.floor(i / 8)) * 8 + (i % 8)]).toBeCloseTo(Number(value), 4);
  });
});

describe.each<[precision: Precision, num_inds: number, kernels: readonly string[]]>([
  ["bf16", 5, ["mab1"]],
  // More keys than one kernel takes; queries are projected beside them.
  ["bf16", 140, ["mab0.fc_k", "mab1.fc_o"]],
  ["f32", 5, ["mab1.fc_q", "mab1.fc_o"]],
])("kernels of a ragged set in %s, of %d inducing points", (precision, few, kernels) => {
  const [sets, n, width] = [2, 600, 48];
  const lengthsOfAll = [n, n];
  const counted = async (lengths: readonly number[]) => {
    const config = { dim_in: width, dim_out: width, num_heads: 3, num_inds: few, points: n, sets, masked: true };
    const compiled = compileGraph(setTransformer.trace({ entry: "ISAB", config }), {
      precision,
      batch: { min: 1, max: 1 },
      keep: false,
    });
    using executable = await loadOnEmulator(compiled);
    const inputs = {
      ...drawnInputs(executable, 1),
      lengths: { shape: [sets], data: Int32Array.from(lengths) },
    };
    const { steps } = await executable.profile(inputs, { by: "counters" });
    const ofSet = steps.flatMap(({ kernel, origin, time }) =>
      kernels.includes(origin.path) && time.kind === "counted"
        ? [{ kernel, read: time.counters.global.read.bytes, flops: time.counters.tensorFlops }]
        : [],
    );
    const { out } = await executable.run(inputs);
    return { ofSet, out: out?.data ?? [] };
  };

  it("work as far as sets are long, and leave zeros behind", async () => {
    const [short, whole] = [await counted([70, 0]), await counted(lengthsOfAll)];
    expect(short.ofSet).toHaveLength(kernels.length);
    for (const [i, { kernel, read, flops }] of short.ofSet.entries()) {
      // 70 of 1200 rows, in whole tiles of 128 at most.
      expect(read / (whole.ofSet[i]?.read ?? 0), kernel).toBeLessThan(0.25);
      if (precision === "bf16") expect(flops / (whole.ofSet[i]?.flops ?? 0), kernel).toBeLessThan(0.15);
    }
    const rows = (count: number, { out }: { readonly out: ArrayLike<number> }) =>
      Array.from(out).slice(0, count * width);
    // A sum may round to zero here and there.
    const filled = (values: readonly number[]) => values.filter((value) => value !== 0).length / values.length;
    expect(filled(rows(70, short))).toBeGreaterThan(0.99);
    expect(Array.from(short.out).slice(70 * width)).toEqual(Array<number>((sets * n - 70) * width).fill(0));
    expect(filled(rows(sets * n, whole))).toBeGreaterThan(0.99);
  });
});
