/** A place in a text file. Lines and columns count from 1; `length` characters are underlined. */
export type CodePlace = {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly length?: number;
};

/** How parts of a message are set off; the identity where colours are not wanted. */
export type Paint = {
  readonly error: (text: string) => string;
  readonly faint: (text: string) => string;
  readonly strong: (text: string) => string;
};
const asIs = (text: string): string => text;
export const plain: Paint = { error: asIs, faint: asIs, strong: asIs };
export const ansi: Paint = {
  error: (text) => `\u001B[31m${text}\u001B[39m`,
  faint: (text) => `\u001B[2m${text}\u001B[22m`,
  strong: (text) => `\u001B[1m${text}\u001B[22m`,
};

/**
 * The line of `place` with its neighbours, the place underlined and labelled:
 *
 *      13 |   const scale = 1 / Math.sqrt(headDim);
 *    > 14 |   const scores = matmul(q, k).mul(scale);
 *         |                  ^^^^^^^^^^^^ columns of q (128) must equal rows of k (64)
 */
export function codeFrame(source: string, place: CodePlace, label: string, paint: Paint = plain): string {
  const lines = source.split(/\r?\n/);
  const first = Math.max(1, place.line - 1);
  const last = Math.min(lines.length, place.line + 1);
  const width = String(last).length;
  const frame: string[] = [];
  for (let number = first; number <= last; number++) {
    const text = lines[number - 1] ?? "";
    const here = number === place.line;
    const gutter = `${here ? " > " : "   "}${String(number).padStart(width)} |`;
    frame.push(`${here ? paint.error(gutter) : paint.faint(gutter)} ${text}`.trimEnd());
    if (!here) continue;
    const room = Math.max(1, text.length - place.column + 1);
    const marks = "^".repeat(Math.max(1, Math.min(place.length ?? 1, room)));
    // Tabs before the place stay tabs, so that the marks stand below it.
    const indent = text
      .slice(0, place.column - 1)
      .replace(/[^\t]/g, " ")
      .padEnd(place.column - 1);
    frame.push(
      `${paint.faint(`   ${" ".repeat(width)} |`)} ${indent}${paint.error(label === "" ? marks : `${marks} ${label}`)}`,
    );
  }
  return frame.join("\n");
}
