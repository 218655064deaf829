import { describe, expect, test } from "vitest";
import { eliminateDeadNodes } from "../../ir/deadNodes.ts";
import { evaluate } from "../../ir/evaluate.ts";
import { parseGraph } from "../../ir/parse.ts";
import { printGraph } from "../../ir/print.ts";
import { problemsOf } from "../../ir/verify.ts";
import { halving } from "../support/loops.ts";

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
