import { expect, it } from "vitest";
import { emitGemm } from "../../compiler/emit/gemm.ts";
import { convolution, normalisedMlp, patchEmbedding, residualProjection } from "./gemmKernels.ts";

it.each([
  ["fc1_bf16", normalisedMlp("bf16")],
  ["proj_f16", residualProjection("f16")],
  ["patch_embed_bf16", patchEmbedding("bf16")],
  ["conv_bf16", convolution("bf16")],
  ["fc1_f32", normalisedMlp("f32", 196, 96, 384)],
] as const)("prints %s", async (file, { kernel, header }) => {
  await expect(emitGemm(kernel, header).source).toMatchFileSnapshot(`golden/${file}.cu`);
});
