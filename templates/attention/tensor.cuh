// 16 queries of a warp on the tensor cores, in bf16 or f16: m16n8k16 products, float32 sums. A lane holds parts of the rows
// g = lane / 4 and g + 8: of each block of 8 columns, columns 2 * (lane % 4) and the next one.
#pragma once
#include "bias.cuh"
#include "skew.cuh"
#include "softmax.cuh"

/** The A fragment of 16 rows, channels 16 * step and on; where 8 are left, the upper half is zero in registers. */
template <int Bytes, bool Aligned> DEV void load_queries(uint32_t (&a)[4], uint32_t rows, int step) {
  using R = Rows<Bytes>;
  const uint32_t lane = lane_id();
  if (step < R::chunks / 2) {
    const uint32_t at[1] = {R::template pair_at<Aligned>(rows, lane & 15, lane >> 4, step)};
    uint32_t f[1][4];
    ldmatrix_x4_n<1>(f, at);
    a[0] = f[0][0], a[1] = f[0][1], a[2] = f[0][2], a[3] = f[0][3];
  } else {
    const uint32_t at[1] = {rows + R::at(lane & 15, R::chunks - 1)};
    uint32_t f[1][2];
    ldmatrix_x2_n<1>(f, at);
    a[0] = f[0][0], a[1] = f[0][1], a[2] = a[3] = 0;
  }
}

/**
 * s[16 queries][8 * Blocks keys] += q kT. The queries are read from shared memory again for every span: that costs an
 * ldmatrix for each 16 channels and saves their registers, which head dimension 64 needs to stay at 128 without spills.
 */
template <class E, int Bytes, bool Aligned, int Blocks> DEV void dot_keys(float (&s)[Blocks][4], uint32_t queries, uint32_t keys) {
  using R = Rows<Bytes>;
  static_assert(Blocks % 2 == 0, "a span is a multiple of 16 keys");
  const uint32_t lane = lane_id();
#pragma unroll
  for (int step = 0; step < R::chunks / 2; step++) {
    uint32_t at[Blocks / 2], b[Blocks / 2][4], a[4];
#pragma unroll
    for (int i = 0; i < Blocks / 2; i++)
      at[i] = R::template pair_at<Aligned>(keys, (lane & 7) + ((lane >> 4) << 3), (lane >> 3) & 1, step) + i * 16 * Bytes;
    ldmatrix_x4_n<Blocks / 2>(b, at);
    load_queries<Bytes, Aligned>(a, queries, step);
    mma_n<E, Blocks>(s, a, b);
  }
  if constexpr (R::chunks % 2 != 0) {
    // The last 8 channels: one ldmatrix feeds two blocks of keys.
    uint32_t at[Blocks / 2], f[Blocks / 2][2], b[Blocks][2], a[4];
#pragma unroll
    for (int i = 0; i < Blocks / 2; i++) at[i] = keys + i * 16 * Bytes + R::at(lane & 15, R::chunks - 1);
    ldmatrix_x2_n<Blocks / 2>(f, at);
#pragma unroll
    for (int i = 0; i < Blocks; i++) b[i][0] = f[i / 2][i % 2], b[i][1] = 0;
    load_queries<Bytes, Aligned>(a, queries, R::chunks / 2);
    mma_row<E, Blocks>(s, a, b);
  }
}

/** products[16 rows of a][16 rows of b] of channels. */
template <class E, int Bytes, bool Aligned> DEV void position_products(float (&products)[2][4], uint32_t a, uint32_t b) {
#pragma unroll
  for (int e = 0; e < 4; e++) products[0][e] = products[1][e] = 0;
  dot_keys<E, Bytes, Aligned, 2>(products, a, b);
}

