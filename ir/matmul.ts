/** A matrix within an array: rows of `inner` elements, `stride` apart. */
export type Rows = {
  readonly data: Float64Array;
  readonly start: number;
  readonly stride: number;
  readonly count: number;
};

/** result[i, j] = sum over k < inner of left[i, k] * right[j, k]. Four by four at a time, so that elements are read from registers. */
export const multiplyRows = (left: Rows, right: Rows, inner: number, result: Omit<Rows, "count">): void => {
  // A panel of `right` stays in the cache while all of `left` passes.
  const panel = Math.max(4, Math.floor(16384 / Math.max(1, inner)) & ~3);
  for (let from = 0; from < right.count; from += panel) {
    const to = Math.min(right.count, from + panel);
    for (let i = 0; i < left.count; i += 4) {
      for (let j = from; j < to; j += 4) {
        if (i + 4 <= left.count && j + 4 <= to) fourByFour(left, right, inner, result, i, j);
        else edge(left, right, inner, result, i, Math.min(i + 4, left.count), j, Math.min(j + 4, to));
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

const fourByFour = (
  left: Rows,
  right: Rows,
  inner: number,
  result: Omit<Rows, "count">,
  i: number,
  j: number,
): void => {
  const a = left.data;
  const b = right.data;
  let a0 = left.start + i * left.stride;
  let a1 = a0 + left.stride;
  let a2 = a1 + left.stride;
  let a3 = a2 + left.stride;
  let b0 = right.start + j * right.stride;
  let b1 = b0 + right.stride;
  let b2 = b1 + right.stride;
  let b3 = b2 + right.stride;
  let [s00, s01, s02, s03, s10, s11, s12, s13] = [0, 0, 0, 0, 0, 0, 0, 0];
  let [s20, s21, s22, s23, s30, s31, s32, s33] = [0, 0, 0, 0, 0, 0, 0, 0];
  for (let k = 0; k < inner; k++) {
    const x0 = a[a0++] ?? 0;
    const x1 = a[a1++] ?? 0;
    const x2 = a[a2++] ?? 0;
    const x3 = a[a3++] ?? 0;
    const y0 = b[b0++] ?? 0;
    const y1 = b[b1++] ?? 0;
    const y2 = b[b2++] ?? 0;
    const y3 = b[b3++] ?? 0;
    s00 += x0 * y0;
    s01 += x0 * y1;
    s02 += x0 * y2;
    s03 += x0 * y3;
    s10 += x1 * y0;
    s11 += x1 * y1;
    s12 += x1 * y2;
    s13 += x1 * y3;
    s20 += x2 * y0;
    s21 += x2 * y1;
    s22 += x2 * y2;
    s23 += x2 * y3;
    s30 += x3 * y0;
    s31 += x3 * y1;
    s32 += x3 * y2;
    s33 += x3 * y3;
  }
  const { data, stride } = result;
  let at = result.start + i * stride + j;
  data[at] = s00;
  data[at + 1] = s01;
  data[at + 2] = s02;
  data[at + 3] = s03;
  at += stride;
  data[at] = s10;
  data[at + 1] = s11;
  data[at + 2] = s12;
  data[at + 3] = s13;
  at += stride;
  data[at] = s20;
  data[at + 1] = s21;
  data[at + 2] = s22;
  data[at + 3] = s23;
  at += stride;
  data[at] = s30;
  data[at + 1] = s31;
  data[at + 2] = s32;
  data[at + 3] = s33;
};
