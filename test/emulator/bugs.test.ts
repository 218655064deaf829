import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { packageRoot } from "../../compiler/packageRoot.ts";
import { findHostCompiler } from "../../compiler/toolchain/findTools.ts";
import { int, openTestDevice, type Argument, type TestDevice } from "./driver.ts";
import { onGpu } from "../support/testDevice.ts";

// Kernels with one planted bug each, and what the emulated device says of them. It must survive them all.
let device: TestDevice;
const kernels = ["divergent_barrier", "missing_lanes", "mixed_collectives", "ring", "late_wait", "never_waited"];
kernels.push("missing_barrier", "ldmatrix_race", "out_of_bounds", "uninitialised", "misaligned", "busy_wait");
kernels.push(
  "wild_pointer",
  "stack_overflow",
  "endless_loop",
  "outside_shared",
  "too_many_registers",
  "missing_proxy_fence",
);
beforeAll(async () => {
  if (onGpu) return;
  device = await openTestDevice();
  await device.load("bugs.cu", kernels);
  device.set("spin_ms", 200);
  device.set("watchdog_ms", 400);
}, 120_000);

const checks = ["bounds", "races", "uninitialised", "counters", "seed"] as const;
type Settings = { readonly [key in (typeof checks)[number]]?: number };
type Run = { readonly status: number; readonly report: string; readonly out: Float32Array };

function run(
  name: string,
  wrong: number,
  block: number,
  settings: Settings,
  args: () => readonly Argument[] = () => [],
): Run {
  device.reset();
  for (const key of checks) device.set(key, settings[key] ?? 0);
  const out = device.allocate(4 * block);
  const operands = [...args(), out];
  if (name === "out_of_bounds") operands.push(int(512));
  const launch = { block, shared: 4096, args: [...operands, int(wrong)] };
  const status = device.run(name, launch);
  const report = device.report();
  device.reset();
  return { status, report, out: status === 0 ? device.download(new Float32Array(block), out) : new Float32Array() };
}
const words = (n: number) => (): readonly Argument[] => [device.upload(Float32Array.from({ length: n }, (_, i) => i))];
const zero = (): readonly Argument[] => [device.upload(new Uint32Array(1))];
const fresh = (): readonly Argument[] => [device.allocate(512)];

const [illegalAddress, timeout, misaligned, launchFailed] = [700, 702, 716, 719];
type Case = readonly [
  name: string,
  wrong: number,
  block: number,
  settings: Settings,
  args: (() => readonly Argument[]) | undefined,
  status: number,
  says: RegExp,
];
const cases: readonly Case[] = [
  [
    "missing_proxy_fence",
    1,
    32,
    { races: 1 },
    undefined,
    launchFailed,
    /shared 0x0 was written by thread 0 at bugs\.cu:\d+ and is read asynchronously without fence\.proxy\.async/,
  ],
  [
    "divergent_barrier",
    1,
    128,
    {},
    undefined,
    timeout,
    /deadlock[^]*warp 0 all lanes: waits at barrier 0 \(96 of 128 threads have arrived\) at bugs\.cu:\d+[^]*warp 3 all lanes: has ended/,
  ],
  [
    "missing_lanes",
    1,
    32,
    {},
    undefined,
    timeout,
    /lanes 000fffff: waits in __shfl_xor_sync for lanes fff00000 at bugs\.cu:\d+/,
  ],
  [
    "mixed_collectives",
    1,
    32,
    {},
    undefined,
    launchFailed,
    /different collectives: __shfl_up_sync and __shfl_down_sync at bugs\.cu:\d+/,
  ],
  [
    "ring",
    1,
    64,
    {},
    words(192),
    timeout,
    /lanes 00000001: waits on the mbarrier at shared 0x210 for parity 0 .*32 arrivals and 0 bytes missing\) at bugs\.cu:/,
  ],
  ["ring", 2, 64, {}, words(192), timeout, /0 arrivals and -64 bytes missing/],
  ["ring", 3, 64, { races: 1 }, words(192), launchFailed, /race \(read after write\).* with thread 0 at bugs\.cu:/],
  ["ring", 4, 64, { races: 1, seed: 1 }, words(192), launchFailed, /race/],
  ["late_wait", 1, 128, { races: 1 }, words(512), launchFailed, /race/],
  ["never_waited", 1, 128, {}, words(512), launchFailed, /cp\.async that it never waited for at bugs\.cu:/],
  [
    "missing_barrier",
    1,
    128,
    { races: 1 },
    undefined,
    launchFailed,
    /race \(.*\) at shared 0x[0-9a-f]+ with thread \d+ at bugs\.cu:\d+; at bugs\.cu:\d+/,
  ],
  ["ldmatrix_race", 1, 64, { races: 1 }, undefined, launchFailed, /race/],
  [
    "out_of_bounds",
    1,
    128,
    {},
    words(512),
    illegalAddress,
    /thread \(64,0,0\).*0 bytes past the end of the allocation of 2048 bytes/,
  ],
  [
    "out_of_bounds",
    1,
    128,
    { bounds: 1 },
    words(512),
    illegalAddress,
    /thread \(64,0,0\): read of 4 bytes:.* at bugs\.cu:/,
  ],
  [
    "uninitialised",
    1,
    128,
    { uninitialised: 1 },
    fresh,
    launchFailed,
    /thread \(76,0,0\): read of device memory that was never written, 308 bytes into/,
  ],
  ["misaligned", 1, 32, { bounds: 1 }, words(128), misaligned, /read of 8 bytes at misaligned address/],
  ["busy_wait", 1, 64, {}, zero, timeout, /endless busy wait in wait_ge: nobody makes it true at bugs\.cu:/],
  ["wild_pointer", 1, 128, {}, undefined, illegalAddress, /thread \(70,0,0\): illegal address 0x/],
  ["stack_overflow", 1, 32, {}, undefined, launchFailed, /stack overflow/],
  ["endless_loop", 1, 32, {}, undefined, timeout, /endless loop/],
  ["outside_shared", 1, 32, {}, undefined, illegalAddress, /shared 0x8000, outside the block's 4096 bytes/],
  [
    "outside_shared",
    1,
    32,
    { bounds: 1 },
    undefined,
    illegalAddress,
    /shared 0x8000, outside the block's 4096 bytes at bugs\.cu:/,
  ],
  [
    "too_many_registers",
    1,
    384,
    {},
    undefined,
    launchFailed,
    /setmaxnreg: the block's warps ask for 70656 registers, an SM has 65536/,
  ],
];

