import { loopEndOf, type Loop, type LoopEnd } from "../ir/program.ts";
import type { LoadedProgram } from "./loadedProgram.ts";
import { download } from "./tensors.ts";

/** Takes the steps of a loop: after each the flag is read, one number of each example, and nothing else. */
export const takeSteps = async (
  loaded: LoadedProgram,
  { flag, atMost }: Loop,
  batch: number,
  step: () => Promise<void>,
): Promise<LoopEnd> => {
  const shape = [flag.space === "activations" ? batch : 1];
  for (let steps = 1; ; steps++) {
    await step();
    await loaded.finished();
    const { data } = download(loaded.device, loaded.memory.addressOf(flag, batch), shape, "i32");
    const end = loopEndOf(data, steps, atMost);
    if (end !== null) return end;
  }
};
