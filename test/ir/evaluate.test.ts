import { describe, expect, test } from "vitest";
import { evaluate, evaluateValues, type Arrays } from "../../ir/evaluate.ts";
import type { Graph } from "../../ir/graph.ts";
import { layoutShape } from "../../ir/layoutOffset.ts";
import { parseLayout } from "../../ir/layout.ts";
import { parseGraph } from "../../ir/parse.ts";
import { parseType } from "../../ir/typeText.ts";
import { rowsOf } from "../../ir/types.ts";
import { toLayout, fromLayout, type Value } from "../../ir/value.ts";
import { type At, type Field, fieldOf, tokensByPosition } from "./byPosition.ts";
import { everyOp } from "./everyOp.ts";

const graphOf = (text: string): Graph => parseGraph(`graph "case"\n${text}`);

/** Numbers in (-1, 1) around a large mean, from a seed. */
const numbers = (count: number, seed: number): Float64Array => {
  let state = seed + 1;
  return Float64Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1 + 3;
  });
};

const arraysFor = (graph: Graph, op: "input" | "parameter", batch: number): Arrays =>
  Object.fromEntries(
    graph.nodes.flatMap((node, index) => {
      if (node.op !== op) return [];
      const size = layoutShape(node.attrs.layout, node.type).reduce<number>(
        (all, each) => all * (typeof each === "number" ? each : each.batchTimes * batch),
        1,
      );
      return [[node.attrs.name, numbers(size, index)]];
    }),
  );

/** A value as a function of the position, by the order of rows that types.ts says. */
const fieldOfValue = ({ type, examples, data }: Value): Field => {
  const key = (at: At, isPrefix: boolean): string =>
    isPrefix
      ? `prefix ${type.prefix.over.map((axis) => at[axis]).join()} ${at["prefix"]}`
      : type.axes.map(({ axis }) => at[axis]).join();
  const rows = new Map(tokensByPosition(type).map(({ at, isPrefix }, row) => [key(at, isPrefix), row]));
  return {
    type,
    of: (example, at, isPrefix, c) => {
      const row = rows.get(key(at, isPrefix));
      return row === undefined
        ? Number.NaN
        : (data[((examples === 1 ? 0 : example) * rowsOf(type) + row) * type.channels + c] ?? Number.NaN);
    },
  };
};

const cases = Object.entries(everyOp).flatMap(([op, texts]) =>
  texts.map((text, index) => ({ name: `${op} ${index}`, text })),
);

describe("every op, element by element", () => {
  test.each(cases)("$name", ({ text }) => {
    const batch = 2;
    const graph = graphOf(text);
    const options = {
      batch,
      inputs: arraysFor(graph, "input", batch),
      parameters: arraysFor(graph, "parameter", batch),
    };
    const values = evaluateValues(graph, options);
    for (const node of graph.nodes) {
      const value = values.get(node.id);
      if (value === undefined || node.op === "input" || node.op === "parameter") continue;
      const inputs = node.inputs.flatMap((id) => {
        const input = values.get(id);
        return input ? [fieldOfValue(input)] : [];
      });
      const expected = fieldOf(node, inputs);
      expect(value.data.length).toBe((node.type.batch ? batch : 1) * rowsOf(node.type) * node.type.channels);
      let index = 0;
      for (let example = 0; example < value.examples; example++)
        for (const { at, isPrefix } of tokensByPosition(node.type))
          for (let c = 0; c < node.type.channels; c++) {
            const found: number = value.data[index++] ?? Number.NaN;
            const wanted = expected.of(example, at, isPrefix, c);
            const close = found === wanted || Math.abs(found - wanted) <= 1e-12 * Math.max(1, Math.abs(wanted));
            if (!close) expect.fail(`${found}, not ${wanted}, at ${JSON.stringify(at)} ${c}`);
          }
    }
  });
});

const small = (text: string, inputs: Arrays, parameters: Arrays = {}, batch = 1): readonly number[] => {
  const { outputs } = evaluate(graphOf(text), { batch, inputs, parameters });
  return [...(outputs["y"] ?? [])];
};

