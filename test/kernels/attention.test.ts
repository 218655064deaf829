import { describe, expect, it } from "vitest";
import type { Pattern } from "../../ir/patterns.ts";
import type { Precision } from "../../ir/types.ts";
import { grid, runCase, tolerance } from "./attentionCase.ts";

const precisions: readonly Precision[] = ["bf16", "f16", "f32"];
const space: Pattern = { kind: "union", patterns: [{ kind: "prefix" }, { kind: "along", axes: ["h", "w"] }] };

describe.each(precisions)("divided space and time in %s", (precision) => {
  it("attends along time", async () => {
    const { worst } = await runCase({
      precision,
      pattern: { kind: "along", axes: ["t"] },
      query: grid({ t: 8, h: 3, w: 3 }),
      headDim: 64,
      batch: 2,
    });
    expect(worst).toBeLessThan(tolerance[precision]);
  });

  it("attends in a frame and its copy of the class token", async () => {
    const { worst } = await runCase({
      precision,
      pattern: space,
      query: grid({ t: 2, h: 14, w: 14 }, { count: 1, over: ["t"] }),
      headDim: 64,
    });
    expect(worst).toBeLessThan(tolerance[precision]);
  });

  it("attends to everything", async () => {
    const { worst } = await runCase({
      precision,
      pattern: { kind: "all" },
      query: grid({ t: 2, h: 20, w: 20 }, { count: 1, over: [] }),
      headDim: 64,
      heads: 1,
    });
    expect(worst).toBeLessThan(tolerance[precision]);
  });
});
