/** What keeps a compiler from its work. Not the author's model, and not fovea's own fault unless a generated kernel is wrong. */
export type ToolErrorCode = "compiler-not-found" | "compiler-failed" | "performance-note" | "cache-unusable";

export class ToolError extends Error {
  readonly code: ToolErrorCode;
  /** What to do about it. */
  readonly hint: string;
  /** All that the tool said. */
  readonly log: string;
  constructor(
    code: ToolErrorCode,
    message: string,
    details: { readonly hint: string; readonly log?: string; readonly cause?: unknown },
  ) {
    super(message, { cause: details.cause });
    this.name = "ToolError";
    this.code = code;
    this.hint = details.hint;
    this.log = details.log ?? "";
  }

  override toString(): string {
    return `error ${this.code}: ${this.message}${this.hint === "" ? "" : `\n  hint: ${this.hint}`}`;
  }

  toJSON(): { readonly code: ToolErrorCode; readonly message: string; readonly hint: string; readonly log: string } {
    return { code: this.code, message: this.message, hint: this.hint, log: this.log };
  }
}
