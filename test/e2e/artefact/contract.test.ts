import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeArrays } from "../../../compiler/cli/arrays.ts";
import { collectAxis } from "../../../compiler/cli/options.ts";
import { seededValues } from "../../../compiler/cli/golden/seeded.ts";
import { buildEmulator } from "../../../compiler/toolchain/buildEmulator.ts";
import { findHostCompiler } from "../../../compiler/toolchain/findTools.ts";
import { compileVariants } from "../../../compiler/compile.ts";
import { loadModel } from "../../../compiler/frontend/loadModel.ts";
import { evaluate } from "../../../ir/evaluate.ts";
import setTransformer from "../../../models/setTransformer.ts";
import { readArtefact } from "../../../runtime/artefact.ts";
import { openCheckpoint } from "../../../runtime/checkpoint.ts";
import { openDevice } from "../../../runtime/device.ts";
import { loadExecutable } from "../../../runtime/executable.ts";
import type { HostTensor } from "../../../runtime/tensors.ts";
import { fovea, root } from "../fovea.ts";

// One artefact for clips of 3 and of 6 frames, from a model that says so itself.

const scratch = mkdtempSync(join(tmpdir(), "fovea-contract-"));
const at = (...path: readonly string[]): string => join(scratch, ...path);
const here = (file: string): string => join(root, "test/e2e/artefact", file);
const model = join(root, "test/fixtures/contract/model.ts");
afterAll(() => rmSync(scratch, { recursive: true }));

const shapes = { "proj.weight": [8, 6], "proj.bias": [8], places: [1, 4, 8] } as const;
const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);
const weights = new Map(
  Object.entries(shapes).map(([name, shape]) => [
    name,
    { shape, values: seededValues({ name, mean: 0, deviation: 0.4 }, product(shape)) },
  ]),
);
const clip = (batch: number, frames: number): HostTensor & { readonly data: Float32Array } => {
  const name = `${batch} x ${frames}`;
  const data = Float32Array.from(seededValues({ name, mean: 0, deviation: 1 }, batch * frames * 6));
  return { shape: [batch, frames, 6], data };
};
const json = async (...args: readonly string[]): Promise<{ readonly [field: string]: unknown }> => {
  const { status, out, err } = await fovea([...args, "--json"]);
  expect({ status, err }).toEqual({ status: 0, err: "" });
  return JSON.parse(out) as { readonly [field: string]: unknown };
};

let driver = "";
let built: { readonly [field: string]: unknown } = {};
beforeAll(async () => {
  driver = await buildEmulator();
  writeArrays(at("weights.safetensors"), weights);
  const flags = ["--arch", "emulated", "--weights", at("weights.safetensors"), "--out", at("clips")];
  built = await json("build", model, ...flags);
}, 240_000);

/** What Node computes. */
async function run(x: HostTensor): Promise<Float32Array> {
  using device = openDevice({ kind: "emulated", library: driver });
  using checkpoint = await openCheckpoint(at("weights.safetensors"));
  using executable = await loadExecutable(device, at("clips"), checkpoint);
  const { y } = await executable.run({ x });
  return Float32Array.from(y?.data ?? []);
}

