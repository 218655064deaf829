import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeArrays } from "../../../compiler/cli/arrays.ts";
import { seededValues } from "../../../compiler/cli/golden/seeded.ts";
import { buildEmulator } from "../../../compiler/toolchain/buildEmulator.ts";
import { findHostCompiler } from "../../../compiler/toolchain/findTools.ts";
import { readArtefact } from "../../../runtime/artefact.ts";
import { openCheckpoint } from "../../../runtime/checkpoint.ts";
import { openDevice } from "../../../runtime/device.ts";
import { encodePreparedWeights } from "../../../runtime/preparedWeights.ts";
import { loadExecutable } from "../../../runtime/executable.ts";
import { fovea, root } from "../fovea.ts";

const scratch = mkdtempSync(join(tmpdir(), "fovea-shipped-"));
const at = (...path: readonly string[]): string => join(scratch, ...path);
const here = (file: string): string => join(root, "test/e2e/artefact", file);
afterAll(() => rmSync(scratch, { recursive: true }));

/** Two frames of 2 x 3 patches, two heads of 5 channels. */
const config = {
  img_size: [8, 12],
  patch_size: 4,
  num_frames: 2,
  embed_dim: 10,
  depth: 1,
  num_heads: 2,
  mlp_ratio: 2,
  num_classes: 3,
};
const batch = 3;
const video = Float32Array.from(seededValues({ name: "video", mean: 0.4, deviation: 1 }, batch * 3 * 2 * 8 * 12));
let driver = "";

/** What Node computes with this artefact. */
async function logitsOf(artefact: string): Promise<Buffer> {
  using device = openDevice({ kind: "emulated", library: driver });
  using checkpoint = await openCheckpoint(at("weights.safetensors"));
  using executable = await loadExecutable(device, artefact, checkpoint);
  const { logits } = await executable.run({ video: { shape: [batch, 3, 2, 8, 12], data: video } });
  const { buffer, byteOffset, byteLength } = logits?.data ?? new Float32Array();
  return Buffer.from(buffer, byteOffset, byteLength);
}

const build = (out: string, ...more: readonly string[]) =>
  fovea([
    "build",
    join(root, "models/timesformer.ts"),
    "--config",
    at("config.json"),
    "--arch",
    "emulated",
    "--out",
    out,
    ...more,
  ]);

let expected: Buffer = Buffer.alloc(0);
beforeAll(async () => {
  driver = await buildEmulator();
  writeFileSync(at("config.json"), JSON.stringify(config));
  writeFileSync(at("video.bin"), video);
  expect(await build(at("bare"))).toMatchObject({ status: 0, err: "" });
  const { parameters } = readArtefact(at("bare")).programs[0];
  const arrays = parameters.map(({ name, shape }) => {
    const count = shape.reduce((product, size) => product * size, 1);
    return [name, { shape, values: seededValues({ name, mean: 0, deviation: 0.3 }, count) }] as const;
  });
  writeArrays(at("weights.safetensors"), new Map(arrays));
  writeArrays(
    at("others.safetensors"),
    new Map(arrays.map(([name, { shape, values }]) => [name, { shape, values: values.map((value) => -value) }])),
  );
  const built = await build(at("shipped"), "--weights", at("weights.safetensors"));
  expect(built).toMatchObject({ status: 0, err: "" });
  expected = await logitsOf(at("shipped"));
  using others = await openCheckpoint(at("others.safetensors"));
  writeFileSync(at("others.bin"), encodePreparedWeights(readArtefact(at("shipped")).programs[0], others));
  expect(new Set(new Float32Array(Uint8Array.from(expected).buffer)).size).toBe(batch * 3);
}, 240_000);

