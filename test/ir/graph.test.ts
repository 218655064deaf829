import { describe, expect, test } from "vitest";
import { createBuilder } from "../../ir/builder.ts";
import { eliminateDeadNodes } from "../../ir/deadNodes.ts";
import type { Graph, Node, ValueId } from "../../ir/graph.ts";
import { parseLayout } from "../../ir/layout.ts";
import { parseGraph } from "../../ir/parse.ts";
import { printGraph } from "../../ir/print.ts";
import { parseType, printType } from "../../ir/typeText.ts";
import { problemsOf, verifyGraph } from "../../ir/verify.ts";

const graphOf = (text: string): Graph => parseGraph(`graph "case"\n${text}`);
const span = { file: "models/x.ts", line: 3, column: 7 };

/** The type of the last value; inputs are given by their types alone. */
const typeOf = (inputs: readonly string[], op: string): string => {
  const texts = inputs.map(
    (type, index) => `%${index}: ${type} = constant {values=[${Array(elements(type)).fill(0).join(", ")}]}`,
  );
  return printType(graphOf([...texts, `%${inputs.length} = ${op}`].join("\n")).nodes.at(-1)?.type ?? parseType("[1]"));
};
const elements = (type: string): number => {
  const { axes, channels, prefix } = parseType(type);
  const size = (over: (axis: string) => boolean): number =>
    axes.reduce((all, { axis, size: n }) => (over(axis) ? all * n : all), 1);
  return (size(() => true) + prefix.count * size((axis) => prefix.over.includes(axis))) * channels;
};

describe("types that result", () => {
  test.each<[inputs: string[], op: string, expected: string]>([
    [["[prefix 1, h 3; 4]", "[out 7; 4]"], "linear %0, %1", "[prefix 1, h 3; 7]"],
    [["[t 3, h 7; 4]", "[out 6, h 3; 2]"], "conv %0, %1 {window=[h 3 stride 2 pad 1 1], groups=2}", "[t 3, h 4; 6]"],
    [["[4]", "[t 2, h 3; 1]", "[m 5, t 2; 4]"], "pointwise %0, %1, %2 {body=$0}", "[t 2, h 3, m 5; 4]"],
    [["[t 2; 1]", "[prefix 1 over t, t 2, h 3; 4]"], "pointwise %0, %1 {body=$0}", "[prefix 1 over t, t 2, h 3; 4]"],
    [["[prefix 2 over t h, t 2, h 3; 4]"], "reduce %0 {kind=sum, axes=[t]}", "[prefix 2 over h, h 3; 4]"],
    [["[prefix 2 over t h, t 2, h 3; 4]"], "prefix %0", "[t 2, h 3, axis prefix 2; 4]"],
    [["[prefix 2 over h, t 2, h 3; 4]"], "repeatPrefix %0 {over=[t]}", "[prefix 2 over t h, t 2, h 3; 4]"],
    [["[h 5, w 4; 2]"], "merge %0 {size=[w 2, h 2]}", "[h 3, w 2; 8]"],
    [["[h 5; 12]"], "unpack %0 {sizes=[head 2, point 3]}", "[h 5, head 2, point 3; 2]"],
    [["[prefix 1, h 5; 2]"], "expand %0 {sizes=[t 2]}", "[prefix 1, t 2, h 5; 2]"],
    [["[prefix 1 over h, h 5, w 2; 2]"], "pad %0 {before=[w 1], after=[w -2]}", "[prefix 1 over h, h 5, w 1; 2]"],
  ])("%j: %s", (inputs, op, expected) => {
    expect(typeOf(inputs, op)).toBe(expected);
  });
});

