// Runs of elements between memory and float registers, of any length that accesses of 16 bytes make up.
#pragma once
#include "gemm/values.cuh"

/** Elements of S that one access moves, of a run of WIDTH. */
template <class S, int WIDTH> constexpr int STEP_OF = WIDTH * (int)sizeof(S) <= 16 ? WIDTH : 16 / (int)sizeof(S);

template <int WIDTH, class S, class At> DEV void load_elements(float (&v)[WIDTH], const S* p, At at) {
#pragma unroll
  for (int q = 0; q < WIDTH; q += STEP_OF<S, WIDTH>) load_values<STEP_OF<S, WIDTH>>(v, q, p, at + q);
}
/** The same, or `fill` where the run is dead. */
template <int WIDTH, class S, class At> DEV void load_elements_or(float (&v)[WIDTH], const S* p, At at, bool live, float fill) {
#pragma unroll
  for (int q = 0; q < WIDTH; q += STEP_OF<S, WIDTH>) load_values_or<STEP_OF<S, WIDTH>>(v, q, p, at + q, live, fill);
}
template <int WIDTH, class S, class At> DEV void store_elements(S* p, At at, const float (&v)[WIDTH], bool live) {
#pragma unroll
  for (int q = 0; q < WIDTH; q += STEP_OF<S, WIDTH>) store_values<STEP_OF<S, WIDTH>>(p, at + q, v, q, live);
}
