#include "race.h"

#include <algorithm>

namespace emu {

/** Who touched a word last. `thread` counts from 1; 0 is nobody. Every reader since the last write is kept. */
struct WordShadow {
  uint32_t writer = 0, write_clock = 0;
  bool write_atomic = false, write_async = false;
  struct Reader {
    uint32_t thread, clock;
  };
  std::vector<Reader> readers;
  uint32_t block = 0;  // the number of the block that it was used in last: blocks start with all words untouched
  Site write_site{}, read_site{};
};
/** Words of two bytes, the smallest element that kernels share. */
constexpr uint32_t word_bytes = 2;
struct RaceShadow {
  uint32_t block = 0;
  std::vector<WordShadow> words;
  std::vector<std::vector<uint32_t>> mbarriers;
};

static void join(std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
  for (size_t i = 0; i < a.size(); i++) a[i] = std::max(a[i], b[i]);
}

void race_start(Block& b) {
  if (!b.races) b.races = new RaceShadow;
  b.races->block++;
  if (b.races->words.size() < b.shared_bytes / word_bytes + 1) b.races->words.resize(b.shared_bytes / word_bytes + 1);
  b.races->mbarriers.assign(b.shared_bytes / 8 + 1, {});
  for (uint32_t t = 0; t < b.threads; t++) {
    b.fibers[t].clock.assign(b.threads, 0);
    b.fibers[t].clock[t] = 1;
    b.fibers[t].fence_clock.assign(b.threads, 0);
  }
  for (Barrier& k : b.barriers) k.clock.assign(b.threads, 0);
}

void race_join_warp(Warp& w, uint32_t mask) {
  Block& b = *w.block;
  std::vector<uint32_t> joined(b.threads, 0);
  Fiber* lanes = &b.fibers[w.index * 32];
  for (int i = 0; i < 32; i++)
    if (mask >> i & 1) join(joined, lanes[i].clock);
  for (int i = 0; i < 32; i++)
    if (mask >> i & 1) lanes[i].clock = joined, lanes[i].clock[lanes[i].linear]++;
}
void race_barrier_arrive(Fiber* f, Barrier& b) {
  if (b.clock.empty()) b.clock.assign(f->clock.size(), 0);
  join(b.clock, f->clock);
  f->clock[f->linear]++;
}
void race_barrier_complete(Fiber* last, Barrier& b, uint32_t threads) {
  if (b.clock.empty()) return;  // the cluster's barrier: clocks are per block
  if (last) join(last->clock, b.clock);
  for (Fiber* f = b.head; f; f = f->next) join(f->clock, b.clock);
  b.clock.assign(threads, 0);
}
void race_release(Fiber* f, Block& b, uint32_t mbarrier) {
  if (f->block != &b) return;
  auto& clock = b.races->mbarriers[mbarrier / 8];
  if (clock.empty()) clock.assign(f->clock.size(), 0);
  join(clock, f->clock);
  f->clock[f->linear]++;
}
void race_issue(Fiber* f, BulkCopy& copy) {
  copy.clock = f->clock;
  f->clock[f->linear]++;
}
void race_complete(const BulkCopy& copy) {
  if (copy.owner->block != copy.block) return;
  auto& clock = copy.block->races->mbarriers[copy.mbarrier / 8];
  if (clock.empty()) clock.assign(copy.clock.size(), 0);
  join(clock, copy.clock);
}
void race_acquire(Fiber* f, Block& b, uint32_t mbarrier) {
  const auto& clock = b.races->mbarriers[mbarrier / 8];
  if (!clock.empty()) join(f->clock, clock);
}

void fence_async_proxy() {
  if (!config.races) return;
  Fiber* f = this_fiber();
  f->fence_clock = f->clock;
  f->clock[f->linear]++;
}
/** Whether the writer fenced after its write, or the reader after it learned of the write. */
static bool fenced(Block& b, const Fiber* reader, const WordShadow& s) {
  const uint32_t writer = s.writer - 1;
  return s.write_async || b.fibers[writer].fence_clock[writer] >= s.write_clock ||
         reader->fence_clock[writer] >= s.write_clock;
}

[[noreturn]] static void report(Fiber* f, const char* kind, uint32_t offset, uint32_t other, Site other_site,
                                Site site) {
  std::string text = format("shared-memory race (%s) at shared 0x%x with thread %u", kind, offset, other);
  if (other_site.file) text += " at " + place(other_site);
  (void)f;
  fail(failure_launch, text + ";", site);
}
void race_access(Fiber* f, uint32_t offset, uint32_t bytes, uint32_t access, Site site, RaceAccess kind) {
  Block& b = block_of(f);
  const uint32_t own = f->linear;
  const bool write = access & access_write, atomic = access & access_atomic;
  for (uint32_t i = offset / word_bytes; i <= (offset + bytes - 1) / word_bytes && i < b.races->words.size(); i++) {
    WordShadow& s = b.races->words[i];
    if (s.block != b.races->block) s.block = b.races->block, s.writer = 0, s.readers.clear();
    const uint32_t writer = s.writer - 1;
    if (s.writer && writer != own && !(s.write_atomic && atomic) && s.write_clock > f->clock[writer])
      report(f, write ? "write after write" : "read after write", i * word_bytes, writer, s.write_site, site);
    if (write && !atomic)
      for (const auto& r : s.readers)
        if (r.thread != own && r.clock > f->clock[r.thread])
          report(f, "write after read", i * word_bytes, r.thread, s.read_site, site);
    if (kind == RaceAccess::async_proxy && !write && s.writer && !fenced(b, f, s))
      fail(
          failure_launch,
          format(
              "shared 0x%x was written by thread %u at %s and is read asynchronously without fence.proxy.async (fence_async_shared) between;",
              i * word_bytes, writer, place(s.write_site).c_str()),
          site);
    if (kind == RaceAccess::issue) continue;
    if (write) {
      s.writer = own + 1, s.write_clock = f->clock[own], s.write_atomic = atomic, s.write_site = site,
      s.write_async = kind == RaceAccess::async_proxy;
      s.readers.clear();
    } else {
      bool known = false;
      for (auto& r : s.readers)
        if (r.thread == own) r.clock = f->clock[own], known = true;
      if (!known) {
        // Readers that this one already comes after cannot race with what it does not race with.
        s.readers.erase(std::remove_if(s.readers.begin(), s.readers.end(),
                                       [&](const WordShadow::Reader& r) { return r.clock <= f->clock[r.thread]; }),
                        s.readers.end());
        s.readers.push_back({own, f->clock[own]});
      }
      s.read_site = site;
    }
  }
}

}  // namespace emu
