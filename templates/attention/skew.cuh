// Diagonals of products on the tensor cores. A lane holds rows g = lane / 4 and g + 8 and columns 2 * c and 2 * c + 1 of each
// block of 8, c = lane % 4; a diagonal moves an element to a place that depends on both, by one shuffle.
#pragma once
#include "positions.cuh"

struct Skew {
  bool odd, low_row[2], low_column[2];
  uint32_t row_source[2], column_source[2];

  DEV_FN Skew() {
    const uint32_t lane = lane_id();
    const int g = (int)(lane >> 2), c = (int)(lane & 3);
    odd = g & 1;
#pragma unroll
    for (int e = 0; e < 2; e++) {
      // Who asks this lane along its row: the one lane of four whose column has this lane's distance. It wants the lower block
      // where its own column lies behind the row.
      const int asker = (g - e - ((g + e) & 1) - 2 * c) & 6;
      low_row[e] = g - e - asker < 0;
      row_source[e] = (lane & ~3u) | (((g - 2 * c - e) & 7) >> 1);
      const int asking_row = (2 * c + e - g) & 7;
      low_column[e] = 2 * c + e - asking_row < 0;
      column_source[e] = asking_row * 4 + c;
    }
  }

  /** Column g - 2 * c - e of the lane's row of 16 columns: -8 to -1 are the two numbers `low` of each lane, 0 to 7 those of `high`. */
  template <class T> DEV_FN T row(int e, T low0, T low1, T high0, T high1) const {
    const bool second = odd != (e != 0);
    return __shfl_sync(~0u, low_row[e] ? (second ? low1 : low0) : (second ? high1 : high0), row_source[e]);
  }
  /** Row 2 * c + e - g of the lane's column, of 16 rows: -8 to -1 are in `low`, 0 to 7 in `high`. */
  DEV_FN float column(int e, float low, float high) const { return __shfl_sync(~0u, low_column[e] ? low : high, column_source[e]); }
};

DEV uint32_t lower_halves(uint32_t a, uint32_t b) { return (a & 0xffff) | (b << 16); }
DEV uint32_t upper_halves(uint32_t a, uint32_t b) { return (a >> 16) | (b & 0xffff0000); }