describe("a build for several extents", () => {
  it("says which kernels its contract implies, and which extents they serve", () => {
    expect(built["contract"]).toEqual({ batch: { min: 1, max: 4 }, axes: [{ axis: "t", extents: [3, 6] }] });
    const kernels = built["kernels"] as { kernel: string; serves: string[]; launches: number[] }[];
    const { programs } = readArtefact(at("clips"));
    expect(programs.map(({ extents }) => extents)).toEqual([{ t: 3 }, { t: 6 }]);
    for (const { extents, steps } of programs)
      for (const { kernel } of steps)
        expect(kernels.find((each) => each.kernel === kernel)?.serves).toContain(`t=${extents["t"]}`);
    expect(kernels.flatMap(({ launches }) => launches).reduce((sum, each) => sum + each)).toBe(
      programs.reduce((sum, { steps }) => sum + steps.length, 0),
    );
    const manifest = JSON.parse(readFileSync(at("clips/manifest.json"), "utf8")) as typeof built;
    expect(manifest["contract"]).toEqual(built["contract"]);
    const schema = JSON.parse(readFileSync(at("clips/manifest.schema.json"), "utf8")) as typeof built;
    expect(schema["$schema"]).toBe("https://json-schema.org/draft/2020-12/schema");
    // Beside the version and the digest, which are there whatever the format is.
    const fields = Object.keys(manifest).filter((field) => field !== "fovea" && field !== "digest");
    expect(Object.keys(schema["properties"] as object).toSorted()).toEqual(fields.toSorted());
    expect(schema["required"]).toEqual(Object.keys(schema["properties"] as object));
    expect(manifest["programs"]).toMatchObject(programs.map((each) => ({ kernels: each.kernels.map((k) => k.name) })));
  });

  it("emits equal kernels and prepares equal weights once", async () => {
    const network = await loadModel(model);
    const variantOf = (t: number) => ({ graph: network.trace({ axes: { t } }), extents: { t } });
    const options = { precision: "f32", batch: { min: 1, max: 4 }, keep: false } as const;
    const [one, two, three] = compileVariants([variantOf(3), variantOf(6), variantOf(3)], options);
    expect(three?.program.steps).toEqual(one?.program.steps);
    expect(three?.program.kernels).toEqual(one?.program.kernels);
    expect(two?.program.weights).toEqual(one?.program.weights);
    const [alone] = compileVariants([variantOf(3)], options);
    expect(one?.program.memory.weights).toBeLessThan(2 * (alone?.program.memory.weights ?? 0));
  });

  it("shares what does not see the axis: a set's inducing points are as many whatever it holds", () => {
    const config = { dim_input: 3, num_outputs: 1, dim_output: 4, num_inds: 8, dim_hidden: 32 };
    const variants = [16, 40].map((n) => {
      const graph = setTransformer.trace({ entry: "PointCloudSetTransformer", config, axes: { n } });
      return { graph, extents: { n } };
    });
    const compiled = compileVariants(variants, { precision: "bf16", batch: { min: 1, max: 4 }, keep: false });
    const [few = [], many = []] = compiled.map(({ program }) => program.kernels);
    const common = few.filter(({ name }) => many.some((kernel) => kernel.name === name));
    expect(common.length).toBeGreaterThan(3);
    expect(common.length).toBeLessThan(few.length);
    for (const kernel of common) expect(many).toContainEqual(kernel);
    expect(compiled[0]?.sources.size).toBe(few.length + many.length - common.length);
  });

  it.each([
    [1, 3],
    [4, 6],
    [2, 3],
  ])("runs %i clips of %i frames as the evaluator does", async (batch, frames) => {
    const x = clip(batch, frames);
    const graph = (await loadModel(model)).trace({ axes: { t: frames } });
    const parameters = Object.fromEntries([...weights].map(([name, { values }]) => [name, values]));
    const { outputs } = evaluate(graph, { batch, inputs: { x: x.data }, parameters });
    const expected = outputs["y"];
    const found = await run(x);
    expect(found).toHaveLength(batch * frames * 8);
    for (const [index, value] of found.entries()) expect(value).toBeCloseTo(expected?.[index] ?? Number.NaN, 5);
  });

  it("shares its memory among programs: each gives the same numbers after the others", async () => {
    using device = openDevice({ kind: "emulated", library: driver });
    using checkpoint = await openCheckpoint(at("weights.safetensors"));
    using executable = await loadExecutable(device, at("clips"), checkpoint);
    await executable.reserve(1);
    const numbers = async (batch: number, frames: number): Promise<number[]> => [
      ...((await executable.run({ x: clip(batch, frames) }))["y"]?.data ?? []),
    ];
    const first = [await numbers(1, 3), await numbers(4, 6), await numbers(2, 3)];
    const free = device.memory().freeBytes;
    expect([await numbers(1, 3), await numbers(4, 6), await numbers(2, 3)]).toEqual(first);
    expect(device.memory().freeBytes).toBe(free);
  });

  it("refuses other shapes with the contract and what comes nearest", async () => {
    await expect(run(clip(2, 5))).rejects.toThrow(
      `"x" [2, 5, 6] is outside of what "clips" was built for (t = 5)
  contract: batch 1..4, t = 3 or 6
  nearest allowed: t=6 [b, 6, 6]
  hint: build it with --axis t=3,5,6`,
    );
    await expect(run(clip(5, 3))).rejects.toThrow(
      /batch 5: "clips" was built for batches of 1 to 4\n {2}hint: give it 4/,
    );
  });

  it("refuses a parameter that every extent wants in a shape of its own", async () => {
    writeFileSync(at("own.json"), JSON.stringify({ own_table: true }));
    const { status, err } = await fovea(["build", model, "--config", at("own.json"), "--out", at("own")]);
    expect(status).toBe(2);
    expect(err).toContain('the parameter "places" would be [1, 3, 8] for t=3 and [1, 6, 8] for t=6');
    expect(err).toContain(".resize({ t })");
    expect(err).toContain("model.ts:1");
    const one = ["--config", at("own.json"), "--axis", "t=5", "--arch", "emulated", "--out", at("own")];
    expect(await json("build", model, ...one)).toMatchObject({ contract: { axes: [{ axis: "t", extents: [5] }] } });
  });

  it("refuses contracts that make no sense, and says why", async () => {
    for (const [text, said] of [
      ["t=0", "Extents are numbers from 1"],
      ["t=9..3", "The range is empty"],
      ["t=1..1000", "takes 1000 programs"],
      ["t", "It is AXIS=EXTENTS"],
      ["batch=1,4", "batch=1..32, not a list"],
    ] as const)
      expect(() => collectAxis(text)).toThrow(said);
    expect(() => collectAxis("t=4", collectAxis("t=3"))).toThrow("given twice");
    expect(collectAxis("batch=2..8", collectAxis("t=5..7"))).toEqual({
      axes: { t: [5, 6, 7] },
      batch: { min: 2, max: 8 },
    });
    const network = await loadModel(model);
    expect(() => network.trace({ axes: { tt: 3 } })).toThrow('there is no symbolic axis of clips "tt"');
    const { status, err } = await fovea(["build", model, "--axis", "batch=4", "--batch", "8", "--out", at("none")]);
    expect([status, err]).toEqual([2, expect.stringContaining("the batch is given twice")]);
  });

  it("is run for the extents of the arrays that come in", async () => {
    const runOn = (frames: number) => {
      const { shape, data } = clip(2, frames);
      writeArrays(at("x.safetensors"), new Map([["x", { shape, values: data }]]));
      const files = ["--weights", at("weights.safetensors"), "--input", `x=${at("x.safetensors")}`];
      return fovea(["run", at("clips"), ...files, "--device", "emulated", "--json"]);
    };
    const { out } = await runOn(6);
    expect(JSON.parse(out)).toMatchObject({ batch: 2, outputs: [{ name: "y", shape: [2, 6, 8] }] });
    const { status, err } = await runOn(4);
    expect([status, err]).toEqual([2, expect.stringContaining("contract: batch 1..4, t = 3 or 6")]);
  });

  it("is profiled for the extents that are asked for", async () => {
    const profiled = await json("profile", at("clips"), "--device", "emulated", "--axis", "t=6", "--examples", "2");
    const [, second] = readArtefact(at("clips")).programs;
    expect((profiled["steps"] as { kernel: string }[]).map(({ kernel }) => kernel)).toEqual(
      second?.steps.map(({ kernel }) => kernel),
    );
    expect(profiled["extents"]).toEqual({ t: 6 });
    expect((await fovea(["profile", at("clips"), "--plan"])).out).toMatch(/^t=3, batch 1: the least that /);
    const { err } = await fovea(["profile", at("clips"), "--device", "emulated", "--axis", "t=4"]);
    expect(err).toContain("was not built for t=4");
    expect(err).toContain("its contract: batch 1..4, t = 3 or 6");
  });

  it("types its inputs as a union, and its outputs by them", async () => {
    symlinkSync(join(root, "node_modules"), at("node_modules"), "dir");
    writeFileSync(
      at("consumer.mts"),
      `import type { Inputs, Model, OutputsOf } from "./clips/index.mjs";
       declare const model: Model;
       const data = new Float32Array(36);
       export const three: Promise<{ readonly y: { readonly shape: readonly [number, 3, 8] } }> =
         model.run({ x: { shape: [2, 3, 6], data } });
       export type Six = OutputsOf<{ readonly x: { readonly shape: readonly [number, 6, 6]; readonly data: Float32Array } }>;
       export const length: Six["y"]["shape"][1] = 6;
       // @ts-expect-error: there are clips of 3 and of 6 frames
       export const five: Inputs = { x: { shape: [2, 5, 6], data } };
       // @ts-expect-error: three frames give three
       export const wrong: Promise<{ readonly y: { readonly shape: readonly [number, 6, 8] } }> = model.run({ x: { shape: [2, 3, 6], data } });`,
    );
    const flags = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2023", "--skipLibCheck"];
    const config = { compilerOptions: { paths: { "fovea/runtime": [join(root, "dist/runtime/index.d.ts")] } } };
    writeFileSync(at("tsconfig.json"), JSON.stringify({ ...config, files: ["consumer.mts"] }));
    const checked = await execa(
      join(root, "node_modules/.bin/tsc"),
      [...flags, "--lib", "es2023,esnext.disposable", "--types", "", "-p", at("tsconfig.json")],
      { cwd: scratch, reject: false, all: true },
    );
    expect(checked.all).toBe("");
    expect(checked.exitCode).toBe(0);
  });
});

