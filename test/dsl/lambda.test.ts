import { describe, expect, test } from "vitest";
import { attend, mod, Module, parameter, pointwise, score, type Score, where } from "fovea";
import { printScalar } from "../../ir/scalarText.ts";
import { evaluateScalar } from "../../ir/scalarEvaluate.ts";
import { type Image, nodesOf, refusalOf, traceImage, traceModule } from "../support/trace.ts";
import { bucket, factorial, Holder, signedBucket as signed, summed } from "./helpers.ts";

const bodyOf = (f: (x: Image) => Image): string => {
  const [node] = nodesOf(traceImage(f), "pointwise");
  return node === undefined ? "" : printScalar(node.attrs.body);
};
const scoreOf = (f: Score<"h" | "w">): string => {
  const [node] = nodesOf(
    traceImage((image) => attend(image, image, image, { heads: 4, score: f })),
    "attend",
  );
  return node === undefined ? "" : printScalar(node.attrs.score);
};

describe("a lambda becomes a scalar expression", () => {
  test("numbers that it captures are folded in", () => {
    const slope = 1.702;
    const config = { limit: [3, 5] };
    expect(bodyOf((image) => pointwise(image, (x) => x / (1 + Math.exp(-slope * x))))).toMatchInlineSnapshot(
      `"$0 / (1 + exp(-1.702 * $0))"`,
    );
    expect(
      bodyOf((image) => pointwise(image, (x) => Math.min(x, config.limit[1] ?? 0) * (config.limit[0] ?? 0))),
    ).toMatchInlineSnapshot(`"min($0, 5) * 3"`);
  });

  test("constants, if and return are one expression", () => {
    const f = (image: Image): Image =>
      pointwise(image, (x) => {
        const shifted = x - 3;
        if (shifted < 0) return shifted * 2;
        const root = Math.sqrt(shifted);
        return root + shifted;
      });
    expect(bodyOf(f)).toMatchInlineSnapshot(`"$0 - 3 < 0 ? ($0 - 3) * 2 : sqrt($0 - 3) + ($0 - 3)"`);
  });

  test("a constant that is named twice is one part of the expression", () => {
    const graph = traceImage((image) =>
      pointwise(image, (x) => {
        const a = Math.exp(x);
        const b = a * a;
        const c = b * b;
        return c * c;
      }),
    );
    const body = nodesOf(graph, "pointwise")[0]?.attrs.body;
    expect(body?.kind === "binary" && body.left === body.right).toBe(true);
  });

  test("functions of the model's own files are inlined, with their own captures", () => {
    expect(bodyOf((image) => pointwise(image, (x) => signed(x) + bucket(x)))).toMatchInlineSnapshot(
      `"($0 < 0 ? -min(abs($0), 8) : min(abs($0), 8)) + min(abs($0), 8)"`,
    );
  });

  test("a branch that is known is the only one that is read", () => {
    const isCausal = false;
    expect(bodyOf((image) => pointwise(image, (x) => (isCausal ? summed(3) : x)))).toBe("$0");
    expect(bodyOf((image) => pointwise(image, (x) => x * factorial(4)))).toBe("$0 * 24");
  });

  test("positions are read by field, by pattern and by an axis's name", () => {
    const axis: "h" | "w" = "w";
    expect(scoreOf(score((s, q, { h }) => s - Math.abs(q[axis] - h)))).toMatchInlineSnapshot(`"s - abs(q.w - k.h)"`);
  });

  test("arrays of numbers are tables, or folded where the index is known", () => {
    const slopes = [0.5, 0.25, 0.125, 0.0625];
    const graph = traceImage((image) =>
      attend(image, image, image, {
        heads: 4,
        score: (s, q, _, head) => s * (slopes[head] ?? 0) + (slopes[1] ?? 0) * q.h,
      }),
    );
    expect(nodesOf(graph, "attend").map(({ attrs }) => printScalar(attrs.score))).toMatchInlineSnapshot(`
      [
        "s * (head >= 0 && head < 4 ? table0[head] : 0) + 0.25 * q.h",
      ]
    `);
    expect(nodesOf(graph, "constant").map(({ attrs }) => attrs.values)).toEqual([slopes]);
  });

  test("parameters are tables with an index for each extent", () => {
    class Biased extends Module {
      bias = parameter(7 * 9, 4);
      slope = parameter(4);
      forward({ x }: { x: Image }) {
        const bias = this.bias.view(7, 9, 4);
        return {
          y: attend(x, x, x, {
            heads: 4,
            score: (s, q, k, head) => s + bias.at(q.h - k.h + 3, q.w - k.w + 4, head) * this.slope.at(head),
          }),
        };
      }
    }
    const graph = traceModule(new Biased());
    expect(nodesOf(graph, "attend").map(({ attrs }) => printScalar(attrs.score))).toMatchInlineSnapshot(`
      [
        "s + table0[q.h - k.h + 3, q.w - k.w + 4, head] * table1[head]",
      ]
    `);
    expect(
      nodesOf(graph, "parameter").map(
        ({ attrs: { name, shape, layout } }) => `${name} [${shape.join()}] ${JSON.stringify(layout)}`,
      ),
    ).toMatchInlineSnapshot(`
      [
        "bias [63,4] [[["i0","i1"]],[["c"]]]",
        "slope [4] [[["c"]]]",
      ]
    `);
  });

  test("a predicate reads positions, captures and mod", () => {
    const radius = 2;
    const graph = traceImage((image) =>
      attend(image, image, image, {
        keys: where((q, k) => (q.h - k.h) ** 2 + (q.w - k.w) ** 2 <= radius ** 2 && mod(q.w - k.w, 2) === 0),
      }),
    );
    const pattern = nodesOf(graph, "attend")[0]?.attrs.pattern;
    expect(pattern?.kind === "where" && printScalar(pattern.predicate)).toMatchInlineSnapshot(
      `"(q.h - k.h) * (q.h - k.h) + (q.w - k.w) * (q.w - k.w) <= 4 && mod(q.w - k.w, 2) == 0"`,
    );
  });

  test("prefix tokens keep their score, unless a lambda asks for them", () => {
    const withClass = (f: Score<"h" | "w">): string => {
      class Classed extends Module {
        cls = parameter(1, 8);
        forward({ x }: { x: Image }) {
          const y = x.withPrefix(this.cls);
          return { y: attend(y, y, y, { score: f }) };
        }
      }
      return nodesOf(traceModule(new Classed()), "attend").map(({ attrs }) => printScalar(attrs.score))[0] ?? "";
    };
    expect(withClass(score((s, q, k) => s - q.h + k.h))).toMatchInlineSnapshot(
      `"q.isPrefix || k.isPrefix ? s : s - q.h + k.h"`,
    );
    expect(withClass(score((s, _, k) => (k.isPrefix ? s + 1 : s)))).toMatchInlineSnapshot(`"k.isPrefix ? s + 1 : s"`);
  });
});

