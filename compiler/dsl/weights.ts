import type { Scalar } from "../../ir/scalar.ts";
import { add, argument, eq, literal, mul, select, variable } from "../../ir/scalarBuild.ts";
import { noPrefix } from "../../ir/types.ts";
import { attend, type AttendOptions } from "./attend.ts";
import { type Axis, product, sizeAlong } from "./axes.ts";
import { type AnyGrid, type Grid, gridOf } from "./grid.ts";
import { append } from "./trace.ts";

/**
 * What each query gives each key, after score and normalisation, as numbers on two new axes: `head` and `key`, the
 * key's position on the axes `over`, flattened, the last fastest. Keys at one such position are added up, so `over`
 * names all axes on which the keys of a query differ. Of `normalize: "none"` these are the scores, 0 where hidden.
 * It is the attention of unit vectors, and makes of the weights the tensor that attention itself does without.
 */
export function attentionWeights<Q extends Axis, K extends Axis>(
  q: Grid<Q>,
  k: Grid<K>,
  over: readonly NoInfer<K>[],
  options: AttendOptions<Q, K> = {},
): Grid<Q | "head" | "key"> {
  const heads = options.heads ?? q.runs;
  const sizes = over.map((axis) => sizeAlong("attentionWeights", k.type, axis));
  const weighed = attend(q, k, unitVectors(k, over, heads), { ...options, heads });
  return weighed.unpack({ head: heads, key: product(sizes) });
}

/**
 * Of each head, a channel for each position on the axes `over`: one at the token's own, zero at the others. Along the
 * other axes of the keys it is the same, and takes no memory.
 */
function unitVectors<K extends Axis>(k: Grid<K>, over: readonly K[], heads: number): Grid<K> {
  const { axes } = k.type;
  const extents = over.map((axis) => ({ axis, size: sizeAlong("attentionWeights", k.type, axis) }));
  const count = product(extents.map(({ size }) => size));
  const type = { element: "float", batch: false, prefix: noPrefix, axes: [], channels: 1 } as const;
  const one = append("constant", [], { values: [1], type });
  const square = append("expand", [one], { sizes: [{ axis: "key", size: count }, ...extents] });
  const position = extents.reduce<Scalar>(
    (flat, { axis, size }) => add(mul(flat, size), variable(`x.${axis}`)),
    literal(0),
  );
  const unit = append("pointwise", [square], { body: select(eq(position, variable("x.key")), argument(0), 0) });
  const others = axes.filter(({ axis }) => !extents.some((extent) => extent.axis === axis));
  const everywhere = append("expand", [unit], { sizes: [{ axis: "head", size: heads }, ...others] });
  // The axes in the order of the keys'.
  const packed = append("pack", [everywhere], { axes: [...axes.map(({ axis }) => axis), "head", "key"] });
  return gridOf(append("unpack", [packed], { sizes: axes }));
}

/** The value as it is for each example, where all examples share it: for what published code repeats over the batch. */
export function perExample<A extends Axis>(x: Grid<A>, batched: AnyGrid): Grid<A> {
  if (x.type.batch) return x;
  const { axes } = batched.type;
  let one = append("channels", [batched.value], { groups: 1, start: 0, width: 1 });
  for (const { axis } of axes) one = append("slice", [one], { axis, start: 0, step: 1, size: 1 });
  one = append("pack", [one], { axes: axes.map(({ axis }) => axis) });
  return gridOf(append("pointwise", [x.value, one], { body: argument(0) }));
}

/** y[n] = the sum over channels of x[c] · weight[n, c]: a linear layer whose weight is a value. */
export function linear<A extends Axis>(x: Grid<A>, weight: Grid<"out">): Grid<A> {
  return gridOf(append("linear", [x.value, weight.value], {}));
}
