import { renameSync, rmSync } from "node:fs";
import { openTensors } from "../../runtime/openTensors.ts";
import { dtypeBytes, type TensorToWrite, writeSafetensors } from "../../runtime/safetensors.ts";
import { countOf } from "./arrays.ts";
import { exitCodes } from "./failure.ts";
import { bytes } from "./figures.ts";
import type { Terminal } from "./terminal.ts";

/** Writes the tensors of any readable file of weights, as they are and by their names, to a safetensors file. */
export async function convertWeights(
  from: string,
  to: string,
  options: { readonly json: boolean },
  terminal: Terminal,
): Promise<number> {
  using file = await openTensors(from);
  const tensors = new Map<string, TensorToWrite>(file.tensors);
  // The place may be that of the source, and a file that could not be finished is of no use.
  const draft = `${to}.${process.pid}.tmp`;
  try {
    await terminal.task(`writing ${to}`, async () => writeSafetensors(draft, tensors, new Map([["format", "pt"]])));
    renameSync(draft, to);
  } finally {
    rmSync(draft, { force: true });
  }
  const total = [...file.tensors.values()].reduce(
    (sum, { dtype, shape }) => sum + countOf(shape) * dtypeBytes[dtype],
    0,
  );
  if (options.json) {
    const list = [...file.tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
    terminal.print(JSON.stringify({ from, to, bytes: total, tensors: list }, null, 2));
  } else terminal.print(`wrote ${terminal.paint.bold(to)}: ${file.tensors.size} tensors, ${bytes(total)}`);
  return exitCodes.success;
}
