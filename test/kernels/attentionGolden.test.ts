import { expect, it } from "vitest";
import { emitAttention } from "../../compiler/emit/attention.ts";
import * as kernels from "./attentionKernels.ts";

// Whole kernels, reviewed as code; `vitest -u` writes them anew.
it.each([
  ["spatial", kernels.spatial("bf16")],
  ["temporal", kernels.temporal("f16")],
  ["joint", kernels.joint("bf16")],
  ["sliding", kernels.sliding("f32")],
] as const)("the attention kernel %s is as reviewed", async (name, { kernel, header }) => {
  await expect(emitAttention(kernel, header).source).toMatchFileSnapshot(`../golden/emit/attention_${name}.cu`);
});
