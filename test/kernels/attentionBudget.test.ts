import { describe, expect, it } from "vitest";
import type { Precision } from "../../ir/types.ts";
import type { LaunchCounters } from "../../runtime/emulated.ts";
import { patternMap } from "../../compiler/schedule/attention/patternMap.ts";
import { attentionKernel, grid, runCase } from "./attentionCase.ts";
import { all, along, near, prefix, union, where, window, type PatternCase } from "./attentionPatterns.ts";

const count = async (test: PatternCase, precision: Precision): Promise<LaunchCounters> => {
  const { result } = await runCase({ ...test, precision }, { counters: 1, races: 0 });
  return result.counters as unknown as LaunchCounters;
};
const parameter = (
  counters: LaunchCounters,
  index: number,
  kind: "read" | "written",
): LaunchCounters["global"]["read"] => {
  const found = counters.buffers.find((buffer) => "parameter" in buffer && buffer.parameter === index);
  if (found === undefined) throw new Error(`parameter ${index} was not used`);
  return found[kind];
};

const frame = {
  pattern: union(prefix, along("h", "w")),
  query: grid({ t: 2, h: 14, w: 14 }, { count: 1, over: ["t"] }),
  headDim: 64,
};
const residents: { readonly [name: string]: PatternCase } = {
  "time of 8": { pattern: along("t"), query: grid({ t: 8, h: 6, w: 6 }), headDim: 64 },
  "time of 5": { pattern: along("t"), query: grid({ t: 5, h: 6, w: 6 }), headDim: 64 },
  "a frame": frame,
  "shifted windows": { pattern: window({ h: 7, w: 7 }, { h: 3, w: 3 }), query: grid({ h: 14, w: 14 }), headDim: 32 },
  neighbours: { pattern: union(prefix, near({ w: 9 })), query: grid({ w: 250 }, { count: 1, over: [] }), headDim: 64 },
};

describe("resident keys", () => {
  const each = Object.entries(residents).flatMap(([name, test]) =>
    (["bf16", "f32"] as const).map((precision) => [name, precision, test] as const),
  );
  it.each(each)(
    "of %s in %s: every byte of q, k and v is read once, every result written once",
    async (_name, precision, test) => {
      const counters = await count(test, precision);
      const read = parameter(counters, 0, "read");
      const written = parameter(counters, 1, "written");
      expect(read.bytes / read.uniqueBytes).toBeLessThan(1.1);
      expect(written.bytes).toBe(written.uniqueBytes);
      // Whole sectors: the memory moves nothing that nobody asked for.
      expect(read.sectors * 32).toBe(read.bytes);
      expect(written.sectors * 32).toBe(written.bytes);
    },
  );
});

