import { GraphError } from "../../ir/errors.ts";
import { RuntimeError } from "../../runtime/errors.ts";
import { ArtefactError } from "../artefact.ts";
import { CompileError, InternalError } from "../diagnostics.ts";
import { ToolError } from "../toolchain/toolError.ts";
import { CommandError, exitCodes } from "./failure.ts";

/** What went wrong, for people: what, where, and what to do. Never a stack. */
export function messageOf(error: unknown, options: { readonly colour: boolean } = { colour: false }): string {
  if (error instanceof CompileError) return error.toString(options);
  if (error instanceof ToolError) return error.toString();
  if (error instanceof CommandError) return withHint(`error: ${error.message}`, error.hint);
  if (error instanceof GraphError) return withHint(`error: ${error.message}`, error.hint ?? "");
  if (error instanceof RuntimeError || error instanceof ArtefactError) return `error: ${error.message}`;
  if (isSystemError(error)) return `error: ${error.message}`;
  const message = error instanceof Error ? error.message : String(error);
  const said = error instanceof InternalError ? message : `internal: ${message}`;
  return withHint(`error: ${said}`, "this is a mistake of fovea: report it with the model and the command");
}

export function exitCodeOf(error: unknown): number {
  const foreseen = [CompileError, ToolError, CommandError, GraphError, RuntimeError, ArtefactError];
  return isSystemError(error) || foreseen.some((kind) => error instanceof kind) ? exitCodes.failed : exitCodes.internal;
}

/** A file or folder that the system refuses: "ENOENT: no such file or directory, open 'x'". */
const isSystemError = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && "code" in error && "syscall" in error;

const withHint = (message: string, hint: string): string => (hint === "" ? message : `${message}\n  hint: ${hint}`);
