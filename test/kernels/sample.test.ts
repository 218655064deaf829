import { describe, expect, it } from "vitest";
import { planSample } from "../../compiler/schedule/samplePlan.ts";
import { refusalOf } from "../support/trace.ts";
import { imageOf, inOneText, launchIn } from "./harness.ts";
import {
  emitted,
  evaluated,
  inputsOf,
  kernelOf,
  resultOf,
  runCase,
  type SampleCase,
  sampleLaunch,
} from "./sampleCase.ts";
import { worstError } from "./testData.ts";

// Products of corners, and sums of at most 48 points, in float32; then one rounding.
const tolerance = { f32: 4e-6, f16: 2 ** -10, bf16: 2 ** -7 };

const published: SampleCase = {
  levels: [
    [6, 4],
    [3, 2],
  ],
  queries: 2,
  heads: 2,
  points: 2,
  width: 2,
  precision: "f32",
};
const pyramid = [
  [7, 5],
  [4, 3],
  [2, 1],
  [1, 6],
] as const;
/** Borders, whole positions, and positions that nothing lies at. */
const hostile = [-0.5, 0, 1, 2, 3, 4, 5, -1, -1.5, 6.5, 1e30, -1e30, Infinity, -Infinity, Number.NaN, 0.25];

describe.each(["f32", "bf16", "f16"] as const)("sampling in %s", (precision) => {
  it.each<readonly [string, Partial<SampleCase>, run: number]>([
    ["the official test's shapes", { ...published }, 2],
    ["levels of odd sizes and of one pixel", { levels: pyramid, queries: 11, heads: 3, points: 3, width: 5 }, 1],
    [
      "points at borders, at pixels, far outside and nowhere",
      { levels: pyramid, width: 8, points: 4, coordinates: "pixels", positions: hostile },
      precision === "f32" ? 4 : 8,
    ],
    [
      "the border beyond a map",
      { levels: pyramid, width: 30, coordinates: "pixels", padding: "border", positions: hostile },
      2,
    ],
    [
      "positions from centre to centre",
      {
        levels: [
          [5, 1],
          [1, 1],
        ],
        width: 12,
        coordinates: "centres",
        normalize: "none",
      },
      4,
    ],
    [
      "more points than lanes, and channels than threads",
      { levels: [[9, 9]], queries: 3, heads: 1, points: 48, width: 1032 },
      precision === "f32" ? 4 : 8,
    ],
  ])("%s", async (_, differs, run) => {
    const test = { ...published, ...differs, precision };
    expect(planSample(kernelOf(test)).run).toBe(run);
    expect((await runCase(test)).worst).toBeLessThanOrEqual(tolerance[precision]);
  });
});

/** The channels of a head that the official op's own test samples, over its two levels. */
describe.each(["f32", "bf16", "f16"] as const)("the official op's shapes in %s", (precision) => {
  const batch = 2;
  const shapes = [30, 32, 64, 71, 1025, 2048, 3096].map((width, i) => {
    const test: SampleCase = { ...published, width, precision };
    const inputs = inputsOf(test);
    return { test, inputs, launch: sampleLaunch(test, inputs, batch, `sample_${i}`) };
  });

  it("agree with the evaluator", { timeout: 120_000 }, async () => {
    const image = await imageOf("samples", inOneText(shapes.map(({ launch }) => launch)));
    for (const { test, inputs, launch } of shapes) {
      const { error } = worstError(resultOf(test, await launchIn(image, launch)), evaluated(test, inputs, batch));
      expect(error, `${test.width} channels`).toBeLessThanOrEqual(tolerance[precision]);
    }
  });
});

const scored: SampleCase = { ...published, levels: pyramid, queries: 11, heads: 3, points: 3, width: 16, keyWidth: 32 };

