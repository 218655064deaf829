// The running softmax of a row, which sees its keys span by span.
#pragma once
#include "../device/device.cuh"

enum class Normalize { softmax, count, none };

// A hidden score is minus infinity. The running maximum starts far below every score and above that, so that a row without
// keys keeps a sum of 0 and no difference of infinities arises.
constexpr float hidden = -__builtin_huge_valf(), below_all = -1e30f;

/** 1 / sum to float32's precision, or 0 for a row that has seen no key: such a row is zeros. */
DEV float row_inverse(float sum) {
  const float inverse = fast_rcp(sum);
  return sum > 0 ? inverse * (2.0f - sum * inverse) : 0.0f;
}
