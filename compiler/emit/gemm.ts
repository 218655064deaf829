import type { BlockCount } from "../../ir/program.ts";
import type { GemmTiles } from "../schedule/gemmTiles.ts";
import type { EmittedKernel, GemmKernel, KernelFamily, KernelHeader } from "../schedule/kernels.ts";
import { gemmView } from "./gemmView.ts";
import { renderTemplate } from "./render.ts";

/**
 * Matrix products with what is fused in front of and behind them: tensor cores for bf16 and f16 (sm_80 and later),
 * float32 arithmetic for f32. Sums are accumulated in float32.
 */
export const emitGemm: KernelFamily<GemmKernel> = (kernel: GemmKernel, header: KernelHeader): EmittedKernel => {
  const { view, tiles, parameters } = gemmView(kernel, header);
  const one = { factor: 1, fixed: 1, perExample: 0, divisor: 1 };
  return {
    source: renderTemplate(gemmTemplate(kernel), view),
    threads: tiles.threads,
    sharedBytes: tiles.sharedBytes,
    grid: [productBlocks(kernel, tiles), one, one],
    parameters,
    notes: tiles.notes,
  };
};

export const gemmTemplate = ({ precision }: GemmKernel): string =>
  precision === "f32" ? "gemm/exact.cu.njk" : "gemm/gemm.cu.njk";

/** A block for each tile of the result. */
export const productBlocks = ({ columns, space: { rows, batched } }: GemmKernel, tiles: GemmTiles): BlockCount => ({
  factor: Math.ceil(columns / tiles.tileN),
  fixed: batched ? 0 : rows,
  perExample: batched ? rows : 0,
  divisor: tiles.tileM,
});
