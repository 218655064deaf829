// 16 queries of a warp in exact float32. A lane holds 4 rows (from 4 * (lane / 8)) and of them every 8th key (from lane % 8),
// and later every 8th group of 4 value columns.
#pragma once
#include "bias.cuh"
#include "positions.cuh"
#include "softmax.cuh"

DEV float component(const float4& v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

DEV float fma4(const float4& a, const float4& b, float sum) { return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum)))); }

template <class P, class Positions_ = NoPositions> struct ExactSlab {
  using Positions = Positions_;
  using E = float;
  using Block = typename P::Block;
  static constexpr int key_bytes = round_up(P::head_dim * 4, 16), value_bytes = round_up(P::value_dim * 4, 16);
  static constexpr int chunks = value_bytes / 16, chunks_of_lane = (chunks + 7) / 8;
  // The weights change owners through shared memory: 16 rows of 64, their 16-byte chunks permuted by row against bank conflicts.
  static constexpr int scratch_bytes = 16 * 64 * 4;

  uint32_t queries, scratch;
  float o[4][chunks_of_lane * 4];
  float top[4], sum[4];
  uint32_t bias;
  int code[4];
  PositionPlace positions;

  DEV_FN void start(uint32_t query_rows, uint32_t weights) {
    queries = query_rows;
    scratch = weights;
#pragma unroll
    for (int r = 0; r < 4; r++) {
      top[r] = below_all;
      sum[r] = 0;
#pragma unroll
      for (int i = 0; i < chunks_of_lane * 4; i++) o[r][i] = 0;
    }
  }

  DEV_FN void place(const Block& block, int query0, uint32_t bias_tiles) {
    bias = bias_tiles;
#pragma unroll
    for (int r = 0; r < 4; r++) code[r] = P::query_code(block, query0 + (int)(lane_id() / 8 * 4) + r);
  }

  template <int Keys> DEV_FN void attend(const Block& block, uint32_t keys, uint32_t values, int query0, int key0, bool masked) {
    const uint32_t row0 = lane_id() / 8 * 4, column = lane_id() % 8;
    float s[4][Keys / 8];
    dot<Keys / 8>(s, keys, row0, column);
    if constexpr (P::bias_count > 0) {
      if (masked) relate<Keys / 8, true>(s, key0 + (int)column);
      else relate<Keys / 8, false>(s, key0 + (int)column);
    } else {
      if constexpr (P::scaled_first) {
        const float scale = scale_of<P>(block, 0);
#pragma unroll
        for (int r = 0; r < 4; r++)
#pragma unroll
          for (int j = 0; j < Keys / 8; j++) s[r][j] *= scale;
      }
      if (P::has_score || masked) mask<Keys / 8>(s, block, query0 + (int)row0, key0 + (int)column, masked);
    }
    if constexpr (Positions::query || Positions::key) add_positions<Keys / 8>(s, keys, row0, column, key0);
    if constexpr (P::normalize == Normalize::softmax) step<Keys / 8>(s);
    else count<Keys / 8>(s);
#pragma unroll
    for (int r = 0; r < 4; r++)
#pragma unroll
      for (int j = 0; j < Keys / 8; j++)
        sts(weight_chunk(row0 + r, (column >> 2) + 2 * j) + (column & 3) * 4, s[r][j]);
    __syncwarp();
    weigh<Keys>(values, row0, column);
    if constexpr (Positions::value) weigh_positions<Keys>(row0, column, key0);
    __syncwarp();
  }

  DEV_FN void finish(uint32_t to) {
    const uint32_t row0 = lane_id() / 8 * 4, column = lane_id() % 8;
    if constexpr (P::normalize != Normalize::none) red_sum_n<4, 8>(sum);
    __syncwarp();
#pragma unroll
    for (int r = 0; r < 4; r++) {
      const float inverse = P::normalize == Normalize::none ? 1.0f : row_inverse(sum[r]);
#pragma unroll
      for (int c = 0; c < chunks_of_lane; c++)
        if (chunks % 8 == 0 || column + 8 * c < (uint32_t)chunks)
          sts(to + Rows<value_bytes>::at(row0 + r, column + 8 * c),
              make_float4(epilogue_of<P>(o[r][4 * c] * inverse, 0), epilogue_of<P>(o[r][4 * c + 1] * inverse, 0), epilogue_of<P>(o[r][4 * c + 2] * inverse, 0),
                          epilogue_of<P>(o[r][4 * c + 3] * inverse, 0)));
    }
    __syncwarp();
  }

  /** Leaves sums, maxima and sums of weights as rows row0 and on of a record. */
  DEV_FN void leave(float* record, int row0) {
    using L = Record<P>;
    const int row = row0 + (int)(lane_id() / 8 * 4), column = (int)(lane_id() % 8);
    red_sum_n<4, 8>(sum);
#pragma unroll
    for (int r = 0; r < 4; r++) {
      float* to = record + (row + r) * L::columns;
#pragma unroll
      for (int c = 0; c < chunks_of_lane; c++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const int at = (column + 8 * c) * 4 + e;
          if (at < L::columns) st(to + at, o[r][4 * c + e]);
        }
      if (column == 0) st((float2*)(record + L::rows * L::columns) + row + r, make_float2(top[r] * P::log2_scale, sum[r]));
    }
  }

 private:
  DEV_FN uint32_t weight_chunk(uint32_t row, uint32_t chunk) const { return scratch + row * 256 + ((chunk ^ (row >> 2 << 1)) << 4); }

  template <int Columns> DEV_FN void dot(float (&s)[4][Columns], uint32_t keys, uint32_t row0, uint32_t column) const {
    using R = Rows<key_bytes>;
#pragma unroll
    for (int r = 0; r < 4; r++)
#pragma unroll
      for (int j = 0; j < Columns; j++) s[r][j] = 0;
#pragma unroll 2
    for (int chunk = 0; chunk < R::chunks; chunk++) {
      float4 q[4];
#pragma unroll
      for (int r = 0; r < 4; r++) q[r] = lds<float4>(queries + R::at(row0 + r, chunk));
#pragma unroll
      for (int j = 0; j < Columns; j++) {
        const float4 k = lds<float4>(keys + j * 8 * key_bytes + R::at(column, chunk));
#pragma unroll
        for (int r = 0; r < 4; r++) s[r][j] = fma4(q[r], k, s[r][j]);
      }
    }
  }

  /** s becomes scale * s plus the bias. */
  template <int Columns, bool Masked> DEV_FN void relate(float (&s)[4][Columns], int column) const {
#pragma unroll
    for (int j = 0; j < Columns; j++) {
      const int key = lds<int>(bias + (column + 8 * j) * 4);
#pragma unroll
      for (int r = 0; r < 4; r++) s[r][j] = fmaf(s[r][j], P::scale, bias_between<P, Masked>(bias, code[r], key));
    }
  }

  template <int Columns> static DEV_FN void mask(float (&s)[4][Columns], const Block& block, int row, int column, bool masked) {
#pragma unroll
    for (int j = 0; j < Columns; j++) {
      const typename P::Key key = P::key_at(block, column + 8 * j);
#pragma unroll
      for (int r = 0; r < 4; r++) {
        const typename P::Query query = P::query_at(block, row + r);
        if (masked && !P::keep(block, query, key)) s[r][j] = hidden;
        else if constexpr (P::has_score) s[r][j] = P::score(block, s[r][j], query, key);
      }
    }
  }

  /** s becomes s + q Q[i - j] + k K[j - i]: the rows of four neighbouring queries are neighbours. */
  template <int Columns> DEV_FN void add_positions(float (&s)[4][Columns], uint32_t keys, uint32_t row0, uint32_t column, int key0) const {
    using R = Rows<key_bytes>;
    const uint32_t behind = positions.query + row0 - key0 - column, before = positions.key - row0 + key0 + column;
    const uint32_t of_queries = positions.tables, of_keys = positions.tables + PositionTiles<P, ExactSlab>::keys;
#pragma unroll 1
    for (int chunk = 0; chunk < R::chunks; chunk++) {
      float4 q[4];
      if constexpr (Positions::query) {
#pragma unroll
        for (int r = 0; r < 4; r++) q[r] = lds<float4>(queries + R::at(row0 + r, chunk));
      }
#pragma unroll
      for (int j = 0; j < Columns; j++) {
        float4 k;
        if constexpr (Positions::key) k = lds<float4>(keys + j * 8 * key_bytes + R::at(column, chunk));
#pragma unroll
        for (int r = 0; r < 4; r++) {
          if constexpr (Positions::query) s[r][j] = fma4(q[r], lds<float4>(of_queries + R::at(behind + r - 8 * j, chunk)), s[r][j]);
          if constexpr (Positions::key) s[r][j] = fma4(k, lds<float4>(of_keys + R::at(before - r + 8 * j, chunk)), s[r][j]);
        }
      }
    }
  }

  /** o += a V[i - j]. */
  template <int Keys> DEV_FN void weigh_positions(uint32_t row0, uint32_t column, int key0) {
    using R = Rows<value_bytes>;
    const uint32_t table = positions.tables + PositionTiles<P, ExactSlab>::values;
#pragma unroll 1
    for (int k4 = 0; k4 < Keys / 4; k4++) {
      float4 w[4];
#pragma unroll
      for (int r = 0; r < 4; r++) w[r] = lds<float4>(weight_chunk(row0 + r, k4));
      const uint32_t behind = positions.query + row0 - key0 - k4 * 4;
#pragma unroll
      for (int c = 0; c < chunks_of_lane; c++) {
        const uint32_t chunk = chunks % 8 == 0 || column + 8 * c < (uint32_t)chunks ? column + 8 * c : 0;
        // Four queries and four keys lie at seven distances.
#pragma unroll
        for (int apart = -3; apart <= 3; apart++) {
          const float4 v = lds<float4>(table + R::at(behind + apart, chunk));
#pragma unroll
          for (int r = 0; r < 4; r++)
            if (r - apart >= 0 && r - apart < 4) {
              const float weight = component(w[r], r - apart);
              o[r][4 * c] = fmaf(weight, v.x, o[r][4 * c]);
              o[r][4 * c + 1] = fmaf(weight, v.y, o[r][4 * c + 1]);
              o[r][4 * c + 2] = fmaf(weight, v.z, o[r][4 * c + 2]);
              o[r][4 * c + 3] = fmaf(weight, v.w, o[r][4 * c + 3]);
            }
        }
      }
    }
  }

  template <int Columns> DEV_FN void step(float (&s)[4][Columns]) {
    float highest[4];
#pragma unroll
    for (int r = 0; r < 4; r++) {
      highest[r] = top[r];
#pragma unroll
      for (int j = 0; j < Columns; j++) highest[r] = fmaxf(highest[r], s[r][j]);
    }
    red_max_n<4, 8>(highest);
#pragma unroll
    for (int r = 0; r < 4; r++) {
      const float offset = highest[r] * P::log2_scale;
      const float shrink = fast_exp2(top[r] * P::log2_scale - offset);
      top[r] = highest[r];
      sum[r] *= shrink;
#pragma unroll
      for (int i = 0; i < chunks_of_lane * 4; i++) o[r][i] *= shrink;
#pragma unroll
      for (int j = 0; j < Columns; j++) {
        s[r][j] = fast_exp2(fmaf(s[r][j], P::log2_scale, -offset));
        sum[r] += s[r][j];
      }
    }
  }

  template <int Columns> DEV_FN void count(float (&s)[4][Columns]) {
#pragma unroll
    for (int r = 0; r < 4; r++)
#pragma unroll
      for (int j = 0; j < Columns; j++) {
        const bool seen = s[r][j] != hidden;
        sum[r] += seen ? 1.0f : 0.0f;
        s[r][j] = seen ? s[r][j] : 0.0f;
      }
  }

  template <int Keys> DEV_FN void weigh(uint32_t values, uint32_t row0, uint32_t column) {
    using R = Rows<value_bytes>;
#pragma unroll 2
    for (int k4 = 0; k4 < Keys / 4; k4++) {
      float4 w[4];
#pragma unroll
      for (int r = 0; r < 4; r++) w[r] = lds<float4>(weight_chunk(row0 + r, k4));
#pragma unroll
      for (int k = 0; k < 4; k++)
#pragma unroll
        for (int c = 0; c < chunks_of_lane; c++) {
          // Lanes without a column of their own read the first one again and store nothing.
          const uint32_t chunk = chunks % 8 == 0 || column + 8 * c < (uint32_t)chunks ? column + 8 * c : 0;
          const float4 v = lds<float4>(values + R::at(k4 * 4 + k, chunk));
#pragma unroll
          for (int r = 0; r < 4; r++) {
            const float weight = component(w[r], k);
            o[r][4 * c] = fmaf(weight, v.x, o[r][4 * c]);
            o[r][4 * c + 1] = fmaf(weight, v.y, o[r][4 * c + 1]);
            o[r][4 * c + 2] = fmaf(weight, v.z, o[r][4 * c + 2]);
            o[r][4 * c + 3] = fmaf(weight, v.w, o[r][4 * c + 3]);
          }
        }
    }
  }
};