describe.each(["f32", "bf16", "f16"] as const)("points scored by the keys there, in %s", (precision) => {
  const batch = 2;
  const wide = precision === "f32" ? 4 : 8;
  const cases = (
    [
      ["keys wider than values", {}, wide, 32 / wide],
      ["odd channels", { width: 5, keyWidth: 7 }, 1, 8],
      ["keys of more runs than lanes", { heads: 1, keyWidth: 520 }, wide, 32],
      [
        "points at borders and nowhere",
        { keyWidth: 24, coordinates: "pixels", positions: hostile },
        wide,
        precision === "f32" ? 8 : 4,
      ],
      ["the border beyond a map", { keyWidth: 8, padding: "border", positions: hostile }, wide, 8 / wide],
      ["as they are, without softmax", { normalize: "none", points: 2 }, wide, 32 / wide],
    ] satisfies readonly (readonly [string, Partial<SampleCase>, number, number])[]
  ).map(([name, differs, run, lanes], i) => {
    const test: SampleCase = { ...scored, precision, weight: (index) => Math.sin(index), ...differs };
    const inputs = inputsOf(test);
    return { name, test, run, lanes, inputs, launch: sampleLaunch(test, inputs, batch, `sample_${i}`) };
  });

  it("agree with the evaluator", { timeout: 120_000 }, async () => {
    const image = await imageOf("samples", inOneText(cases.map(({ launch }) => launch)));
    for (const { name, test, run, lanes, inputs, launch } of cases) {
      expect([planSample(kernelOf(test)).keyRun, planSample(kernelOf(test)).keyLanes], name).toEqual([run, lanes]);
      const { error } = worstError(resultOf(test, await launchIn(image, launch)), evaluated(test, inputs, batch));
      expect(error, name).toBeLessThanOrEqual(4 * tolerance[precision]);
    }
  });
});

describe("points that are not numbers, or infinite", () => {
  // Pairs of (0, NaN) and (1, infinity).
  const test: SampleCase = {
    ...published,
    coordinates: "pixels",
    normalize: "none",
    positions: [0, Number.NaN, 1, Infinity],
    exactly: true,
  };
  const points = 2 * 2 * 2 * 2 * 2;

  it.each([
    ["zeros", points],
    ["border", points / 2],
  ] as const)("are counted, and read nothing, with %s outside", async (padding, lost) => {
    const { counters, values } = await runCase({ ...test, padding });
    expect(counters.lostPoints).toBe(lost);
    if (padding === "zeros") expect(values.every((value) => value === 0)).toBe(true);
  });

  it("are none where all lie somewhere", async () => {
    const { counters } = await runCase({ ...test, positions: [-0.5, 1e30, 3, 6] });
    expect(counters.lostPoints).toBe(0);
  });
});

it("refuses more points than a kernel holds, with the number and the way round", () => {
  const test: SampleCase = { ...published, points: 2600 };
  const refused = refusalOf(() => kernelOf(test));
  expect(refused).toMatch(/looks at 5200 points over all levels and frames, and a kernel holds 5068/);
  expect(refused).toMatch(/hint: look at fewer points, or sample parts of the levels/);
});

