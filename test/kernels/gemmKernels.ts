import type { GemmKernel, KernelHeader } from "../../compiler/schedule/kernels.ts";
import { parseScalar } from "../../ir/scalarText.ts";
import type { Precision } from "../../ir/types.ts";
import { access, operand, product, shared } from "./gemmCase.ts";

export type NamedGemm = { readonly kernel: GemmKernel; readonly header: KernelHeader };

const named = (
  name: string,
  kernel: GemmKernel,
  line: number,
  formula: string,
  shapes: readonly string[],
): NamedGemm => ({
  kernel,
  header: { name, origin: { file: "models/example.ts", line, column: 5, path: `model.${name}`, formula }, shapes },
});

/** gelu(norm(x) W + b): the first half of a transformer's MLP. */
export const normalisedMlp = (precision: Precision, rows = 1569, channels = 768, columns = 3072): NamedGemm =>
  named(
    "fc1",
    product(precision, [rows, columns, channels], {
      norm: { eps: 1e-6 },
      operands: [operand(precision, rows * channels), operand(precision, rows * columns), shared("f32", columns)],
      epilogue: {
        body: parseScalar("($0 + $1) * 0.5 * (1 + erf(($0 + $1) / 1.4142135623730951))"),
        elements: [access(2, "n")],
      },
    }),
    31,
    "y = gelu(norm(x) W + b)",
    [`x: [batch, ${rows}, ${channels}]`, `y: [batch, ${rows}, ${columns}]`],
  );

/** x W + b + residual, in place of the residual. */
export const residualProjection = (precision: Precision, rows = 1569, channels = 768): NamedGemm =>
  named(
    "proj",
    product(precision, [rows, channels, channels], {
      operands: [operand(precision, rows * channels), operand(precision, rows * channels), shared("f32", channels)],
      epilogue: {
        body: parseScalar("$0 + $1 + $2"),
        elements: [access(2, "n"), access(1, `r * ${channels} + n`)],
      },
    }),
    24,
    "x = x + (a W + b)",
    [`a, x: [batch, ${rows}, ${channels}]`],
  );

/** The product of patches cut from a channel-first float32 picture. */
export const patchEmbedding = (precision: Precision): NamedGemm => {
  const [size, patch, columns] = [224, 16, 768];
  const side = size / patch;
  const y = `floorDiv(r, ${side}) * ${patch} + mod(floorDiv(c, ${patch}), ${patch})`;
  const x = `mod(r, ${side}) * ${patch} + mod(c, ${patch})`;
  const base = product(precision, [side * side, columns, 3 * patch * patch]);
  return named(
    "patch_embed",
    {
      ...base,
      operands: [
        operand("f32", 3 * size * size),
        operand(precision, (side * side + 1) * columns),
        shared("f32", columns),
      ],
      a: { ...access(0, `(floorDiv(c, ${patch * patch}) * ${size} + ${y}) * ${size} + ${x}`), mean: null },
      epilogue: { body: parseScalar("$0 + $1"), elements: [access(2, "n")] },
      stores: [access(1, `(r + 1) * ${columns} + n`)],
    },
    12,
    "y = patches(x) W + b",
    [`x: [batch, 3, ${size}, ${size}]`, `y: [batch, 1 | ${side} x ${side}, ${columns}]`],
  );
};

/** A 3 x 3 window over a grid of tokens, one token of padding around it. */
export const convolution = (precision: Precision, channels = 64, columns = 128, side = 56): NamedGemm => {
  const y = `floorDiv(r, ${side}) + floorDiv(tap, 3) - 1`;
  const x = `mod(r, ${side}) + mod(tap, 3) - 1`;
  const inside = `${y} >= 0 && ${y} < ${side} && ${x} >= 0 && ${x} < ${side}`;
  return named(
    "conv",
    product(precision, [side * side, columns, 9 * channels], {
      operands: [
        operand(precision, side * side * channels),
        operand(precision, side * side * columns),
        shared("f32", columns),
      ],
      taps: 9,
      channels,
      a: { ...access(0, `((${y}) * ${side} + ${x}) * ${channels} + c`, inside), mean: null },
      epilogue: { body: parseScalar("max($0 + $1, 0)"), elements: [access(2, "n")] },
    }),
    40,
    "y = relu(conv(x) + b)",
    [`x: [batch, ${side}, ${side}, ${channels}]`, `y: [batch, ${side}, ${side}, ${columns}]`],
  );
};
