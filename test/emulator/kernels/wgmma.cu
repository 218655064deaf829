// wgmma: C[64][N] = A[64][64] B[64][N], with operands from shared memory or registers, of either major order, swizzled
// or not.
#include "device/device.cuh"

// Where element (row, k) of a tile with rows of 64 elements lies under a swizzle of Span bytes: columns of Span bytes
// side by side.
template <int Span>
DEV uint32_t place(uint32_t row, uint32_t column, uint32_t rows) {
  const uint32_t span = Span / 2, offset = column / span * rows * Span + row * Span + column % span * 2;
  return Span == 128  ? offset ^ (offset >> 3 & 0x70)
         : Span == 64 ? offset ^ (offset >> 3 & 0x30)
                      : offset ^ (offset >> 3 & 0x10);
}
template <int Span>
DEV uint64_t descriptor(uint32_t at, uint32_t leading) {
  return wgmma_desc(at, 8 * Span, leading,
                    Span == 128  ? WgmmaSwizzle::b128
                    : Span == 64 ? WgmmaSwizzle::b64
                                 : WgmmaSwizzle::b32);
}

// Tiles are [64][64] by rows: of A, m (or k when TA); of B, n (or k when TB).
template <class E, int Span, int TA, int TB, bool Registers>
DEV void product(const uint16_t* a, const uint16_t* b, float* c) {
  DEV_SMEM(smem);
  const uint32_t s = smem_u32(smem), t = threadIdx.x, lane = lane_id(), warp = warp_id();
  for (uint32_t i = t; i < 4096; i += 128) {
    const uint32_t at = s + place<Span>(i / 64, i % 64, 64);
    sts(at, ld(a + i));
    sts(at + 8192, ld(b + i));
  }
  uint32_t fragments[4][4];
  for (uint32_t k = 0; k < 4; k++)
    for (uint32_t h = 0; h < 4; h++)
      fragments[k][h] =
          ld((const uint32_t*)(a + (16 * warp + lane / 4 + h % 2 * 8) * 64 + 16 * k + lane % 4 * 2 + h / 2 * 8));
  fence_async_shared();
  __syncthreads();
  float d[32];
#pragma unroll
  for (int i = 0; i < 32; i++) d[i] = 0;
  wgmma_fence();
#pragma unroll
  for (uint32_t k = 0; k < 4; k++) {
    // Transposed: 16 rows of k are two atoms of 8; else 16 elements of k lie within a span or start the next column.
    const uint32_t along_k = 32 * k, by_columns = along_k / Span * 64 * Span + along_k % Span, by_rows = 16 * k * Span;
    const uint64_t db = descriptor<Span>(s + 8192 + (TB ? by_rows : by_columns), TB ? 64 * Span : 16);
    if constexpr (Registers) {
      wgmma_rs<E, 64, TB>(d, fragments[k], db, 1);
    } else {
      const uint64_t da = descriptor<Span>(s + (TA ? by_rows : by_columns), TA ? 64 * Span : 16);
      wgmma_ss<E, 64, TA, TB>(d, da, db, 1);
    }
  }
  wgmma_commit();
  wgmma_wait<0>();
#pragma unroll
  for (uint32_t i = 0; i < 32; i++)
    st(c + (16 * warp + lane / 4 + i / 2 % 2 * 8) * 64 + i / 4 * 8 + lane % 4 * 2 + i % 2, d[i]);
}
#define PRODUCT(name, ...)                                                                                 \
  extern "C" __global__ void __launch_bounds__(128) name(const uint16_t* a, const uint16_t* b, float* c) { \
    product<__VA_ARGS__>(a, b, c);                                                                         \
  }                                                                                                        \
  DEV_EXPORT(name)
PRODUCT(bf16_128, bf16, 128, 0, 0, false)
PRODUCT(bf16_128_tb, bf16, 128, 0, 1, false)
PRODUCT(bf16_128_ta_tb, bf16, 128, 1, 1, false)
PRODUCT(bf16_128_registers, bf16, 128, 0, 0, true)
PRODUCT(f16_128, f16, 128, 0, 0, false)
PRODUCT(f16_128_registers_tb, f16, 128, 0, 1, true)
PRODUCT(bf16_64, bf16, 64, 0, 0, false)
PRODUCT(bf16_64_tb, bf16, 64, 0, 1, false)
PRODUCT(bf16_32, bf16, 32, 0, 0, false)
PRODUCT(f16_32_ta_tb, f16, 32, 1, 1, false)
