// cp.async and bulk copies. Each is performed as late as the program allows, so that a missing wait reads what was
// there before.
#include "access.h"
#include "race.h"
#include "state.h"

namespace emu {

Block& block_at(Block& own, uint32_t address, Site site) {
  const uint32_t window = address / shared_window;
  if (!window) return own;
  if (window > own.cluster->size)
    fail(failure_illegal_address, format("shared address 0x%x lies in no block of the cluster", address), site);
  return own.cluster->blocks[window - 1];
}
uint8_t* shared_at(Block& own, uint32_t address, uint32_t bytes, const char* what, Site site) {
  Block& b = block_at(own, address, site);
  const uint32_t offset = address & (shared_window - 1);
  if (offset + bytes > b.shared_bytes)
    fail(failure_illegal_address,
         format("%s: shared 0x%x + %u is outside the block's %u bytes", what, offset, bytes, b.shared_bytes), site);
  return b.shared + offset;
}

// --- cp.async: in groups, by thread
static void move(Fiber* f, const PendingCopy& p) {
  uint8_t* to = block_of(f).shared + p.to;
  if (p.live) memcpy(to, p.from, p.bytes);
  else memset(to, 0, p.bytes);
}
/** At the wait: only now may others, told by a barrier, read it, whenever it was moved. */
static void complete(Fiber* f, const PendingCopy& p) {
  if (config.races) race_access(f, p.to, p.bytes, access_write, p.site);
  if (config.late_copies) move(f, p);
}
void cp_async(uint32_t to, const void* from, uint32_t bytes, bool live, Site site) {
  Fiber* f = this_fiber();
  Block& b = block_of(f);
  f->site = site;
  if (to % bytes || to + bytes > b.shared_bytes)
    fail(to % bytes ? failure_misaligned : failure_illegal_address,
         format("cp.async: shared 0x%x is misaligned or outside the block's %u bytes", to, b.shared_bytes), site);
  if ((uintptr_t)from % bytes && live)
    fail(failure_misaligned, format("cp.async: global address %p is not %u-byte aligned", from, bytes), site);
  if (watching) {
    if (live) note(from, bytes, access_read, site);
    else note_dead(bytes, access_read, false, site);
    note(b.shared + to, bytes, access_write | access_async, site);
  }
  const PendingCopy p{to, bytes, f->copy_group, live, from, site};
  if (!config.late_copies) move(f, p);
  f->copies.push_back(p);
}
void cp_async_commit() { this_fiber()->copy_group++; }
void cp_async_wait(uint32_t groups_in_flight) {
  Fiber* f = this_fiber();
  const uint32_t limit = f->copy_group - groups_in_flight;
  size_t n = 0;
  while (n < f->copies.size() && (int32_t)(f->copies[n].group - limit) < 0) {
    complete(f, f->copies[n]);
    n++;
  }
  f->copies.erase(f->copies.begin(), f->copies.begin() + (long)n);
}
void cp_async_mbarrier_arrive(uint32_t address, Site site) {
  Fiber* f = this_fiber();
  for (const PendingCopy& p : f->copies) complete(f, p);
  f->copies.clear();
  mbarrier_arrive(address, 0, site);
}

// --- bulk copies: the engine performs loads when nothing else can run (or at random), stores when their thread waits
static void submit(Cluster& c, BulkCopy copy) {
  if (config.races) race_issue(copy.owner, copy);
  c.bulk.push_back(copy);
  const bool load = copy.kind == BulkCopy::Kind::load || copy.kind == BulkCopy::Kind::tensor_load;
  if (load && (!config.late_copies || (config.seed && c.next_random() % 2)))
    while (run_bulk_copy(c)) {}
}
static void move_contiguous(BulkCopy& copy) {
  uint8_t* shared = copy.block->shared + copy.shared;
  const bool write = copy.kind == BulkCopy::Kind::store;
  if (watching) note_bulk(*copy.block->cluster, copy.global, copy.bytes, write);
  if (write) memcpy((void*)copy.global, shared, copy.bytes);
  else memcpy(shared, (const void*)copy.global, copy.bytes);
}
void move_tensor(const BulkCopy& copy, Block& to);  // tensor_map.cpp

static void perform_load(Cluster& c, BulkCopy copy) {
  c.counters.bulk_bytes += copy.bytes;
  if (config.races) race_complete(copy);
  if (copy.kind == BulkCopy::Kind::load) {
    move_contiguous(copy);
    mbarrier_complete_bytes(*copy.block, copy.mbarrier, copy.bytes);
    return;
  }
  for (uint32_t r = 0; r < c.size; r++) {  // a multicast reaches several blocks
    Block& to = copy.cta_mask ? c.blocks[r] : *copy.block;
    if (copy.cta_mask && !(copy.cta_mask >> r & 1)) continue;
    move_tensor(copy, to);
    mbarrier_complete_bytes(to, copy.mbarrier, copy.bytes);
    if (!copy.cta_mask) break;
  }
}
bool run_bulk_copy(Cluster& c) {
  size_t loads = 0, chosen = c.bulk.size();
  for (size_t i = 0; i < c.bulk.size(); i++) {
    const auto kind = c.bulk[i].kind;
    if (kind != BulkCopy::Kind::load && kind != BulkCopy::Kind::tensor_load) continue;
    loads++;
    if (chosen == c.bulk.size() || (config.seed && c.next_random() % loads == 0))
      chosen = i;  // any of them may come first
  }
  if (!loads) return false;
  BulkCopy copy = c.bulk[chosen];
  c.bulk.erase(c.bulk.begin() + (long)chosen);
  perform_load(c, copy);
  return true;
}

void bulk_load(uint32_t to, const void* from, uint32_t bytes, uint32_t mbarrier, Site site) {
  Fiber* f = this_fiber();
  Block& b = block_at(block_of(f), to, site);
  f->site = site;
  to &= shared_window - 1, mbarrier &= shared_window - 1;
  if (to & 15 || bytes & 15 || (uintptr_t)from & 15)
    fail(failure_misaligned, "bulk copy: addresses and size must be multiples of 16", site);
  shared_at(b, to, bytes, "bulk copy", site);
  find_mbarrier(b, mbarrier, site);
  if (watching) check_global((uint64_t)from, bytes, access_read, site);
  if (config.races) race_access(f, to, bytes, access_write, site, RaceAccess::async_proxy);
  BulkCopy copy{};
  copy.kind = BulkCopy::Kind::load, copy.shared = to, copy.mbarrier = mbarrier, copy.bytes = bytes,
  copy.global = (uint64_t)from;
  copy.block = &b, copy.owner = f, copy.site = site;
  submit(*b.cluster, copy);
}
void bulk_store(void* to, uint32_t from, uint32_t bytes, Site site) {
  Fiber* f = this_fiber();
  Block& b = block_of(f);
  from &= shared_window - 1;
  if (from & 15 || bytes & 15 || (uintptr_t)to & 15)
    fail(failure_misaligned, "bulk copy: addresses and size must be multiples of 16", site);
  shared_at(b, from, bytes, "bulk copy", site);
  if (watching) check_global((uint64_t)to, bytes, access_write, site);
  if (config.races) race_access(f, from, bytes, access_read, site, RaceAccess::async_proxy);
  BulkCopy copy{};
  copy.kind = BulkCopy::Kind::store, copy.shared = from, copy.bytes = bytes, copy.global = (uint64_t)to;
  copy.block = &b, copy.owner = f, copy.group = f->bulk_group, copy.site = site;
  b.cluster->bulk.push_back(copy);
}

/** Checks a tensor copy's operands and queues it. */
static void submit_tensor(BulkCopy::Kind kind, uint32_t shared, const void* map, const int32_t* at, int rank,
                          BulkCopy copy) {
  Fiber* f = this_fiber();
  Block& b = block_of(f);
  const Site site = copy.site;
  f->site = site;
  shared &= shared_window - 1;
  memcpy(&copy.map, map, sizeof copy.map);
  const TensorMapImage& m = copy.map;
  if (m.magic != TensorMapImage::expected_magic)
    fail(failure_launch, "TMA: this is not a tensor map of cuTensorMapEncodeTiled", site);
  if (m.rank != rank)
    fail(failure_launch, format("TMA: the instruction has rank %d, its tensor map %d", rank, m.rank), site);
  if (shared % 128) fail(failure_misaligned, format("TMA: shared 0x%x is not 128-byte aligned", shared), site);
  const uint32_t span = m.swizzle ? 128u << m.swizzle : 128;  // rows of a swizzle atom times their bytes
  if (shared % span)
    fail(failure_misaligned,
         format("TMA: the tile at shared 0x%x does not start on its swizzle's %u-byte period", shared, span), site);
  copy.bytes = m.element_bytes;
  for (int i = 0; i < rank; i++) copy.bytes *= m.box[i], copy.at[i] = at[i];
  shared_at(b, shared, copy.bytes, "TMA", site);
  copy.kind = kind, copy.shared = shared, copy.block = &b, copy.owner = f, copy.group = f->bulk_group;
  const bool load = kind == BulkCopy::Kind::tensor_load;
  if (config.races)
    race_access(f, shared, copy.bytes, load ? access_write : access_read, site, RaceAccess::async_proxy);
  if (load) submit(*b.cluster, copy);
  else b.cluster->bulk.push_back(copy);
}
void tma_load(uint32_t to, const void* map, uint32_t mbarrier, const int32_t* at, int rank, uint32_t cta_mask,
              Site site) {
  BulkCopy copy{};
  copy.mbarrier = mbarrier & (shared_window - 1), copy.cta_mask = (uint16_t)cta_mask, copy.site = site;
  Block& b = block_of(this_fiber());
  find_mbarrier(b, copy.mbarrier, site);
  if (cta_mask >> b.cluster->size)
    fail(failure_launch,
         format("TMA: multicast mask 0x%x names blocks outside the cluster of %u", cta_mask, b.cluster->size), site);
  submit_tensor(BulkCopy::Kind::tensor_load, to, map, at, rank, copy);
}
void tma_store(const void* map, uint32_t from, const int32_t* at, int rank, TmaReduce reduce, Site site) {
  BulkCopy copy{};
  copy.reduce = reduce, copy.site = site;
  TensorMapImage m;
  memcpy(&m, map, sizeof m);
  if (reduce != TmaReduce::none && !(m.is_float && m.element_bytes == 4))
    fail(failure_launch, "TMA: reductions are emulated for float32 only", site);
  submit_tensor(BulkCopy::Kind::tensor_store, from, map, at, rank, copy);
}
void bulk_commit() { this_fiber()->bulk_group++; }
void bulk_wait(uint32_t groups_in_flight, Site site) {
  Fiber* f = this_fiber();
  Cluster& c = cluster_of(f);
  f->site = site;
  const uint32_t limit = f->bulk_group - groups_in_flight;
  for (size_t i = 0; i < c.bulk.size();) {
    BulkCopy& copy = c.bulk[i];
    const bool store = copy.kind == BulkCopy::Kind::store || copy.kind == BulkCopy::Kind::tensor_store;
    if (!store || copy.owner != f || (int32_t)(copy.group - limit) >= 0) {
      i++;
      continue;
    }
    c.counters.bulk_bytes += copy.bytes;
    if (copy.kind == BulkCopy::Kind::store) move_contiguous(copy);
    else move_tensor(copy, *copy.block);
    c.bulk.erase(c.bulk.begin() + (long)i);
  }
}

}  // namespace emu
