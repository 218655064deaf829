// Samples of small maps on the tensor cores: what the points of 16 rows take of every pixel of a map is written into a
// slab of shared memory, most of it zeros, and multiplied with the map.
#pragma once
#include "attention/rows.cuh"
#include "attention/tensor.cuh"
#include "lib/elements.cuh"
#include "lib/math.cuh"
#include "sample/lanes.cuh"

/** A map in shared memory, pixels of WIDTH channels, and a slab of shares for each warp: float32 sums, rounded once. */
template <class E, int WIDTH, int PIXELS> struct DenseTiles {
  static constexpr int BYTES = WIDTH * (int)sizeof(E), COLUMNS = round_up(PIXELS, 16);
  // Eight floats more than a multiple of 16: four rows of a fragment's pairs meet all 32 banks once.
  static constexpr int PITCH = COLUMNS + 8, RESULT_PITCH = WIDTH + 8;
  static constexpr uint32_t MAP_BYTES = COLUMNS * BYTES, SLAB_BYTES = 16 * (PITCH > RESULT_PITCH ? PITCH : RESULT_PITCH) * 4;
};

/** What a warp keeps of 16 rows: the most of a row's scores and what their exponentials are multiplied with, and points of one map, [point][row]. */
template <int POINTS> struct RowPoints {
  static constexpr int PITCH = 17;
  static constexpr uint32_t BYTES = 16 * 8 + POINTS * PITCH * 16;
  uint32_t shared;
  DEV_FN uint32_t scores(int row) const { return shared + row * 8; }
  DEV_FN uint32_t point(int row, int p) const { return shared + 16 * 8 + (p * PITCH + row) * 16; }
};

/** The exponentials of 16 rows' scores, each row's by neighbouring lanes: how far they go, and what they come to. */
template <int POINTS, class Points, class ScoreOf> DEV void measure_scores(Points points, ScoreOf score_of) {
  constexpr int LANES = LANES_FOR<POINTS>;
  for (int first = 0; first < 16; first += 32 / LANES) {
    const int row = first + lane_id() / LANES, lane = lane_id() % LANES;
    float most = -INFINITY, sum = 0.0f;
    if (row < 16)
      for (int k = lane; k < POINTS; k += LANES) most = fmaxf(most, score_of(row, k));
    most = red_max<LANES>(most);
    if (most == -INFINITY) most = 0.0f;
    if (row < 16)
      for (int k = lane; k < POINTS; k += LANES) sum += fast_exp(score_of(row, k) - most);
    sum = red_sum<LANES>(sum);
    if (row < 16 && lane == 0) sts(points.scores(row), make_float2(most, sum == 0.0f ? 0.0f : 1.0f / sum));
  }
  __syncwarp();
}

template <int PITCH> DEV void clear_slab(uint32_t slab) {
  for (int i = lane_id(); i < 16 * PITCH / 4; i += 32) sts(slab + i * 16, make_float4(0.0f, 0.0f, 0.0f, 0.0f));
}

/**
 * Adds the shares of a map's points to a slab. The four pixels around a point are odd and even on both axes in four
 * different ways, and four lanes of a row own those of one way each: nobody else adds to a pixel, and points are added in
 * order. A lane has rows lane / 4 and lane / 4 + 8.
 */
template <int FIRST, int SECOND, int PITCH, int POINTS, class Points> DEV void spread_points(uint32_t slab, Points points) {
  const int way = lane_id() % 4;
#pragma unroll
  for (int row = lane_id() / 4; row < 16; row += 8) {
#pragma unroll 4
    for (int p = 0; p < POINTS; p++) {
      const float4 at = lds<float4>(points.point(row, p));  // place and weight
      int a = (int)floorf(at.x), b = (int)floorf(at.y);
      a += (a ^ way) & 1, b += (b ^ way >> 1) & 1;
      const float near_a = 1.0f - fabsf(at.x - (float)a), near_b = 1.0f - fabsf(at.y - (float)b);
      if (near_a > 0.0f && near_b > 0.0f && (unsigned)a < (unsigned)FIRST && (unsigned)b < (unsigned)SECOND) {
        const uint32_t pixel = slab + (row * PITCH + b * FIRST + a) * 4;
        sts(pixel, lds<float>(pixel) + near_a * at.z * near_b);
      }
    }
  }
}

/** sum[16 rows][channels] += shares of a slab * map. */
template <class T, class E, int CHUNKS> DEV void weigh_map(float (&sum)[CHUNKS][4], uint32_t slab, uint32_t map) {
  const uint32_t at = slab + (lane_id() / 4 * T::PITCH + lane_id() % 4 * 2) * 4;
#pragma unroll 1
  for (int k = 0; k < T::COLUMNS; k += 16) {
    uint32_t a[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float2 pair = lds<float2>(at + (k + i % 2 * 8 * T::PITCH + i / 2 * 8) * 4);
      a[i] = pack2<E>(pair.x, pair.y);
    }
    weigh_rows<E, T::BYTES, true>(sum, a, map + k * T::BYTES);
  }
}