describe("programs in other languages choose by shape, with Node's bits", () => {
  const bits = async (batch: number, frames: number): Promise<Buffer> => {
    writeFileSync(at("x.bin"), clip(batch, frames).data);
    return Buffer.from((await run(clip(batch, frames))).buffer);
  };

  it("in C", async () => {
    const { path } = await findHostCompiler();
    const flags = ["-x", "c", "-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-I", at("clips/c")];
    const link = ["-x", "none", "-L", at("clips/c"), "-lclips", `-Wl,-rpath,${at("clips/c")}`];
    await execa(path, [...flags, here("contract.c"), "-o", at("contract"), ...link]);
    const strict = ["-x", "c", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "c/clips.c"];
    await execa(path, strict, { cwd: at("clips") });
    for (const [batch, frames] of [
      [2, 3],
      [3, 6],
    ] as const) {
      const expected = await bits(batch, frames);
      const args = [driver, at("clips/weights.bin"), at("x.bin"), at("c.bin"), String(batch), String(frames)];
      const { stdout } = await execa(at("contract"), args);
      const steps = readArtefact(at("clips")).programs[frames === 3 ? 0 : 1]?.steps.length;
      expect(stdout).toBe(`y ${batch} ${frames} 8, ${steps} launches`);
      expect(readFileSync(at("c.bin"))).toEqual(expected);
    }
  });

  it("and refuse weights that are not what was prepared, whatever was done to them", async () => {
    const { path } = await findHostCompiler();
    const flags = ["-x", "c", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I", at("clips/c")];
    const link = ["-x", "none", "-L", at("clips/c"), "-lclips", `-Wl,-rpath,${at("clips/c")}`];
    await execa(path, [...flags, here("fuzz.c"), "-o", at("fuzz"), ...link]);
    const times = process.env["FOVEA_ARTEFACT_FUZZ"] ?? "2000";
    const { stdout } = await execa(at("fuzz"), [driver, at("clips/weights.bin"), times]);
    expect(stdout).toMatch(/^\d+ of \d+ refused$/);
    expect(Number(stdout.split(" ")[0])).toBeGreaterThan(0.5 * Number(times));
  });

  it("in Python, on arrays of NumPy and on tensors as torch has them on the device", async ({ skip }) => {
    const found = await execa("python3", ["-c", "import numpy"], { reject: false });
    if (found.exitCode !== 0) skip("there is no python3 with numpy");
    const expected = await bits(3, 6);
    const files = [at("clips/weights.bin"), at("x.bin"), at("python.bin")];
    const { stdout } = await execa("python3", [
      here("contract.py"),
      at("clips/c/libclips.so"),
      driver,
      ...files,
      "3",
      "6",
    ]);
    expect(stdout).toBe(
      [
        '"x" [1, 5, 6]: outside of what "clips" was built for: batch 1..4, t = 3 or 6; the nearest is t=6',
        "(3, 6, 8) of torch.int32 is not (3, 6, 8) of f32",
      ].join("\n"),
    );
    expect(readFileSync(at("python.bin"))).toEqual(expected);
  });
});
