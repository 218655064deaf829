import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { build } from "../../compiler/cli/build.ts";
import { evaluatorRunner } from "../../compiler/cli/evaluatorRunner.ts";
import { openRunner } from "../../compiler/cli/openRunner.ts";
import { openTerminal } from "../../compiler/cli/terminal.ts";
import { buildEmulator } from "../../compiler/toolchain/buildEmulator.ts";
import { findHostCompiler } from "../../compiler/toolchain/findTools.ts";
import type { Graph } from "../../ir/graph.ts";
import { parseGraph } from "../../ir/parse.ts";
import type { LoopEnd } from "../../ir/program.ts";
import { openDevice } from "../../runtime/device.ts";
import { loadExecutable, type RunOptions } from "../../runtime/executable.ts";
import model from "../fixtures/models/halving.ts";
import { halving, swapping } from "../support/loops.ts";
import { root } from "./fovea.ts";

const terminal = openTerminal({ json: true });
const none = { source: "nothing", tensors: new Map() };
const scratch = mkdtempSync(join(tmpdir(), "fovea-loop-"));
const artefact = join(scratch, "halving");
afterAll(() => rmSync(scratch, { recursive: true }));

const x = [9, 2, 0.5, 0.25, 3, 1];
const inputOf = (values: readonly number[]) => ({ shape: [values.length / 2, 2], values: Float32Array.from(values) });

describe("a loop on the device takes the steps that its meaning takes", () => {
  test.each<[name: string, graph: Graph]>([
    ["traced", model.trace()],
    ["parsed", parseGraph(halving)],
    ["of states that change places", parseGraph(swapping)],
  ])("%s", async (_, graph) => {
    const request = { device: "emulated", precision: "f32", batch: { min: 1, max: 4 }, keep: false } as const;
    using device = await openRunner(graph, none, request, terminal);
    using evaluator = evaluatorRunner(graph, none);
    for (const batch of [1, 3, 2]) {
      const inputs = new Map([["x", inputOf(x.slice(0, 2 * batch))]]);
      const ends: LoopEnd[] = [];
      const computed = await device.run(inputs, (end) => ends.push(end));
      const expected = await evaluator.run(inputs, (end) => ends.push(end));
      for (const [name, { shape, values }] of expected)
        expect([name, computed.get(name)?.shape, [...(computed.get(name)?.values ?? [])]]).toEqual([
          name,
          shape,
          [...values],
        ]);
      expect(ends[0]).toEqual(ends[1]);
    }
  });
});

describe("an artefact with a loop", () => {
  let driver = "";
  beforeAll(async () => {
    driver = await buildEmulator();
    const options = {
      precision: "f32",
      contract: { batch: { min: 1, max: 8 }, axes: {} },
      targets: ["emulated"],
      multiprocessors: null,
      out: artefact,
    } as const;
    // No parameters are a checkpoint too.
    writeFileSync(join(scratch, "none.safetensors"), Buffer.from("\x02\0\0\0\0\0\0\0{}"));
    await build(
      join(root, "test/fixtures/models/halving.ts"),
      { ...options, weights: join(scratch, "none.safetensors"), json: true },
      { ...terminal, print: () => {} },
    );
  }, 120_000);

  const run = async (values: readonly number[], options: RunOptions = {}) => {
    using device = openDevice({ kind: "emulated", library: driver });
    using executable = await loadExecutable(device, artefact, none);
    const ends: LoopEnd[] = [];
    const results = await executable.run(
      { x: { shape: [values.length / 2, 2], data: Float32Array.from(values) } },
      { ...options, loopEnded: (end) => ends.push(end) },
    );
    const numbers = Object.entries(results).map(([name, { data }]) => [name, [...data]]);
    return { ...Object.fromEntries(numbers), ...ends[0] } as { readonly [name: string]: unknown };
  };

  test.each<[how: string, options: RunOptions]>([
    ["replayed", {}],
    ["launched one by one", { graph: false }],
    ["waited for one by one", { checkSteps: true }],
  ])("is %s", async (_, options) => {
    expect(await run([4, 1], options)).toEqual({ sum: [0.625], sums: [5, 2.5, 1.25], steps: 3, end: "done" });
  });

  test("ends with what there is where steps change nothing, or are too many, and says so", async () => {
    expect(await run([Infinity, 1])).toMatchObject({ sum: [Infinity], steps: 1, end: "stalled" });
    expect(await run([64, 0])).toMatchObject({ sum: [4], sums: [64, 32, 16, 8], steps: 4, end: "limit" });
    // One example goes on, another is stuck.
    expect(await run([Infinity, 1, 2, 0])).toMatchObject({ sum: [Infinity, 0.5], steps: 2, end: "stalled" });
  });

  test("is profiled launch by launch, as often as it takes steps", async () => {
    using device = openDevice({ kind: "emulated", library: driver });
    using executable = await loadExecutable(device, artefact, none);
    const input = { x: { shape: [1, 2], data: Float32Array.from([4, 1]) } };
    const { steps } = await executable.profile(input);
    const { loop, steps: once } = executable.programs[0];
    if (loop === null) throw new Error("there is no loop");
    expect(steps).toHaveLength(once.length + 2 * (loop.to - loop.from));
    const measured = await executable.profile(input, { by: "events", repeats: 1 });
    expect(measured.steps.map(({ number }) => number)).toEqual(steps.map(({ number }) => number));
    expect(measured.replayMilliseconds).toBeGreaterThan(0);
  });

  test("gives C what it gives Node, and says how its loop ended", async () => {
    const { path } = await findHostCompiler();
    const folder = join(artefact, "c");
    const flags = ["-x", "c", "-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-pthread", "-I", folder];
    const link = ["-x", "none", "-L", folder, "-lhalving", `-Wl,-rpath,${folder}`, "-ldl"];
    await execa(path, [...flags, join(root, "test/e2e/artefact/loop.c"), "-o", join(scratch, "host"), ...link]);
    const said = async (...values: readonly number[]) =>
      (await execa(join(scratch, "host"), [driver, join(artefact, "weights.bin"), ...values.map(String)])).stdout;
    expect(await said(4, 1)).toBe("sum 0.625 steps 3 sums 5 2.5 1.25 taken 3 end 0");
    expect(await said(64, 0)).toBe("sum 4 steps 4 sums 64 32 16 8 taken 4 end 2");
    expect(await said(Infinity, 1)).toBe("sum inf steps 1 sums inf taken 1 end 1");
  });

  test("types outputs of a length that is a result", () => {
    const types = readFileSync(join(artefact, "index.d.mts"), "utf8");
    expect(types).toContain('readonly "sums": Tensor<readonly [number], Float32Array>;');
    expect(types).toContain("of each 4 along dimension 0 as many as `steps` says");
  });
});
