import { loopEndOf, type Loop, type LoopEnd, type Program } from "../ir/program.ts";
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

/** Launches in a row, from number `from` to before `to`, between which the host has nothing to do. */
export type Stretch = { readonly from: number; readonly to: number };

/** A program's launches in front of its loop, in each of the loop's steps, and behind it; all in front where there is none. */
export const stretchesOf = ({
  steps: { length },
  loop,
}: Program): { readonly before: Stretch; readonly step: Stretch | null; readonly after: Stretch } =>
  loop === null
    ? { before: { from: 0, to: length }, step: null, after: { from: length, to: length } }
    : { before: { from: 0, to: loop.from }, step: loop, after: { from: loop.to, to: length } };
