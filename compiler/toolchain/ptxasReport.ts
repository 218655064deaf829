import type { PtxasReport } from "../../ir/program.ts";

/** What `ptxas -v` says of the one entry function of a kernel; undefined where it says nothing. */
export function parsePtxasReport(output: string): PtxasReport | undefined {
  const registers = /Used (\d+) registers/.exec(output)?.[1];
  if (registers === undefined) return undefined;
  const sum = (pattern: RegExp): number =>
    [...output.matchAll(pattern)].reduce((total, [, bytes]) => total + Number(bytes), 0);
  return {
    registers: Number(registers),
    spillBytes: sum(/(\d+) bytes spill (?:stores|loads)/g),
    staticSharedBytes: sum(/(\d+) bytes smem/g),
    stackBytes: sum(/(\d+) bytes stack frame/g),
  };
}

/** Notes such as "(C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized": the kernel is slow. */
export const performanceNotes = (output: string): readonly string[] =>
  output.split("\n").filter((line) => /\(C75\d\d\)/.test(line));
