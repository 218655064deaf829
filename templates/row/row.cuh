// Statistics of rows. A row belongs to THREADS threads: neighbouring lanes of a warp, or a whole block of several warps.
#pragma once
#include "lib/elements.cuh"
#include "lib/math.cuh"

/** The sum over a row's threads. `shared`: a word for each warp of a block that shares a row. */
template <int THREADS> DEV float row_sum(float x, uint32_t shared) {
  if constexpr (THREADS <= 32) {
    return red_sum<THREADS>(x);
  } else {
    x = red_sum<32>(x);
    if (lane_id() == 0) sts(shared + warp_id() * 4, x);
    __syncthreads();
    x = red_sum<32>(lane_id() < THREADS / 32 ? lds<float>(shared + lane_id() * 4) : 0.0f);
    __syncthreads();
    return x;
  }
}
template <int THREADS> DEV float row_max(float x, uint32_t shared) {
  if constexpr (THREADS <= 32) {
    return red_max<THREADS>(x);
  } else {
    x = red_max<32>(x);
    if (lane_id() == 0) sts(shared + warp_id() * 4, x);
    __syncthreads();
    x = red_max<32>(lane_id() < THREADS / 32 ? lds<float>(shared + lane_id() * 4) : -INFINITY);
    __syncthreads();
    return x;
  }
}

/** A row whose elements stay in registers: run k of thread t begins at element (k * THREADS + t) * WIDTH. */
template <int COLUMNS, int THREADS, int WIDTH> struct HeldRow {
  static constexpr int CHUNKS = (COLUMNS + THREADS * WIDTH - 1) / (THREADS * WIDTH);
  static constexpr bool EXACT = CHUNKS * THREADS * WIDTH == COLUMNS;
  float x[CHUNKS][WIDTH];
  int first;

  template <class Load> DEV_FN void read(int thread, Load load) {
    first = thread * WIDTH;
    each_run([&](int n0, float(&run)[WIDTH]) { load(n0, run); });
  }
  template <class Visit> DEV_FN void each_run(Visit visit) {
#pragma unroll
    for (int k = 0; k < CHUNKS; k++)
      if (EXACT || k * THREADS * WIDTH + first < COLUMNS) visit(k * THREADS * WIDTH + first, x[k]);
  }
};

/** A row too long for registers: read again for every pass. */
template <int COLUMNS, int THREADS, int WIDTH, class Load> struct StreamedRow {
  Load load;
  int first;

  template <class Visit> DEV_FN void each_run(Visit visit) {
#pragma unroll 2
    for (int n0 = first; n0 < COLUMNS; n0 += THREADS * WIDTH) {
      float run[WIDTH];
      load(n0, run);
      visit(n0, run);
    }
  }
};
template <int COLUMNS, int THREADS, int WIDTH, class Load> DEV StreamedRow<COLUMNS, THREADS, WIDTH, Load> streamed_row(int thread, Load load) {
  return {load, thread * WIDTH};
}

/** (x - mean) / sqrt(variance + eps); the mean is kept in two parts, as one float is too coarse where it is far from zero. */
struct Normalizer {
  float center, correction, scale;
  DEV_FN float of(float x) const { return (x - center - correction) * scale; }
};
template <int COLUMNS, int THREADS, int WIDTH, class Row> DEV Normalizer normalizer(Row& row, float eps, uint32_t shared) {
  Normalizer result;
  float sum = 0.0f;
  row.each_run([&](int, float(&x)[WIDTH]) {
#pragma unroll
    for (int j = 0; j < WIDTH; j++) sum += x[j];
  });
  result.center = row_sum<THREADS>(sum, shared) * (1.0f / COLUMNS);
  // Squares of distances from the rounded mean, and what rounding left of the mean.
  float rest = 0.0f, squares = 0.0f;
  row.each_run([&](int, float(&x)[WIDTH]) {
#pragma unroll
    for (int j = 0; j < WIDTH; j++) {
      const float distance = x[j] - result.center;
      rest += distance;
      squares = fmaf(distance, distance, squares);
    }
  });
  result.correction = row_sum<THREADS>(rest, shared) * (1.0f / COLUMNS);
  const float variance = fmaf(-result.correction, result.correction, row_sum<THREADS>(squares, shared) * (1.0f / COLUMNS));
  result.scale = rsqrtf(fmaxf(variance, 0.0f) + eps);
  return result;
}

/** exp(x - max) / sum of exp(x - max); zeros for a row of which every element is minus infinity. */
struct Softmax {
  float most, scale;
  DEV_FN float of(float x) const { return fast_exp(x - most) * scale; }
};
template <int COLUMNS, int THREADS, int WIDTH, class Row> DEV Softmax softmax(Row& row, uint32_t shared) {
  float most = -INFINITY;
  row.each_run([&](int, float(&x)[WIDTH]) {
#pragma unroll
    for (int j = 0; j < WIDTH; j++) most = fmaxf(most, x[j]);
  });
  most = row_max<THREADS>(most, shared);
  Softmax result;
  result.most = most == -INFINITY ? 0.0f : most;
  float sum = 0.0f;
  row.each_run([&](int, float(&x)[WIDTH]) {
#pragma unroll
    for (int j = 0; j < WIDTH; j++) sum += fast_exp(x[j] - result.most);
  });
  sum = row_sum<THREADS>(sum, shared);
  result.scale = sum == 0.0f ? 0.0f : 1.0f / sum;
  return result;
}
