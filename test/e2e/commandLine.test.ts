import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { examples } from "../../compiler/cli/examples.ts";
import { readArrays, writeArrays } from "../../compiler/cli/arrays.ts";
import { seededValues } from "../../compiler/cli/golden/seeded.ts";
import { type Answer, fovea, root, runNode } from "./fovea.ts";

const scratch = mkdtempSync(join(tmpdir(), "fovea-e2e-"));
const at = (...path: readonly string[]): string => join(scratch, ...path);
afterAll(() => rmSync(scratch, { recursive: true }));

const model = join(root, "models/timesformer.ts");
const motion = join(root, "models/timesformerMotion");
const gif = join(motion, "clips/03-moving-up-cross.gif");
/** Two frames of 2 x 3 patches, two heads of 5 channels. */
const tinyConfig = {
  img_size: [8, 12],
  patch_size: 4,
  num_frames: 2,
  embed_dim: 10,
  depth: 1,
  num_heads: 2,
  mlp_ratio: 2,
  num_classes: 3,
};
const tiny = [model, "--config", at("tiny.json")];
type Parameter = { readonly name: string; readonly shape: readonly number[] };
let parameters: readonly Parameter[] = [];

/** A checkpoint of the tiny network, in the parameters' order. */
function writeWeights(file: string, list: readonly Parameter[]): string {
  const arrays = list.map(({ name, shape }) => {
    const count = shape.reduce((product, size) => product * size, 1);
    return [name, { shape, values: seededValues({ name, mean: 0, deviation: 0.3 }, count) }] as const;
  });
  writeArrays(at(file), new Map(arrays));
  return at(file);
}

beforeAll(async () => {
  writeFileSync(at("tiny.json"), JSON.stringify(tinyConfig));
  const { out } = await fovea(["inspect", ...tiny, "--json"]);
  parameters = z
    .object({ program: z.object({ parameters: z.array(z.object({ name: z.string(), shape: z.array(z.number()) })) }) })
    .parse(JSON.parse(out)).program.parameters;
  writeWeights("tiny.safetensors", parameters);
}, 120_000);

/** A refusal: the status, an error that says all of `texts`, and no stack. */
function expectRefusal(answer: Answer, ...texts: readonly string[]): void {
  expect(answer.err).not.toMatch(/^\s+at /m);
  for (const text of texts) expect(answer.err).toContain(text);
  expect(answer.out).toBe("");
  expect(answer.status).toBe(2);
}

