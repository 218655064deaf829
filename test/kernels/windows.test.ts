import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planAttention } from "../../compiler/schedule/attention/plan.ts";
import { parseScalar } from "../../ir/scalarText.ts";
import { evaluateScalar } from "../../ir/scalarEvaluate.ts";
import { predicate } from "../../ir/predicate.ts";
import { tokensOf } from "../../ir/tokens.ts";
import { rowsOf } from "../../ir/types.ts";
import type { LaunchCounters } from "../../runtime/emulated.ts";
import { attentionKernel, grid, pairTest, runCase, toleranceOf, type AttentionCase } from "./attentionCase.ts";
import { window } from "./attentionPatterns.ts";

type Axis = { readonly size: number; readonly window: number; readonly shift: number };

const axisOf = (least: number, most: number, narrowest = 1): fc.Arbitrary<Axis> =>
  fc
    .record({
      window: fc.integer({ min: narrowest, max: 5 }),
      size: fc.integer({ min: least, max: most }),
      shift: fc.nat(4),
    })
    .map(({ window: side, size, shift }) => ({ size, window: side, shift: shift % side }));

/** A bias of relative positions in windows, per head. */
const biased = (axes: { readonly [axis: string]: Axis }, more: Partial<AttentionCase> = {}): AttentionCase => {
  const entries = Object.entries(axes);
  const index = entries.map(([axis, { window: side }]) => `q.${axis} - k.${axis} + ${side - 1}`).join(", ");
  const of = (field: keyof Axis): { readonly [axis: string]: number } =>
    Object.fromEntries(entries.map(([axis, numbers]) => [axis, numbers[field]]));
  return {
    precision: "bf16",
    pattern: window(of("window"), of("shift")),
    query: grid(of("size")),
    headDim: 16,
    heads: 2,
    score: parseScalar(`s + table0[${index}, head]`),
    tables: [[...entries.map(([, { window: side }]) => 2 * side - 1), 2]],
    ...more,
  };
};

describe("windows", () => {
  it("are those of a grid that is rolled, cut, and masked by regions", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 5 }), fc.nat(5), (side, count, wish) => {
        const shift = wish % side;
        const size = side * count;
        const type = grid({ w: size });
        const sees = predicate(window({ w: side }, { w: shift }), type, type);
        // As published: no shift where the window is the axis; else three regions of the rolled axis.
        const used = count === 1 ? 0 : shift;
        const place = (w: number): number => (w - used + size) % size;
        const region = (at: number): number => (used === 0 || at < size - side ? 0 : at < size - used ? 1 : 2);
        for (let q = 0; q < size; q++)
          for (let k = 0; k < size; k++) {
            const [i, j] = [place(q), place(k)];
            const expected = Math.floor(i / side) === Math.floor(j / side) && region(i) === region(j);
            const seen = evaluateScalar(sees, { variables: { "q.w": q, "k.w": k, "q.isPrefix": 0, "k.isPrefix": 0 } });
            expect(seen !== 0, `${q} ${k} of ${size} in ${side} by ${shift}`).toBe(expected);
          }
      }),
    );
  });

  it("have codes whose difference is the bias' place, or no place where the key is hidden", () => {
    fc.assert(
      fc.property(axisOf(3, 8, 2), axisOf(3, 8, 2), (h, w) => {
        const kernel = attentionKernel(biased({ h, w }));
        const sees = pairTest(kernel);
        const tokens = tokensOf(kernel.query);
        const at = (side: "q" | "k", row: number): { readonly [name: string]: number } =>
          Object.fromEntries([...tokens.coordinates].map(([axis, values]) => [`${side}.${axis}`, values[row] ?? 0]));
        const [job] = planAttention(kernel).jobs;
        const bias = job?.bias ?? null;
        if (job === undefined || bias === null) throw new Error("the bias has no codes");
        expect(bias.count).toBe((2 * h.window - 1) * (2 * w.window - 1));
        const groupOf = (row: number): string =>
          [h, w]
            .map(({ size, window: side, shift }, i) => {
              const place = tokens.coordinates.get("hw"[i] ?? "")?.[row] ?? 0;
              return side >= size ? 0 : Math.floor(((place - shift + size) % size) / side);
            })
            .join();
        for (let q = 0; q < rowsOf(kernel.query); q++)
          for (let k = 0; k < rowsOf(kernel.key); k++) {
            const groups = { "q.group": 0, "k.group": groupOf(q) === groupOf(k) ? 0 : 1 };
            if (groups["k.group"] === 1 && job.groupsPerBlock === 1) continue; // never in one thread block
            const variables: { readonly [name: string]: number } = { ...at("q", q), ...at("k", k), ...groups };
            const place = evaluateScalar(bias.query, { variables }) - evaluateScalar(bias.key, { variables });
            const height = (variables["q.h"] ?? 0) - (variables["k.h"] ?? 0) + h.window - 1;
            const expected =
              4 * (height * (2 * w.window - 1) + (variables["q.w"] ?? 0) - (variables["k.w"] ?? 0) + w.window - 1);
            if (sees(q, k)) expect(place).toBe(expected);
            else expect(place >= 0 && place < 4 * bias.count).toBe(false);
            for (const hidden of [
              bias.noQuery - evaluateScalar(bias.key, { variables }),
              evaluateScalar(bias.query, { variables }) - bias.noKey,
              bias.noQuery - bias.noKey,
            ])
              expect(hidden >= 0 && hidden < 4 * bias.count).toBe(false);
          }
      }),
      { numRuns: 15 },
    );
  });

  it("of any size, shift and grid attend as pair by pair", async () => {
    const precisions = ["bf16", "f32", "f16"] as const;
    await fc.assert(
      fc.asyncProperty(axisOf(3, 9), axisOf(3, 9), fc.integer({ min: 0, max: 2 }), async (h, w, which) => {
        const precision = precisions[which] ?? "bf16";
        const { worst } = await runCase(biased({ h, w }, { precision }));
        expect(worst).toBeLessThan(toleranceOf(precision, 16));
      }),
      { numRuns: 6, seed: 7 },
    );
  });

  it("of three axes attend as pair by pair, shifted and cut", async () => {
    const axes = {
      t: { size: 5, window: 2, shift: 1 },
      h: { size: 9, window: 4, shift: 2 },
      w: { size: 7, window: 4, shift: 2 },
    };
    const { worst } = await runCase(biased(axes, { headDim: 32 }));
    expect(worst).toBeLessThan(toleranceOf("bf16", 32));
  });
});

