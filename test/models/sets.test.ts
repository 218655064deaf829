import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readArrays } from "../../compiler/cli/arrays.ts";
import { keepOnly } from "../../compiler/cli/keptValues.ts";
import { openRunner } from "../../compiler/cli/openRunner.ts";
import { openTerminal } from "../../compiler/cli/terminal.ts";
import { evaluate } from "../../ir/evaluate.ts";
import type { Graph } from "../../ir/graph.ts";
import axialDeeplab from "../../models/axialDeeplab.ts";
import dac from "../../models/deepAmortizedClustering.ts";
import nonLocal from "../../models/nonLocal.ts";
import setTransformer from "../../models/setTransformer.ts";
import { differences, goldenCases, parametersOf, readCase } from "../support/golden.ts";

describe.each([setTransformer, dac, axialDeeplab, nonLocal].map((model) => [model.name, model] as const))(
  "%s",
  (name, model) => {
    describe.each(goldenCases(name).map((folder) => [basename(folder), folder] as const))("%s", (_, folder) => {
      const golden = readCase(folder);

      test("computes what the published code computed, intermediates included", () => {
        expect(differences(model, golden)).toEqual([]);
      });

      test("knows the checkpoint's keys, all of them", () => {
        const graph = model.trace(model.fromCase(golden));
        const known = new Set([...parametersOf(graph).map((parameter) => parameter.name), ...graph.unused]);
        const keys = typeof golden.weights === "string" ? readArrays(join(folder, golden.weights)).keys() : [];
        expect([...keys].filter((key) => !known.has(key))).toEqual([]);
      });
    });
  },
);

/** How many sets a property is tried with. */
const runs = Number(process.env["FOVEA_SET_RUNS"] ?? 3);
const wild = fc.double({ min: -1e3, max: 1e3, noNaN: true });

/** Numbers that look drawn, from -1 to 1. */
const drawn = (count: number, seed: number): number[] =>
  Array.from({ length: count }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed));
const weightsOf = (graph: Graph): { [name: string]: number[] } =>
  Object.fromEntries(
    parametersOf(graph).map(({ name, shape }, seed) => [
      name,
      drawn(
        shape.reduce((all, size) => all * size, 1),
        seed,
      ),
    ]),
  );

describe("a network of sets", () => {
  const config = { dim_input: 3, num_outputs: 2, dim_output: 4, num_inds: 3, dim_hidden: 8, num_heads: 2, ln: true };
  const run = (points: number, X: readonly number[], lengths?: readonly number[]) => {
    const masked = lengths !== undefined;
    const graph = setTransformer.trace({ entry: "SetTransformer", config: { ...config, points, masked } });
    const inputs = { X, ...(masked ? { lengths } : {}) };
    const batch = X.length / (3 * points);
    return evaluate({ ...graph, kept: [] }, { batch, inputs, parameters: weightsOf(graph) }).outputs;
  };
  const close = (a: ArrayLike<number> = [], b: ArrayLike<number> = []) => {
    expect(a.length).toBe(b.length);
    expect(Math.max(...Array.from(a, (value, i) => Math.abs(value - (b[i] ?? Number.NaN))))).toBeLessThan(1e-10);
  };

  test("gives the same for its points in any order, and each point its own", () => {
    const X = drawn(7 * 3, 5);
    const order = [3, 0, 6, 1, 5, 2, 4];
    const one = run(7, X);
    const other = run(
      7,
      order.flatMap((from) => X.slice(3 * from, 3 * from + 3)),
    );
    close(other.y, one.y);
    const enc = [...(one.enc ?? [])];
    close(
      other.enc,
      order.flatMap((from) => enc.slice(8 * from, 8 * from + 8)),
    );
  });

  test("gives the same whatever stands behind a set's last point, and as for the set alone", () => {
    const X = drawn(7 * 3, 6);
    const masked = run(7, [...X.slice(0, 9), ...Array<number>(12).fill(1e6), ...X], [3, 7]);
    const [short, whole] = [run(3, X.slice(0, 9)), run(7, X)];
    close(masked.y, [...(short.y ?? []), ...(whole.y ?? [])]);
    close(masked.enc, [...(short.enc ?? []), ...Array<number>(4 * 8).fill(0), ...(whole.enc ?? [])]);
  });
});

test("a set whose points are all assigned has a cluster without NaN", () => {
  const config = { dim: 2, dim_hids: 8, num_inds: 3, num_heads: 2, num_blocks: 1, has_mask: true, points: 5 };
  const graph = dac.trace({ entry: "MinFilteringNetwork", config });
  const inputs = { X: drawn(10, 1), mask: Array<number>(5).fill(1) };
  const { outputs } = evaluate({ ...graph, kept: [] }, { batch: 1, inputs, parameters: weightsOf(graph) });
  for (const values of Object.values(outputs)) expect(values.every(Number.isFinite)).toBe(true);
});

