import { emitAttention } from "../../compiler/emit/attention.ts";
import type { KernelSource } from "../../compiler/toolchain/compileImages.ts";
import type { Precision } from "../../ir/types.ts";
import * as kernels from "../kernels/attentionKernels.ts";
import { describeCompiles } from "./compiles.ts";

/** Positions of a line and channels of a head's keys: of images of 224 and of 1025 x 2049. */
const axial = [
  [7, 32],
  [14, 16],
  [28, 8],
  [56, 4],
  [65, 16],
  [129, 32],
  [257, 8],
  [513, 4],
] as const;

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
    ...axial.map(([size, headDim]) => kernels.positions(precision, size, headDim)),
  ].map(({ kernel, header }, index) => {
    const name = `${header.name}_${index}`;
    return { name, family: "attention", source: emitAttention(kernel, { ...header, name }).source };
  });

for (const precision of ["bf16", "f16", "f32"] as const)
  describeCompiles(`attention in ${precision}`, sources(precision));
