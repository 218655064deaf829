import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { RuntimeError } from "../../runtime/errors.ts";
import { openTensors } from "../../runtime/openTensors.ts";
import { encodeSafetensors, openSafetensors, type TensorToWrite } from "../../runtime/safetensors.ts";
import { fromBfloat16, fromFloat16 } from "../../runtime/storage.ts";
import { tensorFileOf } from "../../runtime/openTensors.ts";
import { WeightsFileError, type TensorFile } from "../../runtime/tensorFile.ts";
import { ops, pickled } from "../support/pickle.ts";
import { zip, type ZippedFile } from "../support/zip.ts";

const golden = fileURLToPath(new URL("../golden", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "fovea-weights-"));
afterAll(() => rmSync(scratch, { recursive: true }));

let count = 0;
const written = (content: Uint8Array | string, name = `${count++}.pth`): string => {
  const path = join(scratch, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  return path;
};
const plain = (file: TensorFile) =>
  new Map(
    [...file.tensors].map(([name, { dtype, shape, bytes }]) => [name, { dtype, shape, bytes: Buffer.from(bytes()) }]),
  );
const expected = (path: string) => {
  using file = tensorFileOf(openSafetensors(join(golden, path)));
  return plain(file);
};
const { text, integer, long, tuple, global, call, dict, tensor } = ops;

describe("checkpoints of PyTorch hold the tensors of their safetensors", () => {
  test.each([
    ["pth/timesformer-space-only-tiny.pyth", "timesformer/space-only-tiny/weights.safetensors"],
    ["pth/set-transformer-legacy.pt", "pth/set-transformer.expected.safetensors"],
    ["pth/views.pt", "pth/views.expected.safetensors"],
    ["pth/views-legacy.pt", "pth/views.expected.safetensors"],
  ])("%s", async (file, same) => {
    using found = await openTensors(join(golden, file));
    const tensors = expected(same);
    // NumPy, which wrote the expected file, has no dense scalars: it made an array of one.
    const scalar = tensors.get("scalar");
    if (scalar !== undefined) tensors.set("scalar", { ...scalar, shape: [] });
    expect(plain(found)).toEqual(tensors);
  });

  test("pth/video-swin-tiny-even.pth, by the digest of each tensor", async () => {
    using found = await openTensors(join(golden, "pth/video-swin-tiny-even.pth"));
    const digests = [...plain(found)].map(([name, { bytes, ...about }]) => {
      return [name, { ...about, sha256: createHash("sha256").update(bytes).digest("hex") }] as const;
    });
    expect(Object.fromEntries(digests)).toEqual(
      JSON.parse(readFileSync(join(golden, "pth/video-swin-tiny-even.expected.json"), "utf8")),
    );
  });

  test("rounded to float16 and bfloat16, each by its own rule", async () => {
    using found = await openTensors(join(golden, "pth/set-transformer-half-bf16.pt"));
    const exact = expected("pth/set-transformer.expected.safetensors");
    expect([...found.tensors.keys()]).toEqual([...exact.keys()]);
    expect(new Set([...found.tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(["F16", "BF16"]));
    for (const [name, { dtype, shape, bytes }] of found.tensors) {
      const content = bytes().slice();
      const bits = new Uint16Array(content.buffer);
      const values = dtype === "F16" ? fromFloat16(bits) : fromBfloat16(bits);
      const whole = exact.get(name);
      expect(shape).toEqual(whole?.shape);
      const numbers = new Float32Array(Uint8Array.from(whole?.bytes ?? []).buffer);
      expect(values).toHaveLength(numbers.length);
      const unit = dtype === "F16" ? 2 ** -11 : 2 ** -8;
      for (const [index, value] of values.entries()) {
        const error = Math.abs(value - (numbers[index] ?? NaN));
        expect(error).toBeLessThanOrEqual(Math.max(Math.abs(value) * unit, 2 ** -25));
      }
    }
  });
});

const floats = (...values: readonly number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);
const torchFile = (pickle: Uint8Array, ...others: readonly ZippedFile[]): Uint8Array =>
  zip([{ name: "a/data.pkl", content: pickle }, ...others]);
const storageOf = (...values: readonly number[]): ZippedFile => ({ name: "a/data/0", content: floats(...values) });
const pair = tensor({ elements: 2, shape: [integer(2)], strides: [integer(1)] });

describe("state dicts are found", () => {
  test.each([
    ["bare", dict([text("w"), pair])],
    ["beside notes", dict([text("epoch"), integer(3)], [text("model_state"), dict([text("w"), pair])])],
    ["two wrappings deep", dict([text("model"), dict([text("state_dict"), dict([text("w"), pair])])])],
    ["of a parallel module", dict([text("state_dict"), dict([text("module.w"), pair])])],
  ])("%s", async (_, value) => {
    using file = await openTensors(written(torchFile(pickled(value), storageOf(1, 2))));
    expect(plain(file)).toEqual(new Map([["w", { dtype: "F32", shape: [2], bytes: Buffer.from(floats(1, 2)) }]]));
  });

  test("or missed, by the keys that are there", async () => {
    const path = written(torchFile(pickled(dict([text("optimizer"), dict([text("w"), pair])])), storageOf(1, 2)));
    await expect(openTensors(path)).rejects.toThrow(/holds no tensors at its top.*its keys are optimizer/);
  });
});

/** A pickle of one tensor. */
const one = (options: Parameters<typeof tensor>[0]): Uint8Array =>
  torchFile(pickled(dict([text("w"), tensor(options)])), storageOf(1, 2));
const systemCall = call(global("os", "system"), text("touch /tmp/fovea-was-here"));
const many = (opcode: string, times: number): Uint8Array => Buffer.from(opcode.repeat(times), "latin1");
const legacy = (...pickles: readonly Uint8Array[]): Uint8Array =>
  Buffer.concat([Buffer.from("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "latin1"), ...pickles]);
const legacyHead = [pickled(integer(1001)), pickled(dict([text("little_endian"), Buffer.from([0x88])]))];

const hostile: readonly (readonly [string, () => Uint8Array, RegExp])[] = [
  [
    "calls the system",
    () => torchFile(pickled(systemCall)),
    /asks for "os.system", which no tensor needs; nothing was executed/,
  ],
  [
    "calls eval within a state dict",
    () => torchFile(pickled(dict([text("w"), call(global("builtins", "eval"), text("1"))]))),
    /"builtins.eval"/,
  ],
  [
    "names a global through the stack",
    () => torchFile(pickled(text("posix"), text("system"), Buffer.from([0x93]))),
    /"posix.system"/,
  ],
  ["makes an instance (INST)", () => torchFile(pickled("(S'x'\nios\nsystem\n")), /opcode 0x53 at byte 3/],
  ["uses an extension registry (EXT1)", () => torchFile(pickled(Buffer.from([0x82, 1]))), /opcode 0x82/],
  [
    "calls what is not a global",
    () => torchFile(pickled(text("os.system"), tuple(text("x")), "R")),
    /calls something that is not a global/,
  ],
  [
    "a whole module instead of its state",
    () => torchFile(pickled(call(global("models.vit", "TimeSformer")))),
    /"models.vit.TimeSformer".*\n.*torch.save\(model.state_dict\(\), path\)/,
  ],
  [
    "text longer than the file",
    () => torchFile(pickled("X\xff\xff\xff\xff")),
    /truncated: 4294967295 bytes are wanted/,
  ],
  [
    "text of 2^60 bytes",
    () => torchFile(pickled(Buffer.from([0x8d, 0, 0, 0, 0, 0, 0, 0, 0x10]))),
    /truncated: 1152921504606847000 bytes are wanted/,
  ],
  [
    "an integer of a gigabyte",
    () => torchFile(pickled(Buffer.from([0x8b, 0, 0, 0, 0x40]))),
    /an integer of 1073741824 bytes/,
  ],
  ["no end", () => torchFile(Buffer.from([0x80, 2, 0x4e])), /truncated/],
  ["takes from an empty stack", () => torchFile(pickled("R")), /takes a value where there is none/],
  ["appends below its mark", () => torchFile(pickled("](", "a")), /takes a value where there is none/],
  ["recalls what was never stored", () => torchFile(pickled("h\x07")), /recalls value 7/],
  [
    "a dictionary that holds itself",
    () => torchFile(pickled("}q\x00", text("model"), "h\x00s")),
    /it is no state dict/,
  ],
  ["millions of dictionaries", () => torchFile(pickled(many("}0", 1_500_000))), /more objects than any checkpoint/],
  ["millions of opcodes", () => torchFile(pickled(many("N0", 2_500_000))), /longer than that of any checkpoint/],
  [
    "a shape beyond its storage",
    () => one({ elements: 2, shape: [integer(1 << 30)], strides: [integer(1)] }),
    /reaches beyond its storage of 2 elements/,
  ],
  [
    "terabytes from one number",
    () => one({ elements: 2, shape: [integer(1 << 20), integer(1 << 20)], strides: [integer(0), integer(0)] }),
    /add up to more than 4.0 TiB: made to fill the memory/,
  ],
  [
    "a negative offset",
    () => one({ elements: 2, offset: integer(-4), shape: [integer(1)], strides: [integer(1)] }),
    /are no view/,
  ],
  [
    "sizes beyond exact numbers",
    () => one({ elements: 2, shape: [long(2n ** 62n), long(4n)], strides: [integer(0), integer(0)] }),
    /are no view/,
  ],
  [
    "a storage that says it has more",
    () => one({ elements: 1 << 28, shape: [integer(2)], strides: [integer(1)] }),
    /"a\/data\/0" has 8 bytes, 268435456 elements of F32 take/,
  ],
  [
    "a storage outside of the archive",
    () => one({ key: "../../../etc/passwd", elements: 2, shape: [integer(2)], strides: [integer(1)] }),
    /lacks its storage "a\/data\/..\/..\/..\/etc\/passwd"/,
  ],
  [
    "a path that leads out of the archive",
    () => zip([{ name: "../a/data.pkl", content: pickled(dict([text("w"), pair])) }]),
    /invalid relative path/,
  ],
  [
    "a file that is there twice",
    () => torchFile(pickled(dict()), storageOf(1), storageOf(2)),
    /has "a\/data\/0" twice/,
  ],
  [
    "a checksum that lies",
    () => zip([{ name: "a/data.pkl", content: pickled(dict()), crc: 1 }]),
    /its checksum differs/,
  ],
  [
    "a zip bomb",
    () =>
      zip(
        Array.from({ length: 40 }, (_, i) => ({
          name: `w${i}.npy`,
          content: new Uint8Array(4096),
          deflate: true,
          bytes: 1 << 30,
        })),
      ),
    /made to fill the memory/,
  ],
  [
    "a bomb that says it is small",
    () => zip([{ name: "w.npy", content: new Uint8Array(1 << 22), deflate: true, bytes: 100 }]),
    /is not 100 bytes/,
  ],
  [
    "an archive that is cut",
    () => one({ elements: 2, shape: [integer(2)], strides: [integer(1)] }).subarray(0, 200),
    /damaged, or not a zip archive/,
  ],
  ["a legacy file that calls", () => legacy(...legacyHead, pickled(systemCall)), /"os.system"/],
  [
    "a legacy storage that lies",
    () =>
      legacy(
        ...legacyHead,
        pickled(dict([text("w"), pair])),
        pickled("]", text("0"), "a"),
        Buffer.from([255, 255, 255, 255, 255, 255, 255, 127]),
      ),
    /has 9223372036854775807 elements and is said to have 2/,
  ],
  [
    "a legacy file that is cut",
    () =>
      legacy(
        ...legacyHead,
        pickled(dict([text("w"), pair])),
        pickled("]", text("0"), "a"),
        Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 1, 2]),
      ),
    /truncated: 8 bytes are wanted/,
  ],
  [
    "a legacy file of another byte order",
    () => legacy(pickled(integer(1001)), pickled(dict([text("little_endian"), Buffer.from([0x89])]))),
    /not written on a little-endian machine/,
  ],
  ["a pickle of something else", () => pickled(integer(5)), /none that torch.save writes/],
  [
    "a tar archive",
    () => Buffer.concat([Buffer.alloc(257, "x"), Buffer.from("ustar\0")]),
    /a tar archive, as PyTorch before 0.1.10/,
  ],
  [
    "a TorchScript program",
    () => torchFile(pickled(dict()), { name: "a/constants.pkl", content: new Uint8Array(3) }),
    /TorchScript program/,
  ],
];

describe("a hostile checkpoint is refused at once", () => {
  test.each(hostile)("%s", async (_, content, message) => {
    const path = written(content());
    const before = process.memoryUsage().rss;
    const start = performance.now();
    const error: unknown = await openTensors(path).then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(WeightsFileError);
    expect(String(error)).toMatch(message);
    expect(String(error)).toContain(path);
    expect(performance.now() - start).toBeLessThan(10_000);
    expect(process.memoryUsage().rss - before).toBeLessThan(700 * 2 ** 20);
  });

  test("and random damage never does more than be refused", async () => {
    const whole = readFileSync(join(golden, "pth/views.pt"));
    const old = readFileSync(join(golden, "pth/views-legacy.pt"));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(whole, old),
        fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 }),
        fc.option(fc.nat()),
        async (file, changes, cut) => {
          const changed = Uint8Array.from(file);
          for (const [at, value] of changes) changed[at % changed.length] = value;
          const path = written(cut === null ? changed : changed.subarray(0, cut % changed.length), "damaged.pth");
          try {
            using found = await openTensors(path);
            for (const { shape, bytes } of found.tensors.values())
              expect(bytes().length).toBeLessThanOrEqual(shape.reduce((product, size) => product * size, 8));
          } catch (error) {
            if (!(error instanceof RuntimeError)) throw error;
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

const npy = (header: string, data: Uint8Array): Uint8Array => {
  const head = Buffer.from(`\x93NUMPY\x01\x00\x00\x00${header}\n`, "latin1");
  head.writeUInt16LE(head.length - 10, 8);
  return Buffer.concat([head, data]);
};

describe("NumPy's archives", () => {
  test("are read in both orders, stored and deflated", async () => {
    const path = written(
      zip([
        {
          name: "a.npy",
          content: npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", floats(1, 2, 3, 4, 5, 6)),
        },
        {
          name: "b.npy",
          content: npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", floats(1, 4, 2, 5, 3, 6)),
          deflate: true,
        },
        { name: "s.npy", content: npy("{'descr': '|i1', 'fortran_order': False, 'shape': (), }", Uint8Array.of(254)) },
      ]),
      "arrays.npz",
    );
    using file = await openTensors(path);
    const both = { dtype: "F32", shape: [2, 3], bytes: Buffer.from(floats(1, 2, 3, 4, 5, 6)) };
    expect(plain(file)).toEqual(
      new Map([
        ["a", both],
        ["b", both],
        ["s", { dtype: "I8", shape: [], bytes: Buffer.from([254]) }],
      ]),
    );
  });

  test.each([
    [
      "objects",
      npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", floats(1)),
      /array "w": its type is "\|O"/,
    ],
    [
      "big-endian numbers",
      npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", floats(1)),
      /its type is ">f4"/,
    ],
    [
      "less data than they say",
      npy("{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999, 9), }", floats(1)),
      /takes 35999999999964 bytes, 4 are there/,
    ],
    [
      "records",
      npy("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,), }", floats(1)),
      /not that of a plain array/,
    ],
    ["something else", floats(1, 2, 3, 4), /does not begin as a file of NumPy/],
  ])("with %s are refused", async (_, content, message) => {
    await expect(openTensors(written(zip([{ name: "w.npy", content }])))).rejects.toThrow(message);
  });
});

describe("a sharded safetensors file", () => {
  const weight = (value: number): TensorToWrite => ({ dtype: "F32", shape: [1], bytes: floats(value) });
  written(encodeSafetensors(new Map([["a", weight(1)]])), "shards/1.safetensors");
  written(
    encodeSafetensors(
      new Map([
        ["b", weight(2)],
        ["c", weight(3)],
      ]),
    ),
    "shards/2.safetensors",
  );
  const index = (map: object, name: string): string =>
    written(JSON.stringify({ metadata: {}, weight_map: map }), `shards/${name}.json`);

  test("is opened by its index", async () => {
    using file = await openTensors(index({ a: "1.safetensors", c: "2.safetensors", b: "2.safetensors" }, "right"));
    expect([...plain(file)].map(([name, { bytes }]) => [name, bytes.readFloatLE()])).toEqual([
      ["a", 1],
      ["c", 3],
      ["b", 2],
    ]);
  });

  test.each([
    ["leads out of its folder", { a: "../1.safetensors" }, /"..\/1.safetensors", which does not lie beside it/],
    ["names a hidden file", { a: ".." }, /"..", which does not lie beside it/],
    ["misplaces a tensor", { bb: "1.safetensors" }, /"1.safetensors" lacks "bb"/],
    [
      "belongs to another model",
      { b: "2.safetensors" },
      /"2.safetensors" holds "c", which the index does not place there/,
    ],
    ["names a file that is not there", { a: "3.safetensors" }, /cannot open ".*3.safetensors"/],
    ["is none", null, /no index of a sharded safetensors file/],
  ])("is refused where the index %s", async (what, map, message) => {
    await expect(openTensors(index(map as object, `wrong ${what}`))).rejects.toThrow(message);
  });

  test("or any other file is told from weights by what is in it", async () => {
    await expect(openTensors(written("not weights at all"))).rejects.toThrow(
      /no file of weights that fovea reads: it begins with "not weig"/,
    );
    await expect(openTensors(written(""))).rejects.toThrow(/begins with ""/);
    await expect(openTensors(written(zip([{ name: "cat.jpg", content: floats(1) }])))).rejects.toThrow(
      /neither a checkpoint of PyTorch .* but cat.jpg/,
    );
    await expect(openTensors(scratch)).rejects.toThrow(/is not a file/);
  });
});
