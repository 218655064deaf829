import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { attend, attentionWeights, constant, deformable, Linear, Module } from "fovea";
import { evaluate } from "../../ir/evaluate.ts";
import { deviceErrors } from "../support/agreement.ts";
import { parametersOf } from "../support/golden.ts";
import { shares, softmax } from "../support/sampling.ts";
import { type Image, traceModule } from "../support/trace.ts";
import { imageOf, inOneText, launchIn } from "./harness.ts";
import { evaluated, resultOf, type SampleCase, type SampleInputs, sampleLaunch } from "./sampleCase.ts";
import { normal, stored, worstError } from "./testData.ts";

/** How many kernels are drawn, each of which samples for `cases` drawn examples, and from which place of the stream. */
const runs = Number(process.env["FOVEA_SAMPLE_RUNS"] ?? 10);
const seed = Number(process.env["FOVEA_SAMPLE_SEED"] ?? 1);
const cases = 50;
const together = 10;

type Drawn = Required<
  Pick<
    SampleCase,
    "levels" | "queries" | "heads" | "points" | "width" | "precision" | "coordinates" | "padding" | "normalize"
  >
>;

const extent = fc.oneof(fc.constant(1), fc.constant(2), fc.integer({ min: 1, max: 9 }));
const drawnCase: fc.Arbitrary<Drawn> = fc.record({
  levels: fc.array(fc.tuple(extent, extent), { minLength: 1, maxLength: 6 }),
  queries: fc.integer({ min: 1, max: 9 }),
  heads: fc.integer({ min: 1, max: 4 }),
  points: fc.integer({ min: 1, max: 6 }),
  width: fc.oneof(fc.integer({ min: 1, max: 17 }), fc.constantFrom(24, 30, 32, 71)),
  precision: fc.constantFrom("f32", "f16", "bf16"),
  coordinates: fc.constantFrom("pixels", "edges", "centres"),
  padding: fc.constantFrom("zeros", "border"),
  normalize: fc.constantFrom("softmax", "none"),
});

/** Places on an axis of so many pixels, in pixels. An example has points of one kind, the last has all of them. */
const kinds: readonly ((size: number, random: number) => number)[] = [
  (size, random) => (size + 2) * random - 1.5,
  (size, random) => Math.floor((size + 4) * random) - 2,
  (size, random) => [-1, -0.5, 0, size - 1, size - 0.5, size][Math.floor(6 * random)] ?? 0,
  (size, random) => (random - 0.5) * 1e3 * size,
  (_, random) => [1e9, -1e9, 1e30, -3e38][Math.floor(4 * random)] ?? 0,
  (size, random) => [Infinity, -Infinity, Number.NaN, (size - 1) / 2][Math.floor(4 * random)] ?? 0,
  (size, random) => (size - 1) * random,
];

/** The author's number for a place. */
function coordinateOf(place: number, size: number, coordinates: Drawn["coordinates"]): number {
  if (coordinates === "pixels") return place;
  return coordinates === "edges" ? (place + 0.5) / size : place / Math.max(1, size - 1);
}

const uniform = (from: number, count: number): Float64Array =>
  normal(from, count).map((value) => Math.abs(value * 7.31) % 1);

function inputsOf(
  { levels, queries, heads, points, width, precision, coordinates, normalize }: Drawn,
  from: number,
): SampleInputs {
  const perExample = queries * heads * levels.length * points;
  const random = uniform(from, 2 * cases * perExample);
  const at = random.map((value, i) => {
    const example = Math.floor(i / (2 * perExample));
    const kind = kinds[example % (kinds.length + 1)] ?? kinds[i % kinds.length];
    const [h, w] = levels[Math.floor(i / 2 / points) % levels.length] ?? [1, 1];
    const size = i % 2 === 0 ? w : h;
    return coordinateOf(kind?.(size, value) ?? 0, size, coordinates);
  });
  // Logits of one example in eight are minus infinity, of another one in eight of them is.
  const weights = normal(from + 1, cases * perExample, 0, 2).map((value, i) => {
    const example = Math.floor(i / perExample) % 8;
    return normalize === "softmax" && (example === 3 || (example === 5 && i % 2 === 0)) ? -Infinity : value;
  });
  const maps = levels.map(([h, w], level) => {
    const map = normal(from + 2 + level, cases * h * w * heads * width);
    return [`x${level}`, stored(map, precision)] as const;
  });
  return { points: stored(at, "f32"), weights: stored(weights, "f32"), ...Object.fromEntries(maps) };
}

