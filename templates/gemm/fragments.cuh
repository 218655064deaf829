// Operands and results of mma.sync m16n8k16 (E: bf16 or f16).
//
// B comes packed: [k16][n16][lane] of 16 bytes, so that a copy is linear and the fragments of two column blocks are one
// 16-byte load. Its columns are permuted within groups of 4 V so that V results of a thread are neighbours in memory.
#pragma once
#include "gemm/tile.cuh"

/** Fragments of 16 MI rows from `row` on, and the 16 columns number k16. */
template <int MI, int ROW_BYTES> DEV void load_a(uint32_t (&a)[MI][4], uint32_t tile, uint32_t row, uint32_t k16) {
  uint32_t at[MI];
#pragma unroll
  for (int i = 0; i < MI; i++) at[i] = tile + chunk_at<ROW_BYTES>(row + i * 16 + (lane_id() & 15), k16 * 2 + (lane_id() >> 4));
  ldmatrix_x4_n<MI>(a, at);
}
/** Fragments of NI column blocks; `block` is the address of the first pair of them. */
template <int NI> DEV void load_b(uint32_t (&b)[NI / 2][4], uint32_t block) {
#pragma unroll
  for (int j = 0; j < NI / 2; j++) {
    const uint4 pair = lds<uint4>(block + j * 512 + lane_id() * 16);
    b[j][0] = pair.x, b[j][1] = pair.y, b[j][2] = pair.z, b[j][3] = pair.w;
  }
}

/** Where this thread's results lie in the warp's: V columns from here on in each group of 4 V, ... */
template <int V> DEV int fragment_column(int group) { return group * 4 * V + (lane_id() & 3) * V; }
/** ... and one row in each half of each block of 16. */
DEV int fragment_row(int i, int half) { return i * 16 + half * 8 + (int)(lane_id() >> 2); }
/** Result number q of a group. */
template <int V, int NI> DEV float fragment(const float (&acc)[NI][4], int group, int q, int half) { return acc[group * (V / 2) + q / 2][half * 2 + (q & 1)]; }
