/** Writes pickles opcode by opcode: also those that Python would never write. */
export const pickled = (...parts: readonly (Uint8Array | string)[]): Uint8Array =>
  Buffer.concat([
    ops.protocol,
    ...parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : part)),
    ops.stop,
  ]);

const word = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
};

const text = (value: string): Uint8Array =>
  Buffer.concat([Buffer.from("X"), word(Buffer.byteLength(value)), Buffer.from(value)]);
const integer = (value: number): Uint8Array => Buffer.concat([Buffer.from("J"), word(value)]);
const long = (value: bigint): Uint8Array => {
  const bytes = Buffer.alloc(10);
  bytes[0] = 0x8a;
  bytes[1] = 8;
  bytes.writeBigInt64LE(value, 2);
  return bytes;
};
const tuple = (...items: readonly Uint8Array[]): Uint8Array =>
  Buffer.concat([Buffer.from("("), ...items, Buffer.from("t")]);
const global = (module: string, name: string): Uint8Array => Buffer.from(`c${module}\n${name}\n`);
const call = (callee: Uint8Array, ...args: readonly Uint8Array[]): Uint8Array =>
  Buffer.concat([callee, tuple(...args), Buffer.from("R")]);
const dict = (...entries: readonly (readonly [Uint8Array, Uint8Array])[]): Uint8Array =>
  Buffer.concat([Buffer.from("}("), ...entries.flat(), Buffer.from("u")]);
const storage = (type: string, key: string, elements: Uint8Array): Uint8Array =>
  Buffer.concat([tuple(text("storage"), global("torch", type), text(key), text("cpu"), elements), Buffer.from("Q")]);

/** A tensor of float32 in the storage "0". */
const tensor = (options: {
  readonly elements: number;
  readonly offset?: Uint8Array;
  readonly shape: readonly Uint8Array[];
  readonly strides: readonly Uint8Array[];
  readonly type?: string;
  readonly key?: string;
}): Uint8Array =>
  call(
    global("torch._utils", "_rebuild_tensor_v2"),
    storage(options.type ?? "FloatStorage", options.key ?? "0", integer(options.elements)),
    options.offset ?? integer(0),
    tuple(...options.shape),
    tuple(...options.strides),
    Buffer.from([0x89]),
    call(global("collections", "OrderedDict")),
  );

export const ops = {
  protocol: Buffer.from([0x80, 2]),
  stop: Buffer.from("."),
  text,
  integer,
  long,
  tuple,
  global,
  call,
  dict,
  tensor,
} as const;
