import type { WeightExpr } from "./program.ts";

/** The shape of a prepared weight. */
export const weightShape = (value: WeightExpr): readonly number[] => {
  switch (value.kind) {
    case "parameter":
    case "constant":
    case "reshape":
    case "pad":
      return value.shape;
    case "permute": {
      const of = weightShape(value.of);
      return value.order.map((from) => of[from] ?? 1);
    }
    case "slice":
      return weightShape(value.of).with(value.axis, value.size);
    case "take":
    case "interpolate":
      return weightShape(value.of).with(value.axis, value.index.length);
    case "concat": {
      const shapes = value.of.map(weightShape);
      const size = shapes.reduce((sum, shape) => sum + (shape[value.axis] ?? 0), 0);
      return (shapes[0] ?? []).with(value.axis, size);
    }
    case "matmul":
      return [weightShape(value.left)[0] ?? 1, weightShape(value.right)[1] ?? 1];
    case "elementwise":
      return value.of.map(weightShape).reduce(broadcast, []);
    case "sum":
      return weightShape(value.of).filter((_, axis) => axis !== value.axis);
    case "rounded":
      return weightShape(value.of);
    case "pack": {
      const [columns = 1, depth = 1] = weightShape(value.of);
      const { tileN, tileK } = value.order;
      return [Math.ceil(columns / tileN) * tileN, Math.ceil(depth / tileK) * tileK];
    }
  }
};

/** The expressions that one is made of. */
export const weightParts = (value: WeightExpr): readonly WeightExpr[] => {
  switch (value.kind) {
    case "parameter":
    case "constant":
      return [];
    case "concat":
    case "elementwise":
      return value.of;
    case "matmul":
      return [value.left, value.right];
    default:
      return [value.of];
  }
};

const broadcast = (a: readonly number[], b: readonly number[]): readonly number[] => {
  const length = Math.max(a.length, b.length);
  const at = (shape: readonly number[], i: number): number => shape[i - (length - shape.length)] ?? 1;
  return Array.from({ length }, (_, i) => Math.max(at(a, i), at(b, i)));
};
