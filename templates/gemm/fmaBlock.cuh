// Outer products of float32, summed: acc[i][j] += a[i][k] * b[k][j] for four k.
#pragma once
#include "device/device.cuh"

#if defined(FOVEA_EMULATE) && defined(__x86_64__)
// The host has one thread where a GPU has 32, and fmaf without its instruction is a call: eight columns at a time make
// up for both. Rounds as the GPU does: products are not rounded before they are added.
template <int MI, int NJ> __attribute__((target("avx2,fma"), optimize("O3"), noinline)) static void fma_block_wide(float (*acc)[NJ], const float (*a)[4], const float (*b)[NJ]) {
  typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));
  for (int j = 0; j < NJ; j += 8) {
    Eight sums[MI];
    for (int i = 0; i < MI; i++) sums[i] = *(const Eight*)&acc[i][j];
    for (int k = 0; k < 4; k++) {
      const Eight row = *(const Eight*)&b[k][j];
      for (int i = 0; i < MI; i++) sums[i] = __builtin_ia32_vfmaddps256(Eight{} + a[i][k], row, sums[i]);
    }
    for (int i = 0; i < MI; i++) *(Eight*)&acc[i][j] = sums[i];
  }
}
static const bool host_has_fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif

template <int MI, int NJ> DEV void fma_block(float (&acc)[MI][NJ], const float (&a)[MI][4], const float (&b)[4][NJ]) {
#if defined(FOVEA_EMULATE) && defined(__x86_64__)
  if (NJ % 8 == 0 && host_has_fma) return fma_block_wide<MI, NJ>(acc, a, b);
#endif
#pragma unroll
  for (int k = 0; k < 4; k++)
#pragma unroll
    for (int i = 0; i < MI; i++)
#pragma unroll
      for (int j = 0; j < NJ; j++) acc[i][j] = fmaf(a[i][k], b[k][j], acc[i][j]);
}
