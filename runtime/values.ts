import { RuntimeError } from "./errors.ts";
import { formatShape } from "./text.ts";

/** A dense, row-major array in float64: what weights are prepared in. Never written to once it is made. */
export type Values = { readonly shape: readonly number[]; readonly data: Float64Array };

export const countOf = (shape: readonly number[]): number => shape.reduce((count, size) => count * size, 1);

export const reshape = ({ shape, data }: Values, to: readonly number[]): Values => {
  if (countOf(to) !== data.length) throw new RuntimeError(`cannot reshape ${formatShape(shape)} to ${formatShape(to)}`);
  return { shape: to, data };
};

/** Axis i of the result is axis order[i] of the source. */
export const permute = ({ shape, data }: Values, order: readonly number[]): Values => {
  if (order.toSorted((a, b) => a - b).join() !== shape.map((_, axis) => axis).join())
    throw new RuntimeError(`[${order.join(", ")}] is not an order of the axes of ${formatShape(shape)}`);
  const strides = stridesOf(shape);
  const to = order.map((axis) => sizeAt(shape, axis));
  const result = new Float64Array(data.length);
  copyStrided(
    data,
    to,
    order.map((axis) => sizeAt(strides, axis)),
    result,
  );
  return { shape: to, data: result };
};

/** The array repeated along axes that `to` has and it lacks, as NumPy broadcasts. */
export const broadcast = (values: Values, to: readonly number[]): Values => {
  const { shape, data } = values;
  if (formatShape(shape) === formatShape(to)) return values;
  const strides = stridesOf(shape);
  const lead = to.length - shape.length;
  const steps = to.map((size, axis) => {
    const own = axis < lead ? 1 : sizeAt(shape, axis - lead);
    if (own !== size && own !== 1)
      throw new RuntimeError(`${formatShape(shape)} does not broadcast to ${formatShape(to)}`);
    return own === 1 ? 0 : sizeAt(strides, axis - lead);
  });
  const result = new Float64Array(countOf(to));
  copyStrided(data, to, steps, result);
  return { shape: to, data: result };
};

/** The shape that operands broadcast to. */
export const broadcastShape = (shapes: readonly (readonly number[])[]): readonly number[] => {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    const sizes = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1).filter((size) => size !== 1);
    if (new Set(sizes).size > 1) throw new RuntimeError(`${shapes.map(formatShape).join(" and ")} do not broadcast`);
    return sizes[0] ?? 1;
  });
};

/** `size` elements of an axis, every `step`-th from `start`. */
export const slice = (values: Values, axis: number, start: number, step: number, size: number): Values =>
  take(
    values,
    axis,
    Array.from({ length: size }, (_, i) => start + i * step),
  );

/** Along `axis`, element i of the result is element index[i]. */
export const take = ({ shape, data }: Values, axis: number, index: readonly number[]): Values => {
  const { outer, size, inner } = splitAt(shape, axis);
  const wrong = index.find((at) => !(at >= 0 && at < size && Number.isInteger(at)));
  if (wrong !== undefined) throw new RuntimeError(`index ${wrong} is outside of axis ${axis} of ${formatShape(shape)}`);
  const result = new Float64Array(outer * index.length * inner);
  let to = 0;
  for (let o = 0; o < outer; o++)
    for (const at of index) {
      const from = (o * size + at) * inner;
      if (inner === 1) result[to] = data[from] ?? 0;
      else result.set(data.subarray(from, from + inner), to);
      to += inner;
    }
  return { shape: shape.with(axis, index.length), data: result };
};

