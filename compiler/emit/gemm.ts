import type { EmittedKernel, GemmKernel, KernelFamily, KernelHeader } from "../schedule/kernels.ts";
import { gemmView } from "./gemmView.ts";
import { renderTemplate } from "./render.ts";

/**
 * Matrix products with what is fused in front of and behind them: tensor cores for bf16 and f16 (sm_80 and later),
 * float32 arithmetic for f32. Sums are accumulated in float32.
 */
export const emitGemm: KernelFamily<GemmKernel> = (kernel: GemmKernel, header: KernelHeader): EmittedKernel => {
  const { view, tiles, parameters } = gemmView(kernel, header);
  const { rows, batched } = kernel.space;
  const one = { factor: 1, fixed: 1, perExample: 0, divisor: 1 };
  const blocks = {
    factor: Math.ceil(kernel.columns / tiles.tileN),
    fixed: batched ? 0 : rows,
    perExample: batched ? rows : 0,
    divisor: tiles.tileM,
  };
  return {
    source: renderTemplate(kernel.precision === "f32" ? "gemm/exact.cu.njk" : "gemm/gemm.cu.njk", view),
    threads: tiles.threads,
    sharedBytes: tiles.sharedBytes,
    grid: [blocks, one, one],
    parameters,
    notes: tiles.notes,
  };
};
