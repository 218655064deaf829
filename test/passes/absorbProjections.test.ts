import { expect, test } from "vitest";
import { absorbProjections } from "../../compiler/passes/absorbProjections.ts";
import { parseGraph } from "../../ir/parse.ts";
import { problemsOf } from "../../ir/verify.ts";
import { sameMeaning } from "../support/sameMeaning.ts";

const attention = (queries: number, score: string) =>
  parseGraph(`graph "g"
%0: [b, n 7; 24] = input {name="x", layout="b n c"}
%1: [n ${queries}; 8] = parameter {name="I", shape=[${queries}, 8], layout="n c"}
%2: [out 8; 24] = parameter {name="Wk", shape=[8, 24], layout="out c"}
%3: [8] = parameter {name="bk", shape=[8], layout="c"}
%4: [b, n 7; 8] = linear %0, %2
%5: [b, n 7; 8] = pointwise %4, %3 {body=$0 + $1}
%6: [out 8; 24] = parameter {name="Wv", shape=[8, 24], layout="out c"}
%7: [8] = parameter {name="bv", shape=[8], layout="c"}
%8: [b, n 7; 8] = linear %0, %6
%9: [b, n 7; 8] = pointwise %8, %7 {body=$0 + $1}
%10: [b, n ${queries}; 8] = attend %1, %5, %9 {heads=2, scale=0.5, pattern=all, score=${score}, normalize=softmax}
output "y" = %10 "b n c"
`);

test("a few learned queries look at the set itself", () => {
  const before = attention(2, "s");
  const after = absorbProjections.run(before);
  expect(problemsOf(after)).toEqual([]);
  sameMeaning(before, after);
  const large = after.nodes.filter(({ op, type }) => op === "linear" && type.batch && type.axes[0]?.size === 7);
  expect(large).toEqual([]);
});

test("many queries, and scores that are more than a product, keep their projections", () => {
  for (const graph of [attention(40, "s"), attention(2, "s * s")]) expect(absorbProjections.run(graph)).toBe(graph);
});