/** o[16 queries][values] += a v: the A fragment of 16 rows of v. */
template <class E, int Bytes, bool Aligned> DEV void weigh_rows(float (&o)[Bytes / 16][4], const uint32_t (&a)[4], uint32_t rows) {
  using R = Rows<Bytes>;
  constexpr int pairs = R::chunks / 2;
  const uint32_t lane = lane_id();
  uint32_t b[R::chunks][2];
  if constexpr (pairs > 0) {
    uint32_t at[pairs], f[pairs][4];
#pragma unroll
    for (int c = 0; c < pairs; c++) at[c] = R::template pair_at<Aligned>(rows, lane & 15, lane >> 4, c);
    ldmatrix_x4_trans_n<pairs>(f, at);
#pragma unroll
    for (int c = 0; c < 2 * pairs; c++) b[c][0] = f[c / 2][c % 2 * 2], b[c][1] = f[c / 2][c % 2 * 2 + 1];
  }
  if constexpr (R::chunks % 2 != 0) {
    const uint32_t at[1] = {rows + R::at(lane & 15, R::chunks - 1)};
    uint32_t f[1][2];
    ldmatrix_x2_trans_n<1>(f, at);
    b[R::chunks - 1][0] = f[0][0], b[R::chunks - 1][1] = f[0][1];
  }
  mma_row<E, R::chunks>(o, a, b);
}

/** o[16 queries][values] += weights v; the weights go from the accumulator's registers straight into A fragments. */
template <class E, int Bytes, bool Aligned, int Blocks>
DEV void weigh_values(float (&o)[Bytes / 16][4], const float (&weights)[Blocks][4], uint32_t values) {
#pragma unroll
  for (int i = 0; i < Blocks / 2; i++) {
    const float(&left)[4] = weights[2 * i], (&right)[4] = weights[2 * i + 1];
    const uint32_t a[4] = {pack2<E>(left[0], left[1]), pack2<E>(left[2], left[3]), pack2<E>(right[0], right[1]), pack2<E>(right[2], right[3])};
    weigh_rows<E, Bytes, Aligned>(o, a, values + i * 16 * Bytes);
  }
}

/** s[16 queries][8 * Blocks keys] += q Q[i - j]; `row` of the table is for the first query and the first key. */
template <class E, int Bytes, bool Aligned, int Blocks>
DEV void add_query_positions(float (&s)[Blocks][4], uint32_t queries, uint32_t table, int row) {
  const Skew skew;
  // Products with 16 rows of the table at a time, of which each key further on wants those before.
  float near[2][4], far[2][4];
  position_products<E, Bytes, Aligned>(near, queries, table + row * Bytes);
#pragma unroll
  for (int i = 0; i < Blocks / 2; i++) {
    position_products<E, Bytes, Aligned>(far, queries, table + (row - 16 * (i + 1)) * Bytes);
#pragma unroll
    for (int e = 0; e < 2; e++) {
      s[2 * i][e] += skew.row(e, far[1][0], far[1][1], near[0][0], near[0][1]);
      s[2 * i][2 + e] += skew.row(e, near[0][2], near[0][3], near[1][2], near[1][3]);
      s[2 * i + 1][e] += skew.row(e, far[0][0], far[0][1], far[1][0], far[1][1]);
      s[2 * i + 1][2 + e] += skew.row(e, far[1][2], far[1][3], near[0][2], near[0][3]);
    }
#pragma unroll
    for (int e = 0; e < 4; e++) near[0][e] = far[0][e], near[1][e] = far[1][e];
  }
}

