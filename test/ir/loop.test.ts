import { describe, expect, test } from "vitest";
import { eliminateDeadNodes } from "../../ir/deadNodes.ts";
import { evaluate } from "../../ir/evaluate.ts";
import { parseGraph } from "../../ir/parse.ts";
import { printGraph } from "../../ir/print.ts";
import { problemsOf } from "../../ir/verify.ts";

/** Halves numbers until all are below one: the sum of an example, how many steps it took, and what each step began with. */
const halving = `graph "halving"
%0: [b, n 2; 1] = input {name="x", layout="b n"}
%1: int[1] = constant {values=[0]}
%2: [1] = constant {values=[0]}
%3: [step 4; 1] = expand %2 {sizes=[step 4]}
%4: [b, n 2; 1] = state %0 {name="x"}
%5: int[b; 1] = state %1 {name="steps"}
%6: [b, step 4; 1] = state %3 {name="sums"}
%7: [b; 1] = reduce %4 {kind=sum, axes=[n]}
%8: [b, step 4; 1] = pointwise %6, %5, %7 {body=x.step == $1 ? $2 : $0}
%9: [b, n 2; 1] = pointwise %4 {body=$0 / 2}
%10: [b; 1] = reduce %9 {kind=max, axes=[n]}
%11: [b; 1] = pointwise %10 {body=$0 >= 1 ? 1 : 0}
%12: int[b; 1] = round %11
%13: [b; 1] = pointwise %5 {body=$0 + 1}
%14: int[b; 1] = round %13
%15: int[b; 1] = loop %12, %9, %14, %8 {states=["x", "steps", "sums"], atMost=4}
%16: [b, n 2; 1] = after %15, %4
%17: int[b; 1] = after %15, %5
%18: [b, step 4; 1] = after %15, %6
%19: [b; 1] = reduce %16 {kind=sum, axes=[n]}
output "sum" = %19 "b"
output "steps" = %17 "b"
output "sums" = %18 "(b step)" upTo step "steps"
`;

const added = 'output "sum"';
const run = (text: string, ...x: readonly number[]) =>
  evaluate(parseGraph(text), { batch: x.length / 2, inputs: { x }, parameters: {} }).outputs;

describe("a loop", () => {
  test("prints and parses", () => {
    const graph = parseGraph(halving);
    expect(problemsOf(graph)).toEqual([]);
    expect(printGraph(graph)).toBe(halving);
  });

  test("takes steps until no example wants another", () => {
    const { sum, steps, sums } = run(halving, 4, 1);
    expect([...(sum ?? [])]).toEqual([0.625]);
    expect([...(steps ?? [])]).toEqual([3]);
    expect([...(sums ?? [])]).toEqual([5, 2.5, 1.25, 0]);
  });

  test("examples go on together", () => {
    const { sum, steps } = run(halving, 1, 1, 4, 0);
    expect([...(sum ?? [])]).toEqual([0.25, 0.5]);
    expect([...(steps ?? [])]).toEqual([3, 3]);
  });

  test("takes one step at least, and so many at most", () => {
    expect([...(run(halving, 0, 0).steps ?? [])]).toEqual([1]);
    expect([...(run(halving, 1000, 0).steps ?? [])]).toEqual([4]);
  });

  test("states that nothing else reads go", () => {
    const graph = parseGraph(halving);
    const less = eliminateDeadNodes({ ...graph, outputs: graph.outputs.filter(({ name }) => name === "sum") });
    expect(printGraph(less)).toContain('{states=["x"], atMost=4}');
    expect(less.nodes.filter(({ op }) => op === "state")).toHaveLength(1);
    expect(problemsOf(less)).toEqual([]);
  });

  test.each([
    ["two loops", added, `%20 = loop %12 {states=[], atMost=2}\n${added}`, "%20 is a second one"],
    ["a state that is not handed on", '"x", "steps", "sums"', '"x", "steps", "other"', "the states are x, steps, sums"],
    [
      "a state of another type",
      "loop %12, %9, %14",
      "loop %12, %10, %14",
      'the state "x" is [b, n 2; 1], and becomes [b; 1]',
    ],
    ["an output of a step", 'output "sum" = %19', 'output "sum" = %10', "%10 is another one at every step"],
    [
      "steps and their end",
      added,
      `%20 = pointwise %9, %16 {body=$0}\n${added}`,
      "%20 (pointwise) reads a value of the steps",
    ],
    [
      "a count that is no output",
      'upTo step "steps"',
      'upTo step "count"',
      '"count", which says how long it is, is no output',
    ],
    ["a count that is no number", 'upTo step "steps"', 'upTo step "sums"', "not one whole number of each example"],
    [
      "an axis that is not the fastest",
      '"(b step)" upTo step',
      '"b step 1" upTo other',
      '"other" is not the fastest axis',
    ],
  ])("%s", (_, from, to, problem) => {
    const text = halving.replace(from, to);
    expect(text).not.toBe(halving);
    expect(problemsOf(parseGraph(text)).join("\n")).toContain(problem);
  });
});
