import { expect, it } from "vitest";
import { emitGemm } from "../../compiler/emit/gemm.ts";
import { compileImages, type ImageTarget } from "../../compiler/toolchain/compileImages.ts";
import type { Precision } from "../../ir/types.ts";
import {
  convolution,
  normalisedMlp,
  patchEmbedding,
  residualProjection,
  type NamedGemm,
} from "../kernels/gemmKernels.ts";

const targets: readonly ImageTarget[] = ["sm_80", "sm_90a"];
const kernelsOf = (precision: Precision): readonly NamedGemm[] => [
  normalisedMlp(precision),
  normalisedMlp(precision, 3136, 96, 384),
  normalisedMlp(precision, 49, 768, 2304),
  residualProjection(precision),
  residualProjection(precision, 3136, 96),
  residualProjection(precision, 196),
  patchEmbedding(precision),
  convolution(precision),
  convolution(precision, 24, 64, 28),
  convolution(precision, 3, 64, 64),
];

it("compiles products in tf32 without a spill", async () => {
  const sources = kernelsOf("f32").map(({ kernel, header }, index) => {
    const name = `${header.name}_${index}`;
    return { name, family: "gemm", source: emitGemm({ ...kernel, tf32: true }, { ...header, name }).source };
  });
  for (const { kernel, target, ptxas } of await compileImages(sources, targets))
    expect(ptxas, `${kernel} for ${target}`).toMatchObject({ spillBytes: 0, stackBytes: 0 });
}, 300_000);

it.each(["bf16", "f16", "f32"] as const)(
  "compiles products in %s without a spill",
  async (precision) => {
    const sources = kernelsOf(precision).map(({ kernel, header }, index) => {
      const name = `${header.name}_${index}`;
      return { name, family: "gemm", source: emitGemm(kernel, { ...header, name }).source };
    });
    for (const { kernel, target, ptxas } of await compileImages(sources, targets))
      expect(ptxas, `${kernel} for ${target}`).toMatchObject({ spillBytes: 0, stackBytes: 0 });
  },
  300_000,
);
