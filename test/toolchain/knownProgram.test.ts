import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import timesformer from "../../models/timesformer.ts";
import { compileGraph } from "../../compiler/compile.ts";
import { knownProgram } from "../../compiler/knownProgram.ts";

const cache = mkdtempSync(join(tmpdir(), "fovea-programs-"));
afterAll(() => rmSync(cache, { recursive: true, force: true }));

const small = { img_size: [32, 32], depth: 1, embed_dim: 32, num_heads: 2, num_frames: 2, num_classes: 3 };
const options = { precision: "bf16", batch: { min: 1, max: 4 }, keep: false } as const;
const entries = (): number => readdirSync(join(cache, "programs")).length;

it("gives what the compiler gives, the second time without compiling", async () => {
  const graph = timesformer.trace({ config: small });
  const { program, sources } = compileGraph(graph, options);
  for (let time = 0; time < 2; time++) {
    const known = await knownProgram(timesformer.trace({ config: small }), options, { cache });
    expect(known.program).toEqual(program);
    expect([...known.sources]).toEqual([...sources]);
    expect(entries()).toBe(1);
  }
});

it("tells graphs and options apart", async () => {
  const before = entries();
  const first = await knownProgram(timesformer.trace({ config: { ...small, norm_eps: 1e-5 } }), options, { cache });
  await knownProgram(timesformer.trace({ config: small }), { ...options, precision: "f16" }, { cache });
  await knownProgram(timesformer.trace({ config: small }), { ...options, keep: true }, { cache });
  expect(entries()).toBe(before + 3);
  expect([...first.sources.values()].join("")).toContain("0.00001f");
});
