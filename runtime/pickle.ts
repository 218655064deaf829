import { RuntimeError } from "./errors.ts";
import type { ByteReader } from "./byteReader.ts";

/**
 * What a pickle says, as data. Nothing is ever executed: a call is a note of what Python would have called. Values may
 * share parts and hold themselves.
 */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | { readonly kind: "list" | "tuple" | "set"; readonly items: PickleValue[] }
  | { readonly kind: "dict"; readonly entries: Map<PickleValue, PickleValue> }
  | { readonly kind: "global"; readonly name: string }
  | PickleCall
  /** A reference to something outside of the pickle. */
  | { readonly kind: "persistent"; readonly id: PickleValue };
export type PickleCall = {
  readonly kind: "call";
  /** "collections.OrderedDict" */
  readonly callee: string;
  readonly arguments: readonly PickleValue[];
  /** What was stored into the object afterwards; null for nothing. */
  entries: Map<PickleValue, PickleValue> | null;
};

/**
 * Reads one pickle of protocol 2 to 5 and stops behind it. `allowed` names the globals that may occur: any other is
 * refused by its name, and so are opcodes that data does not need. Time and memory are bounded by the bytes read, of
 * which there are `limits` at most. `onPersistent` hears of every reference to something outside.
 */
export const readPickle = (
  reader: ByteReader,
  allowed: (name: string) => boolean,
  onPersistent: (id: PickleValue) => void = () => {},
): PickleValue => {
  const machine = new PickleMachine(reader, allowed, onPersistent);
  for (;;) {
    const code = reader.byte();
    if (code === stop) return machine.result();
    machine.step(code);
  }
};

const limits = { bytes: 64 * 2 ** 20, operations: 4_000_000, containers: 1_000_000, memo: 2_000_000 } as const;
const stop = 0x2e;
const longestName = 200;
/** Of an integer; the longest that PyTorch writes has ten. */
const integerBytes = 16;

class PickleMachine {
  readonly #reader: ByteReader;
  readonly #allowed: (name: string) => boolean;
  readonly #onPersistent: (id: PickleValue) => void;
  readonly #start: number;
  readonly #stack: PickleValue[] = [];
  readonly #marks: number[] = [];
  readonly #memo: Map<number, PickleValue> = new Map();
  #operations = 0;
  #containers = 0;

  constructor(reader: ByteReader, allowed: (name: string) => boolean, onPersistent: (id: PickleValue) => void) {
    this.#reader = reader;
    this.#allowed = allowed;
    this.#onPersistent = onPersistent;
    this.#start = reader.position;
  }