describe("numbers are JavaScript's", () => {
  const functions: {
    readonly [name: string]: { readonly f: (x: number) => number; readonly graph: () => ReturnType<typeof traceImage> };
  } = {
    remainder: { f: (x) => x % 3, graph: () => traceImage((image) => pointwise(image, (x) => x % 3)) },
    modulo: { f: (x) => mod(x, 3), graph: () => traceImage((image) => pointwise(image, (x) => mod(x, 3))) },
    floor: {
      f: (x) => Math.floor(x / 2),
      graph: () => traceImage((image) => pointwise(image, (x) => Math.floor(x / 2))),
    },
    trunc: {
      f: (x) => Math.trunc(x / 2),
      graph: () => traceImage((image) => pointwise(image, (x) => Math.trunc(x / 2))),
    },
    round: { f: (x) => Math.round(x), graph: () => traceImage((image) => pointwise(image, (x) => Math.round(x))) },
    or: { f: (x) => (x - 1 || 7) + 1, graph: () => traceImage((image) => pointwise(image, (x) => (x - 1 || 7) + 1)) },
    and: { f: (x) => x && x + 1, graph: () => traceImage((image) => pointwise(image, (x) => x && x + 1)) },
    not: { f: (x) => (!x ? 5 : x), graph: () => traceImage((image) => pointwise(image, (x) => (!x ? 5 : x))) },
    shift: {
      f: (x) => (Math.floor(x) >> 1) + (Math.floor(x) << 2),
      graph: () => traceImage((image) => pointwise(image, (x) => (Math.floor(x) >> 1) + (Math.floor(x) << 2))),
    },
    cube: {
      f: (x) => x ** 3 - x ** 2 + Math.hypot(x, 2),
      graph: () => traceImage((image) => pointwise(image, (x) => x ** 3 - x ** 2 + Math.hypot(x, 2))),
    },
    logarithms: {
      f: (x) => Math.log2(x * x + 1) + Math.log10(x * x + 2) + Math.log1p(x * x) + Math.expm1(x),
      graph: () =>
        traceImage((image) =>
          pointwise(image, (x) => Math.log2(x * x + 1) + Math.log10(x * x + 2) + Math.log1p(x * x) + Math.expm1(x)),
        ),
    },
    hyperbolic: {
      f: (x) => Math.sinh(x) + Math.cosh(x) + Math.tan(x) + Math.tanh(x),
      graph: () =>
        traceImage((image) => pointwise(image, (x) => Math.sinh(x) + Math.cosh(x) + Math.tan(x) + Math.tanh(x))),
    },
  };
  test.each(Object.keys(functions))("%s", (name) => {
    const body = nodesOf(functions[name]?.graph() ?? traceImage((x) => x), "pointwise")[0]?.attrs.body;
    for (const x of [-7.5, -3, -1, -0.5, 0, 0.5, 1, 2, 2.5, 7]) {
      const computed = body === undefined ? NaN : evaluateScalar(body, { arguments: [x] });
      expect(computed, `at ${x}`).toBeCloseTo(functions[name]?.f(x) ?? NaN, 10);
    }
  });
});