describe("what does not go together is refused with the types", () => {
  test.each<[inputs: string[], op: string, problem: string]>([
    [["[h 3; 4]", "[out 7; 5]"], "linear %0, %1", "linear reads [h 3; 4] with a weight [out 7; 5]: 4 channels meet 5"],
    [["[h 3; 4]", "[n 7; 4]"], "linear %0, %1", 'the one axis "out", not [n 7; 4]'],
    [["[h 3; 4]", "[h 2; 4]"], "pointwise %0, %1 {body=$0}", '[h 3; 4] and [h 2; 4] differ in the axis "h"'],
    [["[h 3; 4]", "[h 3; 2]"], "pointwise %0, %1 {body=$0}", "differ in channels"],
    [["[prefix 1, h 3; 4]", "[h 3; 4]"], "pointwise %0, %1 {body=$0}", "[h 3; 4] says nothing of the prefix tokens"],
    [
      ["[prefix 1, h 3; 4]", "[prefix 2, h 3; 4]"],
      "pointwise %0, %1 {body=$0}",
      "differ in the number of prefix tokens",
    ],
    [["[h 2; 4]", "[out 4, h 3; 4]"], "conv %0, %1 {window=[h 3], groups=1}", "does not fit [h 2; 4]"],
    [["[h 3; 4]", "[out 4, h 3; 4]"], "conv %0, %1 {window=[h 2], groups=1}", "the window is 2 along"],
    [["[h 3; 4]", "[out 3, h 3; 2]"], "conv %0, %1 {window=[h 3], groups=2}", "a number of outputs that 2 divides"],
    [["[h 3; 4]"], "pool %0 {kind=max, window=[h 2 pad 2 0], countPadding=true}", "would lie in the padding"],
    [["[prefix 1, h 3; 4]"], "softmax %0 {over=[h]}", "softmax reads a grid"],
    [["[h 3; 4]"], "normalize %0 {eps=0, groups=3, axes=[]}", "3 groups do not divide"],
    [
      ["[n 3; 4]", "[n 3; 6]"],
      "attend %0, %1, %1 {heads=2, scale=1, pattern=all, score=s, normalize=none}",
      "have 4 and 6 channels",
    ],
    [
      ["[n 3; 4]", "[m 3; 4]"],
      "attend %0, %0, %1 {heads=2, scale=1, pattern=all, score=s, normalize=none}",
      "are not the same tokens",
    ],
    [
      ["[n 3; 4]"],
      "attend %0, %0, %0 {heads=3, scale=1, pattern=all, score=s, normalize=none}",
      "3 heads do not divide",
    ],
    [["[h 3; 4]"], "prefix %0", "[h 3; 4] has no prefix tokens"],
    [["[h 3; 4]", "[h 3; 4]"], "withPrefix %0, %1", 'tokens on the axis "prefix"'],
    [["[h 3; 4]", "[axis prefix 1; 5]"], "withPrefix %0, %1", "it wants the same channels"],
    [["[prefix 1 over h, h 3; 4]"], "repeatPrefix %0 {over=[h]}", 'is repeated over "h" already'],
    [["[prefix 1, h 3; 4]"], "meanPrefix %0 {over=[h]}", 'is not repeated over "h"'],
    [["[h 3; 4]"], "channels %0 {groups=2, start=1, width=2}", "channels 1 to 2 are not among the 2"],
    [["[h 3; 4]", "[h 3, w 2; 4]"], "concat %0, %1 {over=axis h}", 'differ in axes other than "h"'],
    [["[prefix 1, h 3; 4]"], "merge %0 {size=[h 2]}", "merge reads a grid"],
    [["[h 3; 4]"], "unmerge %0 {size=[h 3]}", "h 3 does not divide the channels"],
    [["[h 3; 4]"], "pad %0 {before=[], after=[h -3]}", "is 0, not a positive whole number"],
    [["[h 3; 4]"], "unpack %0 {sizes=[h 2]}", 'has an axis "h" already'],
    [["[h 3; 4]"], "unpack %0 {sizes=[c 2]}", 'no axis can be called "c"'],
    [["[h 3, w 2; 4]"], "rename %0 {axes=[h w]}", "would have an axis twice"],
    [["[h 3; 4]"], "slice %0 {axis=h, start=1, step=2, size=2}", "positions 1 to 3"],
    [["[prefix 1 over h, h 3; 4]"], "slice %0 {axis=h, start=1, step=1, size=1}", "slice reads a grid"],
    [["[h 3; 4]"], "reduce %0 {kind=sum, axes=[w]}", '[h 3; 4] has no axis "w"'],
  ])("%j: %s", (inputs, op, problem) => {
    expect(() => typeOf(inputs, op)).toThrow(problem);
  });
});

