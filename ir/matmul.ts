/** A matrix within an array: rows of `inner` elements, `stride` apart. */
export type Rows = {
  readonly data: Float64Array;
  readonly start: number;
  readonly stride: number;
  readonly count: number;
};

/** result[i, j] = sum over k < inner of left[i, k] * right[j, k]. Two rows by four at a time, which a CPU's registers hold. */
export const multiplyRows = (left: Rows, right: Rows, inner: number, result: Omit<Rows, "count">): void => {
  // A panel of `right` stays in the cache while all of `left` passes.
  const panel = Math.max(4, Math.floor(16384 / Math.max(1, inner)) & ~3);
  for (let from = 0; from < right.count; from += panel) {
    const to = Math.min(right.count, from + panel);
    for (let i = 0; i < left.count; i += 2) {
      for (let j = from; j < to; j += 4) {
        if (i + 2 <= left.count && j + 4 <= to) twoByFour(left, right, inner, result, i, j);
        else edge(left, right, inner, result, i, Math.min(i + 2, left.count), j, Math.min(j + 4, to));
      }
    }
  }
};

const edge = (
  left: Rows,
  right: Rows,
  inner: number,
  result: Omit<Rows, "count">,
  iStart: number,
  iEnd: number,
  jStart: number,
  jEnd: number,
): void => {
  for (let i = iStart; i < iEnd; i++) {
    for (let j = jStart; j < jEnd; j++) {
      const a = left.start + i * left.stride;
      const b = right.start + j * right.stride;
      let sum = 0;
      for (let k = 0; k < inner; k++) sum += (left.data[a + k] ?? 0) * (right.data[b + k] ?? 0);
      result.data[result.start + i * result.stride + j] = sum;
    }
  }
};

const twoByFour = (left: Rows, right: Rows, inner: number, result: Omit<Rows, "count">, i: number, j: number): void => {
  const a = left.data;
  const b = right.data;
  const a0 = left.start + i * left.stride;
  const a1 = a0 + left.stride;
  const b0 = right.start + j * right.stride;
  const b1 = b0 + right.stride;
  const b2 = b1 + right.stride;
  const b3 = b2 + right.stride;
  let s00 = 0;
  let s01 = 0;
  let s02 = 0;
  let s03 = 0;
  let s10 = 0;
  let s11 = 0;
  let s12 = 0;
  let s13 = 0;
  for (let k = 0; k < inner; k++) {
    const x0 = a[a0 + k] ?? 0;
    const x1 = a[a1 + k] ?? 0;
    const y0 = b[b0 + k] ?? 0;
    const y1 = b[b1 + k] ?? 0;
    const y2 = b[b2 + k] ?? 0;
    const y3 = b[b3 + k] ?? 0;
    s00 += x0 * y0;
    s01 += x0 * y1;
    s02 += x0 * y2;
    s03 += x0 * y3;
    s10 += x1 * y0;
    s11 += x1 * y1;
    s12 += x1 * y2;
    s13 += x1 * y3;
  }
  const { data, stride } = result;
  const at = result.start + i * stride + j;
  data[at] = s00;
  data[at + 1] = s01;
  data[at + 2] = s02;
  data[at + 3] = s03;
  data[at + stride] = s10;
  data[at + stride + 1] = s11;
  data[at + stride + 2] = s12;
  data[at + stride + 3] = s13;
};
