// Bilinear samples at points that are data, in two steps: a thread a point, then a thread a run of channels.
#pragma once
#include "lib/elements.cuh"
#include "lib/math.cuh"

/** A map's extents on its two axes, and how many elements apart neighbours lie. */
struct Map {
  int first, second, first_step, second_step;
};

/** The weights of four pixels, and the element of the first; the others lie a step further on one axis, on the other, on both. */
struct Corners {
  float4 weights;
  int at;
};

/**
 * The block of 2 x 2 pixels is moved inside of the map, and a pixel weighs as much as it is near: 1 - distance, at
 * least 0. So borders, whole positions, infinities and what is not a number need no case of their own.
 */
template <bool BORDER> DEV Corners corners(float first, float second, float weight, Map map, int values) {
  if constexpr (BORDER) {
    // What is not a number stays so, and weighs nothing.
    first = first < 0.0f ? 0.0f : first > (float)(map.first - 1) ? (float)(map.first - 1) : first;
    second = second < 0.0f ? 0.0f : second > (float)(map.second - 1) ? (float)(map.second - 1) : second;
  }
  if (!(fabsf(first) < INFINITY && fabsf(second) < INFINITY)) count_lost_point();
  const float a = fmaxf(fminf(floorf(first), (float)(map.first - 2)), 0.0f);
  const float b = fmaxf(fminf(floorf(second), (float)(map.second - 2)), 0.0f);
  const float a0 = fmaxf(1.0f - fabsf(first - a), 0.0f) * weight;
  const float a1 = map.first > 1 ? fmaxf(1.0f - fabsf(first - (a + 1.0f)), 0.0f) * weight : 0.0f;
  const float b0 = fmaxf(1.0f - fabsf(second - b), 0.0f);
  const float b1 = map.second > 1 ? fmaxf(1.0f - fabsf(second - (b + 1.0f)), 0.0f) : 0.0f;
  return {make_float4(a0 * b0, a1 * b0, a0 * b1, a1 * b1), values + (int)a * map.first_step + (int)b * map.second_step};
}

/** The corners of the points of a block, in shared memory: [point][item], a row of odd length. */
template <int ITEMS_, int POINTS_> struct PointTable {
  static constexpr int ITEMS = ITEMS_, POINTS = POINTS_, PITCH = ITEMS | 1;
  uint32_t shared;
  DEV_FN uint32_t weights(int item, int k) const { return shared + (k * PITCH + item) * 16; }
  DEV_FN uint32_t place(int item, int k) const { return shared + POINTS * PITCH * 16 + (k * PITCH + item) * 4; }
};

/** Lanes that share an item's points: a power of two. */
template <int POINTS> constexpr int LANES_FOR = POINTS > 16 ? 32 : POINTS > 8 ? 16 : POINTS > 4 ? 8 : POINTS > 2 ? 4 : POINTS;

/** The first step. An item's weights lie with its corners until these are known; each lane reads back its own alone. */
template <int THREADS, bool SOFTMAX, class Points, class WeightOf, class CornersOf>
DEV void place_points(Points table, int items, WeightOf weight_of, CornersOf corners_of) {
  constexpr int LANES = LANES_FOR<Points::POINTS>;
  const int lane = threadIdx.x % LANES;
  // The same number of rounds for all lanes of a warp, which add up together.
  for (int first = 0; first < Points::ITEMS; first += THREADS / LANES) {
    const int item = first + threadIdx.x / LANES;
    const bool live = item < items;
    float most = -INFINITY, scale = 1.0f;
    if constexpr (SOFTMAX) {
      if (live)
        for (int k = lane; k < Points::POINTS; k += LANES) {
          const float score = weight_of(item, k);
          sts(table.weights(item, k), score);
          most = fmaxf(most, score);
        }
      most = red_max<LANES>(most);
      if (most == -INFINITY) most = 0.0f;
      float sum = 0.0f;
      if (live)
        for (int k = lane; k < Points::POINTS; k += LANES) {
          const float share = fast_exp(lds<float>(table.weights(item, k)) - most);
          sts(table.weights(item, k), share);
          sum += share;
        }
      sum = red_sum<LANES>(sum);
      scale = sum == 0.0f ? 0.0f : 1.0f / sum;
    }
    if (live)
      for (int k = lane; k < Points::POINTS; k += LANES) {
        const float weight = SOFTMAX ? lds<float>(table.weights(item, k)) * scale : weight_of(item, k);
        const Corners found = corners_of(item, k, weight);
        sts(table.weights(item, k), found.weights);
        sts(table.place(item, k), found.at);
      }
  }
}

/** sum += weight * p[0 ...]; a pixel that weighs nothing is not read: it may hold anything, and costs no traffic. */
template <int RUN, class S> DEV void add_corner(float (&sum)[RUN], const S* p, float weight) {
  if (weight == 0.0f) return;
  float pixel[RUN];
  load_elements(pixel, p, 0);
#pragma unroll
  for (int j = 0; j < RUN; j++) sum[j] = fmaf(weight, pixel[j], sum[j]);
}

/** The second step, for the points of a level from number `k0`. */
template <int FIRST_STEP, int SECOND_STEP, int POINTS, int RUN, class S, class Points>
DEV void add_level(float (&sum)[RUN], const S* values, Points table, int item, int k0) {
#pragma unroll 4
  for (int k = k0; k < k0 + POINTS; k++) {
    const float4 weights = lds<float4>(table.weights(item, k));
    const S* p = values + lds<int>(table.place(item, k));
    add_corner(sum, p, weights.x);
    add_corner(sum, p + FIRST_STEP, weights.y);
    add_corner(sum, p + SECOND_STEP, weights.z);
    add_corner(sum, p + FIRST_STEP + SECOND_STEP, weights.w);
  }
}
