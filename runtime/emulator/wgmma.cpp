// wgmma: lanes record their operands at the issue, which costs no switch; the work is done at the wait, as late as
// legal.
#include <algorithm>

#include "access.h"
#include "matrix.h"
#include "race.h"

namespace emu {

void wgmma(float* d, const WgmmaOperands& o, Site site) {
  Fiber* f = this_fiber();
  Warp& w = *f->warp;
  f->site = site;
  const uint32_t k = f->wgmma_issued++ - w.wgmma_base;
  if (k >= w.wgmma.size()) w.wgmma.push_back({o, 0, {}, {}, site});
  WgmmaRecord& r = w.wgmma[k];
  const WgmmaOperands& p = r.operands;
  if (p.a != o.a || p.b != o.b || p.n != o.n || p.keep != o.keep || !p.a_registers != !o.a_registers ||
      p.element != o.element)
    fail(failure_launch, "wgmma: the lanes of one warp give different operands", site);
  r.seen |= 1u << f->lane;
  r.d[f->lane] = d;
  if (o.a_registers) memcpy(r.a[f->lane], o.a_registers, 16);
}
void wgmma_commit() {
  Fiber* f = this_fiber();
  f->wgmma_groups.push_back(f->wgmma_issued);
}

/** A shared-memory matrix descriptor, taken apart. Offsets in bytes. */
struct Descriptor {
  uint32_t base, leading, stride, mode;
  explicit Descriptor(uint64_t d)
      : base((uint32_t)(d & 0x3fff) << 4),
        leading((uint32_t)(d >> 16 & 0x3fff) << 4),
        stride((uint32_t)(d >> 32 & 0x3fff) << 4),
        mode((uint32_t)(d >> 62)) {}
  /** Bytes of a row of the swizzle atom: 128, 64, 32, or 16 without swizzle. */
  uint32_t row_bytes() const { return mode == 1 ? 128 : mode == 2 ? 64 : mode == 3 ? 32 : 16; }
  uint32_t swizzle_mode() const { return mode == 1 ? 3 : mode == 2 ? 2 : mode == 3 ? 1 : 0; }
  /** Address of element (mn, k): mn counts rows of A or columns of B. */
  uint32_t address(uint32_t mn, uint32_t k, bool mn_major) const {
    const uint32_t row = row_bytes();
    uint32_t a;
    if (!mn_major) {
      // Atoms of 8 rows of mn; without swizzle, 16-byte columns of k lie `leading` apart.
      a = base + mn / 8 * stride + mn % 8 * row + (mode ? k * 2 : k / 8 * leading + k % 8 * 2);
    } else {
      // Atoms of 8 rows of k, each row_bytes of mn; atoms lie `leading` apart along mn and `stride` along k
      // (without swizzle the other way round).
      const uint32_t span = row / 2;
      a = base + mn / span * (mode ? leading : stride) + k / 8 * (mode ? stride : leading) + k % 8 * row +
          mn % span * 2;
    }
    return swizzled(a, swizzle_mode());
  }
};

struct WgmmaTile {
  alignas(64) float c[16][256];
  alignas(64) float b[16][256];
  alignas(64) float a[16][16];
};
static void move_accumulators(const WgmmaRecord& r, WgmmaTile& tile, bool load) {
  for (int lane = 0; lane < 32; lane++) {
    float* d = r.d[lane];
    const int row = lane >> 2, column = (lane & 3) * 2;
    for (int i = 0; i < r.operands.n / 8; i++)
      for (int h = 0; h < 2; h++) {
        float* c = &tile.c[row + 8 * h][8 * i + column];
        float* own = d + 4 * i + 2 * h;
        load ? memcpy(c, own, 8) : memcpy(own, c, 8);
      }
  }
}

static const uint8_t* operand_at(const WgmmaRecord& r, Block& b, uint32_t address, const char* operand) {
  if (address + 16 > b.shared_bytes)
    fail(
        failure_illegal_address,
        format("wgmma: operand %s reaches shared 0x%x, outside the block's %u bytes", operand, address, b.shared_bytes),
        r.site);
  return b.shared + address;
}
// 16 bytes stay together under every swizzle, so both operands are read in pieces of eight elements: of k, or, when
// transposed, of rows or columns.
template <Element E>
static FOVEA_INLINE void load_a(const WgmmaRecord& r, Block& b, uint32_t first_row, WgmmaTile& tile) {
  if (r.operands.a_registers) {
    uint32_t packed[16][8];
    for (int lane = 0; lane < 32; lane++)
      for (int h = 0; h < 4; h++) packed[(lane >> 2) + (h & 1) * 8][(lane & 3) + (h >> 1) * 4] = r.a[lane][h];
    for (int i = 0; i < 16; i++)
      for (int k = 0; k < 16; k += 8) *(Vector8*)&tile.a[i][k] = widen<E>(&packed[i][k / 2]);
    return;
  }
  const Descriptor d(r.operands.a);
  for (uint32_t i = 0; i < 16; i += 8)
    for (uint32_t k = 0; k < 16; k += 8) {
      Vector8 block[8];
      for (uint32_t j = 0; j < 8; j++) {
        const uint32_t at =
            r.operands.a_transposed ? d.address(first_row + i, k + j, true) : d.address(first_row + i + j, k, false);
        block[j] = widen<E>(operand_at(r, b, at, "A"));
      }
      if (r.operands.a_transposed) transpose(block);
      for (uint32_t j = 0; j < 8; j++) *(Vector8*)&tile.a[i + j][k] = block[j];
    }
}
template <Element E>
static FOVEA_INLINE void load_b(const WgmmaRecord& r, Block& b, WgmmaTile& tile) {
  const Descriptor d(r.operands.b);
  for (uint32_t n = 0; n < (uint32_t)r.operands.n; n += 8)
    for (uint32_t k = 0; k < 16; k += 8) {
      Vector8 block[8];
      for (uint32_t j = 0; j < 8; j++) {
        const uint32_t at = r.operands.b_transposed ? d.address(n, k + j, true) : d.address(n + j, k, false);
        block[j] = widen<E>(operand_at(r, b, at, "B"));
      }
      if (!r.operands.b_transposed) transpose(block);
      for (uint32_t j = 0; j < 8; j++) *(Vector8*)&tile.b[k + j][n] = block[j];
    }
}
template <Element E, bool Fused>
static FOVEA_INLINE void multiply_here(const WgmmaRecord& r, Block& b, uint32_t first_row, WgmmaTile& t) {
  load_a<E>(r, b, first_row, t);
  load_b<E>(r, b, t);
  auto* multiply_all = Fused ? multiply_blocks_fused<16> : multiply_blocks<16>;
  multiply_all(&t.c[0][0], &t.a[0][0], &t.b[0][0], r.operands.n / 8, 256);
}
template <Element E>
FOVEA_AVX2 static void multiply_avx2(const WgmmaRecord& r, Block& b, uint32_t first_row, WgmmaTile& t) {
  multiply_here<E, true>(r, b, first_row, t);
}
template <Element E>
static void multiply_plain(const WgmmaRecord& r, Block& b, uint32_t first_row, WgmmaTile& t) {
  multiply_here<E, false>(r, b, first_row, t);
}

/** Marks what an operand reads for the race check: whole swizzle rows, on behalf of lane 0. */
static void check_races(Warp& w, const WgmmaRecord& r) {
  Fiber* f = &w.block->fibers[w.index * 32];
  const Descriptor b(r.operands.b);
  for (uint32_t n = 0; n < (uint32_t)r.operands.n; n += r.operands.b_transposed ? 8 : 1)
    for (uint32_t k = 0; k < 16; k += r.operands.b_transposed ? 1 : 8)
      race_access(f, b.address(n, k, r.operands.b_transposed), 16, access_read, r.site, RaceAccess::async_proxy);
  if (r.operands.a_registers) return;
  const Descriptor a(r.operands.a);
  for (uint32_t m = 0; m < 16; m++)
    for (uint32_t k = 0; k < 16; k++)
      race_access(f, a.address((w.index & 3) * 16 + m, k, r.operands.a_transposed), 2, access_read, r.site,
                  RaceAccess::async_proxy);
}

/** Records [from, to) share their accumulators. */
static void execute(Warp& w, size_t from, size_t to) {
  static thread_local WgmmaTile* tile = nullptr;
  if (!tile) tile = (WgmmaTile*)aligned_alloc(64, sizeof(WgmmaTile));
  Block& b = *w.block;
  move_accumulators(w.wgmma[from], *tile, true);
  for (size_t i = from; i < to; i++) {
    const WgmmaRecord& r = w.wgmma[i];
    if (config.races) check_races(w, r);
    const bool is_bf16 = r.operands.element == Element::bf16;
    if (!r.operands.keep) memset(tile->c, 0, sizeof tile->c);
    auto* multiply = have_avx2 ? is_bf16 ? multiply_avx2<Element::bf16> : multiply_avx2<Element::f16>
                     : is_bf16 ? multiply_plain<Element::bf16>
                               : multiply_plain<Element::f16>;
    multiply(r, b, (w.index & 3) * 16, *tile);
    Counters& k = b.cluster->counters;
    k.wgmma++;
    k.tensor_flops += 2ull * 16 * 16 * (uint64_t)r.operands.n;
  }
  move_accumulators(w.wgmma[from], *tile, false);
}

struct WaitArg {
  uint32_t groups_in_flight;
  Site site;
};
static void collective_wait(Warp& w, uint32_t mask, void* const* args) {
  const auto& arg = *(const WaitArg*)args[0];
  if (mask != ~0u) fail(failure_launch, "wgmma.wait_group: not all lanes of the warp take part", arg.site);
  auto& groups = w.block->fibers[w.index * 32].wgmma_groups;
  if (groups.size() <= arg.groups_in_flight) return;
  const uint32_t end = groups[groups.size() - arg.groups_in_flight - 1] - w.wgmma_base;
  for (size_t i = 0; i < end;) {
    if (w.wgmma[i].seen != ~0u) fail(failure_launch, "wgmma: not all lanes of the warp issued it", w.wgmma[i].site);
    size_t j = i + 1;
    while (j < end && w.wgmma[j].operands.n == w.wgmma[i].operands.n &&
           !memcmp(w.wgmma[j].d, w.wgmma[i].d, sizeof w.wgmma[i].d))
      j++;
    execute(w, i, j);
    i = j;
  }
  w.wgmma.erase(w.wgmma.begin(), w.wgmma.begin() + end);
  w.wgmma_base += end;
  for (int lane = 0; lane < 32; lane++) {
    auto& own = w.block->fibers[w.index * 32 + (uint32_t)lane].wgmma_groups;
    own.erase(own.begin(), own.end() - (long)arg.groups_in_flight);
  }
}
void wgmma_wait(uint32_t groups_in_flight, Site site) {
  WaitArg arg{groups_in_flight, site};
  collective(collective_wait, ~0u, &arg, "wgmma.wait_group", site);
}

/** setmaxnreg: ptxas does not check that the warps' registers fit the block's share of the register file, so this does.
 */
void set_registers(uint32_t count, bool increase, Site site) {
  Fiber* f = this_fiber();
  Block& b = block_of(f);
  f->site = site;
  if (count % 8 || count < 24 || count > 256)
    fail(failure_launch, format("setmaxnreg: %u is not a multiple of 8 in 24..256", count), site);
  if (f->lane) return;
  f->registers = count;  // of the whole warp
  if (!increase) return;
  // An increase waits until the registers are free; here, only totals that can never fit are refused.
  uint64_t total = 0;
  for (uint32_t w = 0; w < b.warp_count; w++) total += 32ull * std::max(b.fibers[w * 32].registers, 24u);
  if (total > 65536)
    fail(failure_launch,
         format("setmaxnreg: the block's warps ask for %llu registers, an SM has 65536", (unsigned long long)total),
         site);
}

}  // namespace emu
