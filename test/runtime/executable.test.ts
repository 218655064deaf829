import { createHash } from "node:crypto";
import { appendFileSync, cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Manifest } from "../../ir/manifest.ts";
import type { Program } from "../../ir/program.ts";
import { printManifest } from "../../ir/programText.ts";
import { readArtefact } from "../../runtime/artefact.ts";
import { CheckpointError, CudaError, loadExecutable, RuntimeError, type HostTensor } from "../../runtime/index.ts";
import { buildArtefact, expectedTotal, noWeights, openTestDevice, single, tiny, tinyCheckpoint } from "./programs.ts";
import { onGpu } from "../support/testDevice.ts";

let folders = { tiny: "", fault: "", busy: "" };

beforeAll(async () => {
  const [tinyFolder = "", fault = "", busy = ""] = await Promise.all(
    [tiny, single("fault"), single("busy")].map(buildArtefact),
  );
  folders = { tiny: tinyFolder, fault, busy };
}, 300_000);
afterAll(() => {
  for (const folder of Object.values(folders)) rmSync(dirname(folder), { recursive: true, force: true });
});

const inputOf = (batch: number, from = 0): HostTensor => ({
  shape: [batch, 3, 5],
  data: Float32Array.from({ length: batch * 15 }, (_, i) => (((i + from) * 37) % 101) / 16 - 3),
});
const closeTo = (actual: HostTensor | undefined, expected: readonly number[]): void => {
  expect(actual?.data).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) expect(actual?.data[i]).toBeCloseTo(value, 3);
};

describe("an executable", () => {
  test.each([
    { graph: true, checkSteps: false },
    { graph: false, checkSteps: false },
    { graph: false, checkSteps: true },
  ])("computes the same by graph, by launches and step by step: %o", async (options) => {
    using device = await openTestDevice();
    using executable = await loadExecutable(device, folders.tiny, tinyCheckpoint);
    for (const batch of [1, 2, 7, 130, 2]) {
      const x = inputOf(batch, batch);
      const { total, sign } = await executable.run({ x }, options);
      expect(total?.shape).toEqual([batch]);
      expect(sign?.shape).toEqual([batch, 1]);
      const expected = expectedTotal(x.data as Float32Array, tinyCheckpoint);
      closeTo(total, expected);
      expect([...(sign?.data ?? [])]).toEqual(expected.map((value) => (value > 1 ? 1 : 0)));
    }
  });
});

describe("inputs", () => {
  const mistakes = async (inputs: { readonly [name: string]: HostTensor }, batch?: number): Promise<string> => {
    using device = await openTestDevice();
    using executable = await loadExecutable(device, folders.tiny, tinyCheckpoint);
    const run = executable.run(inputs, batch === undefined ? {} : { batch });
    return run.then(
      () => "no error",
      (error: unknown) => (error instanceof RuntimeError ? error.message : `another error: ${String(error)}`),
    );
  };
  const x = inputOf(2);

  test("are refused with what is wrong, the expected and the actual", async () => {
    expect(await mistakes({})).toMatchInlineSnapshot(`"input "x" [b, 3, 5] is missing"`);
    expect(await mistakes({ x, X: x })).toMatchInlineSnapshot(`""tiny" has no input "X"; did you mean "x"?"`);
    expect(await mistakes({ x: { ...x, shape: [2, 5, 3] } })).toMatchInlineSnapshot(
      `"input "x" is [2, 5, 3], the program takes [b, 3, 5] with b = 2"`,
    );
    expect(await mistakes({ x: { ...x, shape: [3, 3, 5] } })).toMatchInlineSnapshot(
      `"input "x" has 30 elements, its shape [3, 3, 5] says 45"`,
    );
    expect(await mistakes({ x: { ...x, data: new Int32Array(30) } })).toMatchInlineSnapshot(
      `"input "x" is an Int32Array, the program takes f32 as a Float32Array"`,
    );
    expect(await mistakes({ x }, 3)).toMatchInlineSnapshot(
      `"input "x" is [2, 3, 5], the program takes [b, 3, 5] with b = 3"`,
    );
    expect(await mistakes({ x: inputOf(301) })).toMatchInlineSnapshot(
      `
      "batch 301: "tiny" was built for batches of 1 to 300
        hint: give it 300 at a time, or build it with --axis batch=1..301"
    `,
    );
    expect(await mistakes({ x: inputOf(0) })).toMatchInlineSnapshot(
      `"batch 0: "tiny" was built for batches of 1 to 300"`,
    );
    expect(await mistakes({ x: { shape: [], data: new Float32Array(1) } })).toMatchInlineSnapshot(
      `"input "x" is [], the program takes [b, 3, 5] with b = 1"`,
    );
  });

  test("may be left on the device, and so may outputs", async () => {
    using device = await openTestDevice();
    using executable = await loadExecutable(device, folders.tiny, tinyCheckpoint);
    const first = inputOf(3);
    const { total, sign } = await executable.runOnDevice({ x: first });
    if (total === undefined || sign === undefined) throw new Error("no output");
    const again = await executable.run({ x: inputOf(3, 50) });
    // The first run's results are their own, whatever ran since.
    closeTo(total.read(), expectedTotal(first.data as Float32Array, tinyCheckpoint));
    closeTo(again["total"], expectedTotal(inputOf(3, 50).data as Float32Array, tinyCheckpoint));
    await expect(executable.run({ x: total })).rejects.toThrow(/input "x" is \[3\], the program takes \[b, 3, 5\]/);
    total[Symbol.dispose]();
    sign[Symbol.dispose]();
  });
});