describe("the command line", () => {
  it("explains itself", async () => {
    const help = await fovea(["--help"]);
    expect(help.status).toBe(0);
    for (const command of ["build", "run", "inspect", "verify", "profile", "devices", "convert-weights"])
      expect(help.out).toContain(`  ${command} `);
    expect((await fovea(["--version"])).out).toMatch(/^\d+\.\d+\.\d+$/);
    expect((await fovea(["run", "--help"])).out).toContain("--input <name=file>");
  });

  it("shows examples of every command, with options that it has", async () => {
    const commands = [...(await fovea(["--help"])).out.matchAll(/^ {2}([a-z-]+) \[?/gm)].map(([, name]) => name ?? "");
    expect(commands.filter((name) => name !== "help").toSorted()).toEqual(Object.keys(examples).toSorted());
    for (const [command, lines] of Object.entries(examples)) {
      const { out } = await fovea([command, "--help"]);
      const shown = lines.filter((line) => !line.startsWith("#"));
      expect(shown.length).toBeGreaterThan(0);
      for (const line of shown) {
        expect(out).toContain(`  ${line}\n`.trimEnd());
        expect(line).toMatch(new RegExp(`^fovea ${command}\\b`));
        for (const [flag] of line.matchAll(/--[a-z-]+/g)) expect(out.split("Examples:")[0]).toContain(flag);
      }
    }
  });

  it("refuses what it does not know, and offers what is near", async () => {
    expectRefusal(await fovea(["biuld", model]), "unknown command 'biuld'", "build");
    expectRefusal(await fovea(["build", model, "--outt", "x"]), "unknown option '--outt'", "--out");
    expectRefusal(await fovea(["build", model, "--dtype", "fp16"]), 'did you mean "f16"?');
    expectRefusal(await fovea(["build", model, "--dtype", "int8"]), "--dtype", "f32, f16, bf16");
    expectRefusal(await fovea(["build", model, "--batch", "8..2"]), "The range is empty: 2 is below 8.");
    expectRefusal(await fovea(["build", model, "--arch", "sm90"]), '"sm90" is neither emulated nor an architecture');
    expectRefusal(await fovea(["verify"]), "missing required argument 'cases'");
    expectRefusal(await fovea(["run", model, "--weights", "w.safetensors", "--input", "clip.gif"]), "It is NAME=FILE");
    expectRefusal(await fovea(["inspect", ...tiny, "--stage", "fusePointwis"]), 'there is no pass "fusePointwis"');
    expectRefusal(await fovea(["inspect", ...tiny, "--kernel", "nothing"]), 'there is no kernel "nothing"', "known: ");
  });

  it("refuses models and configurations that are not there or out of range", async () => {
    expectRefusal(
      await fovea(["build", join(root, "models/timesformr.ts")]),
      "model-not-found",
      'did you mean "timesformer.ts"?',
    );
    expectRefusal(await fovea(["build", model, "--preset", "hrr"]), 'there is no preset "hrr"', 'did you mean "hr"?');
    expectRefusal(
      await fovea(["build", model, "--config", at("none.json")]),
      `the configuration "${at("none.json")}" cannot be read`,
    );
    writeFileSync(at("broken.json"), "{ depth: 2 }");
    expectRefusal(await fovea(["build", model, "--config", at("broken.json")]), "is not JSON");
    writeFileSync(at("wrong.json"), JSON.stringify({ ...tinyConfig, depth: 0, num_hedas: 2 }));
    expectRefusal(
      await fovea(["build", model, "--config", at("wrong.json")]),
      "config.depth",
      "config.num_hedas",
      'did you mean "num_heads"?',
    );
  });

  it("says where a model is wrong, with the line", async () => {
    const folder = at("mistake");
    mkdirSync(folder);
    writeFileSync(
      join(folder, "mistake.ts"),
      readFileSync(model, "utf8")
        .replace('along("t"), "(b h w) t c")', 'along("time"), "(b h w) t c")')
        .replace('along("t")), "(b h w)', 'along("time")), "(b h w)'),
    );
    const answer = await fovea(["build", join(folder, "mistake.ts")]);
    expectRefusal(answer, "mistake.ts:", "time");
  });
});

describe("build", () => {
  it("writes an artefact that runs, and says so in JSON", async () => {
    const folder = at("artefact");
    const built = await fovea(["build", ...tiny, "--arch", "emulated", "--out", folder, "--json"]);
    expect(built.err).toBe("");
    const { manifest } = z
      .object({
        folder: z.literal(folder),
        targets: z.tuple([z.literal("emulated")]),
        manifest: z.object({
          programs: z.tuple([z.object({ steps: z.array(z.unknown()).min(1) })]),
          kernels: z.array(z.object({ source: z.string(), images: z.object({ emulated: z.string() }) })),
        }),
      })
      .parse(JSON.parse(built.out));
    for (const { source } of manifest.kernels)
      expect(readFileSync(join(folder, source), "utf8")).toContain("__global__");

    const run = await fovea(["run", folder, "--weights", at("tiny.safetensors"), "--input", `video=${gif}`, "--json"]);
    expect(run.err).toBe("");
    expect(JSON.parse(run.out)).toMatchObject({
      kernels: manifest.programs[0].steps.length,
      batch: 1,
      outputs: [{ name: "logits", shape: [1, 3] }],
    });
    expectRefusal(
      await fovea(["run", folder, "--weights", at("tiny.safetensors"), "--input", `video=${gif}`, "--dtype", "bf16"]),
      "was built with --dtype f32, not bf16",
    );
    expectRefusal(
      await fovea(["run", folder, "--weights", at("tiny.safetensors"), "--input", `video=${gif}`, "--preset", "hr"]),
      "--preset has no meaning",
    );
  });

  it("survives two builds of one folder at once", async () => {
    const folder = at("contested");
    const builds = await Promise.all(
      [1, 2].map(() => fovea(["build", ...tiny, "--arch", "emulated", "--out", folder])),
    );
    expect(builds.map(({ status, err }) => [status, err])).toEqual([
      [0, ""],
      [0, ""],
    ]);
    const run = await fovea(["run", folder, "--weights", at("tiny.safetensors"), "--input", `video=${gif}`]);
    expect(run).toMatchObject({ status: 0, err: "" });
  });

  it("refuses a folder that holds something else, and a damaged artefact", async () => {
    const folder = at("thesis");
    mkdirSync(folder);
    writeFileSync(join(folder, "chapter1.tex"), "years of work");
    expectRefusal(
      await fovea(["build", ...tiny, "--arch", "emulated", "--out", folder]),
      "holds other files (chapter1.tex)",
    );
    expectRefusal(
      await fovea(["run", folder, "--weights", at("tiny.safetensors"), "--input", `video=${gif}`]),
      "manifest.json",
    );
  });
});

describe("run", () => {
  const runTiny = (...args: readonly string[]): Promise<Answer> =>
    fovea(["run", ...tiny, "--device", "emulated", ...args]);
  const weights = ["--weights", join(scratch, "tiny.safetensors")];

  it("gives the numbers that the evaluator gives, on several clips at once", async () => {
    const clips = ["03-moving-up-cross", "08-shrinking-disc", "11-blinking-square"].flatMap((name) => [
      "--input",
      `video=${join(motion, "clips", `${name}.gif`)}`,
    ]);
    const emulated = await runTiny(...weights, ...clips, "--output", at("emulated.safetensors"));
    expect(emulated).toMatchObject({ status: 0, err: "" });
    const exact = await fovea([
      "run",
      ...tiny,
      "--device",
      "evaluator",
      ...weights,
      ...clips,
      "--output",
      at("exact.safetensors"),
    ]);
    expect(exact).toMatchObject({ status: 0, err: "" });
    const [computed, expected] = [
      readArrays(at("emulated.safetensors")).get("logits"),
      readArrays(at("exact.safetensors")).get("logits"),
    ];
    expect(computed?.shape).toEqual([3, 3]);
    for (const [index, value] of (expected?.values ?? []).entries())
      expect(Math.abs((computed?.values[index] ?? NaN) - value)).toBeLessThan(1e-5);
    expect(new Set(expected?.values).size).toBe(9);
  });

  it("refuses checkpoints that do not fit, parameter by parameter", async () => {
    const video = ["--input", `video=${gif}`];
    expectRefusal(await runTiny("--weights", at("none.safetensors"), ...video), "none.safetensors");
    const whole = readFileSync(at("tiny.safetensors"));
    writeFileSync(at("truncated.safetensors"), whole.subarray(0, whole.length - 100));
    expectRefusal(await runTiny("--weights", at("truncated.safetensors"), ...video), "truncated.safetensors");
    const other = parameters.flatMap(({ name, shape }) => {
      if (name.endsWith("head.bias")) return [];
      if (name.endsWith("cls_token")) return [{ name, shape: [1, 1, 12] }];
      return [{ name: name.replace("temporal_fc.weight", "temporal_fc.wieght"), shape }];
    });
    expectRefusal(
      await runTiny("--weights", writeWeights("other.safetensors", other), ...video),
      'missing "model.head.bias" [3]',
      '"model.cls_token" is [1, 1, 12]',
      'missing "model.blocks.0.temporal_fc.weight"',
      'unexpected "model.blocks.0.temporal_fc.wieght"',
    );
  });

  it("refuses an output that cannot be written before it runs, and labels that do not fit", async () => {
    const video = [...weights, "--input", `video=${gif}`];
    expectRefusal(await runTiny(...video, "--output", at("nowhere", "out.safetensors")), "its folder does not exist");
    expectRefusal(await runTiny(...video, "--output", scratch), "it is a folder");
    writeFileSync(at("labels.txt"), "one\ntwo\n");
    expectRefusal(
      await runTiny(...video, "--labels", at("labels.txt")),
      'there are 2 labels, and the output "logits" has 3 classes',
    );
  });

  it("refuses inputs that are not there, unknown, or cannot be decoded", async () => {
    expectRefusal(await runTiny(...weights, "--input", `video=${at("none.gif")}`), "there is no file or folder");
    expectRefusal(
      await runTiny(...weights, "--input", `vidio=${gif}`),
      'there is no input "vidio"',
      'did you mean "video"?',
    );
    writeFileSync(at("noise.mp4"), "not a video");
    expectRefusal(await runTiny(...weights, "--input", `video=${at("noise.mp4")}`), "noise.mp4");
    writeArrays(
      at("small.safetensors"),
      new Map([["video", { shape: [1, 3, 2, 8, 8], values: new Float32Array(384) }]]),
    );
    expectRefusal(
      await runTiny(...weights, "--input", `video=${at("small.safetensors")}`),
      "[1, 3, 2, 8, 8]",
      "[batch, 3, 2, 8, 12]",
    );
  });

  it("names the motion of a clip with the trained classifier", async () => {
    const { out, err, status } = await fovea([
      "run",
      model,
      "--config",
      join(motion, "config.json"),
      "--weights",
      join(motion, "weights.safetensors"),
      "--labels",
      join(motion, "labels.json"),
      "--input",
      `video=${gif}`,
      "--top",
      "2",
      "--json",
    ]);
    expect([status, err]).toEqual([0, ""]);
    const schema = z.object({
      device: z.string(),
      kernels: z.number(),
      batch: z.literal(1),
      milliseconds: z.number(),
      outputs: z.tuple([
        z.object({
          classes: z.tuple([
            z.array(z.object({ index: z.number(), label: z.string(), probability: z.number() })).length(2),
          ]),
        }),
      ]),
    });
    const [first] = schema.parse(JSON.parse(out)).outputs[0].classes[0];
    expect(first?.label).toBe("moving up");
    expect(first?.probability).toBeCloseTo(0.953, 2);
  });
});

describe("convert-weights", () => {
  const trained = join(root, "test/golden/pth/timesformer-space-only-tiny.pyth");

  it("writes a checkpoint of PyTorch as safetensors", async () => {
    const { out, err } = await fovea(["convert-weights", trained, at("converted.safetensors"), "--json"]);
    expect(err).toBe("");
    expect(JSON.parse(out)).toMatchObject({ tensors: { length: 32 } });
    const expected = readArrays(join(root, "test/golden/timesformer/space-only-tiny/weights.safetensors"));
    expect(readArrays(at("converted.safetensors"))).toEqual(expected);
  });

  it("resizes tables of positions to what a model takes", async () => {
    const config = at("longer.json");
    writeFileSync(config, JSON.stringify({ ...tinyConfig, num_frames: 7 }));
    const fit = ["--for", model, "--config", config];
    const { out, err } = await fovea(["convert-weights", at("tiny.safetensors"), at("longer.safetensors"), ...fit]);
    expect(err).toBe("");
    expect(out).toContain("model.time_embed resized to [1, 7, 10]");
    const [before, after] = ["tiny", "longer"].map((name) =>
      readArrays(at(`${name}.safetensors`)).get("model.time_embed"),
    );
    const frames = [...(after?.values ?? [])];
    expect(frames).toEqual(
      [0, 0, 0, 0, 1, 1, 1].flatMap((t) => [...(before?.values ?? [])].slice(10 * t, 10 * t + 10)),
    );
    expectRefusal(
      await fovea(["convert-weights", trained, at("x.safetensors"), "--inflate"]),
      "--inflate and --rename need to know which model it is for",
    );
  });

  it("refuses what holds no weights, and leaves nothing behind", async () => {
    expectRefusal(await fovea(["convert-weights", gif, at("gif.safetensors")]), "no file of weights that fovea reads");
    expectRefusal(
      await fovea(["convert-weights", trained, at("nowhere", "x.safetensors")]),
      "its folder does not exist",
    );
    expect(existsSync(at("gif.safetensors"))).toBe(false);
  });
});

describe("inspect, profile and devices", () => {
  it("prints the graph after a pass, a kernel's text, and why things were fused or not", async () => {
    const all = await fovea(["inspect", ...tiny]);
    expect(all).toMatchObject({ status: 0, err: "" });
    expect(all.out).toMatch(/timesformer\.ts:\d+:\d+ .*fused: /);
    const { stages, program } = z
      .object({
        stages: z.array(z.object({ name: z.string() })),
        program: z.object({ kernels: z.array(z.object({ name: z.string() })) }),
      })
      .parse(JSON.parse((await fovea(["inspect", ...tiny, "--json"])).out));
    const stage = await fovea(["inspect", ...tiny, "--stage", stages.at(-1)?.name ?? ""]);
    expect(stage.out).toMatch(/^%\d+: .* = attend /m);
    const kernel = program.kernels[0]?.name ?? "";
    expect((await fovea(["inspect", ...tiny, "--kernel", kernel])).out).toContain(kernel);
  });

  it("profiles every launch, and marks predictions as such", async () => {
    const { out, err } = await fovea(["profile", ...tiny, "--device", "emulated", "--json"]);
    expect(err).toBe("");
    const total = z.object({ milliseconds: z.number().positive(), flops: z.number().nonnegative(), share: z.number() });
    const schema = z.object({
      basis: z.literal("counted"),
      steps: z
        .array(
          z.object({
            kernel: z.string(),
            share: z.number(),
            origin: z.object({ file: z.string(), line: z.number().positive() }),
            time: z.object({ kind: z.literal("counted") }),
          }),
        )
        .min(5),
      modules: z.array(total.extend({ path: z.string(), launches: z.number().positive(), bytes: z.number() })),
    });
    const profile = schema.parse(JSON.parse(out));
    expect(profile.steps.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 6);
    expect(profile.modules.some(({ path }) => path.endsWith("blocks.0.attn"))).toBe(true);
    expect((await fovea(["profile", ...tiny, "--device", "emulated"])).out).toContain("not measured");
    expectRefusal(await fovea(["profile", ...tiny, "--device", "evaluator"]), "the evaluator launches no kernels");
  });

  it("profiles a plan without running it, and folds and sorts as told", async () => {
    const planned = await fovea(["profile", ...tiny, "--plan", "--depth", "1", "--sort", "work"]);
    expect(planned).toMatchObject({ status: 0, err: "" });
    expect(planned.out).toContain("nothing was run");
    const [, launches = "", modules = ""] = planned.out.split("\n\n");
    const work = launches
      .split("\n")
      .slice(1)
      .map((line) => /([\d.]+) (k?)FLOP /.exec(line))
      .map((found) => Number(found?.[1]) * (found?.[2] === "k" ? 1000 : 1));
    expect(work).toEqual(work.toSorted((a, b) => b - a));
    expect(
      modules
        .split("\n")
        .slice(1)
        .map((line) => line.split(" ")[0]),
    ).toEqual(["model"]);
    expectRefusal(
      await fovea(["profile", ...tiny, "--plan", "--tokens", "--report", at("x.html")]),
      "--plan, which runs nothing",
    );
  });

  it("shows in a report whom tokens attend to", async () => {
    const page = at("tokens.html");
    const wanted = ["profile", ...tiny, "--device", "emulated", "--report", page, "--tokens"];
    const { status, out, err } = await fovea([...wanted, "blocks.0.attn"]);
    expect([status, err]).toEqual([0, ""]);
    expect(out).toContain("tokens.html");
    expect(readFileSync(page, "utf8")).toContain('"path":"model.blocks.0.attn","formula"');
    expectRefusal(await fovea([...wanted, "blocks.0.atn"]), "model.blocks.0.attn");
    expectRefusal(await fovea(["profile", ...tiny, "--device", "emulated", "--tokens"]), "--report FILE.html");
  });

  it("lists the emulated device wherever it runs", async () => {
    const { out } = await fovea(["devices", "--json"]);
    const list = z
      .object({
        devices: z.array(
          z.object({ kind: z.enum(["cuda", "emulated"]), name: z.string(), memoryBytes: z.number().positive() }),
        ),
        missing: z.array(z.object({ kind: z.string(), because: z.string() })),
      })
      .parse(JSON.parse(out));
    expect(list.devices.map(({ kind }) => kind)).toContain("emulated");
    expect(list.devices.length + list.missing.length).toBeGreaterThanOrEqual(2);
  });
});

describe("verify", () => {
  const golden = join(root, "test/golden/timesformer/divided-tiny");
  const comparison = z.object({
    name: z.string(),
    shape: z.array(z.number()),
    relL2: z.number(),
    maxAbs: z.number(),
    tolerance: z.number(),
    ok: z.boolean(),
  });
  const report = z.object({
    cases: z.array(
      z.object({
        system: z.string(),
        case: z.string(),
        device: z.string(),
        dtype: z.enum(["f32", "f16", "bf16"]),
        kernels: z.number().nullable(),
        ok: z.boolean(),
        outputs: z.array(comparison).min(1),
        intermediates: z.array(comparison),
      }),
    ),
  });

  it.each([
    ["emulated", "f32"],
    ["emulated", "bf16"],
    ["emulated", "f16"],
    ["evaluator", "f32"],
  ])("agrees with the published code on %s in %s", async (device, dtype) => {
    const { status, out, err } = await fovea(["verify", golden, "--device", device, "--dtype", dtype, "--json"]);
    expect(err).toBe("");
    const [result] = report.parse(JSON.parse(out)).cases;
    expect([...(result?.outputs ?? []), ...(result?.intermediates ?? [])].filter(({ ok }) => !ok)).toEqual([]);
    expect(result).toMatchObject({ system: "timesformer", case: "divided-tiny", dtype, ok: true });
    expect(result?.intermediates.map(({ name }) => name)).toContain("blocks.1.temporal_fc");
    expect(status).toBe(0);
  });

  it("misses, with exit status 1, when one number in the case is another", async () => {
    const folder = at("changed");
    mkdirSync(folder);
    for (const name of ["case.json", "weights.safetensors"])
      writeFileSync(join(folder, name), readFileSync(join(golden, name)));
    const arrays = new Map(readArrays(join(golden, "io.safetensors")));
    const logits = arrays.get("logits");
    if (logits === undefined) throw new Error("the case has no logits");
    arrays.set("logits", {
      ...logits,
      values: Float32Array.from(logits.values, (value, index) => (index === 3 ? value + 0.01 : value)),
    });
    writeArrays(join(folder, "io.safetensors"), arrays);
    const { status, out } = await fovea(["verify", golden, folder, "--device", "evaluator", "--json"]);
    expect(status).toBe(1);
    const { cases } = report.parse(JSON.parse(out));
    expect(cases.map(({ ok }) => ok)).toEqual([true, false]);
    expect(
      [...(cases[1]?.outputs ?? []), ...(cases[1]?.intermediates ?? [])]
        .filter(({ ok }) => !ok)
        .map(({ name }) => name),
    ).toEqual(["logits"]);
    expect((await fovea(["verify", folder, "--device", "evaluator"])).out).toMatch(/logits .*MISSES/);
  });

  it("refuses what is no case, and reports a case that cannot be run beside others", async () => {
    expectRefusal(await fovea(["verify", at("nowhere")]), "there is no case");
    expectRefusal(await fovea(["verify", join(root, "models")]), "there is no file");
    const folder = at("unknownSystem");
    mkdirSync(folder);
    writeFileSync(
      join(folder, "case.json"),
      readFileSync(join(golden, "case.json"), "utf8").replace('"system": "timesformer"', '"system": "time-machine"'),
    );
    const { status, out } = await fovea(["verify", folder, golden, "--device", "evaluator"]);
    expect(status).toBe(2);
    expect(out).toContain('fovea has no model of "time-machine"');
    expect(out).toContain("1 of 2 cases agree");
  });
});

it("shows a newcomer what the trained classifier sees, and is right", async () => {
  const { status, out, err } = await runNode(join(root, "dist/compiler/cli/demo/main.js"));
  expect([status, err]).toEqual([0, ""]);
  expect(out.match(/ right$/gm)).toHaveLength(10);
  expect(out).toMatch(/moving left 0\.\d\d/);
  expect(out).toMatch(/the float64 evaluator agrees: relative error \d\.\de-\d/);
}, 240_000);
