// ldmatrix, stmatrix and mma.sync.
#pragma once
DEV void ldmatrix_x4(uint32_t (&r)[4], uint32_t a) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(a)
               : "memory");
}
DEV void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t a) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(a)
               : "memory");
}
DEV void ldmatrix_x2(uint32_t (&r)[2], uint32_t a) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(a) : "memory");
}
DEV void ldmatrix_x2_trans(uint32_t (&r)[2], uint32_t a) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(a)
               : "memory");
}
template <int N>
DEV void ldmatrix_x4_n(uint32_t (&r)[N][4], const uint32_t (&a)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) ldmatrix_x4(r[i], a[i]);
}
template <int N>
DEV void ldmatrix_x4_trans_n(uint32_t (&r)[N][4], const uint32_t (&a)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) ldmatrix_x4_trans(r[i], a[i]);
}
template <int N>
DEV void ldmatrix_x2_n(uint32_t (&r)[N][2], const uint32_t (&a)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) ldmatrix_x2(r[i], a[i]);
}
template <int N>
DEV void ldmatrix_x2_trans_n(uint32_t (&r)[N][2], const uint32_t (&a)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) ldmatrix_x2_trans(r[i], a[i]);
}
// sm_90
DEV void stmatrix_x4(uint32_t a, const uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(a), "r"(r[0]), "r"(r[1]),
               "r"(r[2]), "r"(r[3])
               : "memory");
}
DEV void stmatrix_x4_trans(uint32_t a, const uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(a), "r"(r[0]), "r"(r[1]),
               "r"(r[2]), "r"(r[3])
               : "memory");
}
DEV void stmatrix_x2(uint32_t a, const uint32_t (&r)[2]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1,%2};" ::"r"(a), "r"(r[0]), "r"(r[1]) : "memory");
}
DEV void stmatrix_x2_trans(uint32_t a, const uint32_t (&r)[2]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1,%2};" ::"r"(a), "r"(r[0]), "r"(r[1])
               : "memory");
}

/** d += a * b: m16n8k16 for bf16 and f16, m16n8k8 for tf32. */
template <class E>
DEV void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
#define FOVEA_MMA(element, shape)                                                          \
  template <>                                                                              \
  DEV void mma<element>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { \
    asm("mma.sync.aligned." shape " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                   \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));                   \
  }
FOVEA_MMA(bf16, "m16n8k16.row.col.f32.bf16.bf16.f32")
FOVEA_MMA(f16, "m16n8k16.row.col.f32.f16.f16.f32")
FOVEA_MMA(tf32, "m16n8k8.row.col.f32.tf32.tf32.f32")
#undef FOVEA_MMA

/** N column blocks; b as ldmatrix_x4 gives it: two blocks of two registers each. */
template <class E, int N>
DEV void mma_n(float (&d)[N][4], const uint32_t (&a)[4], const uint32_t (&b)[N / 2][4]) {
#pragma unroll
  for (int i = 0; i < N; i++) mma<E>(d[i], a, b[i / 2][i % 2 * 2], b[i / 2][i % 2 * 2 + 1]);
}
/** N column blocks; b two registers a block. */
template <class E, int N>
DEV void mma_row(float (&d)[N][4], const uint32_t (&a)[4], const uint32_t (&b)[N][2]) {
#pragma unroll
  for (int i = 0; i < N; i++) mma<E>(d[i], a, b[i][0], b[i][1]);
}
/** MI row blocks times NI column blocks. */
template <class E, int MI, int NI>
DEV void mma_block(float (&d)[MI][NI][4], const uint32_t (&a)[MI][4], const uint32_t (&b)[NI / 2][4]) {
#pragma unroll
  for (int m = 0; m < MI; m++) mma_n<E, NI>(d[m], a[m], b);
}
// Without an element type: bf16.
template <int N>
DEV void mma_n(float (&d)[N][4], const uint32_t (&a)[4], const uint32_t (&b)[N / 2][4]) {
  mma_n<bf16, N>(d, a, b);
}
template <int N>
DEV void mma_row(float (&d)[N][4], const uint32_t (&a)[4], const uint32_t (&b)[N][2]) {
  mma_row<bf16, N>(d, a, b);
}
template <int MI, int NI>
DEV void mma_block(float (&d)[MI][NI][4], const uint32_t (&a)[MI][4], const uint32_t (&b)[NI / 2][4]) {
  mma_block<bf16, MI, NI>(d, a, b);
}
DEV void mma_16816_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { mma<bf16>(d, a, b0, b1); }
template <int N>
DEV void mma_16816_bf16_n(float (&d)[N][4], const uint32_t (&a)[4], const uint32_t (&b)[N / 2][4]) {
  mma_n<bf16, N>(d, a, b);
}
