import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { compileImages, type KernelImage } from "../../compiler/toolchain/compileImages.ts";
import { readCubin } from "./elf.ts";

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
  const architectures = ["sm_80", "sm_86", "sm_89", "sm_90a"] as const;
  const compile = (cache: string) =>
    compileImages([kernel], [...architectures, "compute_90"], { cache: join(scratch, cache) });
  const images = await compile("one");
  for (const [index, target] of architectures.entries()) {
    const { architecture, code } = readCubin(images[index]?.image ?? new Uint8Array());
    expect([target, architecture]).toEqual([target, Number(/\d+/.exec(target)?.[0])]);
    expect(code.get("fill")).toBeGreaterThan(0);
  }
  expect(Buffer.from(images.at(-1)?.image ?? []).toString()).toMatch(/\.target sm_90\n/);
  expect(images.map(({ ptxas }) => ptxas === null)).toEqual([false, false, false, false, true]);
  // The log tells how long ptxas took.
  const artefact = (each: KernelImage) => ({ ...each, log: "" });
  expect((await compile("two")).map(artefact)).toEqual(images.map(artefact));
});