const attention = (attributes: string): Graph =>
  graphOf(`%0: [b, h 4; 4] = input {name="x", layout="b h c"}
%1: [rel 7; 2] = parameter {name="bias", shape=[7, 2], layout="rel c"}
%2 = attend %0, %0, %0, %1 {heads=2, scale=1, ${attributes}, normalize=softmax}`);

describe("verify", () => {
  test.each([
    ["pattern=all, score=s + table0[q.h - k.h + 3, head]", []],
    ["pattern=all, score=s + table0[q.w, head]", ['there is no "q.w"']],
    ["pattern=all, score=s + table1[q.h, head]", ["reads one of 1 tables"]],
    ["pattern=all, score=s + table0[q.h]", ["has 1 indices; [rel 7; 2] wants 2"]],
    [
      "pattern=all, score=s + table0[q.h + 7, head]",
      ["index 0 of table0[q.h + 7, head] is 7 to 10; [rel 7; 2] holds 7"],
    ],
    ["pattern=all, score=s + $0", ["a score has no arguments"]],
    ["pattern=causal(t), score=s", ['the pattern "causal" names the axis "t"']],
    ["pattern=where(q.t < k.h), score=s", ['there is no "q.t"']],
    ["pattern=union(all, where(k.isPrefix)), score=s", ["neither queries nor keys have prefix tokens"]],
  ])("%s", (attributes, problems) => {
    const found = problemsOf(attention(attributes));
    expect(found.length).toBe(problems.length);
    for (const [index, problem] of problems.entries()) expect(found[index]).toContain(problem);
  });

  const base = graphOf(`%0: [b, h 4; 4] = input {name="x", layout="b h c"}
%1 = pointwise %0 {body=$0 * x.h}
output "y" = %1 "b h c"`);
  const replace = (index: number, change: Partial<Node>): Graph => ({
    ...base,
    nodes: base.nodes.map((node, at) => (at === index ? ({ ...node, ...change } as Node) : node)),
  });

  test("a graph that holds", () => {
    expect(() => verifyGraph(base)).not.toThrow();
  });

  test.each<[what: string, graph: Graph, problem: string]>([
    [
      "a value before it is made",
      replace(1, { inputs: [1 as ValueId] }),
      "%1 (pointwise): it reads %1, which is not made before it",
    ],
    ["ids out of order", replace(1, { id: 4 as ValueId }), "%4 (pointwise): it is value number 1"],
    [
      "another type",
      replace(1, { type: parseType("[b, h 4; 5]") }),
      "its type is [b, h 4; 5], but its inputs make it [b, h 4; 4]",
    ],
    [
      "an output of no value",
      { ...base, outputs: [{ name: "y", value: 7 as ValueId, layout: [], upTo: null }] },
      '"y": there is no value %7',
    ],
    ["two outputs of a name", { ...base, outputs: [...base.outputs, ...base.outputs] }, 'there are two called "y"'],
    [
      "a layout that does not fit",
      { ...base, kept: [{ name: "k", value: 1 as ValueId, layout: parseLayout("b c"), upTo: null }] },
      'grid tokens have "h"',
    ],
  ])("%s", (_, graph, problem) => {
    expect(() => verifyGraph(graph)).toThrow(problem);
  });

  test("a parameter is one tensor, however it is read", () => {
    const graph = graphOf(`%0: [h 4; 2] = parameter {name="w", shape=[4, 2], layout="h c"}
%1: [h 2; 4] = parameter {name="w", shape=[2, 4], layout="h c"}`);
    expect(problemsOf({ ...graph, unused: [] })).toEqual(['parameters: "w" is [4, 2] and, as "h c", [2, 4]']);
  });

  test("a parameter of positions has as many rows as its grid", () => {
    const graph = graphOf(`%0: [h 4; 2] = parameter {name="w", shape=[4, 2], layout="h c"}
output "y" = %0 "h c"`);
    const how = { mode: "bicubic", grid: [2, 2], leading: 0 } as const;
    expect(problemsOf({ ...graph, resizing: { w: how } })).toEqual([]);
    expect(problemsOf({ ...graph, resizing: { w: { ...how, leading: 1 } } })).toEqual([
      'parameters: "w" is [4, 2], which is no grid of 2 x 2 rows after 1',
    ]);
  });
});

