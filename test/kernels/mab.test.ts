import { describe, expect, it } from "vitest";
import { compileGraph } from "../../compiler/compile.ts";
import { usualTarget } from "../../compiler/schedule/target.ts";
import setTransformer from "../../models/setTransformer.ts";
import { deviceErrors } from "../support/agreement.ts";

// Multihead attention blocks of many rows and few keys, from x to the result in one kernel.

type Case = readonly [entry: string, config: object];
const compile = ([entry, config]: Case, precision: "bf16" | "f16" | "f32", target = usualTarget) =>
  compileGraph(setTransformer.trace({ entry, config }), { precision, batch: { min: 1, max: 4 }, keep: false, target });
const blocksIn = (compiled: ReturnType<typeof compile>): number =>
  compiled.program.steps.filter(({ kernel }) => kernel.startsWith("mab_")).length;

const wide: Case = ["ISAB", { dim_in: 128, dim_out: 128, num_heads: 4, num_inds: 32, points: 3000 }];

describe("a multihead attention block", () => {
  // What comes as float32 is rounded as it is loaded; heads of 8, 16 and 24 channels; a tile that ends within 16 rows.
  it.each<[precision: "bf16" | "f16", blocks: number, case_: Case]>([
    ["bf16", 1, ["ISAB", { dim_in: 5, dim_out: 64, num_heads: 8, num_inds: 17, points: 100, sets: 2, ln: true }]],
    ["f16", 1, ["MAB", { dim_Q: 40, dim_K: 7, dim_V: 48, num_heads: 2, queries: 33, points: 1 }]],
    ["bf16", 1, ["MAB", { dim_Q: 48, dim_K: 7, dim_V: 80, num_heads: 5, queries: 70, points: 64 }]],
  ])("in %s is what the evaluator computes (%d of %o)", async (precision, blocks, [entry, config]) => {
    expect(blocksIn(compile([entry, config], precision))).toBe(blocks);
    const graph = setTransformer.trace({ entry, config });
    const errors = await deviceErrors(graph, { precision, keep: false, batch: 2 });
    for (const [name, error] of errors)
      expect({ name, error }).toSatisfy(() => error < { bf16: 8e-3, f16: 1e-3 }[precision]);
  });

  it("is one where weights, keys and rows fit in shared memory, and its header says so", () => {
    const compiled = compile(wide, "bf16");
    expect(blocksIn(compiled)).toBe(1);
    expect(compiled.sources.get("kernels/mab_mab1.cu")?.replaceAll(/\n\/\/ /g, " ")).toContain(
      "Both weights (64 KiB) and 32 keys and values (16 KiB) fit in the 163 KiB of a thread block on sm_80 and stay there",
    );
    const small = { ...usualTarget, sharedBytes: 99 * 1024, leastOn: "sm_86" };
    expect(blocksIn(compile(wide, "bf16", small))).toBe(0);
    expect(blocksIn(compile(["ISAB", { ...wide[1], dim_in: 256, dim_out: 256 }], "bf16"))).toBe(0);
    expect(blocksIn(compile(["ISAB", { ...wide[1], num_inds: 49 }], "bf16"))).toBe(0);
    expect(blocksIn(compile(wide, "f32"))).toBe(0);
  });
});
