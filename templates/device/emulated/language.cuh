// The words of CUDA C++ that kernels use, for a host compiler.
#pragma once
#include "library.h"
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
#define threadIdx (emu::self()->thread_idx)
#define blockIdx (emu::block().block_idx)
#define blockDim (emu::block().block_dim)
#define gridDim (emu::block().grid_dim)
#define warpSize 32
#define DEV static inline
#define DEV_FN inline

struct alignas(4) ushort2 {
  uint16_t x, y;
};
struct alignas(8) int2 {
  int32_t x, y;
};
struct alignas(16) int4 {
  int32_t x, y, z, w;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct int3 {
  int32_t x, y, z;
};
struct uint3 {
  uint32_t x, y, z;
};
struct float3 {
  float x, y, z;
};
DEV ushort2 make_ushort2(uint16_t x, uint16_t y) { return {x, y}; }
DEV int2 make_int2(int x, int y) { return {x, y}; }
DEV int3 make_int3(int x, int y, int z) { return {x, y, z}; }
DEV int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
DEV uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
DEV uint3 make_uint3(uint32_t x, uint32_t y, uint32_t z) { return {x, y, z}; }
DEV uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
DEV float2 make_float2(float x, float y) { return {x, y}; }
DEV float3 make_float3(float x, float y, float z) { return {x, y, z}; }
DEV float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

// As in CUDA, mixed integer types promote.
template <class A, class B>
DEV auto min(A a, B b) -> decltype(true ? A() : B()) {
  using T = decltype(true ? A() : B());
  return (T)b < (T)a ? (T)b : (T)a;
}
template <class A, class B>
DEV auto max(A a, B b) -> decltype(true ? A() : B()) {
  using T = decltype(true ? A() : B());
  return (T)a < (T)b ? (T)b : (T)a;
}
DEV int __popc(uint32_t x) { return __builtin_popcount(x); }
DEV int __clz(uint32_t x) { return x ? __builtin_clz(x) : 32; }
DEV int __ffs(uint32_t x) { return __builtin_ffs((int)x); }
DEV uint32_t __brev(uint32_t x) {
  uint32_t r = 0;
  for (int i = 0; i < 32; i++) r |= (x >> i & 1) << (31 - i);
  return r;
}
DEV uint32_t __umulhi(uint32_t a, uint32_t b) { return (uint32_t)((uint64_t)a * b >> 32); }
DEV float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }
DEV int __float2int_rd(float x) { return (int)floorf(x); }
DEV int __float2int_rn(float x) { return (int)nearbyintf(x); }
DEV int __float2int_rz(float x) { return (int)x; }
DEV float rsqrtf(float x) { return 1.0f / sqrtf(x); }
