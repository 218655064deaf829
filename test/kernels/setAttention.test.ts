import { describe, expect, it } from "vitest";
import type { AttentionKernel } from "../../compiler/schedule/kernels.ts";
import { literal, select, variable } from "../../ir/scalarBuild.ts";
import { parseScalar } from "../../ir/scalarText.ts";
import type { Precision } from "../../ir/types.ts";
import type { LaunchCounters } from "../../runtime/emulated.ts";
import {
  attentionKernel,
  attentionLaunch,
  attentionValues,
  grid,
  runAttention,
  toleranceOf,
  worstOf,
} from "./attentionCase.ts";
import { all, near, prefix, union } from "./attentionPatterns.ts";
import { launch } from "./harness.ts";
import { runSplit, splitInto } from "./splitCase.ts";

// Attention between a set and a few learned points, whichever of them asks.

type Sizes = { readonly queries: number; readonly keys: number; readonly headDim: number; readonly heads?: number };

/** Learned queries look at the set itself: its rows are keys and values. */
const ofOneRow = (precision: Precision, { queries, keys, headDim }: Sizes): AttentionKernel => {
  const kernel = attentionKernel({
    precision,
    pattern: all,
    query: grid({ m: queries }),
    key: grid({ n: keys }),
    headDim,
    heads: 1,
  });
  return { ...kernel, v: kernel.k };
};
const ofFewKeys = (precision: Precision, { queries, keys, headDim, heads = 2 }: Sizes): AttentionKernel =>
  attentionKernel({ precision, pattern: all, query: grid({ n: queries }), key: grid({ m: keys }), headDim, heads });

const read = (counters: unknown, parameter: number): number => {
  const { buffers } = counters as LaunchCounters;
  const found = buffers.find((buffer) => "parameter" in buffer && buffer.parameter === parameter);
  if (found === undefined) throw new Error(`parameter ${parameter} was not used`);
  return found.read.bytes / found.read.uniqueBytes;
};

describe.each(["bf16", "f32"] as const)("in %s", (precision) => {
  it.each([
    { queries: 1, keys: 700, headDim: 128 },
    { queries: 40, keys: 400, headDim: 24 },
    { queries: 70, keys: 570, headDim: 64 },
  ])("$queries queries read $keys rows of $headDim channels once, as keys and as values", async (sizes) => {
    const kernel = ofOneRow(precision, sizes);
    const { worst, result } = await runAttention(kernel, 2, { counters: 1 });
    expect(worst).toBeLessThan(toleranceOf(precision, sizes.headDim));
    expect(read(result.counters, 1)).toBe(1);
  });

  it("chunks of keys give what all of them give, whatever their number", async () => {
    const kernel = ofOneRow(precision, { queries: 20, keys: 470, headDim: 128 });
    const results = new Map<number, Float64Array>();
    for (const chunks of [2, 3, 6]) {
      const { worst, out, attended } = await runSplit(splitInto(kernel, [chunks]), 2, { counters: 1, seed: chunks });
      expect(worst).toBeLessThan(toleranceOf(precision, 128));
      expect(read(attended.counters, 1)).toBe(1);
      results.set(chunks, out);
    }
    // Sums of the same terms in another order, rounded once.
    const [two, six] = [results.get(2) ?? [], results.get(6) ?? []];
    const ulp = { bf16: 2 ** -7, f32: 2 ** -20 }[precision];
    for (const [i, value] of two.entries()) expect(Math.abs((six[i] ?? Number.NaN) - value)).toBeLessThanOrEqual(ulp);
  });

  it("many queries share out few keys to several thread blocks", async () => {
    const sizes = { queries: 1100, keys: 13, headDim: 32 };
    const { worst, result, source } = await runAttention(ofFewKeys(precision, sizes), 2, { counters: 1 });
    expect(worst).toBeLessThan(toleranceOf(precision, sizes.headDim));
    expect(source).toContain("a thread block takes 512 queries");
    expect(read(result.counters, 0)).toBe(1);
    expect(read(result.counters, 1)).toBe(3);
  });
});