/** The same by the definition, pixel by pixel. */
function byDefinition(drawn: Drawn, inputs: SampleInputs): Float64Array {
  const { levels, queries, heads, points, width, coordinates, padding, normalize } = drawn;
  const [at, given] = [inputs["points"] ?? [], inputs["weights"] ?? new Float64Array()];
  const result = new Float64Array(cases * queries * heads * width);
  const each = levels.length * points;
  for (let item = 0; item < cases * queries * heads; item++) {
    const [example, head] = [Math.floor(item / (queries * heads)), item % heads];
    const own = [...given.subarray(item * each, (item + 1) * each)];
    const weights = normalize === "softmax" ? softmax(own) : own;
    for (let k = 0; k < each; k++) {
      const level = Math.floor(k / points);
      const [h, w] = levels[level] ?? [1, 1];
      const place = (axis: 0 | 1, size: number): number => {
        const coordinate = at[(item * each + k) * 2 + axis] ?? Number.NaN;
        if (coordinates === "pixels") return coordinate;
        return coordinates === "edges" ? coordinate * size - 1 / 2 : coordinate * (size - 1);
      };
      const weight = weights[k] ?? 0;
      if (weight === 0) continue;
      const map = inputs[`x${level}`] ?? [];
      for (const share of shares([h, w], [place(1, h), place(0, w)], padding)) {
        const row = ((example * h + share.row) * w + share.column) * heads * width + head * width;
        for (let c = 0; c < width; c++)
          result[item * width + c] =
            (result[item * width + c] ?? 0) + weight * share.weight * (map[row + c] ?? Number.NaN);
      }
    }
  }
  return result;
}

/** Corners and sums in float32, then one rounding; positions of a tenth of a million pixels are known to a hundredth. */
const tolerance = { f32: 3e-6, f16: 2 ** -10, bf16: 2 ** -7 };

