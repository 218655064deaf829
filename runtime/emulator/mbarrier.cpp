// mbarrier objects: arrivals and transaction bytes complete a phase; waiting is by phase parity.
#include "race.h"
#include "state.h"

namespace emu {

static void wake_waiters(Block& b, uint32_t address, const Mbarrier& m) {
  Cluster& c = *b.cluster;
  Fiber *head = nullptr, *tail = nullptr;
  uint32_t n = 0;
  for (Fiber** link = &c.mbarrier_waiters; *link;) {
    Fiber* f = *link;
    if (f->block == &b && f->wait_a == address && f->wait_b != m.phase) {
      *link = f->next;
      append(head, tail, f);
      n++;
      if (config.races) race_acquire(f, b, address);
    } else {
      link = &f->next;
    }
  }
  wake(c, head, tail, n, false);
}
static void complete_if_due(Block& b, uint32_t address, Mbarrier& m) {
  if (m.pending || m.bytes) return;
  m.phase ^= 1;
  m.pending = m.expected;
  wake_waiters(b, address, m);
}

static void check_address(Block& b, uint32_t address, Site site) {
  if (address & 7 || address + 8 > b.shared_bytes)
    fail(failure_misaligned,
         format("mbarrier at shared 0x%x is misaligned or outside the block's %u bytes", address, b.shared_bytes),
         site);
}
Mbarrier* find_mbarrier(Block& b, uint32_t address, Site site) {
  check_address(b, address, site);
  for (uint32_t known : b.mbarriers)
    if (known == address) return (Mbarrier*)(b.shared + address);
  fail(failure_launch, format("mbarrier at shared 0x%x is used before its initialisation", address), site);
}

void mbarrier_init(uint32_t address, uint32_t count, Site site) {
  Block& b = block_of(this_fiber());
  address &= shared_window - 1;
  check_address(b, address, site);
  if (!count || count > 0x7fff) fail(failure_launch, format("an mbarrier cannot expect %u arrivals", count), site);
  *(Mbarrier*)(b.shared + address) = {0, (uint16_t)count, (uint16_t)count, 0};
  for (uint32_t known : b.mbarriers)
    if (known == address) return;
  b.mbarriers.push_back(address);
}

void mbarrier_arrive(uint32_t address, uint32_t expected_bytes, Site site) {
  Fiber* f = this_fiber();
  Block& b = block_at(block_of(f), address, site);
  Cluster& c = *b.cluster;
  address &= shared_window - 1;
  f->site = site;
  Mbarrier& m = *find_mbarrier(b, address, site);
  if (!m.pending)
    fail(failure_launch,
         format("more arrivals at the mbarrier at shared 0x%x than the %u it was initialised for", address, m.expected),
         site);
  if (config.races) race_release(f, b, address);
  c.counters.mbarrier_arrivals++;
  m.bytes += (int32_t)expected_bytes;
  m.pending--;
  complete_if_due(b, address, m);
  if (config.seed && c.next_random() % 4 == 0) yield_fiber();  // those set free here may run first
}
void mbarrier_complete_bytes(Block& b, uint32_t address, uint32_t bytes) {
  Mbarrier& m = *(Mbarrier*)(b.shared + address);
  m.bytes -= (int32_t)bytes;
  complete_if_due(b, address, m);
}

bool mbarrier_test(uint32_t address, uint32_t parity, Site site) {
  Fiber* f = this_fiber();
  Block& b = block_of(f);
  address &= shared_window - 1;
  if (find_mbarrier(b, address, site)->phase == (parity & 1)) {
    spin("mbarrier.test_wait", site);
    return false;
  }
  if (config.races) race_acquire(f, b, address);
  return true;
}
void mbarrier_wait(uint32_t address, uint32_t parity, Site site) {
  Fiber* f = this_fiber();
  Block& b = block_of(f);
  Cluster& c = *b.cluster;
  address &= shared_window - 1, parity &= 1;
  f->site = site;
  Mbarrier& m = *find_mbarrier(b, address, site);
  if (config.seed && m.phase == parity && c.next_random() % 8 == 0) run_bulk_copy(c);
  if (m.phase != parity) {
    if (config.races) race_acquire(f, b, address);
    return;
  }
  f->wait = Wait::mbarrier, f->waiting_in = "mbarrier", f->wait_a = address, f->wait_b = parity;
  f->next = c.mbarrier_waiters;
  c.mbarrier_waiters = f;
  block_fiber(f);
}

}  // namespace emu
