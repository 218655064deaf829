// Mean and variance of the rows of A, for a normalisation in front of the product.
#pragma once
#include "device/device.cuh"

/**
 * A thread's part of a row, summed about a shift near the row's mean: where the mean is a thousand times the deviation,
 * sums about zero would lose it.
 */
struct RowSums { float shift, sum, squares; };
DEV void add_to(RowSums& row, float x) {
  const float d = x - row.shift;
  row.sum += d;
  row.squares = fmaf(d, d, row.squares);
}
/** What normalises a row: (x - mean) * scale. */
struct RowScale { float mean, scale; };

/** From the parts of LANES neighbouring lanes, K elements in all. */
template <int LANES, int K> DEV RowScale finish_row(const RowSums& part, float eps) {
  const float mean = red_sum<LANES>(part.sum) * (1.0f / K);
  const float squares = red_sum<LANES>(part.squares) * (1.0f / K);
  return {part.shift + mean, 1.0f / sqrtf(fmaxf(fmaf(-mean, mean, squares), 0.0f) + eps)};
}
