import { describe, expect, test } from "vitest";
import { checkCheckpoint, CheckpointError, checkpointOf } from "../../runtime/checkpoint.ts";
import { tensorFileOf } from "../../runtime/openTensors.ts";
import { encodeSafetensors, parseSafetensors, type TensorToWrite } from "../../runtime/safetensors.ts";
import { checkpointWith } from "./programs.ts";

const program = {
  name: "vit",
  parameters: [
    { name: "cls_token", shape: [1, 1, 8], resizing: null },
    { name: "blocks.0.norm1.weight", shape: [8], resizing: null },
    { name: "blocks.0.attn.qkv.weight", shape: [24, 8], resizing: null },
    { name: "head.bias", shape: [3], resizing: null },
  ],
  unused: ["head_dist.weight"],
};
const tensor = (...shape: number[]) => ({
  shape,
  values: Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => 0),
});
const fitting = {
  cls_token: tensor(8),
  "blocks.0.norm1.weight": tensor(8),
  "blocks.0.attn.qkv.weight": tensor(24, 8),
  "head.bias": tensor(1, 3),
};
const problemsOf = (tensors: Parameters<typeof checkpointWith>[0]): readonly string[] => {
  try {
    checkCheckpoint(program, checkpointWith(tensors));
    return [];
  } catch (error) {
    if (error instanceof CheckpointError) return error.problems;
    throw error;
  }
};

describe("a checkpoint", () => {
  test("fits whatever its extents of one, and may hold what the program leaves unused", () => {
    expect(problemsOf(fitting)).toEqual([]);
    expect(problemsOf({ ...fitting, "head_dist.weight": tensor(3, 8) })).toEqual([]);
  });

  test("that does not fit says all that is wrong at once, with the nearest names", () => {
    const { cls_token: token, "head.bias": _, ...rest } = fitting;
    expect(
      problemsOf({
        ...rest,
        cls_tokens: token,
        "blocks.0.attn.qkv.weight": tensor(8, 24),
        "optimizer.step": tensor(1),
      }),
    ).toMatchInlineSnapshot(`
      [
        "missing "cls_token" [1, 1, 8]; did you mean "cls_tokens"?",
        ""blocks.0.attn.qkv.weight" is [8, 24], the program wants [24, 8]",
        "missing "head.bias" [3]",
        "unexpected "cls_tokens" (for "cls_token"?)",
        "unexpected "optimizer.step"",
      ]
    `);
  });

  test("in a message, is named with the program and cut after many lines", () => {
    const many = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`extra.${i}`, tensor(1)]));
    expect(() => checkCheckpoint(program, checkpointWith({ ...fitting, ...many }))).toThrow(
      /^"test.safetensors" does not fit "vit":\n  unexpected "extra.0"[\s\S]*\n  and 20 more$/,
    );
  });

  test("reads every numeric type of a safetensors file", () => {
    const entry = (dtype: TensorToWrite["dtype"], array: ArrayBufferView & { length: number }): TensorToWrite => ({
      dtype,
      shape: [array.length],
      bytes: new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
    });
    const file = parseSafetensors(
      encodeSafetensors(
        new Map([
          // One byte in front puts all others at odd addresses.
          ["u8", entry("U8", Uint8Array.of(200))],
          ["f64", entry("F64", Float64Array.of(0.1, -1e300))],
          ["f32", entry("F32", Float32Array.of(1.5, -2))],
          ["f16", entry("F16", Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7c00))],
          ["bf16", entry("BF16", Uint16Array.of(0x3f80, 0xc000))],
          ["i64", entry("I64", BigInt64Array.of(-5n, 2n ** 40n))],
          ["i32", entry("I32", Int32Array.of(-(2 ** 31), 2 ** 31 - 1))],
          ["bool", entry("BOOL", Uint8Array.of(0, 1))],
          ["huge", entry("I64", BigInt64Array.of(2n ** 60n))],
          ["f8", entry("F8_E4M3", Uint8Array.of(1))],
        ]),
      ),
    );
    const checkpoint = checkpointOf(tensorFileOf(file));
    const read = (name: string): readonly number[] => [...(checkpoint.tensors.get(name)?.values() ?? [])];
    expect(read("u8")).toEqual([200]);
    expect(read("f64")).toEqual([0.1, -1e300]);
    expect(read("f32")).toEqual([1.5, -2]);
    expect(read("f16")).toEqual([1, -2, 2 ** -24, Infinity]);
    expect(read("bf16")).toEqual([1, -2]);
    expect(read("i64")).toEqual([-5, 2 ** 40]);
    expect(read("i32")).toEqual([-(2 ** 31), 2 ** 31 - 1]);
    expect(read("bool")).toEqual([0, 1]);
    expect(() => read("huge")).toThrow(/parameter "huge": element 0 \(1152921504606846976\) is beyond 2\^53/);
    expect(() => read("f8")).toThrow(/parameter "f8": F8_E4M3 is not a type that fovea reads/);
  });
});
