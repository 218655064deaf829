import type { EmittedKernel, FusedKernel, KernelHeader } from "../schedule/kernels.ts";
import type { Target } from "../schedule/target.ts";
import { emitAttention } from "./attention.ts";
import { emitCombine } from "./combine.ts";
import { emitGemm } from "./gemm.ts";
import { emitJoint } from "./joint.ts";
import { emitMab } from "./mab.ts";
import { emitMap } from "./map.ts";
import { emitPerceptron } from "./perceptron.ts";
import { emitProducts } from "./products.ts";
import { emitRow } from "./row.ts";
import { emitSample } from "./sample.ts";
import { emitSelect } from "./select.ts";

/** The CUDA text of a fused kernel, by its family. */
export const emitKernel = (kernel: FusedKernel, header: KernelHeader, target?: Target): EmittedKernel => {
  switch (kernel.kind) {
    case "gemm":
      return emitGemm(kernel, header);
    case "products":
      return emitProducts(kernel, header);
    case "attention":
      return emitAttention(kernel, header, target);
    case "combine":
      return emitCombine(kernel, header, target);
    case "mab":
      return emitMab(kernel, header, target);
    case "map":
      return emitMap(kernel, header);
    case "sample":
      return emitSample(kernel, header, target);
    case "row":
      return emitRow(kernel, header);
    case "perceptron":
      return emitPerceptron(kernel, header);
    case "joint":
      return emitJoint(kernel, header);
    case "select":
      return emitSelect(kernel, header);
  }
};
