import { describe, expect, it } from "vitest";
import { literal, select, variable } from "../../ir/scalarBuild.ts";
import { parseScalar } from "../../ir/scalarText.ts";
import type { Precision } from "../../ir/types.ts";
import { grid, runCase, toleranceOf } from "./attentionCase.ts";
import {
  all,
  along,
  causal,
  near,
  patternCases,
  prefix,
  union,
  window,
  type PatternCase,
} from "./attentionPatterns.ts";

const precisions: readonly Precision[] = ["bf16", "f16", "f32"];

const check = async (test: PatternCase, precision: Precision, seed = 0): Promise<void> => {
  const { worst } = await runCase({ ...test, precision }, { seed });
  expect(worst).toBeLessThan(toleranceOf(precision, test.headDim));
};

describe.each(precisions)("divided space and time in %s", (precision) => {
  it("attends along time", () =>
    check({ pattern: along("t"), query: grid({ t: 8, h: 3, w: 3 }), headDim: 64, batch: 2 }, precision));

  it("attends in a frame and its copy of the class token", () =>
    check(
      {
        pattern: union(prefix, along("h", "w")),
        query: grid({ t: 2, h: 14, w: 14 }, { count: 1, over: ["t"] }),
        headDim: 64,
      },
      precision,
    ));

  it("attends to everything", () =>
    check(
      { pattern: all, query: grid({ t: 2, h: 18, w: 18 }, { count: 1, over: [] }), headDim: 64, heads: 1 },
      precision,
    ));
});

describe("patterns", () => {
  it.each(Object.entries(patternCases))("%s", (_name, test) => check({ batch: 2, ...test }, "bf16"));

  it.each([
    "windows on two axes, cut",
    "neighbours and global tokens",
    "causal, streamed",
    "time of 5, which fills no tile",
  ])("%s, in exact float32", (name) => {
    const test = patternCases[name];
    if (test === undefined) throw new Error(`there is no case "${name}"`);
    return check(test, "f32");
  });
});

describe("head dimensions", () => {
  it.each([8, 12, 13, 16, 20, 40, 80, 96, 128, 256, 512])("%i on tensor cores", (headDim) =>
    check({ pattern: all, query: grid({ w: 53 }), headDim, heads: headDim > 100 ? 1 : 3 }, "bf16"),
  );
  it.each([12, 13, 16, 40, 96, 136, 320])("%i in float32", (headDim) =>
    check({ pattern: all, query: grid({ w: 53 }), headDim, heads: headDim > 100 ? 1 : 3 }, "f32"),
  );
  it.each([
    [8, 16],
    [48, 20],
    [16, 264],
  ])("%i of keys and %i of values", (headDim, valueDim) =>
    check({ pattern: all, query: grid({ w: 53 }), headDim, valueDim }, "f16"),
  );
  it.each([12, 128])("%i, streamed", (headDim) =>
    check({ pattern: causal("w"), query: grid({ w: headDim === 12 ? 1100 : 450 }), headDim, heads: 1 }, "bf16"),
  );
});

describe("scores", () => {
  const bias = parseScalar("s + table0[q.h - k.h + 6, q.w - k.w + 6, head]");
  it.each([
    [14, 14],
    [13, 16],
  ])("adds a bias of relative positions in shifted windows of %i x %i", (h, w) =>
    check(
      {
        pattern: window({ h: 7, w: 7 }, { h: 3, w: 3 }),
        query: grid({ h, w }),
        headDim: 32,
        score: bias,
        tables: [[13, 13, 2]],
      },
      "bf16",
    ),
  );
  it("reads a bias of absolute positions", () =>
    check(
      {
        pattern: all,
        query: grid({ h: 5, w: 7 }),
        headDim: 16,
        score: parseScalar("s + table0[q.h, k.w]"),
        tables: [[5, 7]],
      },
      "f32",
    ));
  it("computes from positions and the head", () =>
    check(
      {
        pattern: causal("t"),
        query: grid({ t: 100 }),
        headDim: 32,
        score: parseScalar("s - (q.t - k.t) * 0.125 * (head + 1)"),
      },
      "bf16",
    ));
  it("hides keys whose score is minus infinity", () =>
    check(
      {
        pattern: all,
        query: grid({ t: 40 }),
        headDim: 32,
        score: select(parseScalar("k.t * 2 < q.t"), variable("s"), literal(-Infinity)),
      },
      "bf16",
    ));
  it.each(["count", "none"] as const)("weighs by the scores themselves, divided by %s", (normalize) =>
    check({ pattern: near({ w: 5 }), query: grid({ w: 61 }), headDim: 32, normalize }, "bf16"),
  );
  it.each(["bf16", "f32"] as const)("counts ragged keys of another grid, of numbers alone, in %s", (precision) =>
    check(
      {
        pattern: all,
        query: grid({ h: 7, w: 5 }),
        key: grid({ h: 3, w: 2 }),
        headDim: 0,
        valueDim: 40,
        heads: 1,
        scale: 1,
        score: parseScalar("max(table0[q.h, q.w] + table1[k.h, k.w], 0)"),
        tables: [
          [7, 5],
          [3, 2],
        ],
        normalize: "count",
        batch: 2,
      },
      precision,
    ),
  );
  it("counts ragged keys in exact float32", () =>
    check({ pattern: all, query: grid({ w: 61 }), headDim: 32, normalize: "count" }, "f32"));
  it("scales by a negative number", () =>
    check({ pattern: all, query: grid({ w: 61 }), headDim: 32, scale: -0.3 }, "bf16"));
});

describe("any order of threads and copies", () => {
  const tests = ["a frame with its class token", "neighbours, streamed", "time of 5, which fills no tile"];
  it.each(tests.flatMap((name) => [1, 2, 3].map((seed) => [name, seed] as const)))("%s, order %i", (name, seed) => {
    const test = patternCases[name];
    if (test === undefined) throw new Error(`there is no case "${name}"`);
    return check(test, seed === 2 ? "f32" : "bf16", seed);
  });
});
