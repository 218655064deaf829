import { describe, expect, test } from "vitest";
import { joinProducts } from "../../compiler/schedule/joinProducts.ts";
import { lower } from "../../compiler/schedule/lower/lower.ts";
import { parseGraph } from "../../ir/parse.ts";

const weight = (id: number, out: number, into: number): string =>
  `%${id}: [out ${out}; ${into}] = parameter {name="w${id}", shape=[${out}, ${into}], layout="out c"}`;

/** A sampling of 4 points of 2 heads in a map that a product makes. */
const sampled = (points: readonly string[]): string => {
  const next = 4 + points.length;
  return [
    `graph "g"`,
    `%0: [b, h 4, w 3; 8] = input {name="x", layout="b h w c"}`,
    weight(1, 8, 8),
    weight(2, 8, 8),
    weight(3, 16, 8),
    ...points,
    `%${next}: [b, h 4, w 3, head 2, point 4; 2] = unpack %${next - 1} {sizes=[head 2, point 4]}`,
    `%${next + 1}: [1] = constant {values=[1]}`,
    `%${next + 2}: [b, h 4, w 3; 8] = sample %${next}, %${next + 1}, %4 {axes=[h, w], heads=[head], levels=[], over=[point], coordinates=pixels, padding=zeros, normalize=none}`,
    `output "y" = %${next + 2} "b h w c"`,
    "",
  ].join("\n");
};

const kindsOf = (text: string): readonly string[] =>
  joinProducts(lower(parseGraph(text), "bf16").launches).map(({ kernel }) =>
    kernel.kind === "products" ? `products ${kernel.products.map(({ columns }) => columns).join()}` : kernel.kind,
  );

describe("joinProducts", () => {
  test("launches the products of a sampling together", () => {
    const points = ["%4: [b, h 4, w 3; 8] = linear %0, %1", "%5: [b, h 4, w 3; 16] = linear %0, %3"];
    expect(kindsOf(sampled(points))).toEqual(["products 8,16", "sample"]);
  });

  test("does not let a product wait for one that reads it", () => {
    const points = [
      "%4: [b, h 4, w 3; 8] = linear %0, %1",
      "%5: [b, h 4, w 3; 8] = pointwise %4 {body=tanh($0)}",
      "%6: [b, h 4, w 3; 16] = linear %5, %3",
    ];
    expect(kindsOf(sampled(points))).toEqual(["gemm", "map", "gemm", "sample"]);
  });

  test("moves the first past what stands between and touches neither", () => {
    const points = [
      "%4: [b, h 4, w 3; 8] = linear %0, %1",
      "%5: [b, h 4, w 3; 8] = linear %0, %2",
      "%6: [b, h 4, w 3; 8] = pointwise %5 {body=tanh($0)}",
      "%7: [b, h 4, w 3; 16] = linear %6, %3",
    ];
    const kinds = kindsOf(sampled(points));
    expect(kinds.at(-2)).toBe("products 8,16");
    expect(kinds).toHaveLength(3);
  });

  /** A residual block: a branch of products, each behind a softmax, and a shortcut that changes channels. */
  const block = (length: number): string => {
    const products = Array.from({ length }, (_, i) => [
      `%${4 + 2 * i}: [b, h 4, w 3; 8] = linear %${i === 0 ? 0 : 3 + 2 * i}, %${i === 0 ? 1 : 2}`,
      `%${5 + 2 * i}: [b, h 4, w 3; 8] = softmax %${4 + 2 * i} {over=channels}`,
    ]);
    const next = 4 + 2 * length;
    return [
      `graph "g"`,
      `%0: [b, h 4, w 3; 8] = input {name="x", layout="b h w c"}`,
      weight(1, 8, 8),
      weight(2, 8, 8),
      weight(3, 16, 8),
      ...products.flat(),
      `%${next}: [b, h 4, w 3; 16] = linear %${next - 1}, %3`,
      `%${next + 1}: [b, h 4, w 3; 16] = linear %0, %3`,
      `%${next + 2}: [b, h 4, w 3; 16] = pointwise %${next}, %${next + 1} {body=max($0 + $1, 0)}`,
      `output "y" = %${next + 2} "b h w c"`,
      "",
    ].join("\n");
  };

  test("launches a shortcut with the branch's first product, which reads the same; the last adds it", () => {
    expect(kindsOf(block(2))).toEqual(["products 8,16", "row", "gemm", "row", "gemm"]);
  });

  test("keeps no shortcut waiting through a long branch", () => {
    const kinds = kindsOf(block(6));
    expect(kinds.filter((kind) => kind === "gemm")).toHaveLength(8);
    expect(kinds.at(-2)).toBe("gemm");
  });
});