const powers = [1, 2, 4];
describe("what a lambda cannot read is refused where it is met", () => {
  const missing: { readonly size?: number } = {};
  const grow = (n: number): number => n + grow(n + 1);
  const table = parameter(2, 8);
  const holder = new Holder();
  const anyScore: { readonly score: Score<"h" | "w"> } = { score: Object.freeze((s: number): number => s) };

  test.each<[string, (x: Image) => Image]>([
    ["a helper with a loop", (image) => pointwise(image, (x) => x + summed(3))],
    ["a function without end", (image) => pointwise(image, (x) => x + grow(x))],
    ["a function of a package", (image) => pointwise(image, (x) => x * structuredClone(2))],
    ["a method", (image) => pointwise(image, (x) => holder.bend(x))],
    ["a value that is not there", (image) => pointwise(image, (x) => x * (missing.size as number))],
    ["an element that is not there", (image) => pointwise(image, (x) => x * (powers[7] as number))],
    ["a whole object", (image) => pointwise(image, (x) => x * (holder as unknown as number))],
    ["a whole parameter", (image) => pointwise(image, (x) => x * (table as unknown as number))],
    [
      "an axis that the grid lacks",
      (image) =>
        attend(image, image, image, { keys: where((q, k) => (q as { h: number; time?: number }).time === k.h) }),
    ],
    ["an index beyond a parameter", (image) => attend(image, image, image, { score: (s) => s + table.at(2, 0) })],
    ["an index too few", (image) => attend(image, image, image, { score: (s) => s + table.at(1) })],
    ["a stored lambda that is not marked", (image) => attend(image, image, image, anyScore)],
  ])("%s", (name, f) => {
    expect(refusalOf(() => traceImage(f))).toMatchSnapshot(name);
  });
});
