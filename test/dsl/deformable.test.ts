import { describe, expect, test } from "vitest";
import { constant, deformable, type Grid } from "fovea";
import { printType } from "../../ir/typeText.ts";
import { type Image, nodesOf, refusalOf, traceImage } from "../support/trace.ts";

/** Of four heads, a point on each of two levels for each pixel. */
const pointsOf = (x: Image): Grid<"h" | "w" | "head" | "level"> => x.split(2, 6)[0].expand({ head: 4, level: 2 });
const options = { axes: ["w", "h"], heads: "head", levels: "level" } as const;

const typeOf = (f: (x: Image) => Grid<"h" | "w"> | Grid<"h" | "w" | "head">): string | undefined =>
  nodesOf(traceImage(f), "sample").map(({ type }) => printType(type))[0];
const refused = (f: (x: Image) => Grid<"h" | "w"> | Grid<"h" | "w" | "head">): string => refusalOf(() => traceImage(f));

describe("deformable", () => {
  test("sums over levels and the axes named, and keeps the others", () => {
    expect(typeOf((x) => deformable([x, x], { points: pointsOf(x), ...options }))).toBe("[b, h 4, w 5; 8]");
    expect(typeOf((x) => deformable([x, x], { points: pointsOf(x), axes: ["w", "h"], levels: "level" }))).toBe(
      "[b, head 4, h 4, w 5; 8]",
    );
  });

  test("weighs by softmax where weights are given", () => {
    const attrs = (f: (x: Image) => Grid<"h" | "w">) =>
      nodesOf(traceImage(f), "sample").map(({ attrs: { normalize } }) => normalize);
    const logits = (): Grid<"level"> => constant({ level: 2 }, [[1], [2]]);
    expect(attrs((x) => deformable([x, x], { points: pointsOf(x), ...options }))).toEqual(["none"]);
    expect(attrs((x) => deformable([x, x], { points: pointsOf(x), weights: logits(), ...options }))).toEqual([
      "softmax",
    ]);
  });

  test("refuses offsets whose heads, levels and points are still channels", () => {
    expect(refused((x) => deformable([x, x], { points: x.expand({ head: 4, level: 2 }), ...options }))).toMatch(
      /a position on "w" and one on "h".* has 8 channels[^]*hint: unpack the heads, levels and points/,
    );
  });

  test("refuses as many maps as there are no levels for", () => {
    expect(refused((x) => deformable([x, x, x], { points: pointsOf(x), ...options }))).toMatch(
      /has points in 2 maps \(level 2\), and there are 3/,
    );
  });

  test("refuses maps whose channels the heads do not divide, and maps without the axes", () => {
    expect(
      refused((x) => deformable([x.split(2, 6)[0], x.split(2, 6)[0]], { points: pointsOf(x), ...options })),
    ).toMatch(/4 heads do not divide the channels of \[b, h 4, w 5; 2\]/);
    expect(refused((x) => deformable([x, x.mean("h")], { points: pointsOf(x), ...options }))).toMatch(
      /\[b, w 5; 8\] has no axis "h"/,
    );
  });

  test("refuses weights of another size, and several for a point", () => {
    const weights = (): Grid<"level"> => constant({ level: 3 }, [[1], [2], [3]]);
    expect(refused((x) => deformable([x, x], { points: pointsOf(x), weights: weights(), ...options }))).toMatch(
      /differ along "level"/,
    );
    expect(refused((x) => deformable([x, x], { points: pointsOf(x), weights: x, ...options }))).toMatch(
      /a point has one weight, and .* has 8 channels/,
    );
  });

  test("refuses a map along an axis that the points do not have", () => {
    expect(refused((x) => deformable([x.expand({ t: 3 }), x], { points: pointsOf(x), ...options }))).toMatch(
      /has the axis "t", which points .* do not have so/,
    );
  });

  test("scores by keys where a query is given, by the root of its channels", () => {
    const graph = traceImage((x) => deformable([x, x], { points: pointsOf(x), query: x, keys: [x, x], ...options }));
    expect(
      nodesOf(graph, "sample").map(({ inputs, attrs: { normalize, scale } }) => [inputs.length, normalize, scale]),
    ).toEqual([[7, "softmax", 1 / Math.sqrt(2)]]);
  });

  test("refuses a query without keys, and keys of other channels or extents", () => {
    expect(refused((x) => deformable([x, x], { points: pointsOf(x), query: x, ...options }))).toMatch(
      /there are 2 maps, 0 of keys, and a query: scores need a query, and keys for each map/,
    );
    expect(
      refused((x) => deformable([x, x], { points: pointsOf(x), query: x, keys: [x, x.split(2, 6)[1]], ...options })),
    ).toMatch(/maps .* and .* differ in channels/);
    expect(
      refused((x) => deformable([x, x], { points: pointsOf(x), query: x, keys: [x, x.slice("h", 0, 3)], ...options })),
    ).toMatch(/keys .* and values .* differ along "h"/);
  });
});

test("a constant has a token for each position of its grid", () => {
  expect(refused((x) => x.add(constant({ h: 4 }, [[1], [2]])))).toMatch(/the grid has 4 tokens, and 2 are given/);
  expect(refused((x) => x.add(constant({ h: 2 }, [[1], [2, 3]])))).toMatch(/different numbers of channels/);
});
