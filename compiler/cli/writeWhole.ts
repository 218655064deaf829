import { realpathSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { reasonOf } from "../artefact.ts";
import { CommandError } from "./failure.ts";

/**
 * Has `write` make a file beside the place, and puts it there once it is whole: whatever goes wrong, nothing half-written
 * is left, nor is what was there before lost. Throws a CommandError that names the file where the system refuses.
 */
export function writeWhole(file: string, write: (draft: string) => void): void {
  try {
    const there = statSync(file, { throwIfNoEntry: false });
    // A device or a pipe takes what is written; it cannot be replaced.
    if (there !== undefined && !there.isFile()) return write(file);
    const place = there === undefined ? file : realpathSync(file);
    const draft = `${place}.${process.pid}.tmp`;
    try {
      write(draft);
      renameSync(draft, place);
    } finally {
      rmSync(draft, { force: true });
    }
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    throw new CommandError(`"${file}" could not be written: ${reasonOf(error)}`);
  }
}

export const writeText = (file: string, content: string | Uint8Array): void =>
  writeWhole(file, (draft) => writeFileSync(draft, content));
