import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { compileImages, type ImageTarget } from "../../compiler/toolchain/compileImages.ts";
import { findNvcc } from "../../compiler/toolchain/findTools.ts";

// The kernels that the emulated device runs are the text that nvcc compiles.
let nvcc = true;
beforeAll(async () => {
  nvcc = await findNvcc(process.env).then(
    () => true,
    () => false,
  );
});

describe("nvcc compiles the same text", () => {
  const everywhere: readonly ImageTarget[] = ["sm_80", "sm_89", "sm_90a"];
  it.each([
    ["conversions", everywhere],
    ["warps", everywhere],
    ["copies", everywhere],
    ["matrix", everywhere],
    ["tma", ["sm_90a"]],
    ["wgmma", ["sm_90a"]],
    ["bugs", ["sm_90a"]],
  ] as const)(
    "%s for %j",
    async (name, targets) => {
      if (!nvcc) return;
      const source = await readFile(join(import.meta.dirname, "kernels", `${name}.cu`), "utf8");
      const images = await compileImages([{ name, family: "device", source }], targets);
      expect(images.map((image) => image.image.byteLength > 1000)).toEqual(targets.map(() => true));
      const spilled = images.flatMap((image) => image.log.match(/[1-9]\d* bytes spill/g) ?? []);
      if (name !== "bugs") expect(spilled).toEqual([]); // one of the bugs is a deep recursion
    },
    120_000,
  );
});
