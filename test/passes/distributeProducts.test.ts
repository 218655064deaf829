import { describe, expect, test } from "vitest";
import { distributeProducts } from "../../compiler/passes/distributeProducts.ts";
import { foldLinears } from "../../compiler/passes/foldLinears.ts";
import type { Pass } from "../../compiler/passes/rewrite.ts";
import { sinkUnpacks } from "../../compiler/passes/sinkUnpacks.ts";
import type { Graph } from "../../ir/graph.ts";
import { parseGraph } from "../../ir/parse.ts";
import { rowsOf } from "../../ir/types.ts";
import { problemsOf } from "../../ir/verify.ts";
import { sameMeaning } from "../support/sameMeaning.ts";

const graphOf = (lines: readonly string[]) => parseGraph(`graph "g"\n${lines.join("\n")}\n`);
const after = (pass: Pass, lines: readonly string[]): Graph => {
  const before = graphOf(lines);
  const graph = pass.run(before);
  expect(problemsOf(graph)).toEqual([]);
  sameMeaning(before, graph);
  return graph;
};
const untouched = (pass: Pass, lines: readonly string[]): void => {
  const graph = graphOf(lines);
  expect(pass.run(graph)).toBe(graph);
};

const weight = (id: number, name: string, out: number, into: number): string =>
  `%${id}: [out ${out}; ${into}] = parameter {name="${name}", shape=[${out}, ${into}], layout="out c"}`;
const vector = (id: number, name: string, channels: number): string =>
  `%${id}: [${channels}] = parameter {name="${name}", shape=[${channels}], layout="c"}`;
/** Rows and channels of the products of activations. */
const products = (graph: Graph): readonly (readonly [rows: number, into: number, out: number])[] =>
  graph.nodes.flatMap(({ op, type, inputs }) => {
    const [x] = inputs;
    const from = x === undefined ? undefined : graph.nodes[x];
    return op === "linear" && type.batch && from ? [[rowsOf(type), from.type.channels, type.channels] as const] : [];
  });

describe("distributeProducts", () => {
  const pairs = (out: string): readonly string[] => [
    `%0: [b, t 4, h 3; 6] = input {name="x", layout="b t h c"}`,
    `%1: [b, t 4, h 3; 2] = input {name="cues", layout="b t h c"}`,
    weight(2, "q", 6, 6),
    vector(3, "q_bias", 6),
    "%4: [b, t 4, h 3; 6] = linear %0, %2",
    "%5: [b, t 4, h 3; 6] = pointwise %4, %3 {body=$0 + $1}",
    // Frames in two parts of two: each token beside the motion from its frame to every frame of its part.
    "%6: [b, t 2, h 3; 12] = merge %5 {size=[t 2]}",
    "%7: [b, t 2, h 3, i 2; 6] = unpack %6 {sizes=[i 2]}",
    "%8: [b, u 2, t 2, h 3, i 2; 6] = expand %7 {sizes=[u 2]}",
    "%9: [b, t 2, h 3; 4] = merge %1 {size=[t 2]}",
    "%10: [b, t 2, h 3, i 2; 2] = unpack %9 {sizes=[i 2]}",
    "%11: [b, u 2, t 2, h 3, i 2; 2] = expand %10 {sizes=[u 2]}",
    "%12: [b, t 2, h 3, u 2; 2] = rename %10 {axes=[i u]}",
    "%13: [b, u 2, t 2, h 3, i 2; 2] = pointwise %11, %12 {body=$1 - $0}",
    "%14: [b, u 2, t 2, h 3, i 2; 8] = concat %8, %13 {over=channels}",
    weight(15, "offsets", 4, 8),
    "%16: [b, u 2, t 2, h 3, i 2; 4] = linear %14, %15",
    out,
  ];
  const result = `output "y" = %16 "b u t h i c"`;

  test("multiplies queries and motion per frame, not per pair of frames, and layers behind each other at once", () => {
    expect(products(after(distributeProducts, pairs(result)))).toEqual([
      [12, 6, 4],
      [12, 2, 4],
    ]);
  });

  test("keeps the layer of a query that is wanted too", () => {
    const graph = after(distributeProducts, pairs(`${result}\noutput "q" = %5 "b t h c"`));
    expect(products(graph)).toEqual([
      [12, 6, 6],
      [12, 6, 4],
      [12, 2, 4],
    ]);
  });

  test("leaves a product of a sum, or of parts, that all have its rows", () => {
    const two = [
      `%0: [b, h 3; 4] = input {name="x", layout="b h c"}`,
      `%1: [b, h 3; 4] = input {name="y", layout="b h c"}`,
    ];
    const sum = [...two, "%2: [b, h 3; 4] = pointwise %0, %1 {body=$0 + $1}", weight(3, "W", 5, 4)];
    untouched(distributeProducts, [...sum, "%4: [b, h 3; 5] = linear %2, %3", `output "y" = %4 "b h c"`]);
    const parts = [...two, "%2: [b, h 3; 8] = concat %0, %1 {over=channels}", weight(3, "W", 5, 8)];
    untouched(distributeProducts, [...parts, "%4: [b, h 3; 5] = linear %2, %3", `output "y" = %4 "b h c"`]);
  });

  test("does not look through what is no sum", () => {
    const repeated = [
      `%0: [b, h 3; 4] = input {name="x", layout="b h c"}`,
      "%1: [b, u 2, h 3; 4] = expand %0 {sizes=[u 2]}",
      "%2: [b, u 2, h 3; 4] = pointwise %1 {body=tanh($0)}",
      weight(3, "W", 5, 4),
      "%4: [b, u 2, h 3; 5] = linear %2, %3",
      `output "y" = %4 "b u h c"`,
    ];
    untouched(distributeProducts, repeated);
  });
});

