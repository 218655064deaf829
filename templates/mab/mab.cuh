// A multihead attention block of many rows and few keys: a warp takes 16 rows from x to the result. A lane holds parts of
// the rows g = lane / 4 and g + 8: of each block of 8 channels, channels 2 * (lane % 4) and the next one.
#pragma once
#include "attention/tensor.cuh"
#include "gemm/values.cuh"

template <class P> struct MabTiles {
  static constexpr int in_bytes = P::in_bytes, row_bytes = P::dim * 2;
  static constexpr uint32_t slab_bytes = 16 * (in_bytes > row_bytes ? in_bytes : row_bytes);
  static constexpr uint32_t query_weight = 0, out_weight = query_weight + P::dim * in_bytes, keys = out_weight + P::dim * row_bytes;
  static constexpr uint32_t values = keys + P::key_slots * row_bytes, columns = values + P::key_slots * row_bytes;
  static constexpr uint32_t slabs = columns + P::columns * P::dim * 4, bytes = slabs + P::warps * 2 * slab_bytes;
};

/** One element as float, and back: for rows that are not copied as they are. */
template <class S> DEV float value_at(const S* p) {
  float value[1];
  load_values<1>(value, 0, p, 0);
  return value[0];
}
template <class S> DEV void store_at(S* p, float x) {
  const float value[1] = {x};
  store_values<1>(p, 0, value, 0, true);
}

/** Two blocks of 8 columns of sums as the A fragment of the next product. */
template <class E> DEV void fragment_of(uint32_t (&a)[4], const float (&left)[4], const float (&right)[4]) {
  a[0] = pack2<E>(left[0], left[1]), a[1] = pack2<E>(left[2], left[3]), a[2] = pack2<E>(right[0], right[1]), a[3] = pack2<E>(right[2], right[3]);
}
/** One block of 8: the other half is zero. */
template <class E> DEV void fragment_of(uint32_t (&a)[4], const float (&left)[4]) {
  a[0] = pack2<E>(left[0], left[1]), a[1] = pack2<E>(left[2], left[3]), a[2] = a[3] = 0;
}

/** s[16 rows][8 * Blocks keys] of a head: `q` are its Chunks blocks of 8 channels, from chunk `first` of the keys' rows on. */
template <class E, int Bytes, int Chunks, int Blocks> DEV void dot_head(float (&s)[Blocks][4], const float (&q)[Chunks][4], uint32_t keys, int first) {
  using R = Rows<Bytes>;
  const uint32_t lane = lane_id();
#pragma unroll
  for (int i = 0; i < Blocks; i++) s[i][0] = s[i][1] = s[i][2] = s[i][3] = 0;
#pragma unroll
  for (int step = 0; step < Chunks / 2; step++) {
    uint32_t at[Blocks / 2], b[Blocks / 2][4], a[4];
#pragma unroll
    for (int i = 0; i < Blocks / 2; i++)
      at[i] = keys + i * 16 * Bytes + R::at((lane & 7) + ((lane >> 4) << 3), first + step * 2 + ((lane >> 3) & 1));
    ldmatrix_x4_n<Blocks / 2>(b, at);
    fragment_of<E>(a, q[2 * step], q[2 * step + 1]);
    mma_n<E, Blocks>(s, a, b);
  }
  if constexpr (Chunks % 2 != 0) {
    uint32_t at[Blocks / 2], f[Blocks / 2][2], b[Blocks][2], a[4];
#pragma unroll
    for (int i = 0; i < Blocks / 2; i++) at[i] = keys + i * 16 * Bytes + R::at(lane & 15, first + Chunks - 1);
    ldmatrix_x2_n<Blocks / 2>(f, at);
#pragma unroll
    for (int i = 0; i < Blocks; i++) b[i][0] = f[i / 2][i % 2], b[i][1] = 0;
    fragment_of<E>(a, q[Chunks - 1]);
    mma_row<E, Blocks>(s, a, b);
  }
}