/** The same, pixel by pixel: one that has no share is not looked at, whatever it holds. */
template <class T, class E, int CHUNKS> DEV void weigh_pixels(float (&sum)[CHUNKS][4], uint32_t slab, uint32_t map) {
  const uint32_t row = slab + lane_id() / 4 * T::PITCH * 4;
#pragma unroll 1
  for (int pixel = 0; pixel < T::COLUMNS; pixel++) {
    const float upper = lds<float>(row + pixel * 4), lower = lds<float>(row + (pixel + 8 * T::PITCH) * 4);
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
      const float2 value = unpack2<E>(lds<uint32_t>(map + Rows<T::BYTES>::at(pixel, c) + lane_id() % 4 * 4));
      if (upper != 0.0f) sum[c][0] = fmaf(upper, value.x, sum[c][0]), sum[c][1] = fmaf(upper, value.y, sum[c][1]);
      if (lower != 0.0f) sum[c][2] = fmaf(lower, value.x, sum[c][2]), sum[c][3] = fmaf(lower, value.y, sum[c][3]);
    }
  }
}

/** Maps of FIRST x SECOND pixels. */
template <class E_, int WIDTH, int THREADS, int FIRST_, int SECOND_, int FIRST_STEP, int SECOND_STEP, bool BORDER> struct MapLevel {
  using E = E_;
  static constexpr int FIRST = FIRST_, SECOND = SECOND_;
  using T = DenseTiles<E, WIDTH, FIRST * SECOND>;

  /** Copies a map, and zeros for the pixels that fill its last 16. */
  static DEV_FN void load(uint32_t to, const E* map) {
    load_rows<T::BYTES, RowCopy<T::BYTES, 16>, T::COLUMNS, THREADS>(to, 0, threadIdx.x, [&](int pixel, bool& live) {
      live = pixel < FIRST * SECOND;
      const int at = live ? pixel : 0;
      return (const uint8_t*)(map + (FIRST * FIRST_STEP == SECOND_STEP ? at * FIRST_STEP : at / FIRST * SECOND_STEP + at % FIRST * FIRST_STEP));
    });
    cp_async_commit();
  }
  /** Where a point counts: at the border, or one pixel outside at most. What is not a number lies outside. */
  static DEV_FN float4 place(float first, float second, float weight, bool counted) {
    if constexpr (BORDER) {
      first = first < 0.0f ? 0.0f : first > (float)(FIRST - 1) ? (float)(FIRST - 1) : first;
      second = second < 0.0f ? 0.0f : second > (float)(SECOND - 1) ? (float)(SECOND - 1) : second;
    }
    if (counted && !(fabsf(first) < INFINITY && fabsf(second) < INFINITY)) count_lost_point();
    return make_float4(fmaxf(fminf(first, (float)FIRST), -1.0f), fmaxf(fminf(second, (float)SECOND), -1.0f), weight, 0.0f);
  }
};

/** Adds up MAPS maps of a level, with POINTS points on each. map_of(m) is where map m begins, point_of(row, p) a point of the level. */
template <class Level, int MAPS, int POINTS, int BUFFERS, int CHUNKS, class Points, class MapOf, class PointOf>
DEV void attend_maps(float (&sum)[CHUNKS][4], uint32_t maps, uint32_t slab, Points points, bool exactly, MapOf map_of, PointOf point_of) {
  using T = typename Level::T;
  using E = typename Level::E;
  Level::load(maps, map_of(0));
#pragma unroll 1
  for (int m = 0; m < MAPS; m++) {
    // Neighbouring lanes place neighbouring points, which lie side by side in memory.
    for (int i = lane_id(); i < 16 * POINTS; i += 32) sts(points.point(i / POINTS, i % POINTS), point_of(i / POINTS, m * POINTS + i % POINTS));
    clear_slab<T::PITCH>(slab);
    __syncwarp();
    spread_points<Level::FIRST, Level::SECOND, T::PITCH, POINTS>(slab, points);
    // The slab is whole, the map has come, and nobody reads the other one any more.
    cp_async_wait<0>();
    __syncthreads();
    if (BUFFERS == 2 && m + 1 < MAPS) Level::load(maps + (m + 1) % BUFFERS * T::MAP_BYTES, map_of(m + 1));
    const uint32_t map = maps + m % BUFFERS * T::MAP_BYTES;
    if (exactly) weigh_pixels<T, E>(sum, slab, map);
    else weigh_map<T, E>(sum, slab, map);
    if (BUFFERS == 1 || m + 1 == MAPS) __syncthreads();
    if (BUFFERS == 1 && m + 1 < MAPS) Level::load(maps, map_of(m + 1));
    __syncwarp();
  }
}

template <int CHUNKS> DEV bool all_finite(const float (&sum)[CHUNKS][4]) {
  bool finite = true;
#pragma unroll
  for (int c = 0; c < CHUNKS; c++)
#pragma unroll
    for (int e = 0; e < 4; e++) finite &= fabsf(sum[c][e]) < INFINITY;
  return finite;
}

/** Rows of results from fragments to shared memory, RESULT_PITCH floats apart. */
template <class T, int CHUNKS> DEV void stage_results(uint32_t slab, const float (&sum)[CHUNKS][4]) {
  const uint32_t at = slab + (lane_id() / 4 * T::RESULT_PITCH + lane_id() % 4 * 2) * 4;
#pragma unroll
  for (int c = 0; c < CHUNKS; c++) {
    sts(at + c * 32, make_float2(sum[c][0], sum[c][1]));
    sts(at + (c * 8 + 8 * T::RESULT_PITCH) * 4, make_float2(sum[c][2], sum[c][3]));
  }
}
