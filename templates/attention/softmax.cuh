// The running softmax of a row, which sees its keys span by span.
#pragma once
#include "../device/device.cuh"

enum class Normalize { softmax, count, none };

// A hidden score is minus infinity. The running maximum starts far below every score and above that, so that a row without
// keys keeps a sum of 0 and no difference of infinities arises.
constexpr float hidden = -__builtin_huge_valf(), below_all = -1e30f;

/** What products are multiplied with: the thread block's own factor, if it has one, or one for all. */
template <class P> DEV auto scale_of(const typename P::Block& block, int) -> decltype(block.scale) { return block.scale; }
template <class P> DEV float scale_of(const typename P::Block&, long) { return P::scale; }

/** What becomes of an element of the result before it is stored. */
template <class P> DEV auto epilogue_of(float x, int) -> decltype(P::epilogue(x)) { return P::epilogue(x); }
template <class P> DEV float epilogue_of(float x, long) { return x; }
/**
 * What is left of a chunk of keys for one that combines all chunks: rows of sums, then for each row its maximum (as an
 * exponent of base 2) and its sum of weights.
 */
template <class P> struct Record {
  static constexpr int rows = P::warps * 16, columns = P::value_dim, floats = rows * (columns + 2);
};

/** 1 / sum to float32's precision, or 0 for a row that has seen no key: such a row is zeros. */
DEV float row_inverse(float sum) {
  const float inverse = fast_rcp(sum);
  return sum > 0 ? inverse * (2.0f - sum * inverse) : 0.0f;
}