/** o[16 rows][8 * Chunks channels of a head] += weights v. */
template <class E, int Bytes, int Chunks, int Blocks> DEV void weigh_head(float (&o)[Chunks][4], const float (&weights)[Blocks][4], uint32_t values, int first) {
  using R = Rows<Bytes>;
  const uint32_t lane = lane_id();
#pragma unroll
  for (int i = 0; i < Blocks / 2; i++) {
    uint32_t a[4], b[Chunks][2];
    fragment_of<E>(a, weights[2 * i], weights[2 * i + 1]);
    if constexpr (Chunks > 1) {
      uint32_t at[Chunks / 2], f[Chunks / 2][4];
#pragma unroll
      for (int c = 0; c < Chunks / 2; c++) at[c] = values + i * 16 * Bytes + R::at(lane & 15, first + 2 * c + (lane >> 4));
      ldmatrix_x4_trans_n<Chunks / 2>(f, at);
#pragma unroll
      for (int c = 0; c < Chunks / 2 * 2; c++) b[c][0] = f[c / 2][c % 2 * 2], b[c][1] = f[c / 2][c % 2 * 2 + 1];
    }
    if constexpr (Chunks % 2 != 0) {
      const uint32_t at[1] = {values + i * 16 * Bytes + R::at(lane & 15, first + Chunks - 1)};
      uint32_t f[1][2];
      ldmatrix_x2_trans_n<1>(f, at);
      b[Chunks - 1][0] = f[0][0], b[Chunks - 1][1] = f[0][1];
    }
    mma_row<E, Chunks>(o, a, b);
  }
}

/** Scores become weights that sum to one: all keys of a row are there at once. */
template <class P, int Blocks> DEV void softmax_rows(float (&s)[Blocks][4]) {
  const int pair = (int)(lane_id() & 3) * 2;
  float top[2] = {below_all, below_all}, sum[2] = {0, 0};
#pragma unroll
  for (int i = 0; i < Blocks; i++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      if (P::keys < P::key_slots && i * 8 + pair + e % 2 >= P::keys) s[i][e] = hidden;
      top[e / 2] = fmaxf(top[e / 2], s[i][e]);
    }
  red_max_n<2, 4>(top);
#pragma unroll
  for (int i = 0; i < Blocks; i++)
#pragma unroll
    for (int e = 0; e < 4; e++) {
      s[i][e] = fast_exp2((s[i][e] - top[e / 2]) * P::log2_scale);
      sum[e / 2] += s[i][e];
    }
  red_sum_n<2, 4>(sum);
#pragma unroll
  for (int i = 0; i < Blocks; i++)
#pragma unroll
    for (int e = 0; e < 4; e++) s[i][e] *= row_inverse(sum[e / 2]);
}

/** Numbers for the two channels of a block that a lane holds. */
DEV float2 columns_of(uint32_t columns, int block) { return lds<float2>(columns + (block * 8 + (lane_id() & 3) * 2) * 4); }

/** Rows become (o - mean) / sqrt(variance + eps) * scale + shift. */
template <int Blocks> DEV void normalize_rows(float (&o)[Blocks][4], float eps, uint32_t scale, uint32_t shift) {
  float mean[2] = {0, 0}, squares[2] = {0, 0};
#pragma unroll
  for (int i = 0; i < Blocks; i++)
#pragma unroll
    for (int e = 0; e < 4; e++) mean[e / 2] += o[i][e];
  red_sum_n<2, 4>(mean);
  mean[0] *= 1.0f / (Blocks * 8), mean[1] *= 1.0f / (Blocks * 8);
#pragma unroll
  for (int i = 0; i < Blocks; i++)
#pragma unroll
    for (int e = 0; e < 4; e++) squares[e / 2] = fmaf(o[i][e] - mean[e / 2], o[i][e] - mean[e / 2], squares[e / 2]);
  red_sum_n<2, 4>(squares);
#pragma unroll
  for (int i = 0; i < Blocks; i++) {
    const float2 by = columns_of(scale, i), plus = columns_of(shift, i);
#pragma unroll
    for (int e = 0; e < 4; e++)
      o[i][e] = fmaf((o[i][e] - mean[e / 2]) * (1.0f / sqrtf(squares[e / 2] * (1.0f / (Blocks * 8)) + eps)), e % 2 == 0 ? by.x : by.y, e % 2 == 0 ? plus.x : plus.y);
  }
}