describe("large windows", () => {
  it.each([
    ["bf16", 16, 32, "attend_resident<"],
    ["bf16", 16, 64, "attend_stream<"],
    ["f32", 8, 32, "attend_resident<"],
    ["f32", 8, 64, "attend_stream<"],
  ] as const)(
    "keep their biases in shared memory, their keys where they fit: %s, %i x 7 x 7, head dimension %i",
    async (precision, t, headDim, loop) => {
      const axes = {
        t: { size: t, window: t, shift: 0 },
        h: { size: 7, window: 7, shift: 0 },
        w: { size: 12, window: 7, shift: 3 },
      };
      const tables = [[2 * t - 1, 13, 13, 1]];
      const { worst, source } = await runCase(biased(axes, { precision, headDim, heads: 1, tables }), { races: 0 });
      expect(source).toContain(loop);
      expect(source).toContain("query_code(");
      expect(worst).toBeLessThan(toleranceOf(precision, headDim));
    },
  );
});

describe("what windows cost", () => {
  const image = { h: { size: 14, window: 7, shift: 3 }, w: { size: 21, window: 7, shift: 3 } };
  const clip = {
    t: { size: 16, window: 8, shift: 4 },
    h: { size: 7, window: 7, shift: 0 },
    w: { size: 14, window: 7, shift: 3 },
  };
  it.each([
    ["7 x 7", biased(image, { headDim: 32 }), 6],
    ["8 x 7 x 7", biased(clip, { headDim: 32, heads: 1, tables: [[15, 13, 13, 1]] }), 4],
  ])("%s: each byte of q, k, v and the result once, the bias once a window", async (_name, test, windows) => {
    const { result, worst } = await runCase(test, { counters: 1, races: 0 });
    expect(worst).toBeLessThan(toleranceOf("bf16", 32));
    const counters = result.counters as unknown as LaunchCounters;
    const [qkv, out, bias] = [0, 1, 2].map((parameter) =>
      counters.buffers.find((buffer) => "parameter" in buffer && buffer.parameter === parameter),
    );
    expect(qkv?.read.bytes).toBe(qkv?.read.uniqueBytes);
    expect(out?.written.bytes).toBe(out?.written.uniqueBytes);
    expect(bias?.read.bytes).toBe(windows * (bias?.read.uniqueBytes ?? 0));
    expect(counters.shared.ldmatrix.conflicts).toBe(0);
    expect(counters.shared.cpAsync.conflicts).toBe(0);
  });
});
