// Warpgroup matrix products of sm_90a: d[64][N] (+)= A[64][16] * B[16][N].
#pragma once
enum class WgmmaSwizzle : uint32_t { none = 0, b128 = 1, b64 = 2, b32 = 3 };
/** Shared-memory matrix descriptor; offsets in bytes (see PTX ISA, "Matrix Descriptor"). */
DEV uint64_t wgmma_desc(uint32_t address, uint32_t stride_offset, uint32_t leading_offset, WgmmaSwizzle swizzle) {
  return (uint64_t)((address & 0x3ffff) >> 4) | (uint64_t)(leading_offset >> 4) << 16 | (uint64_t)(stride_offset >> 4) << 32 |
         (uint64_t)swizzle << 62;
}
DEV uint64_t wgmma_desc_sw128(uint32_t address, uint32_t stride_offset = 1024, uint32_t leading_offset = 16) {
  return wgmma_desc(address, stride_offset, leading_offset, WgmmaSwizzle::b128);
}
DEV void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEV void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> DEV void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }
template <int N> DEV void reg_alloc() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> DEV void reg_dealloc() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }

// An asm statement must name every accumulator, so there is one body per N. REGS_r lists the first r in the instruction's text,
// ACCS_r in its operands; the operands after them are numbered r and up.
#define FOVEA_REGS_4 "%0,%1,%2,%3"
#define FOVEA_REGS_8 FOVEA_REGS_4 ",%4,%5,%6,%7"
#define FOVEA_REGS_12 FOVEA_REGS_8 ",%8,%9,%10,%11"
#define FOVEA_REGS_16 FOVEA_REGS_12 ",%12,%13,%14,%15"
#define FOVEA_REGS_20 FOVEA_REGS_16 ",%16,%17,%18,%19"
#define FOVEA_REGS_24 FOVEA_REGS_20 ",%20,%21,%22,%23"
#define FOVEA_REGS_28 FOVEA_REGS_24 ",%24,%25,%26,%27"
#define FOVEA_REGS_32 FOVEA_REGS_28 ",%28,%29,%30,%31"
#define FOVEA_REGS_36 FOVEA_REGS_32 ",%32,%33,%34,%35"
#define FOVEA_REGS_40 FOVEA_REGS_36 ",%36,%37,%38,%39"
#define FOVEA_REGS_44 FOVEA_REGS_40 ",%40,%41,%42,%43"
#define FOVEA_REGS_48 FOVEA_REGS_44 ",%44,%45,%46,%47"
#define FOVEA_REGS_52 FOVEA_REGS_48 ",%48,%49,%50,%51"
#define FOVEA_REGS_56 FOVEA_REGS_52 ",%52,%53,%54,%55"
#define FOVEA_REGS_60 FOVEA_REGS_56 ",%56,%57,%58,%59"
#define FOVEA_REGS_64 FOVEA_REGS_60 ",%60,%61,%62,%63"
#define FOVEA_REGS_68 FOVEA_REGS_64 ",%64,%65,%66,%67"
#define FOVEA_REGS_72 FOVEA_REGS_68 ",%68,%69,%70,%71"
#define FOVEA_REGS_76 FOVEA_REGS_72 ",%72,%73,%74,%75"
#define FOVEA_REGS_80 FOVEA_REGS_76 ",%76,%77,%78,%79"
#define FOVEA_REGS_84 FOVEA_REGS_80 ",%80,%81,%82,%83"
#define FOVEA_REGS_88 FOVEA_REGS_84 ",%84,%85,%86,%87"
#define FOVEA_REGS_92 FOVEA_REGS_88 ",%88,%89,%90,%91"
#define FOVEA_REGS_96 FOVEA_REGS_92 ",%92,%93,%94,%95"
#define FOVEA_REGS_100 FOVEA_REGS_96 ",%96,%97,%98,%99"
#define FOVEA_REGS_104 FOVEA_REGS_100 ",%100,%101,%102,%103"
#define FOVEA_REGS_108 FOVEA_REGS_104 ",%104,%105,%106,%107"
#define FOVEA_REGS_112 FOVEA_REGS_108 ",%108,%109,%110,%111"
#define FOVEA_REGS_116 FOVEA_REGS_112 ",%112,%113,%114,%115"
#define FOVEA_REGS_120 FOVEA_REGS_116 ",%116,%117,%118,%119"
#define FOVEA_REGS_124 FOVEA_REGS_120 ",%120,%121,%122,%123"
#define FOVEA_REGS_128 FOVEA_REGS_124 ",%124,%125,%126,%127"
#define FOVEA_ACC4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define FOVEA_ACCS_4 FOVEA_ACC4(0)
#define FOVEA_ACCS_8 FOVEA_ACCS_4, FOVEA_ACC4(4)
#define FOVEA_ACCS_12 FOVEA_ACCS_8, FOVEA_ACC4(8)
#define FOVEA_ACCS_16 FOVEA_ACCS_12, FOVEA_ACC4(12)
#define FOVEA_ACCS_20 FOVEA_ACCS_16, FOVEA_ACC4(16)
#define FOVEA_ACCS_24 FOVEA_ACCS_20, FOVEA_ACC4(20)
#define FOVEA_ACCS_28 FOVEA_ACCS_24, FOVEA_ACC4(24)
#define FOVEA_ACCS_32 FOVEA_ACCS_28, FOVEA_ACC4(28)
#define FOVEA_ACCS_36 FOVEA_ACCS_32, FOVEA_ACC4(32)
#define FOVEA_ACCS_40 FOVEA_ACCS_36, FOVEA_ACC4(36)
#define FOVEA_ACCS_44 FOVEA_ACCS_40, FOVEA_ACC4(40)
#define FOVEA_ACCS_48 FOVEA_ACCS_44, FOVEA_ACC4(44)
#define FOVEA_ACCS_52 FOVEA_ACCS_48, FOVEA_ACC4(48)
#define FOVEA_ACCS_56 FOVEA_ACCS_52, FOVEA_ACC4(52)
#define FOVEA_ACCS_60 FOVEA_ACCS_56, FOVEA_ACC4(56)
#define FOVEA_ACCS_64 FOVEA_ACCS_60, FOVEA_ACC4(60)
#define FOVEA_ACCS_68 FOVEA_ACCS_64, FOVEA_ACC4(64)
#define FOVEA_ACCS_72 FOVEA_ACCS_68, FOVEA_ACC4(68)
#define FOVEA_ACCS_76 FOVEA_ACCS_72, FOVEA_ACC4(72)
#define FOVEA_ACCS_80 FOVEA_ACCS_76, FOVEA_ACC4(76)
#define FOVEA_ACCS_84 FOVEA_ACCS_80, FOVEA_ACC4(80)
#define FOVEA_ACCS_88 FOVEA_ACCS_84, FOVEA_ACC4(84)
#define FOVEA_ACCS_92 FOVEA_ACCS_88, FOVEA_ACC4(88)
#define FOVEA_ACCS_96 FOVEA_ACCS_92, FOVEA_ACC4(92)
#define FOVEA_ACCS_100 FOVEA_ACCS_96, FOVEA_ACC4(96)
#define FOVEA_ACCS_104 FOVEA_ACCS_100, FOVEA_ACC4(100)
#define FOVEA_ACCS_108 FOVEA_ACCS_104, FOVEA_ACC4(104)
#define FOVEA_ACCS_112 FOVEA_ACCS_108, FOVEA_ACC4(108)
#define FOVEA_ACCS_116 FOVEA_ACCS_112, FOVEA_ACC4(112)
#define FOVEA_ACCS_120 FOVEA_ACCS_116, FOVEA_ACC4(116)
#define FOVEA_ACCS_124 FOVEA_ACCS_120, FOVEA_ACC4(120)
#define FOVEA_ACCS_128 FOVEA_ACCS_124, FOVEA_ACC4(124)

