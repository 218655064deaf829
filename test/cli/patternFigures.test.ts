import { describe, expect, test } from "vitest";
import { growthCases, publishedPatterns } from "../../compiler/cli/bench/patternCases.ts";
import { growthFigure, patternFigure } from "../../compiler/cli/bench/patternFigures.ts";
import { printGrowth, printPatternFigures } from "../../compiler/cli/bench/patternTables.ts";
import type { Paint } from "../../compiler/cli/terminal.ts";
import { emulatedDevice } from "../kernels/harness.ts";

const same = (text: string): string => text;
const plain: Paint = { bold: same, dim: same, red: same, green: same, yellow: same, cyan: same };

describe("figures of patterns", () => {
  test("are exact: VTN's sliding window reads and writes every byte once", async () => {
    const vtn = publishedPatterns.find(({ name }) => name.startsWith("sliding"));
    if (vtn === undefined) throw new Error("there is no such pattern");
    const figure = await patternFigure(await emulatedDevice(), vtn);
    // 250 frames see 16 to each side, cut at the ends, and the class token; it sees all 251.
    expect(figure.pairs).toBe(250 * 33 - 2 * ((16 * 17) / 2) + 250 + 251);
    expect(figure.allPairs).toBe(251 * 251);
    expect(figure.uniqueBytes).toBe(2 * 4 * 251 * 768);
    expect(figure.globalBytes).toBeLessThan(1.1 * figure.uniqueBytes);
    expect(figure.floor.bound).toBe("memory");
    expect(figure.floor.microseconds).toBeCloseTo((2 * 4 * 251 * 768) / 4.3e6, 6);
    expect(printPatternFigures([figure], plain)).toContain("250");
  });
});

test("figures of split keys are those of all launches: a global token of many frames", async () => {
  const long = { name: "long", tokens: "prefix 1, t 2560", layout: "b (prefix | t) c", heads: 1, headDim: 16 };
  const figure = await patternFigure(await emulatedDevice(), {
    ...long,
    pattern: "union(prefix, near(t 4; cut))",
  });
  expect(figure.launches).toBe(2);
  // q, k, v and the result once, and the records of the global token's chunks, written and read again.
  const once = 2 * 4 * 2561 * 16;
  expect(figure.uniqueBytes).toBeGreaterThan(once);
  expect(figure.uniqueBytes).toBeLessThan(1.6 * once);
  expect(figure.floor.microseconds).toBeCloseTo(once / 4.3e6, 6);
});

describe("growth with the tokens", () => {
  const linear = growthCases.filter(({ pattern }) => pattern !== "all");
  test.each(linear)("is linear of $name", { timeout: 120_000 }, async (each) => {
    const { points } = await growthFigure(await emulatedDevice(), each, [1, 2]);
    expect(points.map(({ times }) => times)).toEqual([1, 2]);
    for (const { times, computed, tensorFlops, globalBytes } of points)
      for (const growth of [computed, tensorFlops, globalBytes]) {
        expect(growth).toBeGreaterThan(0.9 * times);
        // What is at the ends of an axis, where less is seen, is a smaller part of more.
        expect(growth).toBeLessThan(1.2 * times);
      }
  });

  test("is quadratic of everything, and the table says so", async () => {
    const all = growthCases.find(({ pattern }) => pattern === "all");
    if (all === undefined) throw new Error("there is no such pattern");
    const figure = await growthFigure(await emulatedDevice(), all, [1, 2]);
    expect(figure.points[1]?.computed).toBe(4);
    expect(printGrowth([figure], plain)).toContain("4.00");
  });
});
