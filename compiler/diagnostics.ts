import { readFileSync } from "node:fs";
import { distance } from "fastest-levenshtein";
import { ansi, codeFrame, plain, type CodePlace } from "./codeFrame.ts";

/**
 * The catalogue: what each diagnostic of a model needs to know. The key is the public code: tests match it, the
 * documentation lists it. A code that begins with `unsupported-` is something fovea could do and does not yet.
 */
export type DiagnosticParams = {
  // The model's source.
  typescript: { readonly message: string };
  "model-not-found": { readonly file: string };
  "no-model": { readonly file: string };
  "model-failed": { readonly message: string };
  // Lambdas.
  "unsupported-syntax": { readonly what: string };
  "unsupported-function": { readonly name: string };
  "lambda-source-unknown": { readonly name: string };
  "lambda-recursion": { readonly name: string };
  "lambda-capture": { readonly name: string; readonly found: string };
  // The graph.
  "shape-mismatch": { readonly op: string; readonly left: string; readonly right: string };
  "unknown-axis": { readonly op: string; readonly axis: string; readonly axes: readonly string[] };
  "unknown-name": { readonly what: string; readonly name: string };
  "bad-argument": { readonly op: string; readonly problem: string };
  "bad-config": { readonly path: string; readonly problem: string };
  "bad-layout": { readonly layout: string; readonly problem: string };
  "bad-contract": { readonly problem: string };
  "not-divisible": { readonly what: string; readonly size: number; readonly by: number };
  // What a kernel can be made of.
  "unsupported-op": { readonly op: string; readonly because: string };
};
export type DiagnosticCode = keyof DiagnosticParams;

const messages: { readonly [C in DiagnosticCode]: (params: DiagnosticParams[C]) => string } = {
  typescript: ({ message }) => message,
  "model-not-found": ({ file }) => `there is no file "${file}"`,
  "no-model": ({ file }) => `"${file}" does not export a model`,
  "model-failed": ({ message }) => `the model threw: ${message}`,
  "unsupported-syntax": ({ what }) => `${what} cannot become part of a kernel`,
  "unsupported-function": ({ name }) => `"${name}" cannot be called in a kernel`,
  "lambda-source-unknown": ({ name }) => `the source of "${name}" is not known here`,
  "lambda-recursion": ({ name }) => `"${name}" calls itself, and a kernel's functions cannot`,
  "lambda-capture": ({ name, found }) =>
    `"${name}" is ${found}; a kernel reads numbers, booleans, arrays of numbers and parameters`,
  "shape-mismatch": ({ op, left, right }) => `${op} cannot combine ${left} with ${right}`,
  "unknown-axis": ({ op, axis, axes }) =>
    `${op} names the axis "${axis}", and the value has ${axes.length === 0 ? "no axes" : axes.map((name) => `"${name}"`).join(", ")}`,
  "unknown-name": ({ what, name }) => `there is no ${what} "${name}"`,
  "bad-argument": ({ op, problem }) => `${op}: ${problem}`,
  "bad-config": ({ path, problem }) => `config.${path}: ${problem}`,
  "bad-layout": ({ layout, problem }) => `layout "${layout}": ${problem}`,
  "bad-contract": ({ problem }) => problem,
  "not-divisible": ({ what, size, by }) => `${what} is ${size}, which ${by} does not divide`,
  "unsupported-op": ({ op, because }) => `${op} cannot be compiled: ${because}`,
};

/** Every code. */
export const diagnosticCodes: readonly string[] = Object.keys(messages);

/** One thing that is wrong with a model, where, and what to do about it. */
export type Diagnostic = {
  readonly code: DiagnosticCode;
  readonly message: string;
  readonly span: CodePlace | null;
  /** What is wrong at the place itself; printed below the marked code. */
  readonly label: string;
  /** What to do: code that can be pasted where that is possible. */
  readonly hint: string;
};

/** Builds a diagnostic of the catalogue. `label` and `hint` are empty where the message says it all. */
export function diagnostic<C extends DiagnosticCode>(
  code: C,
  params: DiagnosticParams[C],
  where: { readonly span: CodePlace | null; readonly label?: string; readonly hint?: string },
): Diagnostic {
  return { code, message: messages[code](params), span: where.span, label: where.label ?? "", hint: where.hint ?? "" };
}

