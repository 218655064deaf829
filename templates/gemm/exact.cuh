// Products of float32 tiles without tensor cores: every product and sum rounds to float32, as on a CPU.
#pragma once
#include "gemm/fmaBlock.cuh"
#include "gemm/tile.cuh"

/**
 * acc[i][..] += A B over one K tile. A thread owns rows row + 8 i and, in each group of 16 columns, four neighbours from
 * `column` on. A: exchanged rows of TILE_K; B: [k][TILE_N].
 */
template <int TILE_K, int TILE_N, int MI, int NJ> DEV void multiply(float (&acc)[MI][NJ], uint32_t a_tile, uint32_t b_tile, uint32_t row, uint32_t column) {
#pragma unroll
  for (int k4 = 0; k4 < TILE_K / 4; k4++) {
    float a[MI][4];
#pragma unroll
    for (int i = 0; i < MI; i++) {
      const float4 x = lds<float4>(a_tile + chunk_at<TILE_K * 4>(row + i * 8, k4));
      a[i][0] = x.x, a[i][1] = x.y, a[i][2] = x.z, a[i][3] = x.w;
    }
float b[4][NJ];
#pragma unroll
    for (int k = 0; k < 4; k++) {
#pragma unroll
      for (int g = 0; g < NJ / 4; g++) {
        const float4 x = lds<float4>(b_tile + ((k4 * 4 + k) * TILE_N + column + g * 16) * 4);
        b[k][4 * g] = x.x, b[k][4 * g + 1] = x.y, b[k][4 * g + 2] = x.z, b[k][4 * g + 3] = x.w;
      }
    }
    fma_block(acc, a, b);
  }
}
