// Number formats: bf16, f16 and tf32, with the conversions of the hardware (round to nearest even, subnormals,
// infinities, NaN).
#pragma once
namespace emu {
/** As fmaxf: of a NaN and a number, the number. */
inline float larger(float a, float b) { return a > b || b != b ? a : b; }
}  // namespace emu
/** The C library's is a call, which costs more than all around it in an inner loop. */
#define fmaxf(a, b) emu::larger(a, b)

DEV float bits_f32(uint32_t u) {
  float f;
  memcpy(&f, &u, 4);
  return f;
}
DEV uint32_t f32_bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}
DEV float __uint_as_float(uint32_t u) { return bits_f32(u); }
DEV uint32_t __float_as_uint(float f) { return f32_bits(f); }
DEV float __int_as_float(int32_t i) { return bits_f32((uint32_t)i); }
DEV int32_t __float_as_int(float f) { return (int32_t)f32_bits(f); }

struct bf16 {
  uint16_t u;
};
struct f16 {
  uint16_t u;
};
struct tf32 {
  uint32_t u;
};

DEV float bf16_to_f32(bf16 h) { return bits_f32((uint32_t)h.u << 16); }
DEV bf16 f32_to_bf16(float f) {
  const uint32_t u = f32_bits(f);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
  return {(uint16_t)((u + 0x7fffu + ((u >> 16) & 1)) >> 16)};
}
DEV float f16_to_f32(f16 h) {
  const uint32_t sign = (uint32_t)(h.u & 0x8000u) << 16, magnitude = (uint32_t)(h.u & 0x7fffu) << 13;
  if ((h.u & 0x7c00u) == 0x7c00u) return bits_f32(sign | 0x7f800000u | (magnitude & 0x7fffffu));
  return bits_f32(
      sign | f32_bits(bits_f32(magnitude) * 0x1p112f));  // the product rebiases the exponent; exact for subnormals too
}
DEV f16 f32_to_f16(float f) {
  const uint32_t u = f32_bits(f), sign = u >> 16 & 0x8000u, magnitude = u & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {0x7fff};
  if (magnitude >= 0x477ff000u) return {(uint16_t)(sign | 0x7c00u)};  // 65520 and above round to infinity
  if (magnitude < 0x38800000u) {                                      // below 2^-14: the sum's last bit is 2^-24
    const uint32_t sum = f32_bits(bits_f32(magnitude) + 0.5f);
    return {(uint16_t)(sign | (sum - 0x3f000000u))};
  }
  return {(uint16_t)(sign | ((magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13))};
}
/** Rounds half away from zero, as cvt.rna.tf32.f32 does. */
DEV uint32_t f32_to_tf32(float f) {
  const uint32_t u = f32_bits(f);
  if ((u & 0x7fffffffu) >= 0x7f800000u) return (u & 0x7fffffffu) > 0x7f800000u ? 0x7fffffffu : u;
  return (u + 0x1000u) & 0xffffe000u;
}
DEV uint32_t pack_bf16x2(float lo, float hi) { return f32_to_bf16(lo).u | (uint32_t)f32_to_bf16(hi).u << 16; }
DEV uint32_t pack_f16x2(float lo, float hi) { return f32_to_f16(lo).u | (uint32_t)f32_to_f16(hi).u << 16; }

// By element type, so that one kernel text serves every precision.
DEV float to_f32(bf16 h) { return bf16_to_f32(h); }
DEV float to_f32(f16 h) { return f16_to_f32(h); }
DEV float to_f32(float f) { return f; }
template <class E>
DEV E from_f32(float f);
template <>
inline bf16 from_f32<bf16>(float f) {
  return f32_to_bf16(f);
}
template <>
inline f16 from_f32<f16>(float f) {
  return f32_to_f16(f);
}
template <>
inline float from_f32<float>(float f) {
  return f;
}
template <class E>
DEV uint32_t pack2(float lo, float hi);
template <>
inline uint32_t pack2<bf16>(float lo, float hi) {
  return pack_bf16x2(lo, hi);
}
template <>
inline uint32_t pack2<f16>(float lo, float hi) {
  return pack_f16x2(lo, hi);
}
template <class E>
DEV float2 unpack2(uint32_t pair) {
  return make_float2(to_f32(E{(uint16_t)pair}), to_f32(E{(uint16_t)(pair >> 16)}));
}

// Approximations of the hardware's special function unit. Errors lie below the hardware's; subnormals are flushed as
// there.
DEV float flush_subnormal(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : x; }
DEV float fast_exp2(float x) {
  emu::count_special();
  if (!(x < 128.0f)) return x >= 128.0f ? __builtin_huge_valf() : x;
  if (x < -126.0f) return 0.0f;
  const float whole = (x + 12582912.0f) - 12582912.0f,
              t = x - whole;  // adding 1.5 * 2^23 rounds to an integer; |t| <= 1/2
  float p = 1.5403530e-4f;    // Taylor series of 2^t, relative error below 2e-7
  p = p * t + 1.3333558e-3f;
  p = p * t + 9.6181291e-3f;
  p = p * t + 5.5504109e-2f;
  p = p * t + 2.4022651e-1f;
  p = p * t + 6.9314718e-1f;
  p = p * t + 1.0f;
  const int exponent = (int)whole;
  return flush_subnormal(exponent >= 128 ? p * 2.0f * 0x1p127f : p * bits_f32((uint32_t)(exponent + 127) << 23));
}
DEV float fast_log2(float x) {
  emu::count_special();
  return log2f(flush_subnormal(x));
}
DEV float fast_rcp(float x) {
  emu::count_special();
  return flush_subnormal(1.0f / flush_subnormal(x));
}
DEV float fast_rsqrt(float x) {
  emu::count_special();
  return 1.0f / sqrtf(flush_subnormal(x));
}
DEV float fast_tanh(float x) {
  emu::count_special();
  return tanhf(x);
}

/** A point of sampling that lies nowhere. */
DEV void count_lost_point() { emu::count_lost_point(); }
