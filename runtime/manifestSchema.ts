import { z } from "zod";
import type { Manifest } from "../ir/manifest.ts";
import type { BlockCount, WeightExpr, WeightOrder } from "../ir/program.ts";
import type { BinaryOp, Scalar, UnaryOp } from "../ir/scalar.ts";
import { binaryFunctions, unaryFunctions } from "../ir/scalarMeaning.ts";

// manifest.json as its text has it. One description checks manifests when they are read, and comes with each artefact as
// JSON Schema. Fields that it does not know are refused rather than left out: a launch without one of its own is another.

const count = z.int().min(0);
const extent = z.int().min(1);
const shape = z.array(count);
const storage = z.enum(["f32", "f16", "bf16", "i32", "u8"]);
/** Numbers that JSON has no word for are written as { "number": "-Infinity" }. */
const anyNumber = z.union([
  z.number(),
  z.strictObject({ number: z.enum(["-0", "Infinity", "-Infinity", "NaN"]) }).transform((word) => Number(word.number)),
]);
const linear = z
  .strictObject({ fixed: z.number(), perExample: z.number() })
  .meta({ description: "fixed + perExample * batch" });

const buffer = z.discriminatedUnion("space", [
  z.strictObject({ space: z.literal("activations"), offset: count, bytesPerExample: count }),
  z.strictObject({ space: z.literal("shared"), offset: count, bytes: count }),
  z.strictObject({ space: z.literal("weights"), offset: count, bytes: count }),
  z.strictObject({ space: z.enum(["input", "output", "kept"]), index: count }),
]);

const port = z
  .strictObject({
    name: z.string(),
    storage,
    layout: z.array(z.array(z.array(z.string()))),
    shape: z.array(z.union([count, z.strictObject({ batchTimes: count })])),
    range: z.strictObject({ min: z.int(), max: z.int() }).optional(),
    upTo: z.strictObject({ dimension: count, extent, count: z.string() }).nullable().meta({
      description: "of each `extent` elements along the dimension as many are there as the output `count` says",
    }),
    buffer,
  })
  .meta({
    description: "a dense, row-major array; its layout lists the parts of each dimension, and the axes of each part",
  });

const unaryOp = z.enum(Object.keys(unaryFunctions) as UnaryOp[]);
const binaryOp = z.enum(Object.keys(binaryFunctions) as BinaryOp[]);
const scalar: z.ZodType<Scalar> = z.lazy(() =>
  z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("number"), value: anyNumber }),
    z.strictObject({ kind: z.literal("variable"), name: z.string() }),
    z.strictObject({ kind: z.literal("argument"), index: count }),
    z.strictObject({ kind: z.literal("load"), table: count, index: z.array(scalar) }),
    z.strictObject({ kind: z.literal("unary"), op: unaryOp, of: scalar }),
    z.strictObject({ kind: z.literal("binary"), op: binaryOp, left: scalar, right: scalar }),
    z.strictObject({ kind: z.literal("select"), if: scalar, then: scalar, else: scalar }),
  ]),
);

const weightOrders = {
  fragments: z.strictObject({ kind: z.literal("fragments"), tileN: extent, tileK: extent, group: z.literal([16, 32]) }),
  fragments32: z.strictObject({ kind: z.literal("fragments32"), tileN: extent, tileK: extent }),
  tiles: z.strictObject({ kind: z.literal("tiles"), tileN: extent, tileK: extent }),
} satisfies { readonly [K in WeightOrder["kind"]]: z.ZodType<WeightOrder & { readonly kind: K }> };
const weightOrder = z.discriminatedUnion("kind", [
  weightOrders.fragments,
  weightOrders.fragments32,
  weightOrders.tiles,
]);
const weightExpr: z.ZodType<WeightExpr> = z.lazy(() =>
  z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("parameter"), name: z.string(), shape }),
    z.strictObject({ kind: z.literal("constant"), shape, values: z.array(anyNumber) }),
    z.strictObject({ kind: z.literal("reshape"), of: weightExpr, shape }),
    z.strictObject({ kind: z.literal("permute"), of: weightExpr, order: z.array(count) }),
    z.strictObject({
      kind: z.literal("slice"),
      of: weightExpr,
      axis: count,
      start: z.int(),
      step: z.int(),
      size: count,
    }),
    z.strictObject({ kind: z.literal("concat"), of: z.array(weightExpr), axis: count }),
    z.strictObject({ kind: z.literal("pad"), of: weightExpr, shape, fill: anyNumber }),
    z.strictObject({ kind: z.literal("matmul"), left: weightExpr, right: weightExpr }),
    z.strictObject({ kind: z.literal("elementwise"), of: z.array(weightExpr), body: scalar }),
    z.strictObject({ kind: z.literal("sum"), of: weightExpr, axis: count }),
    z.strictObject({ kind: z.literal("rounded"), of: weightExpr, storage }),
    z.strictObject({ kind: z.literal("take"), of: weightExpr, axis: count, index: z.array(count) }),
    z.strictObject({
      kind: z.literal("interpolate"),
      of: weightExpr,
      axis: count,
      index: z.array(z.array(count)),
      weights: z.array(z.array(z.number())),
    }),
    z.strictObject({ kind: z.literal("pack"), of: weightExpr, order: weightOrder }),
  ]),
);
const weight = z
  .strictObject({ name: z.string(), storage, offset: count, bytes: count, value: weightExpr })
  .meta({ description: "an array on the device, and how it is made of the checkpoint's parameters" });