describe("neighbourhoods on two axes", () => {
  const seven = near({ h: 3, w: 3 }, 1, "inwards");
  const waste = (test: PatternCase): number => {
    const { pairs, jobs } = patternMap(attentionKernel({ ...test, precision: "bf16" }));
    return jobs.reduce((sum, { computed }) => sum + computed, 0) / pairs;
  };
  // Of 16 x 8 queries and 22 x 14 keys, two rows of queries meet eight of keys, in whole steps: runs of a line met 10.5 times as many.
  it.each([
    ["7 x 7 of 56 x 56", { pattern: seven, query: grid({ h: 56, w: 56 }), headDim: 64 }, 3.4],
    ["7 x 7 of 14 x 14", { pattern: seven, query: grid({ h: 14, w: 14 }), headDim: 32 }, 3.2],
    ["13 x 13 of 56 x 56", { pattern: near({ h: 6, w: 6 }), query: grid({ h: 56, w: 56 }), headDim: 32 }, 1.9],
    [
      "7 x 7, four apart",
      { pattern: near({ h: 3, w: 3 }, 4, "inwards"), query: grid({ h: 56, w: 56 }), headDim: 32 },
      3.2,
    ],
    ["3 x 7 x 7", { pattern: near({ t: 1, h: 3, w: 3 }), query: grid({ t: 8, h: 28, w: 28 }), headDim: 32 }, 2.75],
    [
      "a disc, which is a predicate",
      {
        pattern: where("(q.h - k.h) * (q.h - k.h) + (q.w - k.w) * (q.w - k.w) <= 16"),
        query: grid({ h: 56, w: 56 }),
        headDim: 32,
      },
      4,
    ],
  ] as const)("%s multiply few pairs that do not see each other", (_name, test, most) =>
    expect(waste(test)).toBeLessThan(most),
  );
  it("read a key for the boxes around it alone, in whole sectors and without a conflict", async () => {
    const test = { pattern: seven, query: grid({ h: 28, w: 28 }), headDim: 32, heads: 1 };
    const counters = await count(test, "bf16");
    const read = parameter(counters, 0, "read");
    expect(read.bytes / read.uniqueBytes).toBeLessThan(2.6);
    expect(read.sectors * 32).toBe(read.bytes);
    const { ldmatrix, cpAsync, load, store } = counters.shared;
    expect([ldmatrix, cpAsync, load, store].map(({ conflicts }) => conflicts)).toEqual([0, 0, 0, 0]);
    const { jobs } = patternMap(attentionKernel({ ...test, precision: "bf16" }));
    expect(counters.tensorFlops).toBe(jobs.reduce((sum, { computed }) => sum + computed, 0) * 32 * 2 * 2);
  });
});

describe("shared memory", () => {
  it.each([8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 128, 256])(
    "serves tensor cores and copies of head dimension %i without a conflict",
    async (headDim) => {
      const { shared } = await count({ pattern: all, query: grid({ w: 53 }), headDim, heads: 1 }, "bf16");
      expect([
        shared.ldmatrix.conflicts,
        shared.cpAsync.conflicts,
        shared.load.conflicts,
        shared.store.conflicts,
      ]).toEqual([0, 0, 0, 0]);
      expect(shared.ldmatrix.requests).toBeGreaterThan(0);
    },
  );
});

describe("steps of keys", () => {
  it("are left out where no query sees one", async () => {
    const dense = await count({ pattern: all, query: grid({ w: 250 }), headDim: 64, heads: 1 }, "bf16");
    const band = await count({ pattern: near({ w: 9 }), query: grid({ w: 250 }), headDim: 64, heads: 1 }, "bf16");
    expect(band.tensorFlops).toBeLessThan(0.3 * dense.tensorFlops);
  });
  it("of a frame are those that the products need, in whole tiles", async () => {
    const { tensorFlops } = await count(frame, "bf16");
    // Two frames and heads of 208 x 208 pairs, two products of 64 columns.
    expect(tensorFlops).toBe(2 * 2 * 208 * 208 * 64 * 2 * 2);
  });
  it.each([
    // Groups of up to 16 tokens lie side by side in a tile of 16; larger ones are filled up to the next 16.
    [4, 16 / 4],
    [8, 16 / 8],
    [12, (16 * 16) / (12 * 12)],
    [16, 1],
    [24, (32 * 32) / (24 * 24)],
    [32, 1],
  ])("of %i frames are packed: products of %d times the pairs", async (t, waste) => {
    const groups = 16;
    const test = { pattern: along("t"), query: grid({ h: 4, w: groups / 4, t }), headDim: 32, heads: 1 };
    const { tensorFlops } = await count(test, "bf16");
    expect(tensorFlops).toBeCloseTo(waste * groups * t * t * 32 * 2 * 2, 3);
  });
  it("stream past once for every tile of queries", async () => {
    const counters = await count({ pattern: all, query: grid({ w: 785 }), headDim: 64, heads: 1 }, "bf16");
    const { bytes, uniqueBytes } = parameter(counters, 0, "read");
    // 7 tiles of 128 queries: q once, k and v 7 times.
    expect(bytes / uniqueBytes).toBeCloseTo((1 + 2 * 7) / 3, 2);
  });
});
