import { expect, test } from "vitest";
import { foldScales } from "../../compiler/passes/foldScales.ts";
import { parseGraph } from "../../ir/parse.ts";
import { problemsOf } from "../../ir/verify.ts";
import { sameMeaning } from "../support/sameMeaning.ts";

const graphOf = (lines: readonly string[]) => parseGraph(`graph "g"\n${lines.join("\n")}\n`);
const x = `%0: [b, h 5, w 3; 4] = input {name="x", layout="b c h w"}`;
const vector = (id: number, name: string) => `%${id}: [6] = parameter {name="${name}", shape=[6], layout="c"}`;
const linear = [
  x,
  `%1: [out 6; 4] = parameter {name="W", shape=[6, 4], layout="out c"}`,
  "%2: [b, h 5, w 3; 6] = linear %0, %1",
];
const conv = [
  x,
  `%1: [out 6, h 3; 2] = parameter {name="W", shape=[6, 2, 3], layout="out c h"}`,
  "%2: [b, h 3, w 3; 6] = conv %0, %1 {window=[h 3], groups=2}",
];

test.each([
  ["a linear layer", linear, "b, h 5, w 3"],
  ["a convolution in groups", conv, "b, h 3, w 3"],
])("scales the weight of %s, and what was added before the scale", (_, product, type) => {
  const before = graphOf([
    ...product,
    vector(3, "bias"),
    `%4: [${type}; 6] = pointwise %2, %3 {body=$0 + $1}`,
    vector(5, "scale"),
    vector(6, "shift"),
    `%7: [${type}; 6] = pointwise %4, %5, %6 {body=$0 * $1 + $2}`,
    `output "y" = %7 "b c h w"`,
  ]);
  const after = foldScales.run(before);
  expect(problemsOf(after)).toEqual([]);
  sameMeaning(before, after);
  const batched = after.nodes.filter((node) => node.type.batch && node.op === "pointwise");
  expect(batched.map((node) => node.op === "pointwise" && JSON.stringify(node.attrs.body))).toEqual(
    Array(2).fill(
      '{"kind":"binary","op":"add","left":{"kind":"argument","index":0},"right":{"kind":"argument","index":1}}',
    ),
  );
});

test("leaves a product that others read too, and a scale that is not known", () => {
  const scaled = "%4: [b, h 5, w 3; 6] = pointwise %2, %3 {body=$0 * $1}";
  const readTwice = graphOf([
    ...linear,
    vector(3, "scale"),
    scaled,
    `output "y" = %4 "b c h w"`,
    `output "z" = %2 "b c h w"`,
  ]);
  expect(foldScales.run(readTwice)).toBe(readTwice);
  const given = `%3: [b, h 5, w 3; 6] = input {name="scale", layout="b c h w"}`;
  const unknown = graphOf([...linear, given, scaled, `output "y" = %4 "b c h w"`]);
  expect(foldScales.run(unknown)).toBe(unknown);
});