describe("chunks of keys", () => {
  const global = union(prefix, near({ w: 3 }));
  const longformer = attentionKernel({
    precision: "bf16",
    pattern: global,
    query: grid({ w: 2100 }, { count: 2, over: [] }),
    headDim: 16,
    heads: 1,
  });

  it("are those of a few global tokens alone, beside neighbours that need none", async () => {
    const { worst, source } = await runSplit(splitInto(longformer, [1, 4]), 1);
    expect(worst).toBeLessThan(toleranceOf("bf16", 16));
    expect(source).toMatch(/Keys are split into 4 chunks/);
  });

  it("come out bit by bit the same, in any order of thread blocks, and whatever else is in the batch", async () => {
    const kernel = splitInto(ofOneRow("bf16", { queries: 9, keys: 300, headDim: 256 }), [4]);
    const values = attentionValues(kernel, 3);
    const ofOne = values.map((data, i) => data && data.slice(0, kernel.operands[i]?.exampleSize));
    const one = await runSplit(kernel, 1, {}, ofOne);
    const other = await runSplit(kernel, 3, { seed: 7 }, values);
    expect(other.out.slice(0, one.out.length)).toEqual(one.out);
  });

  it.each(["count", "none"] as const)("add up where scores are the weights, divided by %s", async (normalize) => {
    const kernel = { ...ofOneRow("f32", { queries: 5, keys: 260, headDim: 120 }), normalize };
    const { worst } = await runSplit(splitInto(kernel, [3]), 1);
    expect(worst).toBeLessThan(toleranceOf("f32", 120));
  });
});

describe("ragged sets", () => {
  const lengths = [0, 37, 210];
  const most = 210;
  type Ragged = { readonly queries: number; readonly headDim: number; readonly ofBoth?: boolean };
  /** Three sets, each with its length; `ofBoth`: queries are points of the set as well. */
  const ragged = (precision: Precision, { queries, headDim, ofBoth = false }: Ragged): AttentionKernel =>
    attentionKernel({
      precision,
      pattern: { kind: "same", axes: ["s"] },
      query: grid({ s: 3, n: queries }),
      key: grid({ s: 3, n: most }),
      headDim,
      heads: 1,
      score: select(
        parseScalar(ofBoth ? "k.n < table0[k.s] && q.n < table0[k.s]" : "k.n < table0[k.s]"),
        variable("s"),
        literal(-Infinity),
      ),
      tables: [[3]],
    });
  const runRagged = async (kernel: AttentionKernel, own: readonly number[] = lengths) => {
    const table = kernel.tables[0]?.operand;
    const values = attentionValues(kernel, 1).map((data, i) => (i === table ? Float64Array.from(own) : data));
    const run = { ...attentionLaunch(kernel, "attention_0", 1), values };
    const result = await launch(run, { counters: 1 });
    return { worst: worstOf(kernel, run, result), counters: result.counters as unknown as LaunchCounters };
  };

  it.each([
    ["bf16", { queries: 20, headDim: 24 }],
    ["bf16", { queries: 20, headDim: 256 }],
    ["bf16", { queries: 210, headDim: 24, ofBoth: true }],
    ["bf16", { queries: 210, headDim: 256, ofBoth: true }],
    ["f32", { queries: 20, headDim: 24 }],
    ["f32", { queries: 210, headDim: 256, ofBoth: true }],
  ] as const)(
    "in %s with %o: each set's keys are read as far as it is long, and no further",
    async (precision, sizes) => {
      const kernel = ragged(precision, sizes);
      const { worst, counters } = await runRagged(kernel);
      expect(worst).toBeLessThan(toleranceOf(precision, sizes.headDim));
      const ofKeys = counters.buffers.find((buffer) => "parameter" in buffer && buffer.parameter === 1);
      expect(ofKeys?.read.uniqueBytes).toBe((0 + 37 + 210) * sizes.headDim * (precision === "f32" ? 4 : 2));
    },
  );

  it("do work as their lengths say", async () => {
    const kernel = ragged("bf16", { queries: 210, headDim: 256, ofBoth: true });
    const [short, long] = [await runRagged(kernel, [0, 50, 0]), await runRagged(kernel, [50, 210, 210])];
    // Whole tiles: 64 of 210 queries and 64 of 210 keys; twice all of them, and these once more.
    expect(short.counters.tensorFlops / long.counters.tensorFlops).toBeLessThan(0.06);
    expect(short.counters.tensorFlops).toBeGreaterThan(0);
  });

  it("are safe whatever a length says", async () => {
    const kernel = ragged("bf16", { queries: 20, headDim: 24 });
    for (const own of [
      [-5, 0, 1],
      [10_000, 211, 210],
    ]) {
      const { worst } = await runRagged(kernel, own);
      expect(worst).toBeLessThan(toleranceOf("bf16", 24));
    }
  });
});