  result(): PickleValue {
    if (this.#stack.length !== 1 || this.#marks.length > 0)
      throw new RuntimeError(`damaged: the pickle leaves ${this.#stack.length} values where there is one`);
    return this.pop();
  }

  step(code: number): void {
    this.#operations++;
    if (this.#operations > limits.operations || this.#reader.position - this.#start > limits.bytes)
      throw new RuntimeError("the pickle is longer than that of any checkpoint");
    const act = opcodes.get(code);
    if (act === undefined)
      throw new RuntimeError(
        `the pickle uses opcode 0x${code.toString(16).padStart(2, "0")} at byte ${this.#reader.position - 1}, which no tensor needs`,
      );
    act(this);
  }

  push(value: PickleValue): void {
    this.#stack.push(value);
  }

  container<T extends PickleValue>(value: T): void {
    if (++this.#containers > limits.containers)
      throw new RuntimeError("the pickle holds more objects than any checkpoint");
    this.#stack.push(value);
  }

  unsigned(bytes: number): number {
    let value = 0;
    const taken = this.#reader.take(bytes);
    for (let i = bytes - 1; i >= 0; i--) value = value * 256 + (taken[i] ?? 0);
    return value;
  }

  bytes(count: number): Uint8Array {
    return this.#reader.take(count).slice();
  }

  text(count: number, encoding: "utf-8" | "latin1" = "utf-8"): string {
    return new TextDecoder(encoding).decode(this.#reader.take(count));
  }

  float(): number {
    const { buffer, byteOffset } = this.#reader.take(8);
    return new DataView(buffer, byteOffset, 8).getFloat64(0);
  }

  integer(count: number): PickleValue {
    if (count > integerBytes) throw new RuntimeError(`the pickle holds an integer of ${count} bytes`);
    let value = 0n;
    const taken = this.#reader.take(count);
    for (let i = count - 1; i >= 0; i--) value = value * 256n + BigInt(taken[i] ?? 0);
    const signed = BigInt.asIntN(Math.max(1, count * 8), value);
    return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed;
  }

  mark(): void {
    this.#marks.push(this.#stack.length);
  }

  /** Everything above the last mark. */
  marked(): PickleValue[] {
    const from = this.#marks.pop();
    if (from === undefined || from > this.#stack.length) throw new RuntimeError("damaged: the pickle lacks a mark");
    return this.#stack.splice(from);
  }

  tuple(count: number): void {
    if (count > this.#stack.length - (this.#marks.at(-1) ?? 0)) this.#empty();
    this.container({ kind: "tuple", items: this.#stack.splice(this.#stack.length - count) });
  }

  pop(): PickleValue {
    // What lies below a mark belongs to whoever gathers from there.
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) return this.#empty();
    return this.#stack.pop() ?? null;
  }

  top(): PickleValue {
    const value = this.#stack.at(-1);
    if (value === undefined) return this.#empty();
    return value;
  }

  remember(index: number): void {
    if (this.#memo.size >= limits.memo) throw new RuntimeError("the pickle holds more objects than any checkpoint");
    this.#memo.set(index, this.top());
  }

  rememberNext(): void {
    this.remember(this.#memo.size);
  }

  recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined)
      throw new RuntimeError(`damaged: the pickle recalls value ${index}, which it never stored`);
    this.#stack.push(value);
  }

  global(module: string, name: string): void {
    const full = `${module}.${name}`;
    if (!this.#allowed(full)) {
      const hint = "in Python, save the state dict alone: torch.save(model.state_dict(), path)";
      throw new RuntimeError(
        `the pickle asks for ${JSON.stringify(full)}, which no tensor needs; nothing was executed\n  hint: if you trust the file, load it where it comes from and ${hint}`,
      );
    }
    this.container({ kind: "global", name: full });
  }

  globalByLines(): void {
    const module = this.#reader.line(longestName);
    this.global(module, this.#reader.line(longestName));
  }

  globalFromStack(): void {
    const name = this.pop();
    const module = this.pop();
    if (typeof name !== "string" || typeof module !== "string")
      throw new RuntimeError("damaged: the pickle names a global by something that is no text");
    this.global(module, name);
  }

  call(): void {
    const given = this.pop();
    const callee = this.pop();
    if (!isKind(callee, "global") || !isKind(given, "tuple"))
      throw new RuntimeError("the pickle calls something that is not a global");
    this.container({ kind: "call", callee: callee.name, arguments: given.items, entries: null });
  }

  persistent(): void {
    const id = this.pop();
    this.#onPersistent(id);
    this.container({ kind: "persistent", id });
  }

  append(values: readonly PickleValue[]): void {
    const to = this.top();
    if (!isKind(to, "list") && !isKind(to, "set") && !isKind(to, "call"))
      throw new RuntimeError("damaged: the pickle appends to something that is no list");
    // What is appended to an object that was called for, no tensor needs.
    if (to.kind !== "call") for (const value of values) to.items.push(value);
  }

  store(pairs: readonly PickleValue[]): void {
    const to = this.top();
    if (pairs.length % 2 !== 0 || (!isKind(to, "dict") && !isKind(to, "call")))
      throw new RuntimeError("damaged: the pickle stores into something that is no dictionary");
    const entries = to.kind === "dict" ? to.entries : (to.entries ??= new Map());
    for (let i = 0; i < pairs.length; i += 2) entries.set(pairs[i] ?? null, pairs[i + 1] ?? null);
  }

  protocol(version: number): void {
    if (version < 2 || version > 5) throw new RuntimeError(`the pickle has protocol ${version}; 2 to 5 can be read`);
  }

  #empty(): never {
    throw new RuntimeError("damaged: the pickle takes a value where there is none");
  }
}

export const isKind = <K extends (PickleValue & { kind: string })["kind"]>(
  value: PickleValue | undefined,
  kind: K,
): value is Extract<PickleValue, { readonly kind: string }> & { readonly kind: K } =>
  typeof value === "object" && value !== null && !(value instanceof Uint8Array) && value.kind === kind;

/** pickletools.py of Python names and explains them. */
const opcodes: ReadonlyMap<number, (machine: PickleMachine) => void> = new Map<number, (m: PickleMachine) => void>([
  [0x80, (m) => m.protocol(m.unsigned(1))], // PROTO
  [0x95, (m) => void m.unsigned(8)], // FRAME: lengths of parts, for readers that want them
  [0x28, (m) => m.mark()], // MARK
  [0x30, (m) => void m.pop()], // POP
  [0x31, (m) => void m.marked()], // POP_MARK
  [0x32, (m) => m.push(m.top())], // DUP
  [0x4e, (m) => m.push(null)], // NONE
  [0x88, (m) => m.push(true)], // NEWTRUE
  [0x89, (m) => m.push(false)], // NEWFALSE
  [0x4b, (m) => m.push(m.unsigned(1))], // BININT1
  [0x4d, (m) => m.push(m.unsigned(2))], // BININT2
  [0x4a, (m) => m.push(m.unsigned(4) | 0)], // BININT
  [0x8a, (m) => m.push(m.integer(m.unsigned(1)))], // LONG1
  [0x8b, (m) => m.push(m.integer(m.unsigned(4)))], // LONG4
  [0x47, (m) => m.push(m.float())], // BINFLOAT
  [0x8c, (m) => m.push(m.text(m.unsigned(1)))], // SHORT_BINUNICODE
  [0x58, (m) => m.push(m.text(m.unsigned(4)))], // BINUNICODE
  [0x8d, (m) => m.push(m.text(m.unsigned(8)))], // BINUNICODE8
  [0x55, (m) => m.push(m.text(m.unsigned(1), "latin1"))], // SHORT_BINSTRING
  [0x54, (m) => m.push(m.text(m.unsigned(4), "latin1"))], // BINSTRING
  [0x43, (m) => m.push(m.bytes(m.unsigned(1)))], // SHORT_BINBYTES
  [0x42, (m) => m.push(m.bytes(m.unsigned(4)))], // BINBYTES
  [0x8e, (m) => m.push(m.bytes(m.unsigned(8)))], // BINBYTES8
  [0x29, (m) => m.tuple(0)], // EMPTY_TUPLE
  [0x85, (m) => m.tuple(1)], // TUPLE1
  [0x86, (m) => m.tuple(2)], // TUPLE2
  [0x87, (m) => m.tuple(3)], // TUPLE3
  [0x74, (m) => m.container({ kind: "tuple", items: m.marked() })], // TUPLE
  [0x5d, (m) => m.container({ kind: "list", items: [] })], // EMPTY_LIST
  [0x6c, (m) => m.container({ kind: "list", items: m.marked() })], // LIST
  [0x61, (m) => m.append([m.pop()])], // APPEND
  [0x65, (m) => m.append(m.marked())], // APPENDS
  [0x7d, (m) => m.container({ kind: "dict", entries: new Map() })], // EMPTY_DICT
  [0x73, (m) => m.store([m.pop(), m.pop()].toReversed())], // SETITEM
  [0x75, (m) => m.store(m.marked())], // SETITEMS
  [0x8f, (m) => m.container({ kind: "set", items: [] })], // EMPTY_SET
  [0x90, (m) => m.append(m.marked())], // ADDITEMS
  [0x91, (m) => m.container({ kind: "set", items: m.marked() })], // FROZENSET
  [0x71, (m) => m.remember(m.unsigned(1))], // BINPUT
  [0x72, (m) => m.remember(m.unsigned(4))], // LONG_BINPUT
  [0x94, (m) => m.rememberNext()], // MEMOIZE
  [0x68, (m) => m.recall(m.unsigned(1))], // BINGET
  [0x6a, (m) => m.recall(m.unsigned(4))], // LONG_BINGET
  [0x63, (m) => m.globalByLines()], // GLOBAL
  [0x93, (m) => m.globalFromStack()], // STACK_GLOBAL
  [0x52, (m) => m.call()], // REDUCE
  [0x81, (m) => m.call()], // NEWOBJ
  [0x62, (m) => void m.pop()], // BUILD: attributes of objects, of which no tensor needs any
  [0x51, (m) => m.persistent()], // BINPERSID
]);
