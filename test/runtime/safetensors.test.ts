import { mkdtempSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import {
  dtypeBytes,
  encodeSafetensors,
  openSafetensors,
  parseSafetensors,
  SafetensorsError,
  writeSafetensors,
  type Dtype,
  type TensorToWrite,
} from "../../runtime/safetensors.ts";

const scratch = mkdtempSync(join(tmpdir(), "fovea-safetensors-"));
afterAll(() => rmSync(scratch, { recursive: true }));

/** A file with this header, whatever it says, and `dataBytes` bytes behind it. */
const fileWith = (header: string | object, dataBytes: number, length?: bigint): Uint8Array => {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  file.set(json, 8);
  return file;
};
const f32 = (start: number, end: number, shape: readonly number[] = [(end - start) / 4]) => ({
  dtype: "F32",
  shape,
  data_offsets: [start, end],
});
const messageOf = (file: Uint8Array): string => {
  try {
    parseSafetensors(file, "file");
    return "no error";
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    return error.message;
  }
};

const tensor = fc
  .tuple(fc.constantFrom(...(Object.keys(dtypeBytes) as Dtype[])), fc.array(fc.nat({ max: 4 }), { maxLength: 3 }))
  .chain(([dtype, shape]) => {
    const bytes = shape.reduce((product, size) => product * size, dtypeBytes[dtype]);
    return fc.record({
      dtype: fc.constant(dtype),
      shape: fc.constant(shape),
      bytes: fc.uint8Array({ minLength: bytes, maxLength: bytes }),
    });
  });
const files = fc.record({
  tensors: fc
    .uniqueArray(fc.tuple(fc.string({ unit: "binary", maxLength: 6 }), tensor), {
      maxLength: 5,
      selector: ([name]) => name,
    })
    .map((entries): ReadonlyMap<string, TensorToWrite> => new Map(entries.filter(([name]) => name !== "__metadata__"))),
  metadata: fc.dictionary(fc.string(), fc.string(), { maxKeys: 2 }).map((each) => new Map(Object.entries(each))),
});

describe("a safetensors file", () => {
  test("holds what was written, whatever the names and types", () => {
    fc.assert(
      fc.property(files, ({ tensors, metadata }) => {
        const file = parseSafetensors(encodeSafetensors(tensors, metadata));
        expect(file.metadata).toEqual(metadata);
        expect([...file.tensors.keys()].toSorted()).toEqual([...tensors.keys()].toSorted());
        for (const [name, { dtype, shape, bytes }] of tensors) {
          const entry = file.tensors.get(name);
          if (entry === undefined) throw new Error(`"${name}" is gone`);
          expect(entry).toMatchObject({ name, dtype, shape });
          expect(file.bytes(entry)).toEqual(bytes);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("reads the same from a disk, by ranges", () => {
    const path = join(scratch, "ranges.safetensors");
    const bytes = Uint8Array.from({ length: 24 }, (_, i) => i);
    const tensors = new Map<string, TensorToWrite>([
      ["a", { dtype: "F32", shape: [2, 3], bytes }],
      ["empty", { dtype: "F32", shape: [0, 3], bytes: new Uint8Array(0) }],
      ["b", { dtype: "I64", shape: [], bytes: bytes.subarray(0, 8) }],
    ]);
    writeSafetensors(path, tensors, new Map([["format", "pt"]]));
    expect(new Uint8Array(readFileSync(path))).toEqual(encodeSafetensors(tensors, new Map([["format", "pt"]])));
    const file = openSafetensors(path);
    for (const [name, { bytes: written }] of tensors) {
      const entry = file.tensors.get(name);
      if (entry === undefined) throw new Error(`"${name}" is gone`);
      expect(file.bytes(entry)).toEqual(written);
    }
    const a = file.tensors.get("a");
    if (a === undefined) throw new Error("a is gone");
    truncateSync(path, 40);
    expect(() => file.bytes(a)).toThrow(/truncated: it became shorter/);
    file[Symbol.dispose]();
    expect(() => file.bytes(a)).toThrow(/was closed/);
    expect(() => openSafetensors(path)).toThrow(/truncated/);
    expect(() => openSafetensors(join(scratch, "none"))).toThrow(/cannot open ".*none": ENOENT/);
  });

  test("whose tensors are not in the order of their offsets is read all the same", () => {
    const file = parseSafetensors(fileWith({ second: f32(4, 12), first: f32(0, 4) }, 12));
    expect([...file.tensors.keys()]).toEqual(["second", "first"]);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["is empty", new Uint8Array(0), /0 bytes are too few/],
    ["ends within its length", new Uint8Array(7), /7 bytes are too few/],
    ["ends within its header", fileWith("{}", 0, 40n), /truncated: the header ends at byte 48, the file at 10/],
    ["lies about its header's length", fileWith("{}", 0, 2n ** 63n), /says it is 9223372036854775808 bytes long/],
    ["has a header that is just too long", fileWith("{}", 0, 100_000_001n), /more than the format's 100000000/],
    [
      "is something else",
      new TextEncoder().encode("PK\x03\x04 not this at all, but long enough"),
      /not a safetensors file\?/,
    ],
    ["has an empty header", fileWith("", 0), /does not begin with "\{"/],
    ["has a list for a header", fileWith("[]", 0), /does not begin with "\{"/],
    ["has half a header", fileWith('{"a":', 0), /not JSON/],
    [
      "has NaN in its header",
      fileWith('{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}', 4),
      /not JSON/,
    ],
    ["is not UTF-8", fileWith("{}", 0).with(8, 0x7b).with(9, 0xff), /not JSON in UTF-8/],
    [
      "has a tensor twice",
      fileWith(
        '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "\u0061": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
        4,
      ),
      /has "a" twice/,
    ],
    [
      "has a shape twice",
      fileWith('{"a": {"dtype": "F32", "shape": [2], "shape": [1], "data_offsets": [0, 4]}}', 4),
      /has "shape" twice/,
    ],
    [
      "has an unknown type",
      fileWith({ a: { ...f32(0, 4), dtype: "F33" } }, 4),
      /tensor "a": "F33" dtype; known are F64, F32/,
    ],
    ["has an inherited name for a type", fileWith({ a: { ...f32(0, 4), dtype: "toString" } }, 4), /"toString" dtype/],
    ["has no type", fileWith({ a: { shape: [1], data_offsets: [0, 4] } }, 4), /tensor "a": no dtype/],
    ["has a negative size", fileWith({ a: f32(0, 4, [-1]) }, 4), /shape \[-1\] is not/],
    ["has half a size", fileWith({ a: f32(0, 4, [0.5]) }, 4), /shape \[0.5\] is not/],
    ["has a size that is no number", fileWith({ a: { ...f32(0, 4), shape: ["1"] } }, 4), /shape \["1"\] is not/],
    [
      "has sizes beyond counting",
      fileWith({ a: f32(0, 4, [2 ** 40, 2 ** 40]) }, 4),
      /takes 4.8\d+e\+24 bytes, data_offsets span 4/,
    ],
    ["has three offsets", fileWith({ a: { ...f32(0, 4), data_offsets: [0, 2, 4] } }, 4), /not two whole numbers/],
    ["has offsets the wrong way round", fileWith({ a: f32(4, 0, [1]) }, 4), /end \(0\) before they start \(4\)/],
    [
      "has fewer bytes than its shape",
      fileWith({ a: f32(0, 4, [2]) }, 4),
      /F32 \[2\] takes 8 bytes, data_offsets span 4/,
    ],
    ["has tensors that overlap", fileWith({ a: f32(0, 8), b: f32(4, 12) }, 12), /"a" and "b" overlap at byte 4/],
    [
      "has the same bytes for two tensors",
      fileWith({ a: f32(0, 8), b: f32(0, 8) }, 8),
      /"a" and "b" overlap at byte 0/,
    ],
    ["has a gap", fileWith({ a: f32(0, 4), b: f32(8, 12) }, 12), /bytes 4 to 8 of the data belong to no tensor/],
    ["has more behind", fileWith({ a: f32(0, 4) }, 6), /2 bytes behind the last tensor/],
    [
      "has a tensor beyond its end",
      fileWith({ a: f32(0, 4), b: f32(4, 12) }, 8),
      /truncated: tensor "b" ends at byte 12 of the data, which has 8/,
    ],
    ["has a field of its own", fileWith({ a: { ...f32(0, 4), stride: [1] } }, 4), /unknown field "stride"/],
    ["has metadata that is not text", fileWith({ __metadata__: { a: 1 } }, 0), /__metadata__."a" is not a string/],
    ["has a tensor that is no object", fileWith({ a: 7 }, 0), /tensor "a" is not described by an object/],
  ])("that %s is refused", (_, file, message) => {
    expect(messageOf(file)).toMatch(message);
  });

  test("with a header that is all one name, escapes or brackets is refused like any other", () => {
    const long = 5_000_000;
    expect(messageOf(fileWith(`{"${"a".repeat(long)}": 1}`, 0))).toMatch(/is not described by an object/);
    expect(messageOf(fileWith(`{"${"\\\\".repeat(long)}": 1}`, 0))).toMatch(/is not described by an object/);
    expect(messageOf(fileWith(`{"a": ${"[".repeat(long)}`, 0))).toMatch(/not JSON/);
  });

  test("that is changed anywhere is read as it then stands, or refused: never anything else", () => {
    const valid = encodeSafetensors(
      new Map<string, TensorToWrite>([
        ["x.weight", { dtype: "F32", shape: [2, 3], bytes: new Uint8Array(24) }],
        ["x.bias", { dtype: "BF16", shape: [4], bytes: new Uint8Array(8) }],
      ]),
      new Map([["k", "v"]]),
    );
    const change = fc.oneof(
      fc.record({
        kind: fc.constant("set" as const),
        at: fc.nat({ max: valid.length - 1 }),
        value: fc.nat({ max: 255 }),
      }),
      fc.record({
        kind: fc.constant("cut" as const),
        at: fc.nat({ max: valid.length - 1 }),
        value: fc.nat({ max: 20 }),
      }),
      fc.record({
        kind: fc.constant("add" as const),
        at: fc.nat({ max: valid.length - 1 }),
        value: fc.constantFrom(...'0123456789,:{}[]"eE-+. ').map((c) => c.charCodeAt(0)),
      }),
    );
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        let bytes = Array.from(valid);
        for (const { kind, at, value } of changes)
          bytes =
            kind === "set"
              ? bytes.with(Math.min(at, bytes.length - 1), value)
              : bytes.toSpliced(at, ...((kind === "cut" ? [value] : [0, value]) as [number, number]));
        const content = Uint8Array.from(bytes);
        if (messageOf(content) !== "no error") return;
        // What was accepted fills its file exactly.
        const file = parseSafetensors(content);
        const length = Number(new DataView(content.buffer).getBigUint64(0, true));
        let sum = 0;
        for (const entry of file.tensors.values()) {
          sum += file.bytes(entry).length;
          expect(file.bytes(entry)).toHaveLength(
            entry.shape.reduce((product, size) => product * size, dtypeBytes[entry.dtype]),
          );
        }
        expect(8 + length + sum).toBe(content.length);
      }),
      { numRuns: 3000 },
    );
  });

  test("is not written with bytes that its shape does not say", () => {
    const wrong = new Map<string, TensorToWrite>([["a", { dtype: "F32", shape: [2], bytes: new Uint8Array(4) }]]);
    expect(() => writeSafetensors(join(scratch, "wrong"), wrong)).toThrow(/tensor "a" has 4 bytes; F32 \[2\] needs 8/);
    expect(() => readFileSync(join(scratch, "wrong"))).toThrow();
  });
});
