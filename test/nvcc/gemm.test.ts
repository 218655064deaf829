import { expect, it } from "vitest";
import { emitGemm } from "../../compiler/emit/gemm.ts";
import { emitProducts } from "../../compiler/emit/products.ts";
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

it("compiles products of several precisions in one launch without a spill", async () => {
  const products = [normalisedMlp("bf16"), residualProjection("bf16", 196)].map(({ kernel }) => kernel);
  const placing = { ...residualProjection("f32", 196).kernel, tf32: true };
  const kernel = { kind: "products", precision: "bf16", operands: [], products: [...products, placing] } as const;
  const source = emitProducts(kernel, { ...normalisedMlp("bf16").header, name: "products_fc1" }).source;
  for (const { target, ptxas } of await compileImages([{ name: "products_fc1", family: "products", source }], targets))
    expect(ptxas, target).toMatchObject({ spillBytes: 0, stackBytes: 0 });
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
