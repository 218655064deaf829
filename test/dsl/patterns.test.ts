import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { compileGraph } from "../../compiler/compile.ts";
import { CompileError } from "../../compiler/diagnostics.ts";
import { printRemarks } from "../../compiler/cli/remarks.ts";
import {
  all,
  along,
  attend,
  every,
  type Grid,
  grid,
  model,
  Module,
  near,
  parameter,
  type Pattern,
  prefix,
  union,
  where,
  window,
} from "fovea";
import type { Graph } from "../../ir/graph.ts";
import { predicate } from "../../ir/predicate.ts";
import { evaluateScalar } from "../../ir/scalarEvaluate.ts";
import { parseType } from "../../ir/typeText.ts";
import { planAttention } from "../../compiler/schedule/attention/plan.ts";
import { planNotes } from "../../compiler/schedule/attention/notes.ts";

type Image = Grid<"h" | "w">;

const traced = (f: (x: Image) => Image): Graph =>
  model({
    name: "net",
    config: z.strictObject({}),
    inputs: () => ({ x: grid({ h: 6, w: 9 }, 16) }),
    module: () =>
      new (class extends Module {
        forward({ x }: { x: Image }) {
          return { y: f(x) };
        }
      })(),
  }).trace();
const attending = (keys: () => Pattern<"h" | "w">): Graph => traced((x) => attend(x, x, x, { keys: keys() }));
const refusalOf = (keys: () => Pattern<"h" | "w">): string => {
  try {
    attending(keys);
  } catch (error) {
    if (error instanceof CompileError) return error.toString();
    throw error;
  }
  return "none";
};

describe("patterns that can't be are refused where they are written", () => {
  test.each<[string, () => Pattern<"h" | "w">, string]>([
    ["a radius below 0", () => near({ h: -1 }), 'the radius of "h" is -1, and must be a whole number from 0'],
    ["a radius between numbers", () => near({ h: 1.5 }), 'the radius of "h" is 1.5'],
    ["a dilation of 0", () => near({ h: 1 }, { dilation: 0 }), "the dilation"],
    ["a stride of 0", () => every({ h: 0 }), '"h"'],
    [
      "a shift of a whole window",
      () => window({ w: 4 }, { shift: { w: 4 } }),
      'the shift of "w" is 4, and its window is 4',
    ],
    ["a shift backwards", () => window({ w: 4 }, { shift: { w: -1 } }), 'the shift of "w" is -1'],
    [
      "a window larger than its axis, shifted by more than that",
      () => window({ h: 12 }, { shift: { h: 8 } }),
      'the window of "h" is 12 and its shift 8, and the axis has 6',
    ],
    ["an axis that is not there", () => along("t" as "h"), 'names the axis "t", and the value has "h", "w"'],
    [
      "a window on an axis that is not there",
      () => window({ hh: 2 } as unknown as { h: number }),
      'names the axis "hh"',
    ],
  ])("%s", (_name, keys, problem) => {
    const refusal = refusalOf(keys);
    expect(refusal).toContain(problem);
    expect(refusal).toMatch(/test\/dsl\/patterns\.test\.ts:\d+:\d+/);
  });

  test("a where that reads what is not known when the kernel is made", () => {
    const table = parameter(6);
    const ofParameter = refusalOf(() => where((q, k) => table.at(q.h) < k.h));
    expect(ofParameter).toContain("where: it reads a parameter");
    expect(ofParameter).toContain("hide keys by data in the score");
    const long = Array.from({ length: 1025 }, (_, i) => i % 2);
    expect(refusalOf(() => where((q, k) => (long[q.h] ?? 0) < k.h))).toContain("its array changes 1025 times");
    const clock = { now: (): number => 3 };
    expect(refusalOf(() => where((q, k) => q.h + clock.now() < k.h))).toMatch(/unsupported-function|lambda-capture/);
    expect(() =>
      traced((x) =>
        attend(x, x, x, { keys: where((q, k) => (x as unknown as { at: (h: number) => number }).at(q.h) < k.h) }),
      ),
    ).toThrow(CompileError);
  });

  test("a window larger than its axis is the axis, as published", () => {
    expect(attending(() => window({ h: 12, w: 3 }, { shift: { h: 3, w: 1 } })).nodes.length).toBeGreaterThan(1);
  });
});

