import { didYouMean } from "../diagnostics.ts";

/**
 * What was asked for cannot be done: an option, a file or a device is missing or wrong. The model itself may be fine
 * (what is wrong with a model is a CompileError).
 */
export class CommandError extends Error {
  /** What to do about it; empty where the message says it all. */
  readonly hint: string;
  constructor(message: string, hint = "") {
    super(message);
    this.name = "CommandError";
    this.hint = hint;
  }
}

/** What the process ends with. */
export const exitCodes = {
  success: 0,
  /** The command ran, and its answer is no: an output misses its tolerance. */
  missed: 1,
  /** Options, files, the model or the device: something that the user can mend. */
  failed: 2,
  /** A mistake of fovea. */
  internal: 70,
} as const;

/** An unknown name of a closed list, with the nearest known one. */
export function unknownName(what: string, name: string, known: readonly string[]): CommandError {
  const nearest = didYouMean(name, known);
  const all = known.length === 0 ? `there are no ${what}s` : `known: ${known.join(", ")}`;
  return new CommandError(`there is no ${what} "${name}"`, nearest === "" ? all : `${nearest} (${all})`);
}