describe("runs of one executable", () => {
  test("follow each other, whatever their batches", async () => {
    using device = await openTestDevice();
    using executable = await loadExecutable(device, folders.tiny, tinyCheckpoint);
    const batches = [5, 1, 9, 64, 2, 9, 300, 1];
    const results = await Promise.all(batches.map((batch) => executable.run({ x: inputOf(batch, batch * 3) })));
    for (const [i, batch] of batches.entries())
      closeTo(results[i]?.["total"], expectedTotal(inputOf(batch, batch * 3).data as Float32Array, tinyCheckpoint));
  });

  test("do not disturb another executable on another opening of the device", async () => {
    using left = await openTestDevice();
    using right = await openTestDevice();
    using a = await loadExecutable(left, folders.tiny, tinyCheckpoint);
    using b = await loadExecutable(right, folders.tiny, tinyCheckpoint);
    const runs = Array.from({ length: 12 }, (_, i) => (i % 2 === 0 ? a : b).run({ x: inputOf(4, i) }));
    for (const [i, { total }] of (await Promise.all(runs)).entries())
      closeTo(total, expectedTotal(inputOf(4, i).data as Float32Array, tinyCheckpoint));
  });

  test("leave the event loop free", async () => {
    using device = await openTestDevice();
    using executable = await loadExecutable(device, folders.busy, noWeights);
    let ticks = 0;
    const timer = setInterval(() => ticks++, 2);
    const start = performance.now();
    const { y } = await executable.run({}, { batch: 1 });
    clearInterval(timer);
    const milliseconds = performance.now() - start;
    expect(y?.data[0]).toBe(1);
    expect(milliseconds).toBeGreaterThan(20);
    // A loop that is not free ticks once at most; how often a free one does depends on what else the machine runs.
    expect(ticks).toBeGreaterThan(5);
  });
});

describe("memory", () => {
  test("is all given back", async () => {
    using device = await openTestDevice();
    const before = device.memory().freeBytes;
    {
      using executable = await loadExecutable(device, folders.tiny, tinyCheckpoint, { batch: 3 });
      expect(device.memory().freeBytes).toBeLessThan(before);
      await executable.run({ x: inputOf(2) });
      await executable.run({ x: inputOf(200) });
      const { total, sign } = await executable.runOnDevice({ x: inputOf(2) });
      total?.[Symbol.dispose]();
      sign?.[Symbol.dispose]();
    }
    expect(device.memory().freeBytes).toBe(before);
    await expect(loadExecutable(device, folders.tiny, noWeights)).rejects.toThrow(CheckpointError);
    expect(device.memory().freeBytes).toBe(before);
  });

  test.skipIf(onGpu)(
    "that is not there is refused with what was asked for and what is free, and smaller batches still run",
    async () => {
      using device = await openTestDevice();
      const artefact = readArtefact(folders.tiny);
      const [program] = artefact.programs;
      const large: Program = { ...program, memory: { ...program.memory, activations: 2 ** 27 } };
      using executable = await loadExecutable(device, { ...artefact, programs: [large] }, tinyCheckpoint);
      await executable.run({ x: inputOf(2) });
      await expect(executable.run({ x: inputOf(300) })).rejects.toThrow(
        /activations of 300 examples: asked for 37\.5 GiB; [\d.]+ GiB of [\d.]+ GiB are free/,
      );
      const { total } = await executable.run({ x: inputOf(1) });
      closeTo(total, expectedTotal(inputOf(1).data as Float32Array, tinyCheckpoint));
    },
  );

  test("waits for what runs before it goes", async () => {
    using device = await openTestDevice();
    const executable = await loadExecutable(device, folders.busy, noWeights);
    const running = executable.run({}, { batch: 1 });
    const next = executable.run({}, { batch: 1 });
    // One turn, not a time: on a busy machine a timer may come after the run's end.
    await new Promise((resolve) => void setImmediate(resolve));
    executable[Symbol.dispose]();
    await expect(running).rejects.toThrow(/"busy" was closed/);
    await expect(next).rejects.toThrow(/"busy" was closed/);
    executable[Symbol.dispose]();
  });
});

