import { describe, expect, test } from "vitest";
import { full, type Grid, loop, type LoopStep, output, round } from "fovea";
import { problemsOf } from "../../ir/verify.ts";
import halving from "../fixtures/models/halving.ts";
import { type Image, nodesOf, refusalOf, traceImage } from "../support/trace.ts";

const repeat = (x: Image, step: (x: Image) => LoopStep<{ readonly x: Image }, Record<never, never>>): Image =>
  loop({ first: { x }, atMost: 3, step: (now) => step(now.x) }).last.x;
const refused = (f: (x: Image) => Image): string => refusalOf(() => traceImage(f));

describe("loop", () => {
  test("hands on what the author names, counts steps, and records what is wanted of each", () => {
    const graph = halving.trace();
    expect(problemsOf(graph)).toEqual([]);
    expect(nodesOf(graph, "loop")[0]?.attrs).toEqual({ states: ["x", "step.number", "each.sums"], atMost: 4 });
    expect(graph.outputs.map(({ name, upTo }) => [name, upTo])).toEqual([
      ["sum", null],
      ["steps", null],
      ["sums", { axis: "step", count: "steps" }],
    ]);
  });

  test("refuses a state that becomes another", () => {
    expect(refused((x) => repeat(x, (now) => ({ next: { x: round(now) }, done: full({}, 1) })))).toMatch(
      /the state "x" is \[b, h 4, w 5; 8\], and becomes int\[b, h 4, w 5; 8\][^]*hint: a state is at every step/,
    );
  });

  test("refuses a flag that is not one number of each example", () => {
    expect(refused((x) => repeat(x, (now) => ({ next: { x: now }, done: now as unknown as Grid<never> })))).toMatch(
      /"done" is \[b, h 4, w 5; 8\], and must be one number of each example[^]*hint: x.max/,
    );
  });

  test("refuses a second loop", () => {
    const step = (now: Image) => ({ next: { x: now }, done: full({}, 1) });
    expect(refused((x) => repeat(repeat(x, step), step))).toMatch(/there is one already, and a model has one loop/);
  });

  test("refuses to hand out what a step computes", () => {
    let inside: Image | undefined;
    const leak = (x: Image): Image => {
      repeat(x, (now) => ({ next: { x: (inside = now.mul(2)) }, done: full({}, 1) }));
      return inside ?? x;
    };
    expect(refused(leak)).toMatch(/is another one at every step of the loop/);
  });

  test("refuses a length that no output says", () => {
    const cut = (x: Image) => ({ y: output(x.max("w").split(1, 7)[0], "(b h)", { axis: "h", count: "rows" }) });
    expect(refusalOf(() => traceImage((x) => cut(x).y as unknown as Image))).toMatch(
      /"rows", which says how long it is, is no output/,
    );
  });
});