export const concat = (parts: readonly Values[], axis: number): Values => {
  const [first] = parts;
  if (first === undefined) throw new RuntimeError("nothing to concatenate");
  const shape = first.shape.with(
    axis,
    parts.reduce((sum, part) => sum + sizeAt(part.shape, axis), 0),
  );
  const result = new Float64Array(countOf(shape));
  const { outer, size, inner } = splitAt(shape, axis);
  let at = 0;
  for (const part of parts) {
    const own = sizeAt(part.shape, axis);
    if (formatShape(part.shape.with(axis, 0)) !== formatShape(shape.with(axis, 0)))
      throw new RuntimeError(
        `cannot concatenate ${formatShape(part.shape)} with ${formatShape(first.shape)} along axis ${axis}`,
      );
    for (let o = 0; o < outer; o++)
      result.set(part.data.subarray(o * own * inner, (o + 1) * own * inner), (o * size + at) * inner);
    at += own;
  }
  return { shape, data: result };
};

/** `fill` behind the elements, up to `to`. */
export const pad = ({ shape, data }: Values, to: readonly number[], fill: number): Values => {
  if (to.length !== shape.length || to.some((size, axis) => size < sizeAt(shape, axis)))
    throw new RuntimeError(`cannot pad ${formatShape(shape)} to ${formatShape(to)}`);
  const result = new Float64Array(countOf(to)).fill(fill);
  const run = shape.at(-1) ?? 1;
  const strides = stridesOf(to);
  const at = shape.map(() => 0);
  const rows = run === 0 ? 0 : data.length / run;
  for (let row = 0; row < rows; row++) {
    let offset = 0;
    for (let axis = 0; axis < at.length - 1; axis++) offset += sizeAt(at, axis) * sizeAt(strides, axis);
    result.set(data.subarray(row * run, (row + 1) * run), offset);
    for (let axis = at.length - 2; axis >= 0; axis--) {
      at[axis] = sizeAt(at, axis) + 1;
      if (sizeAt(at, axis) < sizeAt(shape, axis)) break;
      at[axis] = 0;
    }
  }
  return { shape: to, data: result };
};

/** Drops the axis. */
export const sum = ({ shape, data }: Values, axis: number): Values => {
  const { outer, size, inner } = splitAt(shape, axis);
  const result = new Float64Array(outer * inner);
  if (inner === 1) {
    for (let o = 0, from = 0; o < outer; o++) {
      let total = 0;
      for (const end = from + size; from < end; from++) total += data[from] ?? 0;
      result[o] = total;
    }
    return { shape: shape.toSpliced(axis, 1), data: result };
  }
  for (let o = 0; o < outer; o++)
    for (let s = 0; s < size; s++) {
      const from = (o * size + s) * inner;
      for (let i = 0; i < inner; i++) result[o * inner + i] = (result[o * inner + i] ?? 0) + (data[from + i] ?? 0);
    }
  return { shape: shape.toSpliced(axis, 1), data: result };
};

/** Along `axis`, result i is the sum over j of weights[i][j] * source[index[i][j]]. */
export const interpolate = (
  { shape, data }: Values,
  axis: number,
  index: readonly (readonly number[])[],
  weights: readonly (readonly number[])[],
): Values => {
  const { outer, size, inner } = splitAt(shape, axis);
  const result = new Float64Array(outer * index.length * inner);
  for (const [i, sources] of index.entries())
    for (const [j, source] of sources.entries()) {
      const weight = weights[i]?.[j];
      if (weight === undefined || !(source >= 0 && source < size))
        throw new RuntimeError(`interpolation ${i} reads ${source} of axis ${axis} of ${formatShape(shape)}`);
      for (let o = 0; o < outer; o++) {
        const from = (o * size + source) * inner;
        const to = (o * index.length + i) * inner;
        for (let n = 0; n < inner; n++) result[to + n] = (result[to + n] ?? 0) + weight * (data[from + n] ?? 0);
      }
    }
  return { shape: shape.with(axis, index.length), data: result };
};

