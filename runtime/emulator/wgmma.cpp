// wgmma: lanes record their operands at the issue, which costs no switch; the work is done at the wait, as late as legal.
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
  if (p.a != o.a || p.b != o.b || p.n != o.n || p.keep != o.keep || !p.a_registers != !o.a_registers || p.element != o.element)
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
      : base((uint32_t)(d & 0x3fff) << 4), leading((uint32_t)(d >> 16 & 0x3fff) << 4), stride((uint32_t)(d >> 32 & 0x3fff) << 4), mode((uint32_t)(d >> 62)) {}
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
      a = base + mn / span * (mode ? leading : stride) + k / 8 * (mode ? stride : leading) + k % 8 * row + mn % span * 2;
    }
    return swizzled(a, swizzle_mode());
  }
};

struct WgmmaTile {
  alignas(64) float c[16][256];
  alignas(64) float b[16][256];
  alignas(64) float a[16][16];
};
template <Element E> static FOVEA_INLINE float value16(uint16_t bits) { return E == Element::bf16 ? value_of_bits((uint32_t)bits << 16) : f16_value(bits); }

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

template <Element E> static void load_a(const WgmmaRecord& r, Block& b, uint32_t first_row, WgmmaTile& tile) {
  if (r.operands.a_registers) {
    for (int lane = 0; lane < 32; lane++)
      for (int h = 0; h < 4; h++) {
        const int row = (lane >> 2) + (h & 1) * 8, k = (lane & 3) * 2 + (h >> 1) * 8;
        tile.a[row][k] = low_value<E>(r.a[lane][h]), tile.a[row][k + 1] = high_value<E>(r.a[lane][h]);
      }
    return;
  }
  const Descriptor d(r.operands.a);
  for (uint32_t row = 0; row < 16; row++)
    for (uint32_t k = 0; k < 16; k++) {
      const uint32_t at = d.address(first_row + row, k, r.operands.a_transposed);
      if (at + 2 > b.shared_bytes) fail(failure_illegal_address, format("wgmma: operand A reaches shared 0x%x, outside the block's %u bytes", at, b.shared_bytes), r.site);
      tile.a[row][k] = value16<E>(*(const uint16_t*)(b.shared + at));
    }
}
template <Element E> static void load_b(const WgmmaRecord& r, Block& b, WgmmaTile& tile) {
  const Descriptor d(r.operands.b);
  const bool transposed = r.operands.b_transposed;
  const uint32_t n = (uint32_t)r.operands.n;
  const uint32_t outer = transposed ? 16 : n, inner = transposed ? n : 16;
  for (uint32_t i = 0; i < outer; i++)
    for (uint32_t j = 0; j < inner; j += 8) {  // 16 bytes stay together under every swizzle
      const uint32_t at = transposed ? d.address(j, i, true) : d.address(i, j, false);
      if (at + 16 > b.shared_bytes) fail(failure_illegal_address, format("wgmma: operand B reaches shared 0x%x, outside the block's %u bytes", at, b.shared_bytes), r.site);
      const auto* values = (const uint16_t*)(b.shared + at);
      for (uint32_t e = 0; e < 8; e++) (transposed ? tile.b[i][j + e] : tile.b[j + e][i]) = value16<E>(values[e]);
    }
}

FOVEA_AVX2 static void multiply_avx2(WgmmaTile& t, int n) {
  for (int i = 0; i < n; i += 8) multiply_block<16>(&t.c[0][i], 256, &t.a[0][0], &t.b[0][i], 256);
}
static void multiply_plain(WgmmaTile& t, int n) {
  for (int i = 0; i < n; i += 8) multiply_block<16>(&t.c[0][i], 256, &t.a[0][0], &t.b[0][i], 256);
}

/** Marks what an operand reads for the race check: whole swizzle rows, on behalf of lane 0. */
static void check_races(Warp& w, const WgmmaRecord& r) {
  Fiber* f = &w.block->fibers[w.index * 32];
  const Descriptor b(r.operands.b);
  for (uint32_t n = 0; n < (uint32_t)r.operands.n; n += r.operands.b_transposed ? 8 : 1)
    for (uint32_t k = 0; k < 16; k += r.operands.b_transposed ? 1 : 8) race_access(f, b.address(n, k, r.operands.b_transposed), 16, access_read, r.site);
  if (r.operands.a_registers) return;
  const Descriptor a(r.operands.a);
  for (uint32_t m = 0; m < 16; m++)
    for (uint32_t k = 0; k < 16; k++) race_access(f, a.address((w.index & 3) * 16 + m, k, r.operands.a_transposed), 2, access_read, r.site);
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
    is_bf16 ? load_a<Element::bf16>(r, b, (w.index & 3) * 16, *tile) : load_a<Element::f16>(r, b, (w.index & 3) * 16, *tile);
    is_bf16 ? load_b<Element::bf16>(r, b, *tile) : load_b<Element::f16>(r, b, *tile);
    have_avx2 ? multiply_avx2(*tile, r.operands.n) : multiply_plain(*tile, r.operands.n);
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
    while (j < end && w.wgmma[j].operands.n == w.wgmma[i].operands.n && !memcmp(w.wgmma[j].d, w.wgmma[i].d, sizeof w.wgmma[i].d)) j++;
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

/** setmaxnreg: ptxas does not check that the warps' registers fit the block's share of the register file, so this does. */
void set_registers(uint32_t count, bool increase, Site site) {
  Fiber* f = this_fiber();
  Block& b = block_of(f);
  f->site = site;
  if (count % 8 || count < 24 || count > 256) fail(failure_launch, format("setmaxnreg: %u is not a multiple of 8 in 24..256", count), site);
  f->registers = count;
  if (!increase) return;
  // An increase waits until the registers are free; here, only totals that can never fit are refused.
  uint64_t total = 0;
  for (uint32_t t = 0; t < b.threads; t++) total += b.fibers[t].registers ? b.fibers[t].registers : 24;
  if (total > 65536) fail(failure_launch, format("setmaxnreg: the block's warps ask for %llu registers, an SM has 65536", (unsigned long long)total), site);
}

}  // namespace emu
