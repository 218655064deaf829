// Bilinear samples at points that are data, in steps: a thread a point, then a thread a run of channels.
#pragma once
#include "lib/elements.cuh"
#include "lib/math.cuh"
#include "sample/lanes.cuh"

/** A map's extents on its two axes, and how many elements apart neighbours lie. */
struct Map {
  int first, second, first_step, second_step;
};

/** Four pixels: the first's place on both axes, the others lie one further on one axis, on the other, on both; their weights. */
struct Corners {
  float4 weights;
  int first, second;
  /** The element of the first, in a map whose first pixel is element `values`. */
  DEV_FN int in(Map map, int values) const { return values + first * map.first_step + second * map.second_step; }
};

/**
 * The block of 2 x 2 pixels is moved inside of the map, and a pixel weighs as much as it is near: 1 - distance, at
 * least 0. So borders, whole positions, infinities and what is not a number need no case of their own.
 */
template <bool BORDER> DEV Corners corners(float first, float second, float weight, Map map) {
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
  return {make_float4(a0 * b0, a1 * b0, a0 * b1, a1 * b1), (int)a, (int)b};
}

/** The corners of the points of a block, in shared memory: [point][item], a row of odd length. Places of keys and scores where there are some. */
template <int ITEMS_, int POINTS_> struct PointTable {
  static constexpr int ITEMS = ITEMS_, POINTS = POINTS_, PITCH = ITEMS | 1;
  uint32_t shared;
  DEV_FN uint32_t weights(int item, int k) const { return shared + (k * PITCH + item) * 16; }
  DEV_FN uint32_t place(int item, int k) const { return shared + POINTS * PITCH * 16 + (k * PITCH + item) * 4; }
  DEV_FN uint32_t key(int item, int k) const { return shared + POINTS * PITCH * 20 + (k * PITCH + item) * 4; }
  DEV_FN uint32_t score(int item, int k) const { return shared + POINTS * PITCH * 24 + (k * PITCH + item) * 4; }
};

/** Does `work` for each item, by LANES lanes, in the same number of rounds for all lanes of a warp, which add up together. */
template <int THREADS, int LANES, class Points, class Work> DEV void for_items(Points, int items, Work work) {
  for (int first = 0; first < Points::ITEMS; first += THREADS / LANES) {
    const int item = first + threadIdx.x / LANES;
    work(item, item < items);
  }
}

/** Makes weights of an item's scores, in `at(k)`: each lane reads back its own alone. The scale that the exponentials still want. */
template <int LANES, class Points, class At> DEV float exponentials(bool live, float most, At at) {
  most = red_max<LANES>(most);
  if (most == -INFINITY) most = 0.0f;
  float sum = 0.0f;
  if (live)
    for (int k = threadIdx.x % LANES; k < Points::POINTS; k += LANES) {
      const float share = fast_exp(lds<float>(at(k)) - most);
      sts(at(k), share);
      sum += share;
    }
  sum = red_sum<LANES>(sum);
  return sum == 0.0f ? 0.0f : 1.0f / sum;
}

/** The first step, where weights are given. These lie with their corners until the corners are known. */
template <int THREADS, bool SOFTMAX, class Points, class WeightOf, class CornersOf>
DEV void place_points(Points table, int items, WeightOf weight_of, CornersOf corners_of) {
  constexpr int LANES = LANES_FOR<Points::POINTS>;
  for_items<THREADS, LANES>(table, items, [&](int item, bool live) {
    const int lane = threadIdx.x % LANES;
    float scale = 1.0f;
    if constexpr (SOFTMAX) {
      float most = -INFINITY;
      if (live)
        for (int k = lane; k < Points::POINTS; k += LANES) {
          const float score = weight_of(item, k);
          sts(table.weights(item, k), score);
          most = fmaxf(most, score);
        }
      scale = exponentials<LANES, Points>(live, most, [&](int k) { return table.weights(item, k); });
    }
    if (live)
      for (int k = lane; k < Points::POINTS; k += LANES)
        corners_of(item, k, SOFTMAX ? lds<float>(table.weights(item, k)) * scale : weight_of(item, k));
  });
}

/** Where scores are computed: corners first, of weight one, then scores of the keys there, then what they come to. */
template <int THREADS, bool SOFTMAX, class Points> DEV void weigh_points(Points table, int items) {
  constexpr int LANES = LANES_FOR<Points::POINTS>;
  for_items<THREADS, LANES>(table, items, [&](int item, bool live) {
    const int lane = threadIdx.x % LANES;
    float scale = 1.0f;
    if constexpr (SOFTMAX) {
      float most = -INFINITY;
      if (live)
        for (int k = lane; k < Points::POINTS; k += LANES) most = fmaxf(most, lds<float>(table.score(item, k)));
      scale = exponentials<LANES, Points>(live, most, [&](int k) { return table.score(item, k); });
    }
    if (live)
      for (int k = lane; k < Points::POINTS; k += LANES) {
        const float weight = lds<float>(table.score(item, k)) * scale;
        const float4 near = lds<float4>(table.weights(item, k));
        sts(table.weights(item, k), make_float4(near.x * weight, near.y * weight, near.z * weight, near.w * weight));
      }
  });
}

/** sum += weight * p[0 ...]; a pixel that weighs nothing is not read: it may hold anything, and costs no traffic. */
template <int RUN, class S> DEV void add_corner(float (&sum)[RUN], const S* p, float weight) {
  if (weight == 0.0f) return;
  float pixel[RUN];
  load_elements(pixel, p, 0);
#pragma unroll
  for (int j = 0; j < RUN; j++) sum[j] = fmaf(weight, pixel[j], sum[j]);
}

/** Scores of the points of a level from number `k0`: LANES lanes multiply RUN channels each of a query and of the key at a point. */
template <int THREADS, int LANES, int RUN, int WIDTH, int FIRST_STEP, int SECOND_STEP, int POINTS, class Points, class S, class QueryOf, class WeightOf>
DEV void score_level(const S* keys, int key_step, Points table, int items, int k0, float scale, QueryOf query_of, WeightOf weight_of) {
  const int lane = threadIdx.x % LANES;
  for (int first = 0; first < items * POINTS; first += THREADS / LANES) {
    const int point = first + threadIdx.x / LANES, item = point / POINTS, k = k0 + point % POINTS;
    float product = 0.0f;
    if (item < items) {
      const float4 weights = lds<float4>(table.weights(item, k));
      const S* const at = keys + lds<int>(table.key(item, k));
      for (int c = lane * RUN; c < WIDTH; c += LANES * RUN) {
        float query[RUN], key[RUN];
        query_of(query, item, c);
#pragma unroll
        for (int j = 0; j < RUN; j++) key[j] = 0.0f;
        const S* const p = at + c * key_step;
        add_corner(key, p, weights.x);
        add_corner(key, p + FIRST_STEP, weights.y);
        add_corner(key, p + SECOND_STEP, weights.z);
        add_corner(key, p + FIRST_STEP + SECOND_STEP, weights.w);
#pragma unroll
        for (int j = 0; j < RUN; j++) product = fmaf(query[j], key[j], product);
      }
    }
    product = red_sum<LANES>(product);
    if (item < items && lane == 0) sts(table.score(item, k), fmaf(scale, product, weight_of(item, k)));
  }
}

/** The last step, for the points of a level from number `k0`. */
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