/** [m, k] x [k, n]. */
export const matmul = (left: Values, right: Values): Values => {
  const [rows = 0, inner = 0] = left.shape;
  const [rightRows = 0, columns = 0] = right.shape;
  if (left.shape.length !== 2 || right.shape.length !== 2 || inner !== rightRows)
    throw new RuntimeError(`cannot multiply ${formatShape(left.shape)} by ${formatShape(right.shape)}`);
  const result = new Float64Array(rows * columns);
  if (columns === 1) {
    for (let row = 0; row < rows; row++) result[row] = dot(left.data, row * inner, right.data);
    return { shape: [rows, 1], data: result };
  }
  // Bands of the right side that stay in the cache while every row of the left passes over them.
  const band = 64;
  for (let k0 = 0; k0 < inner; k0 += band) {
    const k1 = Math.min(inner, k0 + band);
    for (let row = 0; row < rows; row++)
      addProduct(left.data, row * inner, right.data, k0, k1, columns, result, row * columns);
  }
  return { shape: [rows, columns], data: result };
};

const dot = (left: Float64Array, leftAt: number, right: Float64Array): number => {
  let total = 0;
  for (let k = 0; k < right.length; k++) total += (left[leftAt + k] ?? 0) * (right[k] ?? 0);
  return total;
};

/** result row += left row [k0, k1) x right rows [k0, k1), four of them at a time. */
const addProduct = (
  left: Float64Array,
  leftAt: number,
  right: Float64Array,
  k0: number,
  k1: number,
  columns: number,
  result: Float64Array,
  resultAt: number,
): void => {
  let k = k0;
  for (; k + 4 <= k1; k += 4) {
    const a0 = left[leftAt + k] ?? 0;
    const a1 = left[leftAt + k + 1] ?? 0;
    const a2 = left[leftAt + k + 2] ?? 0;
    const a3 = left[leftAt + k + 3] ?? 0;
    const r0 = k * columns;
    const r1 = r0 + columns;
    const r2 = r1 + columns;
    const r3 = r2 + columns;
    for (let n = 0; n < columns; n++)
      result[resultAt + n] =
        (result[resultAt + n] ?? 0) +
        a0 * (right[r0 + n] ?? 0) +
        a1 * (right[r1 + n] ?? 0) +
        a2 * (right[r2 + n] ?? 0) +
        a3 * (right[r3 + n] ?? 0);
  }
  for (; k < k1; k++) {
    const a = left[leftAt + k] ?? 0;
    const r = k * columns;
    for (let n = 0; n < columns; n++) result[resultAt + n] = (result[resultAt + n] ?? 0) + a * (right[r + n] ?? 0);
  }
};

const sizeAt = (sizes: readonly number[], axis: number): number => {
  const size = sizes[axis];
  if (size === undefined) throw new RuntimeError(`${formatShape(sizes)} has no axis ${axis}`);
  return size;
};

const stridesOf = (shape: readonly number[]): number[] => {
  const strides = shape.map(() => 1);
  for (let axis = shape.length - 2; axis >= 0; axis--)
    strides[axis] = sizeAt(strides, axis + 1) * sizeAt(shape, axis + 1);
  return strides;
};

const splitAt = (shape: readonly number[], axis: number): { outer: number; size: number; inner: number } => ({
  outer: countOf(shape.slice(0, axis)),
  size: sizeAt(shape, axis),
  inner: countOf(shape.slice(axis + 1)),
});

/** result, dense of `shape`, = the source at `steps`. */
const copyStrided = (
  source: Float64Array,
  shape: readonly number[],
  steps: readonly number[],
  result: Float64Array,
): void => {
  const run = shape.at(-1) ?? 1;
  const step = steps.at(-1) ?? 0;
  const at = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < result.length; to += run) {
    if (step === 1) result.set(source.subarray(from, from + run), to);
    else for (let i = 0; i < run; i++) result[to + i] = source[from + i * step] ?? 0;
    for (let axis = at.length - 2; axis >= 0; axis--) {
      from += sizeAt(steps, axis);
      at[axis] = sizeAt(at, axis) + 1;
      if (sizeAt(at, axis) < sizeAt(shape, axis)) break;
      from -= sizeAt(at, axis) * sizeAt(steps, axis);
      at[axis] = 0;
    }
  }
};
