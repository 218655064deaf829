import { GraphError } from "./errors.ts";

/** Reads the text forms of ir/: a position in a text, and the tokens that all of them share. */
export class TextReader {
  readonly text: string;
  position = 0;

  constructor(text: string) {
    this.text = text;
  }

  /** Spaces and tabs; a line's end is a token. */
  skipSpaces(): void {
    this.match(/[ \t]*/y);
  }

  get atEnd(): boolean {
    this.skipSpaces();
    return this.position === this.text.length;
  }

  peek(token: string): boolean {
    this.skipSpaces();
    return this.text.startsWith(token, this.position);
  }

  accept(token: string): boolean {
    if (!this.peek(token)) return false;
    this.position += token.length;
    return true;
  }

  expect(token: string): void {
    if (!this.accept(token)) this.fail(`expected ${JSON.stringify(token)}`);
  }

  /** A name in one piece, so that `min` is not found at the start of `minimum`. */
  acceptWord(word: string): boolean {
    const start = this.position;
    if (this.acceptName() === word) return true;
    this.position = start;
    return false;
  }

  acceptName(): string | undefined {
    this.skipSpaces();
    return this.match(/[A-Za-z_$][\w$]*(?:\.[\w$]+)*/y);
  }

  name(): string {
    return this.acceptName() ?? this.fail("expected a name");
  }

  acceptNumber(): number | undefined {
    this.skipSpaces();
    const text = this.match(/-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|inf\b)|nan\b/y);
    return text === undefined ? undefined : Number(text.replace("inf", "Infinity").replace("nan", "NaN"));
  }

  number(): number {
    return this.acceptNumber() ?? this.fail("expected a number");
  }

  /** A string as JSON writes it. */
  string(): string {
    this.skipSpaces();
    const text = this.match(/"(?:[^"\\\n]|\\.)*"/y) ?? this.fail("expected a string in double quotes");
    return String(JSON.parse(text));
  }

  /** `open`, items with `separator` between them, `close`. */
  list<T>(open: string, item: () => T, close: string, separator = ","): T[] {
    this.expect(open);
    const items: T[] = [];
    if (this.accept(close)) return items;
    do items.push(item());
    while (this.accept(separator));
    this.expect(close);
    return items;
  }

  match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.position;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.position += found.length;
    return found;
  }

  fail(problem: string): never {
    const before = this.text.slice(0, this.position).split("\n");
    const column = (before.at(-1)?.length ?? 0) + 1;
    const line = this.text.split("\n")[before.length - 1] ?? "";
    throw new GraphError(`${before.length}:${column}: ${problem}\n  ${line}\n  ${" ".repeat(column - 1)}^`);
  }
}

/** Reads the whole of a text. */
export const readAll = <T>(text: string, read: (reader: TextReader) => T): T => {
  const reader = new TextReader(text);
  const value = read(reader);
  if (!reader.atEnd) reader.fail("expected the end");
  return value;
};

export const printNumber = (value: number): string =>
  Number.isNaN(value) ? "nan" : Object.is(value, -0) ? "-0" : String(value).replace("Infinity", "inf");
