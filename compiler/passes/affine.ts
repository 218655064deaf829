import type { Scalar } from "../../ir/scalar.ts";

/** a + b of two arguments, in either order. */
export const isSum = (body: Scalar): boolean =>
  body.kind === "binary" &&
  body.op === "add" &&
  body.left.kind === "argument" &&
  body.right.kind === "argument" &&
  body.left.index !== body.right.index;

/** x * scale, or x * scale + shift, of arguments: which is which. */
export type Affine = { readonly x: number; readonly scale: number | null; readonly shift: number | null };

/** Reads a body as an affine map of argument `x` whose scale and shift are other arguments. */
export const affineIn = (body: Scalar, x: number): Affine | null => {
  if (body.kind === "argument") return body.index === x ? { x, scale: null, shift: null } : null;
  if (body.kind !== "binary") return null;
  const { op, left, right } = body;
  if (op === "mul") {
    if (left.kind === "argument" && right.kind === "argument" && left.index !== right.index) {
      if (left.index === x) return { x, scale: right.index, shift: null };
      if (right.index === x) return { x, scale: left.index, shift: null };
    }
    return null;
  }
  if (op !== "add") return null;
  const [inner, shift] =
    right.kind === "argument" && right.index !== x
      ? [left, right]
      : left.kind === "argument" && left.index !== x
        ? [right, left]
        : [null, null];
  if (!inner || !shift || shift.kind !== "argument") return null;
  const map = affineIn(inner, x);
  return map && map.shift === null ? { ...map, shift: shift.index } : null;
};
