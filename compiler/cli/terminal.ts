import Table from "cli-table3";
import picocolors from "picocolors";

/** What commands write to: answers to the standard output, progress to the standard error. */
export type Terminal = {
  readonly paint: Paint;
  readonly print: (text: string) => void;
  /** What does not stop the work, and must be known. */
  readonly warn: (text: string) => void;
  /** Does some work, saying so while it lasts. `say` replaces the text. */
  readonly task: <T>(text: string, work: (say: (text: string) => void) => T | Promise<T>) => Promise<T>;
};
export type Paint = {
  readonly [style in "bold" | "dim" | "red" | "green" | "yellow" | "cyan"]: (text: string) => string;
};

/** Colour and progress appear on a terminal only: never in files, pipes or `--json`. */
export function openTerminal(options: { readonly json?: true }): Terminal {
  // `isTTY` is undefined, not false, on a pipe: picocolors would take that for "decide yourself" and
  // colour wherever CI or FORCE_COLOR is set.
  const coloured = process.stdout.isTTY === true && picocolors.isColorSupported && options.json !== true;
  // A terminal without a width (as under `script`) cannot be drawn on.
  const watched = process.stderr.isTTY && process.stderr.columns > 0 && options.json !== true;
  return {
    paint: picocolors.createColors(coloured),
    print: (text) => void process.stdout.write(`${text}\n`),
    warn: (text) => void process.stderr.write(`${text}\n`),
    task: watched ? spinningTask : async (_text, work) => work(() => {}),
  };
}

const spinningTask: Terminal["task"] = async (text, work) => {
  const { default: ora } = await import("ora");
  const spinner = ora({ text, stream: process.stderr, discardStdin: false }).start();
  // Most of the work keeps the event loop busy: each new text is drawn at once.
  const say = (next: string): void => {
    spinner.text = next;
    spinner.render();
  };
  try {
    return await work(say);
  } finally {
    spinner.stop();
  }
};

export type Column = { readonly head: string; readonly align?: "left" | "right" };

/** Rows under headings, without lines: easy to read, and to cut with other tools. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[], paint: Paint): string {
  const text = new Table({
    head: columns.map(({ head }) => paint.dim(head)),
    colAligns: columns.map(({ align }) => align ?? "left"),
    chars: noLines,
    style: { "padding-left": 0, "padding-right": 2, head: [], border: [], compact: true },
  });
  text.push(...rows.map((row) => [...row]));
  return text
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}
const noLines = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "",
};