describe("sampling", () => {
  it("gives zeros where every logit is minus infinity", async () => {
    const { values, worst } = await runCase({ ...published, weight: () => -Infinity });
    expect(worst).toBe(0);
    expect(values.every((value) => value === 0)).toBe(true);
  });

  it("does not read pixels that weigh nothing, whatever they hold", async () => {
    // Points reach the fourth row and column and not beyond, where the corners of the fourth row would lie.
    const perExample = 6 * 4 * 8;
    const { values, worst } = await runCase({
      ...published,
      levels: [[6, 4]],
      width: 4,
      coordinates: "pixels",
      positions: [0, 1, 2, 3, 3],
      exactly: true,
      values: (index) => (index % perExample >= 4 * 4 * 8 ? Infinity : undefined),
    });
    expect(values.every(Number.isFinite)).toBe(true);
    expect(worst).toBeLessThanOrEqual(tolerance.f32);
  });

  it("agrees bit by bit in any order of threads", async () => {
    const test: SampleCase = { ...published, levels: pyramid, queries: 40, width: 16, precision: "bf16" };
    const [inOrder, shuffled] = [await runCase(test), await runCase(test, { seed: 7 })];
    expect(shuffled.values).toEqual(inOrder.values);
  });

  it.each([
    [32, 0.9],
    [16, 0.9],
    [64, 0.9],
  ])("uses what it loads: %i channels of a head", async (width, least) => {
    const test: SampleCase = {
      ...published,
      levels: [
        [20, 22],
        [10, 11],
      ],
      queries: 48,
      heads: 4,
      points: 4,
      width,
      precision: "bf16",
    };
    const kernel = kernelOf(test);
    const { counters } = await runCase(test, { races: 0 });
    const maps = counters.buffers.filter(
      (buffer) => "parameter" in buffer && kernel.levels.some(({ values }) => values.operand === buffer.parameter),
    );
    const [bytes, sectors] = [
      maps.reduce((sum, { read }) => sum + read.bytes, 0),
      maps.reduce((sum, { read }) => sum + read.sectors, 0),
    ];
    expect(maps).toHaveLength(2);
    expect(bytes / (32 * sectors)).toBeGreaterThanOrEqual(least);
  });

  it.each(["f32", "bf16", "f16"] as const)("reads maps by accesses of 16 bytes alone, in %s", async (precision) => {
    // Every corner of every point lies inside, and every lane has channels of its own: no access is left out.
    const test: SampleCase = {
      ...published,
      levels: [
        [20, 22],
        [10, 11],
      ],
      queries: 48,
      heads: 4,
      points: 4,
      width: 32,
      precision,
      coordinates: "pixels",
      positions: [1.25, 7.5, 3.75, 4.125, 0.5],
      exactly: true,
    };
    const maps = new Set(kernelOf(test).levels.map(({ values }) => values.operand));
    const { counters } = await runCase(test, { races: 0 });
    const read = counters.buffers.flatMap((each) =>
      "parameter" in each && maps.has(each.parameter) ? [each.read] : [],
    );
    const corners = 2 * 48 * 4 * 4 * 4;
    for (const { bytes, requests, sectors } of read) {
      expect(bytes).toBe(corners * 32 * (precision === "f32" ? 4 : 2));
      expect(bytes / requests).toBe(32 * 16);
      expect(bytes / (32 * sectors)).toBeGreaterThanOrEqual(0.9);
    }
    expect(read).toHaveLength(2);
  });

  it("reads keys, like values, by whole accesses, and stores nothing but the result", async () => {
    const test: SampleCase = {
      ...scored,
      levels: [
        [20, 22],
        [10, 11],
      ],
      queries: 48,
      heads: 4,
      points: 4,
      width: 32,
      precision: "bf16",
    };
    const kernel = kernelOf(test);
    const { counters } = await runCase(test, { races: 0 });
    const keys = new Set(kernel.scores?.keys.map(({ values }) => values.operand));
    const read = counters.buffers.flatMap((each) =>
      "parameter" in each && keys.has(each.parameter) ? [each.read] : [],
    );
    const [bytes, sectors] = [
      read.reduce((sum, each) => sum + each.bytes, 0),
      read.reduce((sum, each) => sum + each.sectors, 0),
    ];
    expect(read).toHaveLength(2);
    expect(bytes / (32 * sectors)).toBeGreaterThanOrEqual(0.9);
    expect(counters.global.written.bytes).toBe(2 * 48 * 4 * 32 * 2);
  });

  it("is written as reviewed", async () => {
    const test: SampleCase = {
      ...published,
      levels: pyramid,
      queries: 300,
      heads: 8,
      points: 4,
      width: 32,
      precision: "bf16",
    };
    await expect(emitted(test).source).toMatchFileSnapshot("../golden/emit/sample_pyramid.cu");
  });
});
