import { relative } from "node:path";

export { bytes, milliseconds, operations, percent, small } from "./units.ts";

/** Relative to the current folder where it lies below. */
export function readablePath(file: string): string {
  const shorter = relative(".", file);
  return shorter === "" || shorter.startsWith("..") ? file : shorter;
}