/** How many diagnostics are printed; the rest are counted. */
const shownDiagnostics = 10;

/** The author's model is wrong, or asks for something that fovea does not do. Holds at least one diagnostic. */
export class CompileError extends Error {
  readonly diagnostics: readonly Diagnostic[];
  constructor(diagnostics: readonly Diagnostic[]) {
    super(diagnostics.map(({ code, message }) => `${code}: ${message}`).join("\n"));
    this.name = "CompileError";
    this.diagnostics = inSourceOrder(diagnostics);
  }

  /** For people: each diagnostic with its code frame, as in `printDiagnostic`. */
  override toString(options: PrintOptions = {}): string {
    const shown = this.diagnostics.slice(0, shownDiagnostics).map((each) => printDiagnostic(each, options));
    const rest = this.diagnostics.length - shown.length;
    return [...shown, ...(rest > 0 ? [`and ${rest} more`] : [])].join("\n\n");
  }

  /** For tools. */
  toJSON(): { readonly diagnostics: readonly Diagnostic[] } {
    return { diagnostics: this.diagnostics };
  }
}

export function compileError<C extends DiagnosticCode>(
  code: C,
  params: DiagnosticParams[C],
  where: { readonly span: CodePlace | null; readonly label?: string; readonly hint?: string },
): CompileError {
  return new CompileError([diagnostic(code, params, where)]);
}

export type PrintOptions = {
  readonly colour?: boolean;
  /** The text of a source file, or undefined where it cannot be had: the frame is left out then. Reads the disk by default. */
  readonly readSource?: (file: string) => string | undefined;
};

/** `error code: message`, the place, the code around it and the hint. */
export function printDiagnostic({ code, message, span, label, hint }: Diagnostic, options: PrintOptions = {}): string {
  const paint = options.colour === true ? ansi : plain;
  const lines = [`${paint.error(`error ${code}`)}: ${paint.strong(message)}`];
  if (span !== null) {
    lines.push(`  ${span.file}:${span.line}:${span.column}`);
    const source = (options.readSource ?? readSourceFile)(span.file);
    if (source !== undefined) lines.push(codeFrame(source, span, label, paint));
    else if (label !== "") lines.push(`  ${label}`);
  }
  if (hint !== "") lines.push(`  hint: ${hint}`);
  return lines.join("\n");
}

function readSourceFile(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

/** Diagnostics without a place first, then file by file in the order of their first diagnostic. */
function inSourceOrder(diagnostics: readonly Diagnostic[]): readonly Diagnostic[] {
  const files = ["", ...diagnostics.map(({ span }) => span?.file ?? "")];
  const rank = ({ span }: Diagnostic): number => files.indexOf(span?.file ?? "");
  return diagnostics.toSorted(
    (a, b) =>
      rank(a) - rank(b) || (a.span?.line ?? 0) - (b.span?.line ?? 0) || (a.span?.column ?? 0) - (b.span?.column ?? 0),
  );
}

/** A mistake of fovea itself. Never the author's fault. */
export class InternalError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(`internal: ${message}`, options);
    this.name = "InternalError";
  }
}

/** Throws an InternalError unless the condition holds. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InternalError(message);
}

/** Closes a switch over a union: a case that is missing does not compile. */
export function assertNever(value: never): never {
  throw new InternalError(`unexpected ${JSON.stringify(value)}`);
}

/** The known name closest to a misspelt one, or undefined where none is near. */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  const lower = name.toLowerCase();
  // A third of the letters may differ, one of them in short names, but never all; case alone always may.
  let best: { readonly name: string; readonly distance: number } | undefined;
  for (const candidate of known) {
    const away = candidate.toLowerCase() === lower ? 0 : distance(lower, candidate.toLowerCase());
    const length = Math.max(name.length, candidate.length);
    const limit = Math.min(length - 1, Math.max(1, Math.floor(length / 3)));
    if (away <= limit && (best === undefined || away < best.distance)) best = { name: candidate, distance: away };
  }
  return best?.name;
}

/** ` did you mean "x"?`-style hint, empty where no name is near. */
export function didYouMean(name: string, known: Iterable<string>): string {
  const nearest = nearestName(name, known);
  return nearest === undefined ? "" : `did you mean "${nearest}"?`;
}
