import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Graph } from "../../ir/graph.ts";
import { parseGraph } from "../../ir/parse.ts";
import { parsePattern, printPattern } from "../../ir/patternText.ts";
import { printGraph } from "../../ir/print.ts";
import { problemsOf } from "../../ir/verify.ts";
import { everyOp } from "./everyOp.ts";

const cases = Object.entries(everyOp).flatMap(([op, texts]) =>
  texts.map((text, index) => ({ name: `${op} ${index}`, op, text })),
);
const graphOf = (text: string): Graph => parseGraph(`graph "case"\n${text}`);

describe("every op", () => {
  test.each(cases)("$name is read, holds, and is printed as it is read", ({ op, text }) => {
    const graph = graphOf(text);
    expect(problemsOf(graph)).toEqual([]);
    expect(graph.nodes.map((node) => node.op)).toContain(op);
    const printed = printGraph(graph);
    expect(parseGraph(printed)).toEqual(graph);
    expect(printGraph(parseGraph(printed))).toBe(printed);
    // What was typed is what is printed, but for the types that were left out.
    expect(printed.replaceAll(/(%\d+): \S.*? = /g, "$1 = ")).toContain(text.replaceAll(/(%\d+): \S.*? = /g, "$1 = "));
  });
});

const whole = `graph "small"
%0: [b, prefix 1, h 3; 4] = input {name="x", layout="b (prefix | h) c"} // models/small file.ts:4:12
%1: [out 2; 4] = parameter {name="head.weight", shape=[2, 4], layout="out c"} // models/small file.ts:9:3 head
%2: [b, prefix 1, h 3; 2] = linear %0, %1 // models/small file.ts:9:3 head
%3: [b, h 3; 2] = grid %2
output "logits" = %2 "b (prefix | h) c"
keep "head" = %3 "b h c"
unused "head.count"
resizing "head.weight" bicubic [1, 2] after 0
`;

test("a whole graph keeps outputs, kept values, unused names and places", () => {
  const graph = parseGraph(whole);
  expect(printGraph(graph)).toBe(whole);
  expect(graph.nodes[2]?.span).toEqual({ file: "models/small file.ts", line: 9, column: 3 });
  expect(graph.nodes[2]?.path).toBe("head");
  expect(graph.unused).toEqual(["head.count"]);
});

test("windows line ends and indentation are read too", () => {
  expect(printGraph(parseGraph(whole.replaceAll("\n", "\r\n  ").replaceAll(" file", "")))).toBe(
    whole.replaceAll(" file", ""),
  );
});

describe("mistakes are shown where they are", () => {
  const x = `%0: [b, h 3; 4] = input {name="x", layout="b h c"}`;
  test.each([
    [`${x}\n%1 = lineer %0`, '3:6: "lineer" is not an op'],
    [`${x}\n%1 = linear %0`, "3:6: linear reads 2 values, not 1"],
    [`${x}\n%2 = grid %0`, "expected 1: values are numbered in order"],
    [`${x}\n%1 = grid %1`, "%1 is not made before this"],
    [`${x}\n%1: [b, h 3; 5] = grid %0`, "the type is written [b, h 3; 5], but the inputs make it [b, h 3; 4]"],
    [`${x}\n%1 = reduce %0 {kind=mean, axes=[w]}`, '3:6: reduce: [b, h 3; 4] has no axis "w"'],
    [`${x}\n%1 = reduce %0 {kind=median, axes=[h]}`, "expected mean or sum or max"],
    [`${x}\n%1 = reduce %0 {axes=[h]}`, 'expected the attribute "kind" of reduce'],
    [`%0 = input {name="x", layout="b h c"}`, "the type of input must be written"],
    [`${x} grid`, "expected the end of the line"],
    [`${x} // here`, "expected a place"],
  ])("%s", (text, message) => {
    expect(() => graphOf(text)).toThrow(message);
  });
});

describe("patterns", () => {
  test.each([
    "union(prefix, along(h, w))",
    "window(h 7, w 7; shift h 3, w 3)",
    "window(h 7)",
    "near(h 3, w 2; dilation 2; inwards)",
    "near(h 3; cut)",
    "every(t 2; phase query)",
    "every(t 2; phase -1)",
    "intersect(causal(t), same(h), where(q.h <= k.h || k.isPrefix), all)",
  ])("%s", (text) => {
    expect(printPattern(parsePattern(text))).toBe(text);
  });

  test.each(["nearby(h 3)", "near(h 3)", "window(h)", "union(all"])("%s is refused", (text) => {
    expect(() => parsePattern(text)).toThrow();
  });
});

test("any text is read or refused with a place, never otherwise", () => {
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.constantFrom("", "%", "{", "7", '"', "x", "]"), (at, inserted) => {
      const text = whole.slice(0, at) + inserted + whole.slice(at + 1);
      try {
        parseGraph(text);
      } catch (error) {
        expect(error).toMatchObject({ name: "GraphError" });
      }
    }),
    { numRuns: 300 },
  );
});