describe("an artefact", () => {
  it("has the same bytes whenever and wherever it is built", async () => {
    const again = at("elsewhere", "again");
    expect(await build(again, "--weights", at("weights.safetensors"))).toMatchObject({ status: 0, err: "" });
    expect(readFileSync(join(again, "manifest.json"))).toEqual(readFileSync(at("shipped/manifest.json")));
    const artefact = readArtefact(again);
    for (const path of Object.keys(artefact.programs[0].checksums))
      expect(Buffer.from(artefact.read(path))).toEqual(readFileSync(at("shipped", path)));
    expect(readFileSync(at("shipped/c/libtimesformer.so")).includes(scratch)).toBe(false);
  });

  it("of one file gives the numbers of the folder, to the bit", async () => {
    expect(await build(at("one.fovea"))).toMatchObject({ status: 0, err: "" });
    expect(await logitsOf(at("one.fovea"))).toEqual(expected);
    const gif = join(root, "models/timesformerMotion/clips/03-moving-up-cross.gif");
    const run = await fovea([
      "run",
      at("one.fovea"),
      "--weights",
      at("weights.safetensors"),
      "--input",
      `video=${gif}`,
    ]);
    expect(run).toMatchObject({ status: 0, err: "" });
  });

  it("is shown by inspect: contract, kernels, and files that are what was built", async () => {
    const { status, out, err } = await fovea(["inspect", at("shipped")]);
    expect({ status, err }).toEqual({ status: 0, err: "" });
    const { programs } = readArtefact(at("shipped"));
    const [program] = programs;
    expect(out).toMatch(/^timesformer, f32, for batch 1\.\.32\n/);
    expect(out).toContain("in  video: f32 [batch, 3, 2, 8, 12]");
    for (const { name } of program.kernels) expect(out).toContain(`\n${name} `);
    expect(out).toContain("no code for GPUs");
    expect(out).toMatch(
      new RegExp(`^${Object.keys(program.checksums).length} files of .*, all as they were built`, "m"),
    );
    const [{ name, source } = { name: "", source: "" }] = program.kernels;
    const text = await fovea(["inspect", at("shipped"), "--kernel", name]);
    expect(text.out.trimEnd()).toBe(readFileSync(at("shipped", source), "utf8").trimEnd());
    const stage = await fovea(["inspect", at("shipped"), "--stage", "3"]);
    expect([stage.status, stage.err]).toEqual([2, expect.stringContaining("--stage has no meaning for")]);
    const part = await fovea(["inspect", at("shipped/manifest.json")]);
    expect([part.status, part.err]).toEqual([
      2,
      expect.stringMatching(/is no model file\n {2}hint: .*its whole folder/),
    ]);
    cpSync(at("shipped"), at("worn"), { recursive: true });
    writeFileSync(at("worn", source), "// something else\n");
    const worn = await fovea(["inspect", at("worn")]);
    expect([worn.status, worn.err]).toEqual([2, expect.stringContaining(`"${source}" is not what was built`)]);
  });

  it("types its inputs, outputs and parameters by name, with literal shapes", async () => {
    const folder = at("typed");
    mkdirSync(join(folder, "node_modules"), { recursive: true });
    symlinkSync(root, join(folder, "node_modules/fovea"));
    writeFileSync(
      join(folder, "consumer.mts"),
      readFileSync(here("consumer.txt"), "utf8").replace("ARTEFACT", "../shipped"),
    );
    symlinkSync(join(folder, "node_modules"), at("node_modules"));
    const flags = [
      "--noEmit",
      "--strict",
      "--exactOptionalPropertyTypes",
      "--module",
      "nodenext",
      "--target",
      "es2023",
    ];
    const options = { cwd: folder, reject: false, all: true } as const;
    const checked = await execa(
      join(root, "node_modules/.bin/tsc"),
      [...flags, "--lib", "es2023,esnext.disposable", "--types", "", "--ignoreConfig", "consumer.mts"],
      options,
    );
    expect(checked.all).toBe("");
    expect(checked.exitCode).toBe(0);
  });

  it("loads by its own loader", async () => {
    const script = `
      import { openCheckpoint, openDevice } from "fovea/runtime";
      import { load } from ${JSON.stringify(at("shipped/index.mjs"))};
      import { readFileSync, writeFileSync } from "node:fs";
      using(await openCheckpoint(${JSON.stringify(at("weights.safetensors"))}));
      async function using(checkpoint) {
        const device = openDevice({ kind: "emulated", library: ${JSON.stringify(driver)} });
        const model = await load(device, checkpoint);
        const data = new Float32Array(Uint8Array.from(readFileSync(${JSON.stringify(at("video.bin"))})).buffer);
        const { logits } = await model.run({ video: { shape: [${batch}, 3, 2, 8, 12], data } });
        writeFileSync(${JSON.stringify(at("loader.bin"))}, logits.data);
        for (const each of [model, device, checkpoint]) each[Symbol.dispose]();
      }`;
    writeFileSync(at("typed/script.mjs"), script);
    await execa("node", [at("typed/script.mjs")]);
    expect(readFileSync(at("loader.bin"))).toEqual(expected);
  });
});