/** s[16 queries][8 * Blocks keys] += k K[j - i]; `row` of the table is for the first query and the first key. */
template <class E, int Bytes, bool Aligned, int Blocks>
DEV void add_key_positions(float (&s)[Blocks][4], uint32_t keys, uint32_t table, int row) {
  const Skew skew;
#pragma unroll
  for (int i = 0; i < Blocks / 2; i++) {
    // Rows of the table against 16 keys, the keys in columns: the 16 rows before `row + 16 * i`, and the 16 from there on.
    float before[2][4], from[2][4];
    position_products<E, Bytes, Aligned>(before, table + (row + 16 * (i - 1)) * Bytes, keys + i * 16 * Bytes);
    position_products<E, Bytes, Aligned>(from, table + (row + 16 * i) * Bytes, keys + i * 16 * Bytes);
#pragma unroll
    for (int e = 0; e < 2; e++) {
      s[2 * i][e] += skew.column(e, before[0][2 + e], from[0][e]);
      s[2 * i][2 + e] += skew.column(e, before[0][e], before[0][2 + e]);
      s[2 * i + 1][e] += skew.column(e, from[1][e], from[1][2 + e]);
      s[2 * i + 1][2 + e] += skew.column(e, before[1][2 + e], from[1][e]);
    }
  }
}

/** o[16 queries][values] += weights V[i - j]; `row` of the table is for the first query and the first key. */
template <class E, int Bytes, bool Aligned, int Blocks>
DEV void weigh_positions(float (&o)[Bytes / 16][4], const float (&weights)[Blocks][4], uint32_t table, int row) {
  const Skew skew;
  // Element e of row g in block i, and in the upper half of row g + 8 in block i + 1: they move together.
  const auto pair = [&](int i, int e) {
    const float low = i >= 0 && i < Blocks ? weights[i < 0 ? 0 : i % Blocks][e] : 0, high = i + 1 >= 0 && i + 1 < Blocks ? weights[i + 1 < 0 ? 0 : (i + 1) % Blocks][2 + e] : 0;
    return pack2<E>(low, high);
  };
#pragma unroll
  for (int i = Blocks; i >= 0; i -= 2) {
    // The weights by rows of the table: 8 rows from row - 8 * i, and the 8 behind them.
    uint32_t moved[2][2];
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
      for (int e = 0; e < 2; e++)
        moved[half][e] = skew.row(e, pair(i - half - 1, 0), pair(i - half - 1, 1), pair(i - half, 0), pair(i - half, 1));
    const uint32_t a[4] = {lower_halves(moved[0][0], moved[0][1]), upper_halves(moved[0][0], moved[0][1]), lower_halves(moved[1][0], moved[1][1]),
                           upper_halves(moved[1][0], moved[1][1])};
    weigh_rows<E, Bytes, Aligned>(o, a, table + (row - 8 * i) * Bytes);
  }
}

