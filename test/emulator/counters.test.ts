import { beforeAll, describe, expect, it } from "vitest";
import { int, openTestDevice, type TestDevice } from "./driver.ts";
import { onGpu } from "../support/testDevice.ts";

// The counters are the profile of a machine without a GPU: they must be what the access patterns imply.
let device: TestDevice;
beforeAll(async () => {
  if (onGpu) return;
  device = await openTestDevice();
  await device.load("copies.cu", ["async_copies", "strided"]);
  await device.load("matrix.cu", ["multiply_bf16"]);
  device.set("counters", 1);
}, 120_000);

describe.skipIf(onGpu)("counters", () => {
  /** 32 lanes read 16 bytes `pitch` apart, write 4 apart; in shared memory they read words `pitch` / 4 apart. */
  const strided = (pitch: number, blocks = 1) => {
    const from = device.upload(new Uint8Array(32 * 128));
    const to = device.allocate(128);
    expect(device.run("strided", { grid: blocks, block: 32, shared: 1024, args: [from, to, int(pitch)] })).toBe(0);
    return device.counters();
  };

  it.each([
    [16, 16, 0],
    [32, 32, 1],
    [64, 32, 3],
  ])("reads 16 bytes every %i: %i sectors", (pitch, sectors, conflicts) => {
    const { global, shared } = strided(pitch);
    expect(global.read).toEqual({ requests: 1, sectors, bytes: 512, uniqueBytes: 512 });
    expect(global.written).toEqual({ requests: 1, sectors: 4, bytes: 128, uniqueBytes: 128 });
    // 16-byte stores go by quarter warps: four wavefronts, none in conflict.
    expect(shared.store).toEqual({ requests: 1, wavefronts: 4, conflicts: 0 });
    expect(shared.load).toEqual({ requests: 1, wavefronts: conflicts + 1, conflicts });
  });

  it("counts a byte that every block reads once as unique", () => {
    const { global, blocks } = strided(16, 5);
    expect(blocks).toBe(5);
    expect(global.read).toEqual({ requests: 5, sectors: 80, bytes: 2560, uniqueBytes: 512 });
  });

  it("splits traffic by parameters and by named ranges", () => {
    const from = device.upload(new Uint8Array(1792));
    const to = device.allocate(1792);
    device.nameRange(from, 1024, "first");
    device.nameRange(from + 1024n, 512, "second");
    expect(device.run("async_copies", { block: 64, shared: 1792, args: [from, to] })).toBe(0);
    const { buffers, global, shared } = device.counters();
    const bytes = (name: string): number | undefined => buffers.find((b) => b.name === name)?.read.uniqueBytes;
    // Every third of 64 copies is dead and reads nothing.
    expect([bytes("first"), bytes("second")]).toEqual([43 * 16, 43 * 8]);
    expect(buffers.find((b) => b.parameter === 1)?.written.bytes).toBe(1792);
    expect(global.read.bytes).toBe(43 * 28);
    expect(shared.cpAsync.requests).toBe(6);
    device.reset();
    expect(device.run("async_copies", { block: 64, shared: 1792, args: [from, to] })).toBe(0);
    expect(device.counters().buffers.map((b) => [b.parameter, b.read.bytes])).toEqual([
      [0, 43 * 28],
      [1, 0],
    ]);
  });

  it("counts tensor-core work", () => {
    const operand = device.upload(new Uint16Array(512));
    expect(
      device.run("multiply_bf16", { block: 32, shared: 2048, args: [operand, operand, device.allocate(8192)] }),
    ).toBe(0);
    const counters = device.counters();
    expect(counters.mmaM16n8k16).toBe(16);
    expect(counters.tensorFlops).toBe(16 * 4096);
    expect(counters.shared.ldmatrix.requests).toBe(16);
  });
});
