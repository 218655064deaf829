import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { readArrays } from "../../compiler/cli/arrays.ts";
import { evaluate } from "../../ir/evaluate.ts";
import type { Graph } from "../../ir/graph.ts";
import axialDeeplab from "../../models/axialDeeplab.ts";
import dac from "../../models/dac.ts";
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
        expect([...readArrays(`${folder}/weights.safetensors`).keys()].filter((key) => !known.has(key))).toEqual([]);
      });
    });
  },
);

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
