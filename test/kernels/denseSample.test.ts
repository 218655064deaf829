import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planDense } from "../../compiler/schedule/densePlan.ts";
import { chooseForm } from "../../compiler/schedule/sampleForm.ts";
import { usualTarget } from "../../compiler/schedule/target.ts";
import { compileGraph } from "../../compiler/compile.ts";
import deformable from "../../models/deformable.ts";
import { deviceErrors } from "../support/agreement.ts";
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

// Shares are rounded once to the maps' precision, products are summed in float32, and the result is rounded once.
const tolerance = { f32: 0, f16: 2 ** -9, bf16: 2 ** -6 };

const frame: SampleCase = {
  levels: [[14, 14]],
  queries: 70,
  heads: 2,
  points: 8,
  width: 64,
  precision: "bf16",
  dense: true,
};
/** Borders, whole positions, and positions that nothing lies at. */
const hostile = [-0.5, 0, 1, 2, 3, 4, 5, -1, -1.5, 6.5, 1e30, -1e30, Infinity, -Infinity, Number.NaN, 0.25];
const odd: SampleCase = {
  ...frame,
  levels: [
    [7, 5],
    [4, 3],
    [1, 1],
    [1, 6],
  ],
  queries: 21,
  heads: 3,
  points: 3,
  width: 24,
};
const outside: SampleCase = { ...frame, levels: [[6, 7]], width: 16, coordinates: "pixels", positions: hostile };
const centres: SampleCase = {
  ...frame,
  levels: [
    [5, 2],
    [1, 3],
  ],
  width: 8,
  coordinates: "centres",
};

describe.each(["bf16", "f16"] as const)("sampling as products in %s", (precision) => {
  const batch = 2;
  const cases = Object.entries({
    frame,
    odd,
    outside,
    border: { ...outside, width: 32, padding: "border" },
    centres,
    wide: { ...odd, width: 128, queries: 16 },
    ...(precision === "bf16" ? { "given weights": { ...odd, normalize: "none" } as const } : {}),
  } satisfies Record<string, SampleCase>).map(([name, differs], i) => {
    const test: SampleCase = { ...differs, precision };
    const inputs = inputsOf(test);
    const launch = sampleLaunch(test, inputs, batch, `dense_${i}`);
    const gathered = sampleLaunch({ ...test, dense: false }, inputs, batch, `gathered_${i}`);
    return { name, test, inputs, launch, gathered };
  });

  it("is what the evaluator says, and within rounding what is gathered", { timeout: 60_000 }, async () => {
    const image = await imageOf("dense", inOneText(cases.flatMap(({ launch, gathered }) => [launch, gathered])));
    for (const { name, test, inputs, launch, gathered } of cases) {
      const computed = await launchIn(image, launch);
      const other = await launchIn(image, gathered);
      const actual = resultOf(test, computed);
      const factor = test.normalize === "none" ? 1 + test.levels.length * test.points : 1;
      const allowed = tolerance[precision] * factor;
      expect(worstError(actual, evaluated(test, inputs, batch)).error, name).toBeLessThan(allowed);
      expect(worstError(actual, resultOf(test, other)).error, name).toBeLessThan(allowed);
      expect(computed.counters["lostPoints"], name).toBe(other.counters["lostPoints"]);
    }
  });
});

describe("sampling as products", () => {
  it("does not let pixels spoil rows that have no share of them, whatever they hold", async () => {
    // Points reach the fourth row and column and not beyond.
    const perExample = 6 * 4 * 32;
    const test: SampleCase = {
      ...frame,
      levels: [[6, 4]],
      width: 16,
      coordinates: "pixels",
      positions: [0, 1, 2, 3, 3],
      exactly: true,
      values: (index) => (index % perExample >= 4 * 4 * 32 ? Infinity : undefined),
    };
    const { values, worst } = await runCase(test);
    expect(values.every(Number.isFinite)).toBe(true);
    expect(worst).toBeLessThanOrEqual(tolerance.bf16);
  });

  it("gives zeros where every logit is minus infinity", async () => {
    const { values } = await runCase({ ...odd, weight: () => -Infinity });
    expect(values.every((value) => value === 0)).toBe(true);
  });

  it("agrees bit by bit in any order of threads", async () => {
    const [inOrder, shuffled] = [await runCase(odd), await runCase(odd, { seed: 7 })];
    expect(shuffled.values).toEqual(inOrder.values);
  });

  it("reads maps once for 64 rows by whole sectors, multiplies nothing else, and stores nothing but results", async () => {
    const { counters } = await runCase(frame, { races: 0 });
    const maps = kernelOf(frame).levels.map(({ values }) => values.operand);
    const [read] = counters.buffers.flatMap((each) => ("parameter" in each && maps.includes(each.parameter) ? [each.read] : [])); // prettier-ignore
    const [examples, tiles] = [2, 2];
    expect(read?.bytes).toBe(examples * frame.heads * tiles * 196 * frame.width * 2);
    expect(read?.sectors).toBe((read?.bytes ?? 0) / 32);
    expect(counters.mmaM16n8k16).toBe(examples * frame.heads * tiles * 4 * Math.ceil(196 / 16) * (frame.width / 8));
    expect(counters.global.written.bytes).toBe(examples * frame.queries * frame.heads * frame.width * 2);
    expect(counters.shared.ldmatrix.conflicts).toBe(0);
  });

  it.each([
    ["float32", { precision: "f32" }],
    ["weights of float16 that are no shares", { precision: "f16", normalize: "none" }],
    ["heads of no whole accesses", { width: 30 }],
    ["maps that shared memory does not hold", { levels: [[64, 64]] }],
    ["rows that fill no tile", { queries: 8 }],
    ["scores", { keyWidth: 32 }],
  ] satisfies readonly (readonly [string, Partial<SampleCase>])[])("is not for %s", (_, differs) => {
    expect(planDense(kernelOf({ ...frame, ...differs }))).toBeNull();
  });

  it("is written as reviewed", async () => {
    const test: SampleCase = { ...frame, queries: 1568, heads: 12, levels: [[14, 14], [7, 7]] }; // prettier-ignore
    await expect(emitted(test).source).toMatchFileSnapshot("../golden/emit/sample_dense.cu");
  });
});

