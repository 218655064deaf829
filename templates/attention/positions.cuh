// Terms of relative positions along a line (arXiv 2003.07853, equation 4): q . Q[i - j] and k . K[j - i] are added to the
// scores of query i and key j, and V[i - j] to the key's values. Row r of a table in shared memory is for positions
// r - key_slots apart (of K: r - query rows), so that a tile of 16 queries and a step of keys meet neighbouring rows; where
// no two positions lie so far apart, a row is zeros.
#pragma once
#include "rows.cuh"

/** Of an attention without such terms. */
struct NoPositions {
  static constexpr int rows = 0;
  static constexpr bool query = false, key = false, value = false;
  static constexpr bool any = false;
};

template <class P, class Slab> struct PositionTiles {
  using T = typename Slab::Positions;
  static constexpr uint32_t keys = T::query ? T::rows * Slab::key_bytes : 0, values = keys + (T::key ? T::rows * Slab::key_bytes : 0);
  static constexpr uint32_t bytes = values + (T::value ? T::rows * Slab::value_bytes : 0);

  /** All tables of the head to shared memory. */
  static DEV_FN void load(const typename P::Block& block, uint32_t to) {
    if constexpr (T::any) T::template load<P::warps * 32>(block, to, to + keys, to + values, threadIdx.x);
  }
};

/** Where the tables lie, and which rows are for query 0 of a tile of 16 and key 0 of the line: of Q and V, and of K. */
struct PositionPlace {
  uint32_t tables;
  int query, key;
};