describe("sinkUnpacks", () => {
  const terms = [
    `%0: [b, u 2, h 3; 4] = input {name="x", layout="b u h c"}`,
    `%1: [b, h 3; 4] = input {name="y", layout="b h c"}`,
    vector(2, "bias", 4),
  ];

  test("leaves a sum to its reader, term by term", () => {
    const graph = after(sinkUnpacks, [
      ...terms,
      "%3: [b, u 2, h 3; 4] = pointwise %0, %1 {body=$0 + $1}",
      "%4: [b, u 2, h 3; 4] = pointwise %3, %2 {body=$0 + $1}",
      "%5: [b, u 2, h 3, point 2; 2] = unpack %4 {sizes=[point 2]}",
      `output "y" = %5 "b u h point c"`,
    ]);
    expect(graph.nodes.filter(({ op }) => op === "unpack").map(({ type }) => type.axes.length)).toEqual([3, 2, 1]);
  });

  test("leaves a product and its bias together", () => {
    untouched(sinkUnpacks, [
      ...terms,
      "%3: [b, h 3; 4] = pointwise %1, %2 {body=$0 + $1}",
      "%4: [b, h 3, point 2; 2] = unpack %3 {sizes=[point 2]}",
      `output "y" = %4 "b h point c"`,
    ]);
  });
});

describe("foldLinears", () => {
  test("multiplies a convolution's weight by that of the layer behind it", () => {
    const graph = after(foldLinears, [
      `%0: [b, h 5, w 4; 3] = input {name="x", layout="b h w c"}`,
      `%1: [out 6, h 3, w 2; 3] = parameter {name="conv", shape=[6, 3, 3, 2], layout="out c h w"}`,
      "%2: [b, h 3, w 3; 6] = conv %0, %1 {window=[h 3 stride 2 pad 1 1, w 2], groups=1}",
      vector(3, "bias", 6),
      "%4: [b, h 3, w 3; 6] = pointwise %2, %3 {body=$0 + $1}",
      weight(5, "v", 6, 6),
      "%6: [b, h 3, w 3; 6] = linear %4, %5",
      `output "y" = %6 "b h w c"`,
    ]);
    expect(products(graph)).toEqual([]);
    expect(graph.nodes.filter(({ op }) => op === "conv")).toHaveLength(1);
  });

  const twice = (between: number): readonly string[] => [
    `%0: [b, h 3; 4] = input {name="x", layout="b h c"}`,
    weight(1, "q", between, 4),
    `%2: [b, h 3; ${between}] = linear %0, %1`,
    weight(3, "offsets", 6, between),
    weight(4, "weights", 3, between),
    "%5: [b, h 3; 6] = linear %2, %3",
    "%6: [b, h 3; 3] = linear %2, %4",
    `output "y" = %5 "b h c"`,
    `output "z" = %6 "b h c"`,
  ];

  test("folds a layer into all that read it, where none of them works more", () => {
    expect(products(after(foldLinears, twice(4)))).toEqual([
      [3, 4, 6],
      [3, 4, 3],
    ]);
    untouched(foldLinears, twice(3));
  });
});
