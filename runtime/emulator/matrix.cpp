// ldmatrix, stmatrix and mma.sync, executed by the last lane of a warp to arrive.
#include "matrix.h"

#include "access.h"
#include "race.h"

namespace emu {

// --- 8x8 matrices of 16-bit elements; rows are named by the lanes' addresses
static void require_full_warp(uint32_t mask, const char* name, Site site) {
  if (mask != ~0u) fail(failure_launch, std::string(name) + ": not all lanes of the warp take part", site);
}
struct LoadArg {
  MatrixLoad load;
  Site site;
};
static void collective_ldmatrix(Warp& w, uint32_t mask, void* const* args) {
  const auto& first = *(const LoadArg*)args[0];
  const Site site = first.site;
  const int matrices = first.load.matrices;
  require_full_warp(mask, "ldmatrix", site);
  Block& b = *w.block;
  uint32_t* registers[32];
  for (int lane = 0; lane < 32; lane++) registers[lane] = ((const LoadArg*)args[lane])->load.registers;
  for (int i = 0; i < first.load.count; i++) {
    for (int j = 0; j < matrices; j++) {
      uint32_t rows[8];
      Half8 m[8];
      for (int r = 0; r < 8; r++) {
        rows[r] = ((const LoadArg*)args[j * 8 + r])->load.addresses[i];
        if (rows[r] & 15)
          fail(failure_misaligned, format("ldmatrix: shared 0x%x is not 16-byte aligned", rows[r]), site);
        if (rows[r] + 16 > b.shared_bytes)
          fail(failure_illegal_address,
               format("ldmatrix: shared 0x%x is outside the block's %u bytes", rows[r], b.shared_bytes), site);
        memcpy(&m[r], b.shared + rows[r], 16);
      }
      if (watching) note_matrix_rows(w, rows, (uint32_t)j * 8, false, site);
      // Lane 4g + t holds elements 2t and 2t + 1 of row g, or of column g.
      uint32_t pairs[8][4];
      if (first.load.transposed) {
        for (int t = 0; t < 4; t++) {
          uint32_t column[8];
          const Half8 low = __builtin_shufflevector(m[2 * t], m[2 * t + 1], 0, 8, 1, 9, 2, 10, 3, 11);
          const Half8 high = __builtin_shufflevector(m[2 * t], m[2 * t + 1], 4, 12, 5, 13, 6, 14, 7, 15);
          memcpy(column, &low, 16);
          memcpy(column + 4, &high, 16);
          for (int g = 0; g < 8; g++) pairs[g][t] = column[g];
        }
      } else {
        memcpy(pairs, m, sizeof pairs);
      }
      for (int lane = 0; lane < 32; lane++) registers[lane][i * matrices + j] = pairs[lane / 4][lane % 4];
    }
  }
}
void ldmatrix(const MatrixLoad& load, Site site) {
  LoadArg arg{load, site};
  collective(collective_ldmatrix, ~0u, &arg, "ldmatrix", site);
}

struct StoreArg {
  const uint32_t* registers;
  uint32_t address;
  int matrices;
  bool transposed;
  Site site;
};
static void collective_stmatrix(Warp& w, uint32_t mask, void* const* args) {
  const auto& first = *(const StoreArg*)args[0];
  require_full_warp(mask, "stmatrix", first.site);
  Block& b = *w.block;
  for (int j = 0; j < first.matrices; j++) {
    uint16_t m[8][8];
    for (int lane = 0; lane < 32; lane++) {
      const uint32_t value = ((const StoreArg*)args[lane])->registers[j];
      const int row = lane / 4, column = 2 * (lane % 4);
      for (int h = 0; h < 2; h++)
        (first.transposed ? m[column + h][row] : m[row][column + h]) = (uint16_t)(value >> 16 * h);
    }
    uint32_t rows[8];
    for (int r = 0; r < 8; r++) {
      rows[r] = ((const StoreArg*)args[j * 8 + r])->address;
      if (rows[r] & 15)
        fail(failure_misaligned, format("stmatrix: shared 0x%x is not 16-byte aligned", rows[r]), first.site);
      memcpy(shared_at(b, rows[r], 16, "stmatrix", first.site), m[r], 16);
    }
    if (watching) note_matrix_rows(w, rows, (uint32_t)j * 8, true, first.site);
  }
}
void stmatrix(const uint32_t* registers, uint32_t address, int matrices, bool transposed, Site site) {
  StoreArg arg{registers, address, matrices, transposed, site};
  collective(collective_stmatrix, ~0u, &arg, "stmatrix", site);
}

// --- mma.sync. Fragments are gathered from the lanes into matrices, multiplied by rows, and scattered back.
struct MmaArg {
  float* d;
  const uint32_t *a, *b;
  int rows, columns;
  Element element;
  Site site;
};

/** A tile of 16 rows and 8*N columns, and its operands. */
template <int N>
struct MmaTile {
  alignas(64) float a[16][16];
  alignas(64) float b[16][8 * N];
  alignas(64) float c[16][8 * N];
};

// Lane 4g + t holds, of A, row g (and g + 8) and of B, column g: at k = 2t and 2t + 1 (and 8 more) for 16-bit elements,
// at k = t (and t + 4) for tf32. So one register of four neighbouring lanes is a row of eight 16-bit elements.
template <Element E>
static FOVEA_INLINE void gather_a(float (&a)[16][16], void* const* args, int row) {
  uint32_t packed[16][8];
  for (int lane = 0; lane < 32; lane++) {
    const uint32_t* r = ((const MmaArg*)args[lane])->a + 4 * row;
    const int g = lane >> 2, t = lane & 3;
    if (E == Element::tf32) {
      a[g][t] = tf32_value(r[0]), a[g + 8][t] = tf32_value(r[1]);
      a[g][t + 4] = tf32_value(r[2]), a[g + 8][t + 4] = tf32_value(r[3]);
    } else {
      packed[g][t] = r[0], packed[g + 8][t] = r[1];
      packed[g][t + 4] = r[2], packed[g + 8][t + 4] = r[3];
    }
  }
  if (E == Element::tf32) return;
  for (int i = 0; i < 16; i++)
    for (int k = 0; k < 16; k += 8) *(Vector8*)&a[i][k] = widen<E>(&packed[i][k / 2]);
}
template <Element E, int N>
static FOVEA_INLINE void gather_b(float (&b)[16][8 * N], void* const* args, int first) {
  uint32_t packed[8 * N][8];  // by column
  for (int lane = 0; lane < 32; lane++) {
    const uint32_t* r = ((const MmaArg*)args[lane])->b + 2 * first;
    const int g = lane >> 2, t = lane & 3;
    for (int n = 0; n < N; n++) {
      if (E == Element::tf32) {
        b[t][8 * n + g] = tf32_value(r[2 * n]), b[t + 4][8 * n + g] = tf32_value(r[2 * n + 1]);
      } else {
        packed[8 * n + g][t] = r[2 * n], packed[8 * n + g][t + 4] = r[2 * n + 1];
      }
    }
  }
  if (E == Element::tf32) return;
  for (int n = 0; n < 8 * N; n += 8)
    for (int k = 0; k < 16; k += 8) {
      Vector8 block[8];
      for (int i = 0; i < 8; i++) block[i] = widen<E>(&packed[n + i][k / 2]);
      transpose(block);
      for (int i = 0; i < 8; i++) *(Vector8*)&b[k + i][n] = block[i];
    }
}
/** N column blocks from `first` on, for every row block. */
template <Element E, int N, bool Fused>
static FOVEA_INLINE void multiply_here(void* const* args, const MmaArg& shape, int first) {
  constexpr int depth = E == Element::tf32 ? 8 : 16;
  MmaTile<N> tile;
  gather_b<E, N>(tile.b, args, first);
  for (int row = 0; row < shape.rows; row++) {
    gather_a<E>(tile.a, args, row);
    const size_t at = ((size_t)row * (size_t)shape.columns + (size_t)first) * 4;
    for (int lane = 0; lane < 32; lane++) {
      const float* d = ((const MmaArg*)args[lane])->d + at;
      const int g = lane >> 2, t = lane & 3;
      for (int n = 0; n < N; n++) {
        memcpy(&tile.c[g][8 * n + 2 * t], d + 4 * n, 8);
        memcpy(&tile.c[g + 8][8 * n + 2 * t], d + 4 * n + 2, 8);
      }
    }
    auto* multiply_all = Fused ? multiply_blocks_fused<depth> : multiply_blocks<depth>;
    multiply_all(&tile.c[0][0], &tile.a[0][0], &tile.b[0][0], N, 8 * N);
    for (int lane = 0; lane < 32; lane++) {
      float* d = ((const MmaArg*)args[lane])->d + at;
      const int g = lane >> 2, t = lane & 3;
      for (int n = 0; n < N; n++) {
        memcpy(d + 4 * n, &tile.c[g][8 * n + 2 * t], 8);
        memcpy(d + 4 * n + 2, &tile.c[g + 8][8 * n + 2 * t], 8);
      }
    }
  }
}
template <Element E, int N>
FOVEA_AVX2 static void multiply_avx2(void* const* args, const MmaArg& shape, int first) {
  multiply_here<E, N, true>(args, shape, first);
}
template <Element E, int N>
static void multiply_plain(void* const* args, const MmaArg& shape, int first) {
  multiply_here<E, N, false>(args, shape, first);
}
template <Element E, int N>
static void multiply(void* const* args, const MmaArg& shape, int first) {
  have_avx2 ? multiply_avx2<E, N>(args, shape, first) : multiply_plain<E, N>(args, shape, first);
}
template <Element E>
static void collective_mma(Warp& w, uint32_t mask, void* const* args) {
  const auto& shape = *(const MmaArg*)args[0];
  require_full_warp(mask, "mma.sync", shape.site);
  int first = 0;
  for (; shape.columns - first >= 8; first += 8) multiply<E, 8>(args, shape, first);
  for (; shape.columns - first >= 4; first += 4) multiply<E, 4>(args, shape, first);
  for (; shape.columns - first >= 2; first += 2) multiply<E, 2>(args, shape, first);
  for (; shape.columns - first >= 1; first += 1) multiply<E, 1>(args, shape, first);
  Counters& k = w.block->cluster->counters;
  const uint64_t products = (uint64_t)shape.rows * (uint64_t)shape.columns;
  (E == Element::tf32 ? k.mma_m16n8k8 : k.mma_m16n8k16) += products;
  k.tensor_flops += products * 2 * 16 * 8 * (E == Element::tf32 ? 8 : 16);
}
void mma(float* d, const uint32_t* a, const uint32_t* b, int rows, int columns, Element element, Site site) {
  MmaArg arg{d, a, b, rows, columns, element, site};
  const CollectiveFn run = element == Element::bf16  ? collective_mma<Element::bf16>
                           : element == Element::f16 ? collective_mma<Element::f16>
                                                     : collective_mma<Element::tf32>;
  collective(run, ~0u, &arg, "mma.sync", site);
}

}  // namespace emu
