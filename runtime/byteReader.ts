import { RuntimeError } from "./errors.ts";

/** Reads bytes one after the other, in windows, so that no more of a file is in memory than is looked at. */
export class ByteReader {
  readonly #size: number;
  readonly #read: (start: number, end: number) => Uint8Array;
  #window: Uint8Array = new Uint8Array();
  #windowStart = 0;
  #position: number;

  /** `read` gives the bytes of a range within [0, size). */
  constructor(size: number, read: (start: number, end: number) => Uint8Array, position = 0) {
    this.#size = size;
    this.#read = read;
    this.#position = position;
  }

  get position(): number {
    return this.#position;
  }

  byte(): number {
    const at = this.#position - this.#windowStart;
    const found = at >= 0 ? this.#window[at] : undefined;
    if (found === undefined) return this.take(1)[0] ?? 0;
    this.#position++;
    return found;
  }

  skip(count: number): void {
    this.#mustHave(count);
    this.#position += count;
  }

  /** The next `count` bytes; a length that lies is refused before anything is allocated for it. */
  take(count: number): Uint8Array {
    this.#mustHave(count);
    const end = this.#position + count;
    if (this.#position < this.#windowStart || end > this.#windowStart + this.#window.length) {
      this.#windowStart = this.#position;
      this.#window = this.#read(this.#position, Math.min(this.#size, this.#position + Math.max(count, windowBytes)));
    }
    const start = this.#position - this.#windowStart;
    this.#position = end;
    return this.#window.subarray(start, start + count);
  }

  /** Text up to a line's end, which is passed over. */
  line(longest: number): string {
    const codes: number[] = [];
    for (;;) {
      const code = this.byte();
      if (code === 0x0a) return String.fromCharCode(...codes);
      if (codes.length === longest)
        throw new RuntimeError(`a name at byte ${this.#position} is longer than ${longest}`);
      codes.push(code);
    }
  }

  #mustHave(count: number): void {
    if (!(count >= 0 && this.#position + count <= this.#size))
      throw new RuntimeError(
        `truncated: ${count} bytes are wanted at byte ${this.#position}, ${this.#size - this.#position} are left`,
      );
  }
}

const windowBytes = 64 * 1024;
