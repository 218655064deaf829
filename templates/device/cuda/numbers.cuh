// Number formats: bf16, f16 and tf32, their conversions, and the special function unit.
#pragma once
#include <stdint.h>
#define DEV __device__ __forceinline__
#define DEV_FN __device__ __forceinline__
#define DEV_EXPORT(kernel)

struct bf16 {
  uint16_t u;
};
struct f16 {
  uint16_t u;
};
struct tf32 {
  uint32_t u;
};

DEV float bits_f32(uint32_t u) { return __uint_as_float(u); }
DEV uint32_t f32_bits(float f) { return __float_as_uint(f); }
DEV float bf16_to_f32(bf16 h) { return __uint_as_float((uint32_t)h.u << 16); }
DEV bf16 f32_to_bf16(float f) {
  bf16 r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.u) : "f"(f));
  return r;
}
DEV float f16_to_f32(f16 h) {
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(h.u));
  return r;
}
DEV f16 f32_to_f16(float f) {
  f16 r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r.u) : "f"(f));
  return r;
}
/** Rounds half away from zero: the nearest conversion that sm_80 has. */
DEV uint32_t f32_to_tf32(float f) {
  uint32_t r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(f));
  return r;
}
DEV uint32_t pack_bf16x2(float lo, float hi) {
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}
DEV uint32_t pack_f16x2(float lo, float hi) {
  uint32_t r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
  return r;
}

// By element type, so that one kernel text serves every precision.
DEV float to_f32(bf16 h) { return bf16_to_f32(h); }
DEV float to_f32(f16 h) { return f16_to_f32(h); }
DEV float to_f32(float f) { return f; }
template <class E>
DEV E from_f32(float f);
template <>
DEV bf16 from_f32<bf16>(float f) {
  return f32_to_bf16(f);
}
template <>
DEV f16 from_f32<f16>(float f) {
  return f32_to_f16(f);
}
template <>
DEV float from_f32<float>(float f) {
  return f;
}
template <class E>
DEV uint32_t pack2(float lo, float hi);
template <>
DEV uint32_t pack2<bf16>(float lo, float hi) {
  return pack_bf16x2(lo, hi);
}
template <>
DEV uint32_t pack2<f16>(float lo, float hi) {
  return pack_f16x2(lo, hi);
}
template <class E>
DEV float2 unpack2(uint32_t pair);
template <>
DEV float2 unpack2<bf16>(uint32_t pair) {
  return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}
template <>
DEV float2 unpack2<f16>(uint32_t pair) {
  return make_float2(f16_to_f32({(uint16_t)pair}), f16_to_f32({(uint16_t)(pair >> 16)}));
}

DEV float fast_exp2(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
DEV float fast_log2(float x) {
  float r;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
DEV float fast_rcp(float x) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
DEV float fast_rsqrt(float x) {
  float r;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
DEV float fast_tanh(float x) {
  float r;
  asm("tanh.approx.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}

/** A point of sampling that lies nowhere: the emulated device counts them. */
DEV void count_lost_point() {}