describe("sampling, drawn", () => {
  const drawn = fc.sample(drawnCase, { numRuns: runs, seed });

  it("means the same pixel by pixel, and computes it", { timeout: 60_000 + runs * 8000 }, async () => {
    const wrong: string[] = [];
    for (let start = 0; start < drawn.length; start += together) {
      const batch = drawn.slice(start, start + together).map((test, i) => {
        const inputs = inputsOf(test, 1000 * (start + i + seed));
        return { test, inputs, launch: sampleLaunch(test, inputs, cases, `sample_${i}`) };
      });
      const image = await imageOf("samples", inOneText(batch.map(({ launch }) => launch)));
      for (const { test, inputs, launch } of batch) {
        const expected = evaluated(test, inputs, cases);
        const meant = worstError(expected, byDefinition(test, inputs));
        if (!(meant.error < 1e-12)) wrong.push(`meaning off by ${meant.error} at ${meant.at}: ${JSON.stringify(test)}`);
        const computed = worstError(resultOf(test, await launchIn(image, launch, { counters: 0 })), expected);
        const allowed =
          tolerance[test.precision] * (test.normalize === "none" ? 1 + test.levels.length * test.points : 1);
        if (!(computed.error < allowed))
          wrong.push(`off by ${computed.error} at ${computed.at}: ${JSON.stringify(test)}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe("what sampling comes down to", () => {
  it.each(["zeros", "border"] as const)(
    "is a shifted window where offsets are integers, with %s outside",
    async (padding) => {
      const [h, w, window, shifts] = [6, 7, 9, 40];
      const test: SampleCase = {
        levels: [[h, w]],
        queries: h * w,
        heads: 1,
        points: window,
        width: 4,
        precision: "f32",
        coordinates: "pixels",
        padding,
        normalize: "none",
      };
      const random = uniform(3, 2 * shifts);
      const shift = (example: number, axis: 0 | 1): number => Math.floor(20 * (random[2 * example + axis] ?? 0)) - 10;
      const place = (example: number, q: number, p: number): readonly [y: number, x: number] => [
        Math.floor(q / w) + shift(example, 0) + Math.floor(p / 3) - 1,
        (q % w) + shift(example, 1) + (p % 3) - 1,
      ];
      const all = <T>(f: (example: number, q: number, p: number) => T): readonly T[] =>
        Array.from({ length: shifts * h * w * window }, (_, i) =>
          f(Math.floor(i / (h * w * window)), Math.floor(i / window) % (h * w), i % window),
        );
      const map = stored(normal(5, shifts * h * w * 4), "f32");
      const weights = stored(normal(6, shifts * h * w * window), "f32");
      const inputs = {
        points: Float64Array.from(all((...at) => place(...at).toReversed()).flat()),
        weights,
        x0: map,
      };
      const expected = new Float64Array(shifts * h * w * 4);
      for (const [i, [y, x]] of all(place).entries()) {
        const [example, to] = [Math.floor(i / (h * w * window)), Math.floor(i / window)];
        const row = padding === "border" ? Math.min(Math.max(y, 0), h - 1) : y;
        const column = padding === "border" ? Math.min(Math.max(x, 0), w - 1) : x;
        if (row < 0 || row >= h || column < 0 || column >= w) continue;
        for (let c = 0; c < 4; c++) {
          const pixel = map[((example * h + row) * w + column) * 4 + c] ?? Number.NaN;
          expected[to * 4 + c] = (expected[to * 4 + c] ?? 0) + (weights[i] ?? 0) * pixel;
        }
      }
      expect(worstError(evaluated(test, inputs, shifts), expected).error).toBeLessThan(1e-14);
      const launch = sampleLaunch(test, inputs, shifts);
      const result = await launchIn(await imageOf(launch.name, launch.kernel.source), launch);
      expect(worstError(resultOf(test, result), expected).error).toBeLessThan(2e-6);
    },
  );

  it("is attention where every pixel is a point, at no offset, and weighs its score", async () => {
    /** Both over the same queries, keys and values. */
    class Both extends Module {
      q = new Linear(12);
      k = new Linear(12);
      v = new Linear(12);
      forward({ x }: { x: Image }) {
        const [q, k, v] = [this.q(x), this.k(x), this.v(x)];
        const [h, w] = [x.extent("h"), x.extent("w")];
        const logits = attentionWeights(q, k, ["h", "w"], { heads: 3, normalize: "none" });
        const pixels = Array.from({ length: h * w }, (_, key) => [Math.floor(key / w), key % w]);
        const points = logits.mul(0).add(constant({ key: h * w }, pixels));
        const sampled = deformable([v], { points, weights: logits, axes: ["h", "w"], heads: "head", over: ["key"] });
        return { attended: attend(q, k, v, { heads: 3 }), sampled };
      }
    }
    const graph = traceModule(new Both());
    const parameters = Object.fromEntries(
      parametersOf(graph).map(({ name, shape }, i) => [
        name,
        normal(
          i + 1,
          shape.reduce((a, b) => a * b, 1),
          0,
          0.5,
        ),
      ]),
    );
    const { attended, sampled } = evaluate(graph, {
      batch: 2,
      inputs: { x: normal(9, 2 * 8 * 20) },
      parameters,
    }).outputs;
    expect(attended).toHaveLength(2 * 20 * 12);
    expect(worstError(sampled ?? new Float64Array(), attended ?? new Float64Array()).error).toBeLessThan(1e-13);
    const errors = await deviceErrors(graph, { precision: "f32", keep: false, batch: 2 });
    expect([...errors.keys()]).toEqual(["attended", "sampled"]);
    for (const [name, error] of errors) expect({ name, error }).toSatisfy(() => error < 2e-5);
  });
});