describe("by hand", () => {
  test("linear multiplies with the rows of the weight", () => {
    const text = `%0: [b, n 2; 2] = input {name="x", layout="b n c"}
%1: [out 3; 2] = parameter {name="w", shape=[3, 2], layout="out c"}
%2 = linear %0, %1
output "y" = %2 "b c n"`;
    expect(small(text, { x: [1, 2, 3, 4] }, { w: [1, 0, 0, 1, 10, 100] })).toEqual([1, 3, 2, 4, 210, 430]);
  });

  test("merge puts the last axis of its size fastest, before the channels that were", () => {
    const text = `%0: [b, h 2, w 2; 1] = input {name="x", layout="b h w c"}
%1 = merge %0 {size=[w 2, h 2]}
output "y" = %1 "b h w c"`;
    // x[h, w] as (w, h): 00, h1, w1, both.
    expect(small(text, { x: [0, 1, 10, 11] })).toEqual([0, 10, 1, 11]);
  });

  test("attention weighs by softmax, head by head", () => {
    const text = `%0: [b, n 2; 2] = input {name="x", layout="b n c"}
%1 = attend %0, %0, %0 {heads=2, scale=1, pattern=all, score=s, normalize=softmax}
output "y" = %1 "b n c"`;
    const weight = (a: number, b: number): number => Math.exp(a) / (Math.exp(a) + Math.exp(b));
    // Head 0 holds 0 and ln 2, head 1 holds 5 and 5.
    const y = small(text, { x: [0, 5, Math.LN2, 5] });
    expect(y[0]).toBeCloseTo(weight(0, 0) * Math.LN2, 14);
    expect(y[2]).toBeCloseTo(weight(Math.LN2 ** 2, 0) * Math.LN2, 14);
    expect([y[1], y[3]]).toEqual([5, 5]);
  });

  test.each(["softmax", "count", "none"])("a query without keys gives zeros (%s)", (normalize) => {
    const text = `%0: [b, n 3; 2] = input {name="x", layout="b n c"}
%1 = attend %0, %0, %0 {heads=1, scale=1, pattern=where(k.n > q.n + 1), score=s, normalize=${normalize}}
output "y" = %1 "b n c"`;
    const y = small(text, { x: [1, 2, 3, 4, 5, 6] });
    expect(y.slice(2)).toEqual([0, 0, 0, 0]);
    expect(y.slice(0, 2).every((value) => value > 0)).toBe(true);
  });

  test("a score of -Infinity is a key that is not seen, and is not counted", () => {
    const text = (normalize: string, score: string): string => `%0: [b, n 3; 1] = input {name="x", layout="b n c"}
%1 = attend %0, %0, %0 {heads=1, scale=1, pattern=all, score=${score}, normalize=${normalize}}
output "y" = %1 "b n c"`;
    const x = [1, 2, 4];
    for (const normalize of ["softmax", "count", "none"]) {
      expect(small(text(normalize, "-inf"), { x })).toEqual([0, 0, 0]);
    }
    expect(small(text("count", "k.n == 0 ? -inf : s"), { x })).toEqual([10, 20, 40]);
  });

  test("scores far below zero lose nothing", () => {
    const text = (score: string): string => `%0: [b, n 3; 1] = input {name="x", layout="b n c"}
%1 = attend %0, %0, %0 {heads=1, scale=1, pattern=all, score=${score}, normalize=softmax}
output "y" = %1 "b n c"`;
    const x = [1, 2, 4];
    const [plain, shifted] = [small(text("s"), { x }), small(text("s - 4096"), { x })];
    for (const [index, value] of plain.entries()) expect(shifted[index]).toBeCloseTo(value, 10);
  });

  test("a norm of a mean far above the deviation", () => {
    const text = `%0: [b, n 1; 4] = input {name="x", layout="b n c"}
%1 = normalize %0 {eps=0, groups=1, axes=[]}
output "y" = %1 "b n c"`;
    const y = small(text, { x: [1e8 - 1, 1e8 + 1, 1e8 - 1, 1e8 + 1] });
    expect(y).toEqual([-1, 1, -1, 1]);
  });
});

describe("arrays", () => {
  const text = `%0: [b, n 3; 2] = input {name="x", layout="b n c"}
output "y" = %0 "c (n b)"
keep "again" = %0 "b c n"`;

  test("come and go in any layout, also where examples lie among each other", () => {
    const x = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15];
    const { outputs, kept } = evaluate(graphOf(text), { batch: 2, inputs: { x }, parameters: {} });
    expect([...(outputs["y"] ?? [])]).toEqual([0, 10, 2, 12, 4, 14, 1, 11, 3, 13, 5, 15]);
    expect([...(kept["again"] ?? [])]).toEqual([0, 2, 4, 1, 3, 5, 10, 12, 14, 11, 13, 15]);
  });

  test("read in a layout and written in it are the same", () => {
    const type = parseType("[b, prefix 2 over t, t 2, h 3; 4]");
    for (const written of ["(b t) (prefix | h) c", "c (h | prefix) t b", "t b (prefix | h) c"]) {
      const layout = parseLayout(written);
      const array = numbers(3 * rowsOf(type) * 4, 5);
      expect(toLayout(fromLayout(array, layout, type, 3, "x"), layout, 3)).toEqual(array);
    }
  });

  test("that are missing or of another size are named", () => {
    const run = (inputs: Arrays) => () => evaluate(graphOf(text), { batch: 2, inputs, parameters: {} });
    expect(run({ z: [] })).toThrow('the input "x" is missing; there are z');
    expect(run({ x: [1] })).toThrow('"x" has 1 elements; [b, n 3; 2] laid out as "b n c" has 12 for 2 examples');
  });
});

test("shared values meet batched ones", () => {
  const text = `%0: [b, n 2; 1] = input {name="x", layout="b n c"}
%1: [n 2; 1] = parameter {name="p", shape=[2], layout="n"}
%2 = concat %0, %1 {over=channels}
output "y" = %2 "b n c"`;
  expect(small(text, { x: [1, 2, 3, 4] }, { p: [7, 8] }, 2)).toEqual([1, 7, 2, 8, 3, 7, 4, 8]);
});
