import { emitAttention } from "../../compiler/emit/attention.ts";
import type { KernelSource } from "../../compiler/toolchain/compileImages.ts";
import type { Precision } from "../../ir/types.ts";
import * as kernels from "../kernels/attentionKernels.ts";
import { describeCompiles } from "./compiles.ts";

const sources = (precision: Precision): readonly KernelSource[] =>
  [
    kernels.temporal(precision),
    kernels.temporal(precision, 16),
    kernels.temporal(precision, 5),
    kernels.spatial(precision),
    kernels.joint(precision),
    kernels.shiftedWindows(precision),
    kernels.windows2d(precision),
    kernels.sliding(precision),
    kernels.neighbourhood(precision),
    ...[8, 12, 16, 32, 40, 64, 80, 96, 128, 256].map((headDim) => kernels.lines(precision, headDim)),
    ...[16, 32, 64, 80, 96, 128, 256, 512].map((headDim) => kernels.streamed(precision, headDim)),
  ].map(({ kernel, header }, index) => {
    const name = `${header.name}_${index}`;
    return { name, family: "attention", source: emitAttention(kernel, { ...header, name }).source };
  });

for (const precision of ["bf16", "f16", "f32"] as const)
  describeCompiles(`attention in ${precision}`, sources(precision));