describe("the C interface gives Node's numbers, to the bit", () => {
  it("in C: on the host, on streams, from threads, with errors that say why", async () => {
    const { path } = await findHostCompiler();
    const folder = at("shipped/c");
    const flags = ["-x", "c", "-std=c11", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-pthread"];
    const link = ["-x", "none", "-L", folder, "-ltimesformer", `-Wl,-rpath,${folder}`, "-ldl"];
    await execa(path, [...flags, "-I", folder, here("host.c"), "-o", at("host"), ...link]);
    const { stdout } = await execa(at("host"), [
      driver,
      at("shipped/weights.bin"),
      at("others.bin"),
      at("video.bin"),
      at("c.bin"),
      String(batch),
    ]);
    expect(readFileSync(at("c.bin"))).toEqual(expected);
    const [program] = readArtefact(at("shipped")).programs;
    expect(stdout.split("\n")).toEqual([
      "input video f32 3 3 2 8 12 = 6912 bytes",
      "output logits f32 3 3 = 36 bytes",
      ...program.steps.map(({ kernel }) => `launch ${kernel}`),
    ]);
  });

  it("in Python, with the standard library alone", async ({ skip }) => {
    const found = await execa("python3", ["--version"], { reject: false });
    if (found.exitCode !== 0) skip("there is no python3");
    const library = at("shipped/c/libtimesformer.so");
    const args = [library, driver, at("shipped/weights.bin"), at("video.bin"), at("python.bin"), String(batch)];
    const { stdout } = await execa("python3", ["-S", here("host.py"), ...args]);
    expect(stdout).toBe("video f32 [3, 3, 2, 8, 12]\nlogits f32 [3, 3]");
    expect(readFileSync(at("python.bin"))).toEqual(expected);
  });

  it("compiles without a warning, as C and its header as C++", async () => {
    const { path } = await findHostCompiler();
    const strict = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"];
    await execa(path, ["-x", "c", "-std=gnu11", ...strict, "c/timesformer.c"], { cwd: at("shipped") });
    await execa(path, ["-x", "c++", "-std=c++17", ...strict, "c/timesformer.h"], {
      cwd: at("shipped"),
    });
  });

  it("refuses weights that are cut, damaged, or of another program", async () => {
    const whole = readFileSync(at("shipped/weights.bin"));
    const cases = [
      ["cut", whole.subarray(0, -4), "the prepared weights are cut"],
      ["damaged", Buffer.from(whole.map((byte, index) => (index === 5000 ? byte ^ 1 : byte))), "are damaged"],
      ["foreign", Buffer.from(whole.map((byte, index) => (index === 30 ? byte ^ 1 : byte))), "for another program"],
      ["newer", Buffer.from(whole.map((byte, index) => (index === 8 ? 2 : byte))), "version 2, version 1 is read"],
    ] as const;
    for (const [name, content, said] of cases) {
      writeFileSync(at(`${name}.bin`), content);
      const { exitCode, stderr } = await execa(
        at("host"),
        [driver, at(`${name}.bin`), at("others.bin"), at("video.bin"), at("none.bin"), "1"],
        { reject: false },
      );
      expect([exitCode, stderr]).toEqual([1, expect.stringContaining(said)]);
    }
  });
});