describe.skipIf(onGpu)("planted bugs", () => {
  it.each(cases)("%s (%i) is reported", (name, wrong, block, settings, args, status, says) => {
    const bad = run(name, wrong, block, settings, args);
    expect(bad.report).toMatch(says);
    expect(bad.report).toMatch(new RegExp(`^kernel ${name} block \\(0,0,0\\)`));
    expect(bad.status).toBe(status);
  });

  it.each(cases)("%s (%i) passes once it is mended", (name, _, block, settings, args) => {
    const good = run(name, 0, block, settings, args);
    expect(good.report).toBe("");
    expect(good.status).toBe(0);
    expect([...good.out].every(Number.isNaN)).toBe(false);
  });

  it("shows a missing wait and a missing barrier in the numbers, without any check", () => {
    expect([...run("late_wait", 1, 128, {}, words(512)).out].some(Number.isNaN)).toBe(true);
    expect([...run("missing_barrier", 1, 128, {}).out].some(Number.isNaN)).toBe(true);
  });

  it("sees races of plain indexing in kernels that are compiled with instrumentation", async () => {
    const folder = await mkdtemp(join(tmpdir(), "fovea-instrumented-"));
    try {
      // As runtime/emulator/emulator.h says: in two steps, so that the compiler's own runtime is not linked.
      const compiler = (await findHostCompiler(process.env)).path;
      const execute = promisify(execFile);
      const flags = [
        "-std=c++17",
        "-O1",
        "-g",
        "-fPIC",
        "-ffp-contract=off",
        "-w",
        "-DFOVEA_EMULATE",
        "-fsanitize=thread",
      ];
      const source = join(import.meta.dirname, "kernels", "bugs.cu");
      const [object, image] = [join(folder, "bugs.o"), join(folder, "bugs.so")];
      await execute(compiler, [
        ...flags,
        "-I",
        join(packageRoot(), "templates"),
        "-c",
        "-o",
        object,
        "-x",
        "c++",
        source,
      ]);
      await execute(compiler, ["-shared", "-o", image, object]);
      device.loadImage(await readFile(image), ["plain_race", "out_of_bounds"]);
    } finally {
      await rm(folder, { recursive: true });
    }
    expect(run("plain_race", 0, 128, { races: 1 })).toMatchObject({ status: 0, report: "" });
    expect(run("plain_race", 1, 128, { races: 1 }).report).toMatch(/kernel plain_race .*race \(.*\) at shared 0x/);
    expect(run("out_of_bounds", 1, 128, { bounds: 1 }, words(512)).status).toBe(illegalAddress);
  });

  it("shows a stage that is freed too early only under shuffled schedules", () => {
    const sums = (seed: number): number[] => {
      const from = words(192);
      device.reset();
      device.set("seed", seed);
      const out = device.allocate(128);
      expect(device.run("ring", { block: 64, shared: 544, args: [...from(), out, int(4)] })).toBe(0);
      return [...device.download(new Float32Array(32), out)];
    };
    const inOrder = sums(0);
    const different = Array.from({ length: 20 }, (_, i) => sums(i + 1)).filter((s) =>
      s.some((v, i) => v !== inOrder[i]),
    );
    device.set("seed", 0);
    expect(different.length).toBeGreaterThan(0);
  });
});
