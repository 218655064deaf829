import { describe, expect, it } from "vitest";
import { emitAttention } from "../../compiler/emit/attention.ts";
import { planAttention } from "../../compiler/schedule/attention/plan.ts";
import { targetOf, usualTarget } from "../../compiler/schedule/target.ts";
import { attentionKernel, grid, runAttention, toleranceOf } from "./attentionCase.ts";
import * as kernels from "./attentionKernels.ts";
import { all, along, patternCases, prefix, union } from "./attentionPatterns.ts";

const kibibyte = 1024;
const frame = kernels.spatial("f32").kernel;

describe("a build's target", () => {
  it("offers what all of its architectures do", () => {
    const { multiprocessors } = usualTarget;
    const offers = (kibibytes: number, leastOn: string): object => ({
      sharedBytes: kibibytes * kibibyte,
      leastOn,
      multiprocessors,
    });
    expect(targetOf(["sm_80", "sm_90a"])).toEqual(offers(163, "sm_80"));
    expect(targetOf(["sm_90a"])).toEqual(offers(227, "sm_90a"));
    expect(targetOf(["sm_80", "sm_89", "sm_90a"])).toEqual(offers(99, "sm_89"));
  });
  it("of PTX, or of a GPU that is not known, is what every GPU offers", () => {
    expect(targetOf(["sm_90a", "compute_90"]).sharedBytes).toBe(99 * kibibyte);
    expect(targetOf(["sm_199"]).sharedBytes).toBe(99 * kibibyte);
  });
  it("is the usual one where only the emulated device is asked for", () => {
    expect(targetOf(["emulated"])).toEqual(usualTarget);
    expect(targetOf(["emulated", "sm_86"]).sharedBytes).toBe(99 * kibibyte);
  });
});

describe("attention of a frame in float32", () => {
  it.each([
    [["sm_80", "sm_90a"], "resident", 7, "a thread block has 163 KiB at most on sm_80"],
    [["sm_90a"], "resident", 7, "a thread block has 227 KiB at most on sm_90a"],
    [["sm_80", "sm_86"], "stream", 4, "a thread block has 99 KiB at most on sm_86"],
  ] as const)("for %s keeps its keys where they fit: %s", (architectures, kind, warps, reason) => {
    const target = targetOf(architectures);
    const plan = planAttention(frame, target);
    expect(plan.jobs.map(({ tiles }) => tiles.kind)).toEqual([kind]);
    expect(plan.warps).toBe(warps);
    expect(plan.sharedBytes).toBeLessThanOrEqual(target.sharedBytes);
    expect(emitAttention(frame, kernels.spatial("f32").header, target).source.replaceAll("\n// ", " ")).toContain(
      reason,
    );
  });
});

describe("shared memory", () => {
  const named = [
    ...Object.entries(patternCases).map(
      ([name, test]) => [name, attentionKernel({ ...test, headDim: 64, precision: "f32" })] as const,
    ),
    ...[128, 256, 512].map((headDim) => [`wide heads, ${headDim}`, kernels.streamed("f32", headDim).kernel] as const),
  ];
  it.each(named)("is never more than the target has: %s", (_name, kernel) => {
    for (const architecture of ["sm_80", "sm_86", "sm_90a"]) {
      const target = targetOf([architecture]);
      expect(planAttention(kernel, target).sharedBytes, architecture).toBeLessThanOrEqual(target.sharedBytes);
    }
  });
});

describe("keys that leave no room for a second thread block", () => {
  // 201 tokens: seven warps take two tiles of queries each but the last, with room for one at a time.
  const test = {
    pattern: union(prefix, along("h", "w")),
    query: grid({ t: 1, h: 10, w: 20 }, { count: 1, over: ["t"] }),
    headDim: 64,
    heads: 1,
  };
  it.each(["sm_80", "sm_90a"])("give the same results with room for one tile of queries or two: %s", async (name) => {
    const kernel = attentionKernel({ ...test, precision: "f32" });
    const { worst } = await runAttention(kernel, 1, {}, targetOf([name]));
    expect(worst).toBeLessThan(toleranceOf("f32", 64));
  });
});

it("wide heads in float32 pass by in steps of 8 keys where shared memory is scarce", async () => {
  const kernel = attentionKernel({
    pattern: all,
    query: grid({ o: 20 }),
    key: grid({ w: 60 }),
    headDim: 512,
    heads: 1,
    precision: "f32",
  });
  const { worst, source } = await runAttention(kernel, 1, {}, targetOf(["sm_86"]));
  expect(source).toContain("span = 8;");
  expect(worst).toBeLessThan(toleranceOf("f32", 512));
});
