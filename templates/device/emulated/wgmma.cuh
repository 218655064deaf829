// Warpgroup matrix products of sm_90a: d[64][N] (+)= A[64][16] * B[16][N], recorded per lane and executed at the wait.
#pragma once
enum class WgmmaSwizzle : uint32_t { none = 0, b128 = 1, b64 = 2, b32 = 3 };
/** Shared-memory matrix descriptor; offsets in bytes (see PTX ISA, "Matrix Descriptor"). */
DEV uint64_t wgmma_desc(uint32_t address, uint32_t stride_offset, uint32_t leading_offset, WgmmaSwizzle swizzle) {
  return (uint64_t)((address & 0x3ffff) >> 4) | (uint64_t)(leading_offset >> 4) << 16 |
         (uint64_t)(stride_offset >> 4) << 32 | (uint64_t)swizzle << 62;
}
DEV uint64_t wgmma_desc_sw128(uint32_t address, uint32_t stride_offset = 1024, uint32_t leading_offset = 16) {
  return wgmma_desc(address, stride_offset, leading_offset, WgmmaSwizzle::b128);
}
DEV void wgmma_fence() {}
DEV void wgmma_commit() { emu::wgmma_commit(); }
template <int N>
DEV void wgmma_wait(emu::Site site = emu::here()) {
  emu::wgmma_wait(N, site);
}
// TA, TB: the operand is M- or N-major in shared memory ("transposed").
template <int N, int TA = 0, int TB = 0, class E = bf16>
DEV void wgmma_ss(float (&d)[N / 2], uint64_t a, uint64_t b, int keep, emu::Site site = emu::here()) {
  emu::wgmma(d, {nullptr, a, b, N, keep != 0, TA != 0, TB != 0, emu::ElementOf<E>::value}, site);
}
template <int N, int TB = 0, class E = bf16>
DEV void wgmma_rs(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int keep, emu::Site site = emu::here()) {
  emu::wgmma(d, {a, 0, b, N, keep != 0, false, TB != 0, emu::ElementOf<E>::value}, site);
}
template <class E, int N, int TA = 0, int TB = 0>
DEV void wgmma_ss(float (&d)[N / 2], uint64_t a, uint64_t b, int keep, emu::Site site = emu::here()) {
  wgmma_ss<N, TA, TB, E>(d, a, b, keep, site);
}
template <class E, int N, int TB = 0>
DEV void wgmma_rs(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int keep, emu::Site site = emu::here()) {
  wgmma_rs<N, TB, E>(d, a, b, keep, site);
}
template <int N>
DEV void reg_alloc(emu::Site site = emu::here()) {
  emu::set_registers(N, true, site);
}
template <int N>
DEV void reg_dealloc(emu::Site site = emu::here()) {
  emu::set_registers(N, false, site);
}
