// Products of float32 tiles on tensor cores: elements round to tf32 (10 bits of mantissa, as float16 has, and float32's
// exponents), sums are float32. Threads own the same results as in gemm/exact.cuh.
//
// B comes packed: [k16][n16][half][lane] of 16 bytes, four k of one column, so that a load meets no conflict. Which k a
// fragment register holds is free, as long as A and B agree: a lane takes four neighbours.
#pragma once
#include "gemm/tile.cuh"

/** acc[i][..] += A B over one K tile. A thread owns rows row + 8 i and, in each group of 16 columns, four neighbours from `column` on. */
template <int TILE_K, int TILE_N, int MI, int NJ> DEV void multiply(float (&acc)[MI][NJ], uint32_t a_tile, uint32_t b_tile, uint32_t row, uint32_t column) {
#pragma unroll
  for (int k16 = 0; k16 < TILE_K / 16; k16++) {
    uint32_t a[MI / 2][2][4];  // [16 rows][8 k]
#pragma unroll
    for (int i = 0; i < MI; i++) {
      const float4 x = lds<float4>(a_tile + chunk_at<TILE_K * 4>(row + i * 8, k16 * 4 + (lane_id() & 3)));
      a[i / 2][0][i % 2] = f32_to_tf32(x.x), a[i / 2][0][2 + i % 2] = f32_to_tf32(x.y);
      a[i / 2][1][i % 2] = f32_to_tf32(x.z), a[i / 2][1][2 + i % 2] = f32_to_tf32(x.w);
    }
#pragma unroll
    for (int j = 0; j < NJ / 2; j++) {
      const uint32_t block = k16 * (TILE_N / 8) + column / 16 * 2 + j;
      const float4 x = lds<float4>(b_tile + (block * 32 + lane_id()) * 16);
      const uint32_t b[2][2] = {{f32_to_tf32(x.x), f32_to_tf32(x.y)}, {f32_to_tf32(x.z), f32_to_tf32(x.w)}};
#pragma unroll
      for (int i = 0; i < MI / 2; i++) {
        float sum[4] = {acc[2 * i][2 * j], acc[2 * i][2 * j + 1], acc[2 * i + 1][2 * j], acc[2 * i + 1][2 * j + 1]};
#pragma unroll
        for (int k8 = 0; k8 < 2; k8++) mma<tf32>(sum, a[i][k8], b[k8][0], b[k8][1]);
        acc[2 * i][2 * j] = sum[0], acc[2 * i][2 * j + 1] = sum[1], acc[2 * i + 1][2 * j] = sum[2], acc[2 * i + 1][2 * j + 1] = sum[3];
      }
    }
  }
}
