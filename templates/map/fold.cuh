// How threads put the parts of a fold together.
#pragma once
#include "device/device.cuh"
#include "lib/order.cuh"

DEV float fold_sum(float a, float b) { return a + b; }
DEV float fold_max(float a, float b) { return fmaxf(a, b); }
/** A value with its number behind it: the larger, the larger the value is, and of equal values the smaller the number. */
DEV uint64_t numbered(float value, int number) { return (uint64_t)order_of(value) << 32 | (uint32_t)~number; }
DEV int number_of(uint64_t numbered) { return (int)~(uint32_t)numbered; }
DEV uint64_t fold_first(uint64_t a, uint64_t b) { return a > b ? a : b; }

/** Combines the parts of SLICES threads in the order of the slices; the whole is in slice 0. All threads of the block call it. */
template <int ITEMS, int SLICES, int V, class T> DEV void fold_slices(T (&part)[V], uint32_t shared, int slice, int item, T (*combine)(T, T)) {
  if (slice > 0) {
#pragma unroll
    for (int j = 0; j < V; j++) sts(shared + (((slice - 1) * V + j) * ITEMS + item) * (int)sizeof(T), part[j]);
  }
  __syncthreads();
  if (slice > 0) return;
#pragma unroll 4
  for (int s = 0; s < SLICES - 1; s++) {
#pragma unroll
    for (int j = 0; j < V; j++) part[j] = combine(part[j], lds<T>(shared + ((s * V + j) * ITEMS + item) * (int)sizeof(T)));
  }
}