/** How many kernels are drawn. */
const runs = Math.ceil(Number(process.env["FOVEA_SAMPLE_RUNS"] ?? 10) / 2);
const seed = Number(process.env["FOVEA_SAMPLE_SEED"] ?? 1);

describe("sampling as products, drawn", () => {
  const extent = fc.oneof(fc.constant(1), fc.constant(2), fc.integer({ min: 1, max: 15 }));
  const drawn = fc.sample(
    fc.record({
      levels: fc.array(fc.tuple(extent, extent), { minLength: 1, maxLength: 4 }),
      queries: fc.integer({ min: 16, max: 90 }),
      heads: fc.integer({ min: 1, max: 3 }),
      points: fc.integer({ min: 1, max: 9 }),
      width: fc.constantFrom(8, 16, 24, 32, 40, 64),
      precision: fc.constantFrom("f16" as const, "bf16" as const),
      coordinates: fc.constantFrom("pixels" as const, "edges" as const, "centres" as const),
      padding: fc.constantFrom("zeros" as const, "border" as const),
      positions: fc.array(fc.constantFrom(...hostile), { maxLength: 7 }),
    }),
    { numRuns: runs, seed },
  );

  it("computes what it means", { timeout: 60_000 + runs * 8000 }, async () => {
    const cases = drawn.map((each, i) => {
      const test: SampleCase = { ...each, dense: true };
      const inputs = inputsOf(test);
      return { test, inputs, launch: sampleLaunch(test, inputs, 2, `dense_${i}`) };
    });
    const image = await imageOf("dense", inOneText(cases.map(({ launch }) => launch)));
    for (const { test, inputs, launch } of cases) {
      const actual = resultOf(test, await launchIn(image, launch, { counters: 0 }));
      const { error } = worstError(actual, evaluated(test, inputs, 2));
      expect(error, JSON.stringify(test)).toBeLessThan(tolerance[test.precision]);
    }
  });
});

describe("the form of a sampling", () => {
  const choice = (test: SampleCase): string => chooseForm(kernelOf({ ...test, dense: false }), usualTarget).kind;

  it("is a product where many rows look at many points of small maps", () => {
    expect(choice({ ...frame, queries: 1568, heads: 12 })).toBe("dense");
  });

  it.each<readonly [string, Partial<SampleCase>]>([
    ["one point", { points: 1 }],
    ["too few rows for a GPU", { queries: 64 }],
    ["a pyramid of features", { levels: [[28, 28], [14, 14], [7, 7], [4, 4]], points: 4, width: 32, heads: 8 }], // prettier-ignore
  ])("gathers corners for %s", (_, differs) => {
    expect(choice({ ...frame, queries: 1568, heads: 12, ...differs })).toBe("gather");
  });

  it("says what it was chosen for", () => {
    const { notes } = emitted({ ...frame, queries: 64, dense: false });
    expect(notes.join(" ")).not.toMatch(/Dense/u);
    const form = chooseForm(kernelOf({ ...frame, queries: 1568, heads: 12 }));
    expect(form.reason).toMatch(/^Estimated \d+ clocks of a multiprocessor for a head of a row gathered, \d+ multiplied\.$/u); // prettier-ignore
  });
});

describe("a video's frames", () => {
  it("are sampled as products, each row in frames of its own part", { timeout: 120_000 }, async () => {
    const config = { dim: 256, heads: 8, n_points: 16, frames: 4, sub_clips: 2, patch: 16, image: [224, 224] };
    const graph = deformable.trace({ entry: "DeformableSpaceTimeAttention", config });
    const { program } = compileGraph(graph, { precision: "f16", batch: { min: 1, max: 1 }, keep: false });
    const notes = program.kernels.flatMap(({ family, notes: own }) => (family === "sample" ? own : []));
    expect(notes.join(" ")).toMatch(/^Dense: .*392 rows that follow each other look at the same maps/u);
    const errors = await deviceErrors(graph, { precision: "f16", keep: false, batch: 1 });
    expect([...errors]).toHaveLength(1);
    // Offsets come of products in tf32, whose mantissa is as short as float16's.
    for (const [name, error] of errors) expect(error, name).toBeLessThan(2e-3);
  });
});
