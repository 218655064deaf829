// Shared by mma.sync and wgmma: element conversion and the inner product loop.
#pragma once
#include "state.h"

// The inner loops are compiled twice on x86-64, and have_avx2 picks. Both add in the same order and give the same bits:
// elements have at most 11 significant bits, so that a product is exact and fused additions round as others do. (Only
// products below 2^-126, which bf16 and tf32 have, lose bits where they are rounded by themselves.)
#if defined(__x86_64__)
#include <immintrin.h>
#define FOVEA_AVX2 __attribute__((target("avx2,fma")))
static const bool have_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
#define FOVEA_AVX2
static const bool have_avx2 = false;
#endif
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed only between functions that are inlined
#define FOVEA_INLINE inline __attribute__((always_inline))

namespace emu {

static FOVEA_INLINE float value_of_bits(uint32_t bits) {
  float f;
  memcpy(&f, &bits, 4);
  return f;
}
/** The tensor core ignores the 13 low bits. */
static FOVEA_INLINE float tf32_value(uint32_t bits) { return value_of_bits(bits & 0xffffe000); }

typedef float Vector8 __attribute__((vector_size(32), aligned(32)));
typedef uint32_t Bits8 __attribute__((vector_size(32), aligned(32)));
typedef uint16_t Half8 __attribute__((vector_size(16)));

/** Eight neighbouring 16-bit elements as float32. */
template <Element E>
static FOVEA_INLINE Vector8 widen(const void* elements) {
  Half8 halves;
  memcpy(&halves, elements, sizeof halves);
  const Bits8 h = __builtin_convertvector(halves, Bits8);
  if (E == Element::bf16) return (Vector8)(h << 16);
  const Bits8 sign = (h & 0x8000u) << 16, magnitude = (h & 0x7fffu) << 13;
  const Bits8 finite = (Bits8)((Vector8)magnitude * 0x1p112f);
  const Bits8 special = (Bits8)((h & 0x7c00u) == 0x7c00u);  // all ones where infinite or NaN
  return (Vector8)(sign | (special & (magnitude | 0x7f800000u)) | (~special & finite));
}

/** Turns 8 rows of 8 into 8 columns. */
static FOVEA_INLINE void transpose(Vector8 (&r)[8]) {
  Vector8 a[8], b[8];
  for (int i = 0; i < 4; i++) {
    a[2 * i] = __builtin_shufflevector(r[2 * i], r[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    a[2 * i + 1] = __builtin_shufflevector(r[2 * i], r[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    b[i] = __builtin_shufflevector(a[i], a[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    b[i + 1] = __builtin_shufflevector(a[i], a[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    b[i + 2] = __builtin_shufflevector(a[i + 1], a[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
    b[i + 3] = __builtin_shufflevector(a[i + 1], a[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  for (int i = 0; i < 4; i++) {
    r[i] = __builtin_shufflevector(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    r[i + 4] = __builtin_shufflevector(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

/** c[16][8] += a[16][Depth] * b[Depth][8], 8 rows at a time so that the sums stay in registers. Row pitch of a: 16. */
template <int Depth>
static FOVEA_INLINE void multiply_block(float* c, int c_pitch, const float* a, const float* b, int b_pitch) {
  for (int i = 0; i < 16; i += 8) {
    Vector8 sum[8];
    for (int r = 0; r < 8; r++) sum[r] = *(const Vector8*)(c + (i + r) * c_pitch);
    for (int k = 0; k < Depth; k++) {
      const Vector8 row = *(const Vector8*)(b + k * b_pitch);
#pragma GCC unroll 8
      for (int r = 0; r < 8; r++) sum[r] += a[(i + r) * 16 + k] * row;
    }
    for (int r = 0; r < 8; r++) *(Vector8*)(c + (i + r) * c_pitch) = sum[r];
  }
}

/** As above, for `blocks` blocks of 8 columns side by side. */
template <int Depth>
static void multiply_blocks(float* c, const float* a, const float* b, int blocks, int pitch) {
  for (int n = 0; n < 8 * blocks; n += 8) multiply_block<Depth>(c + n, pitch, a, b + n, pitch);
}
#if defined(__x86_64__)
template <int Depth>
FOVEA_AVX2 static void multiply_blocks_fused(float* c, const float* a, const float* b, int blocks, int pitch) {
  for (int n = 0; n < 8 * blocks; n += 8)
    for (int i = 0; i < 16; i += 8) {
      __m256 sum[8];
#pragma GCC unroll 8
      for (int r = 0; r < 8; r++) sum[r] = _mm256_load_ps(c + (i + r) * pitch + n);
      for (int k = 0; k < Depth; k++) {
        const __m256 row = _mm256_load_ps(b + k * pitch + n);
#pragma GCC unroll 8
        for (int r = 0; r < 8; r++) sum[r] = _mm256_fmadd_ps(_mm256_broadcast_ss(a + (i + r) * 16 + k), row, sum[r]);
      }
#pragma GCC unroll 8
      for (int r = 0; r < 8; r++) _mm256_store_ps(c + (i + r) * pitch + n, sum[r]);
    }
}
#else
template <int Depth>
static void multiply_blocks_fused(float* c, const float* a, const float* b, int blocks, int pitch) {
  multiply_blocks<Depth>(c, a, b, blocks, pitch);
}
#endif

uint32_t swizzled(uint32_t address, uint32_t mode);  // tensor_map.cpp

}  // namespace emu
