// ldmatrix, stmatrix and mma.sync. The forms ending in _n, _row and _block do several in one rendezvous, which doubles
// their speed.
#pragma once
template <int N>
DEV void ldmatrix_x4_n(uint32_t (&r)[N][4], const uint32_t (&a)[N], emu::Site site = emu::here()) {
  emu::ldmatrix({&r[0][0], a, N, 4, false}, site);
}
template <int N>
DEV void ldmatrix_x4_trans_n(uint32_t (&r)[N][4], const uint32_t (&a)[N], emu::Site site = emu::here()) {
  emu::ldmatrix({&r[0][0], a, N, 4, true}, site);
}
template <int N>
DEV void ldmatrix_x2_n(uint32_t (&r)[N][2], const uint32_t (&a)[N], emu::Site site = emu::here()) {
  emu::ldmatrix({&r[0][0], a, N, 2, false}, site);
}
template <int N>
DEV void ldmatrix_x2_trans_n(uint32_t (&r)[N][2], const uint32_t (&a)[N], emu::Site site = emu::here()) {
  emu::ldmatrix({&r[0][0], a, N, 2, true}, site);
}
DEV void ldmatrix_x4(uint32_t (&r)[4], uint32_t a, emu::Site site = emu::here()) {
  emu::ldmatrix({r, &a, 1, 4, false}, site);
}
DEV void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t a, emu::Site site = emu::here()) {
  emu::ldmatrix({r, &a, 1, 4, true}, site);
}
DEV void ldmatrix_x2(uint32_t (&r)[2], uint32_t a, emu::Site site = emu::here()) {
  emu::ldmatrix({r, &a, 1, 2, false}, site);
}
DEV void ldmatrix_x2_trans(uint32_t (&r)[2], uint32_t a, emu::Site site = emu::here()) {
  emu::ldmatrix({r, &a, 1, 2, true}, site);
}
DEV void stmatrix_x4(uint32_t a, const uint32_t (&r)[4], emu::Site site = emu::here()) {
  emu::stmatrix(r, a, 4, false, site);
}
DEV void stmatrix_x4_trans(uint32_t a, const uint32_t (&r)[4], emu::Site site = emu::here()) {
  emu::stmatrix(r, a, 4, true, site);
}
DEV void stmatrix_x2(uint32_t a, const uint32_t (&r)[2], emu::Site site = emu::here()) {
  emu::stmatrix(r, a, 2, false, site);
}
DEV void stmatrix_x2_trans(uint32_t a, const uint32_t (&r)[2], emu::Site site = emu::here()) {
  emu::stmatrix(r, a, 2, true, site);
}

namespace emu {
template <class E>
struct ElementOf;
template <>
struct ElementOf<bf16> {
  static constexpr Element value = Element::bf16;
};
template <>
struct ElementOf<f16> {
  static constexpr Element value = Element::f16;
};
template <>
struct ElementOf<tf32> {
  static constexpr Element value = Element::tf32;
};
}  // namespace emu
/** d += a * b: m16n8k16 for bf16 and f16, m16n8k8 for tf32. */
template <class E>
DEV void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, emu::Site site = emu::here()) {
  const uint32_t b[2] = {b0, b1};
  emu::mma(d, a, b, 1, 1, emu::ElementOf<E>::value, site);
}
/** N column blocks; b as ldmatrix_x4 gives it: two blocks of two registers each. */
template <class E, int N>
DEV void mma_n(float (&d)[N][4], const uint32_t (&a)[4], const uint32_t (&b)[N / 2][4], emu::Site site = emu::here()) {
  emu::mma(&d[0][0], a, &b[0][0], 1, N, emu::ElementOf<E>::value, site);
}
/** N column blocks; b two registers a block. */
template <class E, int N>
DEV void mma_row(float (&d)[N][4], const uint32_t (&a)[4], const uint32_t (&b)[N][2], emu::Site site = emu::here()) {
  emu::mma(&d[0][0], a, &b[0][0], 1, N, emu::ElementOf<E>::value, site);
}
/** MI row blocks times NI column blocks. */
template <class E, int MI, int NI>
DEV void mma_block(float (&d)[MI][NI][4], const uint32_t (&a)[MI][4], const uint32_t (&b)[NI / 2][4],
                   emu::Site site = emu::here()) {
  emu::mma(&d[0][0][0], &a[0][0], &b[0][0], MI, NI, emu::ElementOf<E>::value, site);
}
// Without an element type: bf16.
template <int N>
DEV void mma_n(float (&d)[N][4], const uint32_t (&a)[4], const uint32_t (&b)[N / 2][4], emu::Site site = emu::here()) {
  mma_n<bf16, N>(d, a, b, site);
}
template <int N>
DEV void mma_row(float (&d)[N][4], const uint32_t (&a)[4], const uint32_t (&b)[N][2], emu::Site site = emu::here()) {
  mma_row<bf16, N>(d, a, b, site);
}
template <int MI, int NI>
DEV void mma_block(float (&d)[MI][NI][4], const uint32_t (&a)[MI][4], const uint32_t (&b)[NI / 2][4],
                   emu::Site site = emu::here()) {
  mma_block<bf16, MI, NI>(d, a, b, site);
}
DEV void mma_16816_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, emu::Site site = emu::here()) {
  mma<bf16>(d, a, b0, b1, site);
}
template <int N>
DEV void mma_16816_bf16_n(float (&d)[N][4], const uint32_t (&a)[4], const uint32_t (&b)[N / 2][4],
                          emu::Site site = emu::here()) {
  mma_n<bf16, N>(d, a, b, site);
}
