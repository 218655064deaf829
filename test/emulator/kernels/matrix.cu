// ldmatrix and mma.sync: one warp.
#include "device/device.cuh"

// 32 rows of 16 bytes, row i holding elements 8i .. 8i + 7.
extern "C" __global__ void ldmatrix_layout(uint32_t* out) {
  DEV_SMEM(smem);
  const uint32_t s = smem_u32(smem), lane = lane_id();
  for (uint32_t i = 0; i < 4; i++) sts(s + 16 * lane + 4 * i, (8 * lane + 2 * i) | (8 * lane + 2 * i + 1) << 16);
  __syncwarp();
  const uint32_t address[1] = {s + 16 * lane};
  uint32_t a[1][4], b[1][4], c[1][2], d[1][2];
  ldmatrix_x4_n(a, address);
  ldmatrix_x4_trans_n(b, address);
  ldmatrix_x2_n(c, address);
  ldmatrix_x2_trans_n(d, address);
  for (int i = 0; i < 4; i++) st(out + i * 32 + lane, a[0][i]), st(out + (4 + i) * 32 + lane, b[0][i]);
  for (int i = 0; i < 2; i++) st(out + (8 + i) * 32 + lane, c[0][i]), st(out + (10 + i) * 32 + lane, d[0][i]);
}

DEV void put_fragment(float* c, uint32_t row, uint32_t column, int pitch, const float (&d)[4]) {
  const uint32_t g = lane_id() / 4, t = lane_id() % 4;
  st((float2*)(c + (row + g) * pitch + column + 2 * t), make_float2(d[0], d[1]));
  st((float2*)(c + (row + g + 8) * pitch + column + 2 * t), make_float2(d[2], d[3]));
}

// C[32][32] = A[32][16] B[16][32] + 1, A by rows and B by columns; through mma_block, mma_row and mma_n.
template <class E>
DEV void multiply(const uint16_t* a, const uint16_t* b, float* c) {
  DEV_SMEM(tiles);
  const uint32_t s = smem_u32(tiles), lane = lane_id();
  for (uint32_t i = 0; i < 2; i++) {
    sts(s + 32 * lane + 16 * i, ld((const uint4*)(a + 16 * lane + 8 * i)));
    sts(s + 1024 + 32 * lane + 16 * i, ld((const uint4*)(b + 16 * lane + 8 * i)));
  }
  __syncwarp();
  uint32_t af[2][4], bf[2][4], a_at[2], b_at[2];
  for (uint32_t i = 0; i < 2; i++) {
    a_at[i] = s + 32 * (16 * i + lane % 16) + 16 * (lane / 16);
    b_at[i] = s + 1024 + 32 * (16 * i + lane % 8 + lane / 16 * 8) + 16 * (lane / 8 % 2);
  }
  ldmatrix_x4_n(af, a_at);
  ldmatrix_x4_n(bf, b_at);
  float d[2][4][4];
  for (int i = 0; i < 32; i++) d[i / 16][i / 4 % 4][i % 4] = 1;
  mma_block<E>(d, af, bf);
  for (uint32_t m = 0; m < 2; m++)
    for (uint32_t n = 0; n < 4; n++) put_fragment(c, 16 * m, 8 * n, 32, d[m][n]);
  float e[4][4], f[4][4];
  for (int i = 0; i < 16; i++) e[i / 4][i % 4] = f[i / 4][i % 4] = 1;
  uint32_t pairs[4][2];
  for (int i = 0; i < 8; i++) pairs[i / 2][i % 2] = bf[i / 4][i % 4];
  mma_row<E>(e, af[0], pairs);
  mma_n<E>(f, af[1], bf);
  for (uint32_t n = 0; n < 4; n++)
    put_fragment(c + 1024, 0, 8 * n, 32, e[n]), put_fragment(c + 1024, 16, 8 * n, 32, f[n]);
}
extern "C" __global__ void multiply_bf16(const uint16_t* a, const uint16_t* b, float* c) { multiply<bf16>(a, b, c); }
extern "C" __global__ void multiply_f16(const uint16_t* a, const uint16_t* b, float* c) { multiply<f16>(a, b, c); }

// C[16][8] = A[16][8] B[8][8] in tf32, A by rows and B by columns.
extern "C" __global__ void multiply_tf32(const float* a, const float* b, float* c) {
  const uint32_t g = lane_id() / 4, t = lane_id() % 4;
  const uint32_t af[4] = {f32_to_tf32(ld(a + 8 * g + t)), f32_to_tf32(ld(a + 8 * (g + 8) + t)),
                          f32_to_tf32(ld(a + 8 * g + t + 4)), f32_to_tf32(ld(a + 8 * (g + 8) + t + 4))};
  const uint32_t bf[1][2] = {{f32_to_tf32(ld(b + 8 * g + t)), f32_to_tf32(ld(b + 8 * g + t + 4))}};
  float d[1][4] = {{0, 0, 0, 0}};
  mma_row<tf32>(d, af, bf);
  put_fragment(c, 0, 0, 8, d[0]);
}
DEV_EXPORT(ldmatrix_layout)
DEV_EXPORT(multiply_bf16)
DEV_EXPORT(multiply_f16)
DEV_EXPORT(multiply_tf32)