template <class E, int N> struct Wgmma;
// p0..p6: the numbers of the operands after the accumulators.
#define FOVEA_WGMMA_BODY(type, n, regs, accs, p0, p1, p2, p3, p4, p5, p6)                                              \
  template <int TA, int TB> static DEV void ss(float (&d)[n / 2], uint64_t a, uint64_t b, int keep) {                  \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #p2 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type \
                 "." type " {" regs "}, %" #p0 ", %" #p1 ", p, 1, 1, %" #p3 ", %" #p4 ";\n}"                           \
                 : accs : "l"(a), "l"(b), "r"(keep), "n"(TA), "n"(TB));                                                \
  }                                                                                                                    \
  template <int TB> static DEV void rs(float (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, int keep) {              \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #p5 ", 0;\nwgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type \
                 "." type " {" regs "}, {%" #p0 ",%" #p1 ",%" #p2 ",%" #p3 "}, %" #p4 ", p, 1, 1, %" #p6 ";\n}"        \
                 : accs : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep), "n"(TB));                     \
  }
#define FOVEA_WGMMA(n, r, p0, p1, p2, p3, p4, p5, p6)                                                                  \
  template <> struct Wgmma<bf16, n> { FOVEA_WGMMA_BODY("bf16", n, FOVEA_REGS_##r, FOVEA_ACCS_##r, p0, p1, p2, p3, p4, p5, p6) }; \
  template <> struct Wgmma<f16, n> { FOVEA_WGMMA_BODY("f16", n, FOVEA_REGS_##r, FOVEA_ACCS_##r, p0, p1, p2, p3, p4, p5, p6) };
FOVEA_WGMMA(8, 4, 4, 5, 6, 7, 8, 9, 10)
FOVEA_WGMMA(16, 8, 8, 9, 10, 11, 12, 13, 14)
FOVEA_WGMMA(24, 12, 12, 13, 14, 15, 16, 17, 18)
FOVEA_WGMMA(32, 16, 16, 17, 18, 19, 20, 21, 22)
FOVEA_WGMMA(40, 20, 20, 21, 22, 23, 24, 25, 26)
FOVEA_WGMMA(48, 24, 24, 25, 26, 27, 28, 29, 30)
FOVEA_WGMMA(56, 28, 28, 29, 30, 31, 32, 33, 34)
FOVEA_WGMMA(64, 32, 32, 33, 34, 35, 36, 37, 38)
FOVEA_WGMMA(72, 36, 36, 37, 38, 39, 40, 41, 42)
FOVEA_WGMMA(80, 40, 40, 41, 42, 43, 44, 45, 46)
FOVEA_WGMMA(88, 44, 44, 45, 46, 47, 48, 49, 50)
FOVEA_WGMMA(96, 48, 48, 49, 50, 51, 52, 53, 54)
FOVEA_WGMMA(104, 52, 52, 53, 54, 55, 56, 57, 58)
FOVEA_WGMMA(112, 56, 56, 57, 58, 59, 60, 61, 62)
FOVEA_WGMMA(120, 60, 60, 61, 62, 63, 64, 65, 66)
FOVEA_WGMMA(128, 64, 64, 65, 66, 67, 68, 69, 70)
FOVEA_WGMMA(136, 68, 68, 69, 70, 71, 72, 73, 74)
FOVEA_WGMMA(144, 72, 72, 73, 74, 75, 76, 77, 78)
FOVEA_WGMMA(152, 76, 76, 77, 78, 79, 80, 81, 82)
FOVEA_WGMMA(160, 80, 80, 81, 82, 83, 84, 85, 86)
FOVEA_WGMMA(168, 84, 84, 85, 86, 87, 88, 89, 90)
FOVEA_WGMMA(176, 88, 88, 89, 90, 91, 92, 93, 94)
FOVEA_WGMMA(184, 92, 92, 93, 94, 95, 96, 97, 98)
FOVEA_WGMMA(192, 96, 96, 97, 98, 99, 100, 101, 102)
FOVEA_WGMMA(200, 100, 100, 101, 102, 103, 104, 105, 106)
FOVEA_WGMMA(208, 104, 104, 105, 106, 107, 108, 109, 110)
FOVEA_WGMMA(216, 108, 108, 109, 110, 111, 112, 113, 114)
FOVEA_WGMMA(224, 112, 112, 113, 114, 115, 116, 117, 118)
FOVEA_WGMMA(232, 116, 116, 117, 118, 119, 120, 121, 122)
FOVEA_WGMMA(240, 120, 120, 121, 122, 123, 124, 125, 126)
FOVEA_WGMMA(248, 124, 124, 125, 126, 127, 128, 129, 130)
FOVEA_WGMMA(256, 128, 128, 129, 130, 131, 132, 133, 134)

// TA, TB: the operand is M- or N-major in shared memory ("transposed").
template <class E, int N, int TA = 0, int TB = 0> DEV void wgmma_ss(float (&d)[N / 2], uint64_t a, uint64_t b, int keep) { Wgmma<E, N>::template ss<TA, TB>(d, a, b, keep); }
template <class E, int N, int TB = 0> DEV void wgmma_rs(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int keep) { Wgmma<E, N>::template rs<TB>(d, a, b, keep); }
template <int N, int TA = 0, int TB = 0, class E = bf16> DEV void wgmma_ss(float (&d)[N / 2], uint64_t a, uint64_t b, int keep) { Wgmma<E, N>::template ss<TA, TB>(d, a, b, keep); }
template <int N, int TB = 0, class E = bf16> DEV void wgmma_rs(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, int keep) { Wgmma<E, N>::template rs<TB>(d, a, b, keep); }
