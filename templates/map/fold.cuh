// How threads put the parts of a fold together.
#pragma once
#include "device/device.cuh"

DEV float fold_sum(float a, float b) { return a + b; }
DEV float fold_max(float a, float b) { return fmaxf(a, b); }

/** Combines the parts of SLICES threads in the order of the slices; the whole is in slice 0. All threads of the block call it. */
template <int ITEMS, int SLICES, int V> DEV void fold_slices(float (&part)[V], uint32_t shared, int slice, int item, float (*combine)(float, float)) {
  if (slice > 0) {
#pragma unroll
    for (int j = 0; j < V; j++) sts(shared + (((slice - 1) * V + j) * ITEMS + item) * 4, part[j]);
  }
  __syncthreads();
  if (slice > 0) return;
#pragma unroll 4
  for (int s = 0; s < SLICES - 1; s++) {
#pragma unroll
    for (int j = 0; j < V; j++) part[j] = combine(part[j], lds<float>(shared + ((s * V + j) * ITEMS + item) * 4));
  }
}