describe("builder", () => {
  test("makes a graph of what outputs need; inputs stay, parameters that go are unused", () => {
    const builder = createBuilder("net");
    const type = parseType("[b, h 3; 4]");
    const layout = parseLayout("b h c");
    const weight = { shape: [4], layout: parseLayout("c"), type: parseType("[4]") };
    const x = builder.add("input", [], { name: "x", layout, type }, span, "");
    builder.add("input", [], { name: "mask", layout, type }, span, "");
    const dead = builder.add("parameter", [], { name: "dead", ...weight }, span, "");
    builder.add("pointwise", [dead], { body: { kind: "argument", index: 0 } }, span, "");
    const scale = builder.add("parameter", [], { name: "scale", ...weight }, span, "norm");
    const y = builder.add("pointwise", [x, scale], { body: { kind: "argument", index: 0 } }, span, "norm");
    builder.output("y", y, layout);
    builder.unused("index");
    const graph = builder.build();
    verifyGraph(graph);
    expect(printGraph(graph)).toBe(`graph "net"
%0: [b, h 3; 4] = input {name="x", layout="b h c"} // models/x.ts:3:7
%1: [b, h 3; 4] = input {name="mask", layout="b h c"} // models/x.ts:3:7
%2: [4] = parameter {name="scale", shape=[4], layout="c"} // models/x.ts:3:7 norm
%3: [b, h 3; 4] = pointwise %0, %2 {body=$0} // models/x.ts:3:7 norm
output "y" = %3 "b h c"
unused "index"
unused "dead"
`);
    expect(eliminateDeadNodes(graph)).toBe(graph);
  });

  test("refuses values of another graph, and a name twice", () => {
    const builder = createBuilder("net");
    expect(() => builder.add("grid", [3 as ValueId], {}, span, "")).toThrow('%3 is not a value of "net"');
    const type = parseType("[b; 1]");
    const x = builder.add("input", [], { name: "x", layout: parseLayout("b"), type }, span, "");
    builder.output("y", x, parseLayout("b"));
    expect(() => builder.output("y", x, parseLayout("b"))).toThrow('two outputs called "y"');
    expect(() => builder.keep("k", x, parseLayout("b c h"))).toThrow('grid tokens have no "h"');
  });

  test("refuses leaves whose arrays are not what their types say", () => {
    const builder = createBuilder("net");
    const leaf = (type: string, shape: readonly number[], layout: string) => () =>
      builder.add("parameter", [], { name: "w", shape, layout: parseLayout(layout), type: parseType(type) }, span, "");
    expect(leaf("[h 3; 4]", [4, 3], "h c")).toThrow('[4, 3] is not [h 3; 4] laid out as "h c": that is [3, 4]');
    expect(leaf("[b, h 3; 4]", [3, 4], "b h c")).toThrow("a parameter has no batch");
    expect(leaf("[h 3, h 3; 4]", [3, 3, 4], "h h c")).toThrow();
    expect(() => builder.add("constant", [], { values: [1], type: parseType("[h 2; 1]") }, span, "")).toThrow(
      "has 1 values, not 2",
    );
  });
});