describe("queries that see no key", () => {
  const remarksOf = (graph: Graph): string => {
    const same = (text: string): string => text;
    const paint = { bold: same, dim: same, red: same, green: same, yellow: same, cyan: same };
    const compiled = compileGraph(graph, { precision: "bf16", batch: { min: 1, max: 1 }, keep: false });
    return printRemarks([compiled], paint);
  };

  test("are allowed, and reported once with their number, however often it happens", () => {
    const keys = where<"h" | "w">((q, k) => k.h < q.h - 2);
    const once = remarksOf(traced((x) => attend(attend(x, x, x, { keys }), x, x, { keys })));
    // The first three of six rows of nine.
    expect(once.match(/27 of 54 queries see no key: their results are zeros/g)?.length).toBe(1);
    expect(once).toMatch(/patterns\.test\.ts:\d+/);
  });

  test("are named above the kernel", () => {
    const graph = attending(() => where((q, k) => k.h > q.h));
    const { computations } = compileGraph(graph, { precision: "bf16", batch: { min: 1, max: 1 }, keep: false });
    const notes = [...computations.values()].flatMap((kernel) =>
      kernel.kind === "attention" ? planNotes(kernel, planAttention(kernel)) : [],
    );
    expect(notes).toContain("9 of 54 queries see no key: their results are zeros.");
  });

  test("are not spoken of where there are none", () => {
    expect(remarksOf(attending(() => union<"h" | "w">(all(), prefix())))).toBe("");
    expect(remarksOf(attending(() => window({ h: 4, w: 4 }, { shift: { h: 2, w: 2 } })))).toBe("");
  });
});

describe("a where", () => {
  type At = { readonly t: number; readonly h: number };
  /** Lambdas of drawn numbers: as JavaScript runs them, and as they are read from their source. */
  const lambdas: readonly ((a: number, b: number, list: readonly number[]) => (q: At, k: At) => boolean)[] = [
    (a) => {
      const sees = (q: At, k: At): boolean => (q.h - k.h) ** 2 + (q.t - k.t) ** 2 <= a * a;
      return sees;
    },
    (a, b) => {
      const sees = (q: At, k: At): boolean => Math.abs(q.h - k.h) % a === 0 && (q.t === k.t || k.t % b === 0);
      return sees;
    },
    (a, b) => {
      const sees = (q: At, k: At): boolean => {
        const distance = q.h - k.h;
        if (distance < 0) return -distance <= b;
        return Math.floor(distance / a) < b;
      };
      return sees;
    },
    (a, _b, list) => {
      const sees = (q: At, k: At): boolean => (list[2] ?? 0) < k.h * a || q.t * (list[0] ?? 0) > k.h;
      return sees;
    },
    (_a, _b, list) => {
      const sees = (q: At, k: At): boolean => list[q.t] === list[k.t] || (list[k.h] ?? 9) < (list[q.h] ?? 1);
      return sees;
    },
    (a, b, [c = 0, d = 0, e = 0, f = 0]) => {
      const layout = [
        [c, d, a],
        [e, f, b],
      ];
      const sees = (q: At, k: At): boolean => ((layout[q.t % 2] as readonly number[])[k.h % 3] as number) > a;
      return sees;
    },
    (a, b) => {
      const isOdd = [false, true, a > b, false];
      const sees = (q: At, k: At): boolean => (isOdd[q.t % 4] ?? false) && !(isOdd[k.t % 4] ?? true);
      return sees;
    },
    (a, b) => {
      const sees = (q: At, k: At): boolean => !(q.h > k.h + a) && (q.t < b ? k.t < b : k.t >= b);
      return sees;
    },
    (a, b) => {
      const sees = (q: At, k: At): boolean => Math.min(q.h, k.h) * a - Math.max(q.t, k.t) * b <= a - b;
      return sees;
    },
  ];

  test("is what the same lambda is in JavaScript", () => {
    const drawn = fc.record({
      lambda: fc.constantFrom(...lambdas),
      a: fc.integer({ min: 1, max: 4 }),
      b: fc.integer({ min: 1, max: 4 }),
      list: fc.array(fc.nat(5), { minLength: 4, maxLength: 4 }),
      t: fc.integer({ min: 1, max: 4 }),
      h: fc.integer({ min: 1, max: 7 }),
    });
    fc.assert(
      fc.property(drawn, ({ lambda, a, b, list, t, h }) => {
        const f = lambda(a, b, list);
        const type = parseType(`[b, t ${t}, h ${h}; 4]`);
        const lowered = predicate(where<"t" | "h">(f).lower({ query: type, key: type }), type, type);
        const places = Array.from({ length: t * h }, (_, i): At => ({ t: Math.floor(i / h), h: i % h }));
        for (const q of places)
          for (const k of places) {
            const variables = { "q.t": q.t, "q.h": q.h, "k.t": k.t, "k.h": k.h };
            expect(evaluateScalar(lowered, { variables }) !== 0).toBe(f(q, k));
          }
      }),
      { numRuns: 300 },
    );
  });
});
