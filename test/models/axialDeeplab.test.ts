import { expect, test } from "vitest";
import { compileGraph } from "../../compiler/compile.ts";
import { parseGraph } from "../../ir/parse.ts";
import axialDeeplab from "../../models/axialDeeplab.ts";
import { refusalOf } from "../support/trace.ts";

const attention = { in_planes: 16, out_planes: 16, groups: 4, kernel_size: 8, extent: { h: 8, w: 6 } };
const trace = (change: object) => () =>
  axialDeeplab.trace({ entry: "AxialAttention", config: { ...attention, ...change } });

test("an axis of another length than the kernel's is refused, with both", () => {
  const refusal = refusalOf(trace({ kernel_size: 10 }));
  expect(refusal).toContain("attend cannot combine [b, h 8, w 6; 8] with [row 19; 8]");
  expect(refusal).toContain('positions along "h", which has 8, lie up to 7 apart either way: 15 rows of 8 channels');
});

test("channels that do not fall into halves of heads are refused", () => {
  expect(refusalOf(trace({ out_planes: 20 }))).toContain("split: the width of a part is 2.5");
  expect(refusalOf(trace({ out_planes: 18 }))).toContain("4.5");
});

test("positions between keys of several lines are refused, with what can be said instead", () => {
  const graph = parseGraph(`graph "plane"
%0: [b, h 3, w 4; 4] = input {name="x", layout="b h w c"}
%1: [row 5; 4] = parameter {name="rows", shape=[5, 4], layout="row c"}
%2 = attend %0, %0, %0, %1 {heads=1, scale=1, pattern=all, score=s, normalize=softmax, positions=h query 0}
output "y" = %2 "b h w c"
`);
  const refusal = refusalOf(() => compileGraph(graph, { precision: "bf16", batch: { min: 1, max: 1 }, keep: false }));
  expect(refusal).toContain('terms of relative positions along "h" want keys along it alone');
  expect(refusal).toContain('keys: along("h")');
});
