import { describe, expect, it } from "vitest";
import { findNvcc } from "../../compiler/toolchain/findTools.ts";
import { compileImages, type KernelSource } from "../../compiler/toolchain/compileImages.ts";

const targets = ["sm_80", "sm_90a"] as const;
const nvcc = await findNvcc().catch((error: unknown) => {
  process.stdout.write(`skipped: ${error instanceof Error ? error.message : String(error)}\n`);
  return undefined;
});

/** Tests that each kernel compiles for an Ampere and a Hopper GPU without a spilled register or a note on performance. */
export function describeCompiles(
  what: string,
  kernels: readonly KernelSource[] | (() => Promise<readonly KernelSource[]>),
): void {
  describe.skipIf(nvcc === undefined)(what, () => {
    it.each(targets)("compile for %s and spill nothing", async (target) => {
      const sources = typeof kernels === "function" ? await kernels() : kernels;
      const images = await compileImages(sources, [target]);
      const spills = images.flatMap(({ kernel, ptxas }) =>
        ptxas === null || ptxas.spillBytes > 0 ? [`${kernel}: ${JSON.stringify(ptxas)}`] : [],
      );
      expect(images.length).toBeGreaterThan(0);
      expect(spills).toEqual([]);
    });
  });
}
