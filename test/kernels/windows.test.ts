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

describe("many windows of one step of keys", () => {
  const inTurn = (h: Axis, w: Axis, more: Partial<AttentionCase> = {}): AttentionCase =>
    biased({ h, w }, { heads: 8, tables: [[2 * h.window - 1, 2 * w.window - 1, 8]], ...more });
  const even = (size: number, shift: number): Axis => ({ size, window: 6, shift });

  it.each([
    ["shifted", inTurn(even(12, 3), even(24, 2))],
    ["not shifted", inTurn(even(12, 0), even(24, 0), { precision: "f16" })],
    ["cut on one axis, and their number no multiple", inTurn(even(15, 0), even(25, 3), { headDim: 24 })],
    ["of another height than width", inTurn({ size: 16, window: 8, shift: 5 }, even(24, 1), { headDim: 64 })],
  ])("come to a thread block one after the other, %s", async (_name, test) => {
    const { worst, source, result, kernel } = await runCase(test, { counters: 1 });
    expect(source).toContain("attend_in_turn<");
    expect(worst).toBeLessThan(toleranceOf(test.precision, test.headDim));
    const { shared, buffers } = result.counters as unknown as LaunchCounters;
    expect([shared.ldmatrix.conflicts, shared.cpAsync.conflicts]).toEqual([0, 0]);
    const [qkv, out, bias] = [0, 1, 2].map((parameter) =>
      buffers.find((buffer) => "parameter" in buffer && buffer.parameter === parameter),
    );
    expect(qkv?.read.bytes).toBe(qkv?.read.uniqueBytes);
    expect(out?.written.bytes).toBe(out?.written.uniqueBytes);
    // Once for several windows.
    const [job] = planAttention(kernel).jobs;
    const turns = job?.tiles.kind === "resident" ? job.tiles.turns : 1;
    expect(turns).toBeGreaterThan(1);
    expect(bias?.read.bytes).toBe(Math.ceil((job?.groups.count ?? 0) / turns) * (bias?.read.uniqueBytes ?? 0));
  });

  it("only where the bias is the same in all of them", () => {
    const test = inTurn(even(12, 3), even(24, 2));
    const turns = (score: string): number | undefined => {
      const [job] = planAttention(attentionKernel({ ...test, score: parseScalar(score), tables: [[60, 60, 8]] })).jobs;
      return job?.tiles.kind === "resident" ? job.tiles.turns : undefined;
    };
    expect(turns("s + table0[q.h - k.h + 5, q.w - k.w + 5, head]")).toBeGreaterThan(1);
    expect(turns("s + table0[q.h + 2 * k.h, q.w - k.w + 5, head]")).toBe(1);
  });
});

describe("the mask of shifted windows", () => {
  /** As published: windows of 8 x 7 x 7, shifted by half, over what is left of 32 x 224 x 224 in patches of 2 x 4 x 4. */
  const stages = [56, 28, 14, 7].map((side, i) => [side, 3 * 2 ** i] as const);
  it.each(stages)("costs nothing in windows that need none: Video Swin-T, 16 x %i", (side, heads) => {
    const along = { size: side, window: 7, shift: side > 7 ? 3 : 0 };
    const tables = [[15, 13, 13, heads]];
    const axes = { t: { size: 16, window: 8, shift: 4 }, h: along, w: along };
    const [job] = planAttention(attentionKernel(biased(axes, { headDim: 32, heads, tables }))).jobs;
    if (job === undefined) throw new Error("no job");
    // Six steps of 64 keys are seen whole wherever the group is not irregular; the last step has 8 keys of 16.
    expect(job.schedule).toEqual({ kind: "dense", blocks: 7, partialTail: true });
    expect(job.tiles).toMatchObject({ kind: "resident", span: 64, keySlots: 400 });
    let unmasked = 0;
    const parts = (index: number): { readonly [name: string]: number } => {
      let rest = index;
      return Object.fromEntries(
        job.groups.axes.toReversed().map(({ axis, count }) => {
          const part = rest % count;
          rest = Math.floor(rest / count);
          return [`part.${axis}`, part];
        }),
      );
    };
    for (let group = 0; group < job.groups.count; group++) {
      const variables = parts(group);
      const wraps = Object.entries(axes).some(([axis, { size, window: width, shift }]) => {
        const first = (variables[`part.${axis}`] ?? 0) * width + shift;
        return shift > 0 && first < size && first + width > size;
      });
      expect(evaluateScalar(job.irregular, { variables }) !== 0).toBe(wraps);
      if (!wraps) unmasked++;
    }
    expect(unmasked).toBe((side > 7 ? side / 7 - 1 : 1) ** 2);
  });

  it("is not there where the window is the grid: attention is dense", () => {
    const all = { size: 7, window: 7, shift: 0 };
    const [job, ...more] = planAttention(attentionKernel(biased({ h: all, w: { ...all, shift: 3 } }))).jobs;
    expect(more).toEqual([]);
    expect(job?.groups).toEqual({ axes: [], count: 1 });
    expect([job?.keep, job?.irregular]).toEqual([
      { kind: "number", value: 1 },
      { kind: "number", value: 0 },
    ]);
  });
});

describe("what windows cost", () => {
  const image = { h: { size: 14, window: 7, shift: 3 }, w: { size: 21, window: 7, shift: 3 } };
  const clip = {
    t: { size: 16, window: 8, shift: 4 },
    h: { size: 7, window: 7, shift: 0 },
    w: { size: 14, window: 7, shift: 3 },
  };
  it.each([
    ["7 x 7", biased(image, { headDim: 32 }), 6, 116],
    ["8 x 7 x 7", biased(clip, { headDim: 32, heads: 1, tables: [[15, 13, 13, 1]] }), 4, 4200],
  ])(
    "%s: each byte of q, k, v and the result once, the bias once a window",
    async (_name, test, windows, conflicts) => {
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
      // Biases are looked up where they lie: the one access that meets conflicts.
      expect(counters.shared.load.conflicts).toBe(conflicts);
      const all = (qkv?.read.bytes ?? 0) + (out?.written.bytes ?? 0) + (bias?.read.bytes ?? 0);
      const { read, written } = counters.global;
      expect(read.bytes + written.bytes).toBe(all);
    },
  );
});
