import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { compileImages, type KernelImage } from "../../compiler/toolchain/compileImages.ts";

const scratch = mkdtempSync(join(tmpdir(), "fovea-nvcc-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const kernel = {
  name: "fill",
  family: "map",
  source: `#include "device/device.cuh"
extern "C" __global__ void fill(float* y, int n) { if (threadIdx.x < n) st(y + threadIdx.x, 1.0f); }
DEV_EXPORT(fill)
`,
};

it("makes binaries for each architecture and PTX for newer ones, and the same bytes every time", async () => {
  const compile = (cache: string) =>
    compileImages([kernel], ["sm_80", "sm_90a", "compute_90"], { cache: join(scratch, cache) });
  const images = await compile("one");
  const [ampere, hopper, newer] = images.map(({ image }) => Buffer.from(image));
  for (const [binary, architecture] of [
    [ampere, 80],
    [hopper, 90],
  ] as const) {
    expect(binary?.subarray(0, 4).toString("latin1")).toBe("\x7fELF");
    // e_machine says CUDA, and e_flags the architecture.
    expect(binary?.readUInt16LE(18)).toBe(190);
    expect([binary?.readUInt8(48), binary?.readUInt8(49)]).toContain(architecture);
  }
  expect(newer?.toString()).toMatch(/\.target sm_90\n/);
  expect(images.map(({ ptxas }) => ptxas === null)).toEqual([false, false, true]);
  // The log tells how long ptxas took.
  const artefact = (each: KernelImage) => ({ ...each, log: "" });
  expect((await compile("two")).map(artefact)).toEqual(images.map(artefact));
});