/** 16 rows, of which x lies at `x`: o becomes the result. */
template <class P> DEV void block_rows(float (&o)[P::dim / 8][4], const typename P::Block& block, uint32_t shared, uint32_t x, int row0) {
  using T = MabTiles<P>;
  using E = typename P::Element;
  constexpr int blocks = P::dim / 8, of_head = blocks / P::heads, keys = P::key_slots / 8;
  const uint32_t lane = lane_id(), columns = shared + T::columns;
#pragma unroll
  for (int i = 0; i < blocks; i++) {
    const float2 bias = columns_of(columns, i);
    o[i][0] = o[i][2] = bias.x, o[i][1] = o[i][3] = bias.y;
  }
  // The projection: rows of the weight are its columns.
  dot_keys<E, T::in_bytes, false, blocks>(o, x, shared + T::query_weight);
  // Weighted values are added to the projected query itself.
#pragma unroll
  for (int head = 0; head < P::heads; head++) {
    float(&q)[of_head][4] = *(float(*)[of_head][4])(o + head * of_head);
    float s[keys][4];
    dot_head<E, T::row_bytes, of_head, keys>(s, q, shared + T::keys, head * of_head);
    softmax_rows<P>(s);
    weigh_head<E, T::row_bytes, of_head, keys>(q, s, shared + T::values, head * of_head);
  }
  P::before(o, columns);
  uint32_t a[blocks / 2][4];
#pragma unroll
  for (int i = 0; i < blocks / 2; i++) fragment_of<E>(a[i], o[2 * i], o[2 * i + 1]);
  const typename P::RowValues rows(block, row0 + (int)(lane >> 2));
  // The second product 16 columns at a time: their sums join those of the row at once.
#pragma unroll
  for (int c = 0; c < blocks / 2; c++) {
    float sums[2][4] = {};
#pragma unroll
    for (int step = 0; step < blocks / 2; step++) {
      const uint32_t at[1] = {shared + T::out_weight + c * 16 * T::row_bytes + Rows<T::row_bytes>::at((lane & 7) + ((lane >> 4) << 3), step * 2 + ((lane >> 3) & 1))};
      uint32_t b[1][4];
      ldmatrix_x4_n<1>(b, at);
      mma_n<E, 2>(sums, a[step], b);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) P::end(o[2 * c + half], sums[half], columns, 2 * c + half, rows);
  }
  P::after(o, columns);
}

template <class P> DEV void attend_rows(const typename P::Block& block) {
  using T = MabTiles<P>;
  using E = typename P::Element;
  constexpr int blocks = P::dim / 8, threads = P::warps * 32;
  static_assert(T::bytes <= P::shared_bytes, "the launch reserves enough shared memory");
  DEV_SMEM(smem);
  const uint32_t shared = smem_u32(smem), warp = warp_id(), lane = lane_id();
  const int live = P::live_tiles(block);  // the rows of the others lie behind their set's length
  if (block.first < live) {
    load_rows<T::in_bytes, RowCopy<T::in_bytes, 16>, P::dim, threads>(shared + T::query_weight, 0, threadIdx.x, [&](int row, bool&) { return (const uint8_t*)block.query_weight + row * T::in_bytes; });
    load_rows<T::row_bytes, RowCopy<T::row_bytes, 16>, P::dim, threads>(shared + T::out_weight, 0, threadIdx.x, [&](int row, bool&) { return (const uint8_t*)block.out_weight + row * T::row_bytes; });
    P::template load_keys<threads>(block, shared + T::keys, shared + T::values);
    for (int i = (int)threadIdx.x; i < P::columns * P::dim; i += threads) sts(shared + T::columns + i * 4, P::column(block, i / P::dim, i % P::dim));
  }

  uint32_t x = shared + T::slabs + warp * 2 * T::slab_bytes, other = x + T::slab_bytes;
  int tile = block.first + (int)warp;
  const int end = block.first + P::tiles < P::all_tiles ? block.first + P::tiles : P::all_tiles;
  if (tile < end && tile < live) P::load_x(block, tile * 16, x);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  for (; tile < end; tile += P::warps) {
    cp_async_wait<0>();
    __syncwarp();
    if (tile + P::warps < end && tile + P::warps < live) P::load_x(block, (tile + P::warps) * 16, other);
    cp_async_commit();
    float o[blocks][4] = {};
    if (tile < live) block_rows<P>(o, block, shared, x, tile * 16);
    __syncwarp();  // the results take the place of x, which another lane may still read
    P::store(block, o, tile * 16, x);
    __syncwarp();
    const uint32_t used = x;
    x = other;
    other = used;
  }
}

/** Leaves 16 rows of results at `to`. */
template <class E, int Blocks> DEV void stage_rows(uint32_t to, const float (&o)[Blocks][4]) {
  using R = Rows<Blocks * 16>;
  const uint32_t row = lane_id() >> 2, byte = (lane_id() & 3) * 4;
#pragma unroll
  for (int half = 0; half < 2; half++)
#pragma unroll
    for (int i = 0; i < Blocks; i++) sts(to + R::at(row + 8 * half, i) + byte, pack2<E>(o[i][2 * half], o[i][2 * half + 1]));
  __syncwarp();
}
