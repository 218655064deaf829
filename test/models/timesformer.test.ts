import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { readArrays } from "../../compiler/cli/arrays.ts";
import timesformer from "../../models/timesformer.ts";
import { differences, goldenCases, parametersOf, readCase } from "../support/golden.ts";
import type { Pattern } from "../../ir/patterns.ts";
import { evaluateScalar } from "../../ir/scalarEvaluate.ts";
import { printType } from "../../ir/typeText.ts";
import { nodesOf } from "../support/trace.ts";

describe.each(goldenCases("timesformer").map((folder) => [basename(folder), folder] as const))("%s", (_, folder) => {
  const golden = readCase(folder);

  test("computes what the published code computed, intermediates included", () => {
    expect(differences(timesformer, golden)).toEqual([]);
  });

  test("reads the checkpoint by its own keys, all of them", () => {
    const graph = timesformer.trace(timesformer.fromCase(golden));
    const names = parametersOf(graph).map(({ name, shape }) => `${name} [${shape.join()}]`);
    const checkpoint = [...readArrays(`${folder}/weights.safetensors`)];
    expect(names.toSorted()).toEqual(checkpoint.map(([name, { shape }]) => `${name} [${shape.join()}]`).toSorted());
    expect(graph.unused).toEqual([]);
  });
});

describe("published configurations", () => {
  const shapeOf = (preset: string): readonly string[] =>
    nodesOf(timesformer.trace({ preset }), "input").map(({ attrs }) => printType(attrs.type));
  const count = (preset: string): number =>
    parametersOf(timesformer.trace({ preset })).reduce(
      (sum, { shape }) => sum + shape.reduce((all, size) => all * size, 1),
      0,
    );

  test("base sees 8 frames of 224, HR 16 of 448, L 96 of 224", () => {
    expect(shapeOf("base")).toEqual(["[b, t 8, h 224, w 224; 3]"]);
    expect(shapeOf("hr")).toEqual(["[b, t 16, h 448, w 448; 3]"]);
    expect(shapeOf("large")).toEqual(["[b, t 96, h 224, w 224; 3]"]);
  });

  test("differ in their position tables alone", () => {
    expect(count("base")).toBe(121566352);
    expect(count("hr") - count("base")).toBe((28 * 28 - 14 * 14 + 16 - 8) * 768);
    expect(count("large") - count("base")).toBe((96 - 8) * 768);
  });

  // The paper's Table 1, with a head of 174 classes: 121.4M and 156.8M.
  test.each([
    ["sparse_local_global", 121.4],
    ["axial", 156.8],
  ])("%s has the paper's %d million parameters", (attention_type, millions) => {
    const parameters = parametersOf(timesformer.trace({ config: { attention_type, num_classes: 174 } }));
    const total = parameters.reduce((sum, { shape }) => sum + shape.reduce((all, size) => all * size, 1), 0);
    expect(Math.abs(total / 1e6 - millions)).toBeLessThan(0.06);
  });
});

test("the half of an even number of patches is a predicate that moves inwards at the border", () => {
  const graph = timesformer.trace({ config: { attention_type: "sparse_local_global", img_size: [112, 48], depth: 1 } });
  const local = nodesOf(graph, "attend")[0]?.attrs.pattern;
  const predicate = local?.kind === "union" ? local.patterns[1] : undefined;
  const keysOf = (h: number, w: number): number =>
    count(7, (kh) => count(3, (kw) => sees(predicate, { "q.h": h, "q.w": w, "k.h": kh, "k.w": kw })));
  for (let h = 0; h < 7; h++) for (let w = 0; w < 3; w++) expect(keysOf(h, w), `${h},${w}`).toBe(4 * 2);
});

const count = (size: number, of: (index: number) => number): number =>
  Array.from({ length: size }, (_, index) => of(index)).reduce((sum, each) => sum + each, 0);
const sees = (pattern: Pattern | undefined, variables: { readonly [name: string]: number }): number =>
  pattern?.kind === "where" ? evaluateScalar(pattern.predicate, { variables }) : NaN;
