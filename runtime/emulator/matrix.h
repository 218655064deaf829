// Shared by mma.sync and wgmma: element conversion and the inner product loop.
#pragma once
#include "state.h"

// The inner loops are compiled twice on x86-64, and have_avx2 picks. Both add in the same order and give the same bits.
#if defined(__x86_64__)
#define FOVEA_AVX2 __attribute__((target("avx2")))
static const bool have_avx2 = __builtin_cpu_supports("avx2");
#else
#define FOVEA_AVX2
static const bool have_avx2 = false;
#endif
#define FOVEA_INLINE inline __attribute__((always_inline))

namespace emu {

static FOVEA_INLINE float value_of_bits(uint32_t bits) {
  float f;
  memcpy(&f, &bits, 4);
  return f;
}
static FOVEA_INLINE float f16_value(uint32_t h) {
  const uint32_t sign = (h & 0x8000) << 16, magnitude = (h & 0x7fff) << 13;
  const float finite = value_of_bits(magnitude) * 0x1p112f;  // rebiases the exponent; exact for subnormals too
  uint32_t bits;
  memcpy(&bits, &finite, 4);
  return value_of_bits(sign | ((h & 0x7c00) == 0x7c00 ? 0x7f800000 | magnitude : bits));
}
template <Element E> static FOVEA_INLINE float low_value(uint32_t pair) { return E == Element::bf16 ? value_of_bits(pair << 16) : f16_value(pair & 0xffff); }
template <Element E> static FOVEA_INLINE float high_value(uint32_t pair) { return E == Element::bf16 ? value_of_bits(pair & 0xffff0000) : f16_value(pair >> 16); }
/** The tensor core ignores the 13 low bits. */
static FOVEA_INLINE float tf32_value(uint32_t bits) { return value_of_bits(bits & 0xffffe000); }

typedef float Vector8 __attribute__((vector_size(32), aligned(32)));

/** c[16][8] += a[16][Depth] * b[Depth][8], 8 rows at a time so that the sums stay in registers. Row pitch of a: 16. */
template <int Depth> static FOVEA_INLINE void multiply_block(float* c, int c_pitch, const float* a, const float* b, int b_pitch) {
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

uint32_t swizzled(uint32_t address, uint32_t mode);  // tensor_map.cpp

}  // namespace emu