describe("clustering one cluster after another", () => {
  const weights = readArrays(fileURLToPath(new URL("../../models/dacMixtures/weights.safetensors", import.meta.url)));
  const parameters: { [name: string]: ArrayLike<number> } = Object.fromEntries(
    [...weights].map(([name, { values }]) => [name, values]),
  );
  const config = { dim_hids: 32, num_inds: 8, max_iter: 6, has_mask: true };
  const graphs = new Map<string, Graph>();
  const graphOf = (wanted: object): Graph => {
    const key = JSON.stringify(wanted);
    const graph = graphs.get(key) ?? keepOnly(dac.trace({ entry: "ClusterLoop", config: wanted }), []);
    graphs.set(key, graph);
    return graph;
  };
  type Point = readonly [x: number, y: number];
  const run = (sets: readonly (readonly Point[])[], masks: readonly (readonly number[])[], more: object = {}) => {
    const points = sets[0]?.length ?? 0;
    const graph = graphOf({ ...config, points, sets: sets.length, ...more });
    const inputs = { X: sets.flat(2), mask: masks.flat() };
    const { outputs, loop } = evaluate(graph, { batch: 1, inputs, parameters });
    const labels = sets.map((_, set) => Array.from((outputs["labels"] ?? []).slice(set * points, (set + 1) * points)));
    return { labels, likelihood: outputs["log_likelihood"]?.[0] ?? Number.NaN, loop };
  };
  const clear = (points: readonly unknown[]) => points.map(() => 0);
  /** Points about the corners of a square, as many as there are distances. */
  const around = (corners: number, distances: readonly Point[]): Point[] =>
    distances.map(([x, y], i) => [4 * ((i % corners) % 2) - 2 + x, 4 * Math.floor((i % corners) / 2) - 2 + y]);
  const near = fc.double({ min: -0.4, max: 0.4, noNaN: true });
  const someSet = fc
    .tuple(fc.integer({ min: 2, max: 4 }), fc.array(fc.tuple(near, near), { minLength: 20, maxLength: 20 }))
    .map(([corners, distances]) => around(corners, distances));

  test("gives a set in another order the same clusters in that order", () => {
    fc.assert(
      fc.property(
        someSet.chain((set) =>
          fc.tuple(fc.constant(set), fc.shuffledSubarray([...set.keys()], { minLength: set.length })),
        ),
        ([set, order]) => {
          const one = run([set], [clear(set)]);
          const other = run([order.flatMap((from) => set.slice(from, from + 1))], [clear(set)]);
          expect(other.labels[0]).toEqual(order.map((from) => one.labels[0]?.[from]));
          expect(other.likelihood).toBeCloseTo(one.likelihood, 9);
          expect(one.loop?.end).toBe("done");
          // Points about one corner are of one cluster.
          expect(new Set(one.labels[0]).size).toBeGreaterThan(1);
        },
      ),
      { numRuns: runs },
    );
  });

  test("gives a set the same clusters whatever it is padded with, and whatever set lies beside it", () => {
    fc.assert(
      fc.property(
        someSet,
        someSet,
        fc.array(fc.tuple(wild, wild), { minLength: 5, maxLength: 5 }),
        (set, beside, more) => {
          const alone = run([set], [clear(set)]);
          const longest = Math.max(set.length + more.length, beside.length);
          const padded = (points: readonly Point[]) =>
            Array.from({ length: longest }, (_, i) => points[i] ?? more[i % more.length] ?? ([0, 0] as const));
          const maskOf = (points: readonly unknown[]) =>
            Array.from({ length: longest }, (_, i) => Number(i >= points.length));
          const together = run([padded(set), padded(beside)], [maskOf(set), maskOf(beside)]);
          expect(together.labels[0]?.slice(0, set.length)).toEqual(alone.labels[0]);
        },
      ),
      { numRuns: runs },
    );
  });

  test("does all that on the device too", async () => {
    const points = 25;
    const graph = graphOf({ ...config, points, sets: 1 });
    const checkpoint = {
      source: "trained weights",
      tensors: new Map(
        [...weights].map(([name, { shape, values }]) => [name, { shape, values: () => Float32Array.from(values) }]),
      ),
    };
    const request = { device: "emulated", precision: "f32", batch: { min: 1, max: 2 }, keep: false } as const;
    using device = await openRunner(graph, checkpoint, request, openTerminal({ json: true }));
    const labelsOf = async (...sets: readonly (readonly Point[])[]) => {
      const filled = sets.flatMap((set) => Array.from({ length: points }, (_, i) => set[i] ?? ([99, -99] as const)));
      const mask = sets.flatMap((set) => Array.from({ length: points }, (_, i) => Number(i >= set.length)));
      const results = await device.run(
        new Map([
          ["X", { shape: [sets.length, points, 2], values: Float32Array.from(filled.flat()) }],
          ["mask", { shape: [sets.length, points], values: Int32Array.from(mask) }],
        ]),
      );
      const labels = results.get("labels")?.values ?? [];
      return sets.map((set, i) => Array.from(labels.slice(i * points, i * points + set.length)));
    };
    await fc.assert(
      fc.asyncProperty(
        someSet.chain((set) =>
          fc.tuple(fc.constant(set), fc.shuffledSubarray([...set.keys()], { minLength: set.length })),
        ),
        someSet,
        async ([set, order], beside) => {
          const [meant] = run([set], [clear(set)]).labels;
          // Beside another set, with padding behind, and in another order.
          const [one] = await labelsOf(set, beside);
          expect(one).toEqual(meant);
          const [other] = await labelsOf(order.flatMap((from) => set.slice(from, from + 1)));
          expect(other).toEqual(order.map((from) => meant?.[from]));
        },
      ),
      { numRuns: runs },
    );
  });

  test("stops where a step takes no point, and says so", () => {
    const set = around(
      3,
      Array.from({ length: 20 }, (_, i) => [0.01 * i, 0] as const),
    );
    // A network that finds nothing.
    const bias = parameters["fc2.bias"];
    parameters["fc2.bias"] = [-1e6];
    const { labels, loop } = run([set], [clear(set)]);
    if (bias !== undefined) parameters["fc2.bias"] = bias;
    expect(loop).toEqual({ steps: 1, end: "stalled" });
    expect(labels[0]).toEqual(clear(set));
    expect(run([set], [clear(set)], { max_iter: 1 }).loop).toEqual({ steps: 1, end: "limit" });
  });
});
