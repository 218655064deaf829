import type { Program } from "../ir/program.ts";

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