// A GPU does not come back to a process that lost it.
describe.skipIf(onGpu)("a kernel that fails", () => {
  test("loses the device, which says why until it is opened anew", async () => {
    const device = await openTestDevice();
    using other = await openTestDevice();
    const executable = await loadExecutable(device, folders.fault, noWeights);
    const failure: unknown = await executable.run({}, { batch: 1 }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(CudaError);
    expect(String(failure)).toMatch(/CUDA_ERROR_ILLEGAL_ADDRESS \(700\)[\s\S]*fault[\s\S]*hint/);
    expect(device.lost).toBe(true);
    await expect(executable.run({}, { batch: 1 })).rejects.toThrow(
      /was lost by an earlier failure[\s\S]*open it again/,
    );
    expect(() => other.memory()).toThrow(/was lost by an earlier failure/);
    executable[Symbol.dispose]();
    device[Symbol.dispose]();
    other[Symbol.dispose]();
    using fresh = await openTestDevice();
    using again = await loadExecutable(fresh, folders.tiny, tinyCheckpoint);
    closeTo(
      (await again.run({ x: inputOf(1) }))["total"],
      expectedTotal(inputOf(1).data as Float32Array, tinyCheckpoint),
    );
  });

  test("is named with its step when steps are checked", async () => {
    using device = await openTestDevice();
    using executable = await loadExecutable(device, folders.fault, noWeights);
    await expect(executable.run({}, { batch: 1, checkSteps: true })).rejects.toThrow(
      /step 0, fault \(tiny\.fault, models\/tiny\.ts:7\): y = fault\(x\)/,
    );
  });
});

describe.skipIf(onGpu)("a profile on the emulated device", () => {
  test("counts each step exactly and marks its time as predicted", async () => {
    using device = await openTestDevice();
    using executable = await loadExecutable(device, folders.tiny, tinyCheckpoint);
    const profile = await executable.profile({ x: inputOf(8) });
    expect(profile).toMatchObject({ batch: 8, basis: "counted" });
    const [linear, total] = profile.steps;
    expect(linear?.origin.path).toBe("tiny.linear");
    expect(linear?.work).toEqual({ flops: 960, readBytes: 96 + 480, writeBytes: 384 });
    if (linear?.time.kind !== "counted" || total?.time.kind !== "counted") throw new Error("not counted");
    expect(linear.time.counters.global.written).toMatchObject({ bytes: 384, uniqueBytes: 384 });
    expect(linear.time.counters.global.read.uniqueBytes).toBe(96 + 480);
    expect(linear.time.bound).toBe("launch");
    expect(total.time.counters.kernel).toBe("total");
    expect(total.time.counters.global.written.bytes).toBe(64);
    expect(profile.milliseconds).toBeCloseTo(linear.time.milliseconds + total.time.milliseconds, 9);
  });
});

describe("a profile by events", () => {
  test("times every step and the whole replay, and says so", async () => {
    using device = await openTestDevice();
    using executable = await loadExecutable(device, folders.busy, noWeights);
    const start = performance.now();
    const profile = await executable.profile({}, { batch: 1, by: "events", repeats: 3 });
    const took = performance.now() - start;
    expect(profile.basis).toBe("measured");
    expect(profile.steps.map(({ time }) => time.kind)).toEqual(["measured"]);
    // Five runs step by step and five replays, of which the first two of each are not counted.
    expect(profile.milliseconds).toBeGreaterThan(5);
    expect(profile.milliseconds * 10).toBeLessThan(took * 2);
    expect(profile.replayMilliseconds).toBeGreaterThan(5);
  });
});

describe.skipIf(onGpu)("an artefact", () => {
  const changed = (name: string, change: (folder: string) => void): string => {
    const folder = join(dirname(folders.tiny), name);
    cpSync(folders.tiny, folder, { recursive: true });
    change(folder);
    return folder;
  };
  /** A manifest that says something else, by whoever wrote it: its digest is right. */
  const editManifest = (name: string, from: string | RegExp, to: string): string =>
    changed(name, (folder) => {
      const path = join(folder, "manifest.json");
      const {
        format,
        fovea,
        digest: _,
        ...rest
      } = JSON.parse(readFileSync(path, "utf8").replace(from, to)) as Manifest & {
        readonly fovea: string;
        readonly digest: string;
      };
      const text = printManifest({ format, ...rest }, fovea, (each) => createHash("sha256").update(each).digest("hex"));
      writeFileSync(path, text);
    });
  const breakManifest = (name: string, change: (text: string) => string): string =>
    changed(name, (folder) => {
      const path = join(folder, "manifest.json");
      writeFileSync(path, change(readFileSync(path, "utf8")));
    });
  const load = async (folder: string): Promise<void> => {
    using device = await openTestDevice();
    using _ = await loadExecutable(device, folder, tinyCheckpoint);
  };

  test("that is missing, damaged or of another version is refused", async () => {
    await expect(load(join(tmpdir(), "no-such-artefact"))).rejects.toThrow(/"[^"]*no-such-artefact" is not there/);
    await expect(load(dirname(folders.tiny))).rejects.toThrow(/has no manifest.json that can be read: ENOENT/);
    await expect(load(editManifest("format", '"format": 3', '"format": 2'))).rejects.toThrow(
      /has format 2 \(fovea \d+\.\d+\.\d+\), this version of fovea reads 3\n {2}hint: build it again with this version/,
    );
    await expect(load(breakManifest("json", (text) => `[${text}`))).rejects.toThrow(
      /is damaged: manifest.json is not JSON/,
    );
    await expect(load(breakManifest("package", () => '{"name": "left-pad"}'))).rejects.toThrow(
      /is none of fovea: manifest.json does not begin with its format\n {2}hint: fovea build writes artefacts/,
    );
    await expect(load(breakManifest("cut", (text) => text.slice(0, 500)))).rejects.toThrow(
      /is cut: manifest.json does not end with its digest/,
    );
    await expect(
      load(breakManifest("digit", (text) => text.replace('"perExample": 12', '"perExample": 13'))),
    ).rejects.toThrow(/is damaged: manifest.json is not what was written\n {2}hint: copy or build it again/);
    await expect(load(editManifest("fields", '"steps": [', '"steppes": ['))).rejects.toThrow(
      /is damaged: manifest.json: programs.0.steps: Invalid input: expected array/,
    );
    await expect(
      load(editManifest("offset", /(?<="name": "threshold",\s+"storage": "\w+",\s+"offset": )\d+/, "1024")),
    ).rejects.toThrow(/weight "threshold" lies outside/);
    await expect(load(editManifest("kernel", '"kernel": "total"', '"kernel": "sum"'))).rejects.toThrow(
      /launches "sum", which is no kernel/,
    );
    const image = changed("image", (folder) => appendFileSync(join(folder, "kernels/total.emulated.so"), "x"));
    await expect(load(image)).rejects.toThrow(/"kernels\/total.emulated.so" is not what was built/);
    const lacking = changed("lacking", (folder) => rmSync(join(folder, "kernels/linear.emulated.so")));
    await expect(load(lacking)).rejects.toThrow(/lacks "kernels\/linear.emulated.so"/);
  });

  test("without an image for the device is refused before its memory is taken", async () => {
    const cubinOnly = editManifest("cubin", /"emulated":/g, '"sm_90a":');
    await expect(load(cubinOnly)).rejects.toThrow(
      /kernel "linear" has no image for ".*" \(emulated\): it was built for sm_90a/,
    );
  });

  test("whose image is a GPU's is refused with the kernel and the driver's reason", async () => {
    using device = await openTestDevice();
    const artefact = readArtefact(folders.tiny);
    const cubin = new Uint8Array(4096);
    cubin.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
    cubin[18] = 190;
    await expect(loadExecutable(device, { ...artefact, read: () => cubin }, tinyCheckpoint)).rejects.toThrow(
      /CUDA_ERROR_NO_BINARY_FOR_GPU \(209\)[\s\S]*kernel "linear", image kernels\/linear.emulated.so[\s\S]*cubin/,
    );
  });

  test("gives the text of its kernels", async () => {
    using device = await openTestDevice();
    using executable = await loadExecutable(device, folders.tiny, tinyCheckpoint);
    expect(executable.source("total")).toContain("void total(");
    expect(() => executable.source("totals")).toThrow(/no kernel "totals"; did you mean "total"\?/);
  });
});