const resizing = z
  .strictObject({ mode: z.enum(["bicubic", "nearest"]), grid: z.array(extent), leading: count })
  .meta({ description: "how a parameter is made from one of another size" });

const kernel = z.strictObject({
  name: z.string(),
  source: z.string(),
  family: z.string(),
  threads: extent,
  sharedBytes: count,
  images: z
    .record(z.string(), z.string())
    .meta({ description: "files by target: sm_80, sm_90a, compute_90, emulated; one fatbin holds those for GPUs" }),
  ptxas: z.record(
    z.string(),
    z.strictObject({ registers: count, spillBytes: count, staticSharedBytes: count, stackBytes: count }),
  ),
  notes: z.array(z.string()).meta({ description: "tiles, and the reasons for them" }),
});

const blocks: z.ZodType<BlockCount> = z
  .lazy(() =>
    z.strictObject({
      factor: count,
      fixed: count,
      perExample: count,
      divisor: extent,
      plus: blocks.exactOptional(),
    }),
  )
  .meta({ description: "factor * ceil((fixed + perExample * batch) / divisor), and `plus` where there is one" });
const step = z
  .strictObject({
    kernel: z.string(),
    grid: z.tuple([blocks, blocks, blocks]),
    arguments: z.array(
      z.discriminatedUnion("kind", [
        z.strictObject({ kind: z.literal("buffer"), buffer, offset: count }),
        z.strictObject({ kind: z.literal("batch") }),
      ]),
    ),
    origin: z.strictObject({ file: z.string(), line: count, column: count, path: z.string(), formula: z.string() }),
    work: z.strictObject({ flops: linear, readBytes: linear, writeBytes: linear }),
  })
  .meta({ description: "a launch: its line of the model's source, the module's path, and the work that it needs" });

const program = z
  .strictObject({
    extents: z.record(z.string(), extent),
    inputs: z.array(port),
    outputs: z.array(port),
    kept: z.array(port),
    memory: z
      .strictObject({ activations: count, shared: count })
      .meta({ description: "bytes: an example's, and all examples'" }),
    kernels: z.array(z.string()),
    steps: z.array(step),
    loop: z
      .strictObject({ from: count, to: extent, flag: buffer, atMost: extent })
      .nullable()
      .meta({ description: "steps that are launched again while a number of the flag, an i32 of each example, is 1" }),
  })
  .meta({ description: "the network for one combination of the symbolic axes' extents" });

export const manifestSchema: z.ZodType<Manifest> = z.object({
  format: z.literal(3),
  name: z.string(),
  precision: z.enum(["f32", "f16", "bf16"]),
  contract: z.object({
    batch: z.object({ min: extent, max: extent }),
    axes: z.array(z.object({ axis: z.string(), extents: z.array(extent) })),
  }),
  parameters: z.array(z.object({ name: z.string(), shape, resizing: resizing.nullable() })),
  unused: z.array(z.string()).meta({ description: "names that a checkpoint may hold and nothing reads" }),
  memory: z.object({ weights: count }),
  programs: z.array(program).min(1),
  kernels: z.array(kernel),
  weights: z.array(weight),
  checksums: z.record(z.string(), z.string()).meta({ description: "SHA-256 of every other file, by its path" }),
});

/** What every manifest.json of this format is, for other programs. */
export const manifestJsonSchema = (): object => z.toJSONSchema(manifestSchema, { io: "input", reused: "ref" });