template <class P, class Positions_ = NoPositions> struct TensorSlab {
  using Positions = Positions_;
  using E = typename P::Element;
  using Block = typename P::Block;
  static constexpr int key_bytes = round_up(P::head_dim * 2, 16), value_bytes = round_up(P::value_dim * 2, 16);
  static constexpr int scratch_bytes = 0;
  // Every tile then begins at a multiple of the rows' width.
  static constexpr bool aligned = key_bytes == value_bytes;

  uint32_t queries;
  float o[value_bytes / 16][4];
  float top[2], sum[2];
  uint32_t bias;
  int code[2];
  PositionPlace positions;

  DEV_FN void start(uint32_t query_rows, uint32_t) {
    queries = query_rows;
    top[0] = top[1] = below_all;
    sum[0] = sum[1] = 0;
#pragma unroll
    for (int i = 0; i < value_bytes / 16; i++) o[i][0] = o[i][1] = o[i][2] = o[i][3] = 0;
  }

  DEV_FN void place(const Block& block, int query0, uint32_t bias_tiles) {
    bias = bias_tiles;
    code[0] = P::query_code(block, query0 + (int)(lane_id() >> 2));
    code[1] = P::query_code(block, query0 + (int)(lane_id() >> 2) + 8);
  }

  /** The queries from slot query0 and the Keys keys from slot key0, whose rows lie at `keys` and `values`. The only place where scores exist. */
  template <int Keys> DEV_FN void attend(const Block& block, uint32_t keys, uint32_t values, int query0, int key0, bool masked) {
    float s[Keys / 8][4];
#pragma unroll
    for (int i = 0; i < Keys / 8; i++) s[i][0] = s[i][1] = s[i][2] = s[i][3] = 0;
    dot_keys<E, key_bytes, aligned, Keys / 8>(s, queries, keys);
    if constexpr (P::bias_count > 0) {
      if (masked) relate<Keys / 8, true>(s, key0);
      else relate<Keys / 8, false>(s, key0);
    } else {
      if constexpr (P::scaled_first) {
        const float scale = scale_of<P>(block, 0);
#pragma unroll
        for (int i = 0; i < Keys / 8; i++)
#pragma unroll
          for (int e = 0; e < 4; e++) s[i][e] *= scale;
      }
      if (P::has_score || masked) mask<Keys / 8>(s, block, query0, key0, masked);
    }
    if constexpr (Positions::query)
      add_query_positions<E, key_bytes, aligned, Keys / 8>(s, queries, positions.tables, positions.query - key0);
    if constexpr (Positions::key)
      add_key_positions<E, key_bytes, aligned, Keys / 8>(s, keys, positions.tables + PositionTiles<P, TensorSlab>::keys, positions.key + key0);
    if constexpr (P::normalize == Normalize::softmax) step<Keys / 8>(s);
    else count<Keys / 8>(s);
    if constexpr (Positions::value)
      weigh_positions<E, value_bytes, aligned, Keys / 8>(o, s, positions.tables + PositionTiles<P, TensorSlab>::values, positions.query - key0);
    weigh_values<E, value_bytes, aligned, Keys / 8>(o, s, values);
  }

  /** The biases of the queries from the slot that was placed, to start products from; minus infinity for keys that there are not. */
  template <int Keys> DEV_FN void fetch(float (&biases)[Keys / 8][4]) const {
    const uint32_t codes = bias + (lane_id() & 3) * 8;
#pragma unroll
    for (int i = 0; i < Keys / 8; i++) {
      const uint2 key = lds<uint2>(codes + i * 32);
#pragma unroll
      for (int e = 0; e < 4; e++)
        biases[i][e] = bias_between<P, true>(bias, code[e / 2], (int)(e % 2 == 0 ? key.x : key.y)) * (1.0f / P::scale);
    }
  }

  /** As attend, of all keys of a group at once: products start from the biases, and only a group whose keys are tested asks who they are. */
  template <int Keys> DEV_FN void attend_from(const float (&biases)[Keys / 8][4], const Block& block, uint32_t keys, uint32_t values, int query0, bool masked) {
    float s[Keys / 8][4];
#pragma unroll
    for (int i = 0; i < Keys / 8; i++)
#pragma unroll
      for (int e = 0; e < 4; e++) s[i][e] = biases[i][e];
    dot_keys<E, key_bytes, aligned, Keys / 8>(s, queries, keys);
    if (masked) mask<Keys / 8>(s, block, query0, 0, true);
    step<Keys / 8>(s);
    weigh_values<E, value_bytes, aligned, Keys / 8>(o, s, values);
  }

  /** Divides by the row sums and leaves 16 rows of results at `to`. */
  DEV_FN void finish(uint32_t to) {
    using R = Rows<value_bytes>;
    float inverse[2] = {1, 1};
    if constexpr (P::normalize != Normalize::none) {
      red_sum_n<2, 4>(sum);
      inverse[0] = row_inverse(sum[0]), inverse[1] = row_inverse(sum[1]);
    }
    const uint32_t row = lane_id() >> 2, byte = (lane_id() & 3) * 4;
    __syncwarp();  // the results may take the place of queries that another lane still reads
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
      for (int i = 0; i < R::chunks; i++)
        sts(to + R::at(row + 8 * half, i) + byte, pack2<E>(epilogue_of<P>(o[i][2 * half] * inverse[half], 0), epilogue_of<P>(o[i][2 * half + 1] * inverse[half], 0)));
    __syncwarp();
  }

  /** Leaves sums, maxima and sums of weights as rows row0 and on of a record. */
  DEV_FN void leave(float* record, int row0) {
    using L = Record<P>;
    red_sum_n<2, 4>(sum);
    const int row = row0 + (int)(lane_id() >> 2), pair = (int)(lane_id() & 3) * 2;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float* to = record + (row + 8 * half) * L::columns;
#pragma unroll
      for (int i = 0; i < value_bytes / 16; i++) {
        const int column = i * 8 + pair;
        if (L::columns % 2 == 0) {
          if (column < L::columns) st((float2*)(to + column), make_float2(o[i][2 * half], o[i][2 * half + 1]));
        } else {
          if (column < L::columns) st(to + column, o[i][2 * half]);
          if (column + 1 < L::columns) st(to + column + 1, o[i][2 * half + 1]);
        }
      }
      if (pair == 0) st((float2*)(record + L::rows * L::columns) + row + 8 * half, make_float2(top[half] * P::log2_scale, sum[half]));
    }
  }

 private:
  /** s becomes scale * s plus the bias. */
  template <int Blocks, bool Masked> DEV_FN void relate(float (&s)[Blocks][4], int key0) const {
    const uint32_t codes = bias + (key0 + (lane_id() & 3) * 2) * 4;
#pragma unroll
    for (int i = 0; i < Blocks; i++) {
      const uint2 key = lds<uint2>(codes + i * 32);
#pragma unroll
      for (int e = 0; e < 4; e++)
        s[i][e] = fmaf(s[i][e], P::scale, bias_between<P, Masked>(bias, code[e / 2], (int)(e % 2 == 0 ? key.x : key.y)));
    }
  }

  template <int Blocks> static DEV_FN void mask(float (&s)[Blocks][4], const Block& block, int query0, int key0, bool masked) {
    const int row = query0 + (int)(lane_id() >> 2), column = key0 + (int)(lane_id() & 3) * 2;
    const typename P::Query query[2] = {P::query_at(block, row), P::query_at(block, row + 8)};
#pragma unroll
    for (int i = 0; i < Blocks; i++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const typename P::Key key = P::key_at(block, column + i * 8 + e);
#pragma unroll
        for (int half = 0; half < 2; half++) {
          float& score = s[i][2 * half + e];
          if (masked && !P::keep(block, query[half], key)) score = hidden;
          else if constexpr (P::has_score) score = P::score(block, score, query[half], key);
        }
      }
  }

  /** s becomes exp(s - max) and all sums so far are rescaled to the new maximum. */
  template <int Blocks> DEV_FN void step(float (&s)[Blocks][4]) {
    float highest[2] = {top[0], top[1]};
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
      for (int i = 0; i < Blocks; i++) highest[half] = fmaxf(highest[half], fmaxf(s[i][2 * half], s[i][2 * half + 1]));
    red_max_n<2, 4>(highest);
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const float offset = highest[half] * P::log2_scale;
      const float shrink = fast_exp2(top[half] * P::log2_scale - offset);
      top[half] = highest[half];
      sum[half] *= shrink;
#pragma unroll
      for (int i = 0; i < value_bytes / 16; i++) o[i][2 * half] *= shrink, o[i][2 * half + 1] *= shrink;
#pragma unroll
      for (int i = 0; i < Blocks; i++)
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; e++) {
          s[i][e] = fast_exp2(fmaf(s[i][e], P::log2_scale, -offset));
          sum[half] += s[i][e];
        }
    }
  }

  /** The scores are the weights; `sum` counts the keys seen. */
  template <int Blocks> DEV_FN void count(float (&s)[Blocks][4]) {
#pragma unroll
    for (int i = 0; i < Blocks; i++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const bool seen = s[i][e] != hidden;
        sum[e / 2] += seen ? 1.0f : 0.0f;
        s[i][e] = seen ? s[i][e] : 0.0f;
      }
  }
};
