import { describe, expect, test } from "vitest";
import { parseLayout, printLayout } from "../../ir/layout.ts";
import { layoutOffset, layoutPlaces, layoutShape } from "../../ir/layoutOffset.ts";
import { typeFromLayout } from "../../ir/layoutType.ts";
import { printScalar } from "../../ir/scalarText.ts";
import { parseType, printType } from "../../ir/typeText.ts";

const texts = [
  "b c t h w",
  "(b t) (prefix | h w) c",
  "1 (prefix | h w) c",
  "b t (prefix | h w) c",
  "c",
  "1",
  "(h w) (c k)",
];

test.each(texts)("%s is printed as it is parsed", (text) => {
  expect(printLayout(parseLayout(text))).toBe(text);
});

test.each([
  ["b (t", 'lacks a ")"'],
  ["b t) c", 'has a ")" without a "("'],
  ["b | c", 'has a "|" outside'],
  ["(t | h) c", 'exactly one of them must hold "prefix"'],
  ["b t,h", 'has "t,h"'],
  ["b t b", 'says "b" twice'],
])("%s is refused", (text, problem) => {
  expect(() => parseLayout(text)).toThrow(problem);
});

test.each([
  "[b, prefix 1 over t h, t 4, h 3; 64]",
  "int[n 10; 1]",
  "[64]",
  "[b; 1]",
  "[axis prefix 2; 8]",
  "[b, prefix 2, w 5; 8]",
])("the type %s is printed as it is parsed", (text) => {
  expect(printType(parseType(text))).toBe(text);
});

const offsets = (layout: string, type: string): readonly (string | number | null)[] => {
  const { exampleStride, exampleSize, grid, prefix } = layoutOffset(parseLayout(layout), parseType(type));
  return [exampleStride, exampleSize, printScalar(grid), prefix && printScalar(prefix)];
};

describe("offsets", () => {
  test.each<[layout: string, type: string, expected: readonly (string | number | null)[]]>([
    ["b c t h", "[b, t 4, h 3; 2]", [24, 24, "c * 12 + t * 3 + h", null]],
    ["b (t h) c", "[b, t 4, h 3; 2]", [24, 24, "t * 6 + h * 2 + c", null]],
    [
      "(b t) (prefix | h) c",
      "[b, prefix 2 over t, t 4, h 3; 5]",
      [100, 100, "t * 25 + h * 5 + c + 10", "t * 25 + prefix * 5 + c"],
    ],
    ["b (prefix | h t) c", "[b, prefix 1, t 4, h 3; 5]", [65, 65, "h * 20 + t * 5 + c + 5", "prefix * 5 + c"]],
    ["b (h t | prefix) c", "[b, prefix 1, t 4, h 3; 5]", [65, 65, "h * 20 + t * 5 + c", "prefix * 5 + c + 60"]],
    ["out c kh kw", "[out 8, kh 3, kw 3; 2]", [0, 144, "out * 18 + c * 9 + kh * 3 + kw", null]],
    ["1 prefix c", "[axis prefix 2; 4]", [0, 8, "prefix * 4 + c", null]],
    ["b", "[b; 1]", [1, 1, "0", null]],
  ])("%s of %s", (layout, type, expected) => {
    expect(offsets(layout, type)).toEqual(expected);
  });

  test("an example has no address of its own among others", () => {
    expect(() => offsets("(t b) c", "[b, t 4; 2]")).toThrow("mixes the elements of different examples");
    expect(() => offsets("t b c", "[b, t 4; 2]")).toThrow("mixes");
    expect(offsets("1 b t c", "[b, t 4; 2]")[0]).toBe(8);
    const places = layoutPlaces(parseLayout("t b c"), parseType("[b, t 4; 2]"), 3);
    expect([places.batchStep, places.grid.steps.get("t"), places.interleaved]).toEqual([2, 6, true]);
  });

  test.each([
    ["b t c", "[b, t 4, h 3; 2]", 'grid tokens have "h", which it lacks'],
    ["b t t c", "[b, t 4; 2]", 'it has "t" twice'],
    ["b t h c", "[b, t 4; 2]", 'grid tokens have no "h"'],
    ["t c", "[b, t 4; 2]", 'grid tokens have "b"'],
    ["b t", "[b, t 4; 2]", 'grid tokens have "c"'],
    ["b t c", "[b, prefix 1, t 4; 2]", 'prefix tokens have "prefix", which it lacks'],
    ["b t (prefix | h) c", "[b, prefix 1, t 4, h 2; 2]", 'prefix tokens have no "t"'],
    ["b (prefix | t) c", "[b, t 4; 2]", "it has no prefix tokens"],
  ])("%s does not fit %s", (layout, type, problem) => {
    expect(() => layoutShape(parseLayout(layout), parseType(type))).toThrow(problem);
  });

  test("shapes keep the batch open", () => {
    const shape = layoutShape(parseLayout("(b t) (prefix | h) c"), parseType("[b, prefix 2 over t, t 4, h 3; 5]"));
    expect(shape).toEqual([{ batchTimes: 4 }, 5, 5]);
  });
});

describe("the type of a checkpoint's tensor", () => {
  test.each<[shape: number[], layout: string, sizes: Record<string, number>, expected: string]>([
    [[96, 64], "out c", {}, "[out 96; 64]"],
    [[1, 13, 64], "1 (prefix | h w) c", { h: 3, prefix: 1 }, "[prefix 1, h 3, w 4; 64]"],
    [[1, 13, 64], "1 (prefix | h w) c", { h: 3, w: 4 }, "[prefix 1, h 3, w 4; 64]"],
    [[4, 5, 8], "t (prefix | h) c", { h: 3 }, "[prefix 2 over t, t 4, h 3; 8]"],
    [[169, 3], "(y x) head", { y: 13 }, "[y 13, x 13, head 3; 1]"],
    [[1, 1, 64], "1 prefix c", {}, "[axis prefix 1; 64]"],
    [[8, 3, 16, 16], "out c h w", {}, "[out 8, h 16, w 16; 3]"],
  ])("%j under %s", (shape, layout, sizes, expected) => {
    expect(printType(typeFromLayout(shape, parseLayout(layout), { sizes }))).toBe(expected);
  });

  test.each<[shape: number[], layout: string, sizes: Record<string, number>, problem: string]>([
    [[12], "(h w)", {}, "the extents of h and w do not follow from its size 12"],
    [[13], "(h w)", { h: 3 }, 'leaves no whole number for "w"'],
    [[12], "h w", {}, "it has 1 dimensions, the layout 2"],
    [[12], "(h w)", { h: 3, w: 5 }, "dimension 0 holds 15 elements, not 12"],
    [[12, 3], "(h w) w", { w: 4 }, "dimension 1 holds 4 elements, not 3"],
  ])("%j is not %s", (shape, layout, sizes, problem) => {
    expect(() => typeFromLayout(shape, parseLayout(layout), { sizes })).toThrow(problem);
  });
});
