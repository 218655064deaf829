// Barriers of the block (numbered, as bar.sync has them), their votes, and the barrier of the cluster.
#include "access.h"
#include "race.h"
#include "state.h"

namespace emu {

static void complete(Fiber* last, Barrier& b, bool last_waits) {
  Cluster& c = cluster_of(last);
  b.arrived = 0;
  b.last_yes = b.yes, b.last_no = b.no, b.yes = b.no = 0;
  c.counters.barriers++;
  if (config.races) race_barrier_complete(last_waits ? last : nullptr, b, block_of(last).threads);
  Block& block = block_of(last);
  if (watching)
    for (uint32_t i = 0; i < block.warp_count; i++) flush_log_if_any(block.warps[i]);
  Fiber *head = b.head, *tail = b.tail;
  const uint32_t n = b.waiters;
  b.head = b.tail = nullptr, b.waiters = 0;
  wake(c, head, tail, n, false);
}

static void arrive(Fiber* f, uint32_t id, uint32_t count, bool wait, Site site) {
  Block& block = block_of(f);
  f->site = site;
  if (id > 15) fail(failure_launch, "barrier number above 15", site);
  Barrier& b = block.barriers[id];
  const uint32_t wanted = count ? count : block.threads;
  if (count % 32) fail(failure_launch, "a barrier's thread count must be a multiple of 32", site);
  if (b.arrived && b.expected != wanted)
    fail(failure_launch, format("threads give different counts to barrier %u: %u and %u", id, b.expected, wanted),
         site);
  b.expected = wanted;
  b.arrived++;
  if (config.races) race_barrier_arrive(f, b);
  if (b.arrived == wanted) return complete(f, b, wait);
  if (!wait) return;
  append(b.head, b.tail, f);
  b.waiters++;
  f->wait = Wait::barrier, f->waiting_in = "barrier", f->wait_a = id;
  block_fiber(f);
}

void barrier_sync(uint32_t id, uint32_t count, Site site) { arrive(this_fiber(), id, count, true, site); }
void barrier_arrive(uint32_t id, uint32_t count, Site site) { arrive(this_fiber(), id, count, false, site); }

int barrier_vote(uint32_t id, int predicate, BarrierVote vote, Site site) {
  Fiber* f = this_fiber();
  Barrier& b = block_of(f).barriers[id];
  predicate ? b.yes++ : b.no++;
  arrive(f, id, 0, true, site);
  switch (vote) {
    case BarrierVote::any: return b.last_yes > 0;
    case BarrierVote::all: return b.last_no == 0;
    default: return (int)b.last_yes;
  }
}

void cluster_arrive(Site site) {
  Fiber* f = this_fiber();
  Cluster& c = cluster_of(f);
  f->site = site;
  Barrier& b = c.barrier;
  b.expected = c.size * block_of(f).threads;
  f->wait_b = b.last_yes;  // the phase it arrived in; `last_yes` counts completed phases of this barrier
  if (++b.arrived < b.expected) return;
  const uint32_t phase = b.last_yes;
  complete(f, b, false);
  b.last_yes = phase + 1;
}
void cluster_wait(Site site) {
  Fiber* f = this_fiber();
  Barrier& b = cluster_of(f).barrier;
  f->site = site;
  if (b.last_yes != (uint32_t)f->wait_b) return;
  append(b.head, b.tail, f);
  b.waiters++;
  f->wait = Wait::cluster, f->waiting_in = "cluster barrier";
  block_fiber(f);
}

uint32_t cluster_address(uint32_t address, uint32_t rank, Site site) {
  Cluster& c = cluster_of(this_fiber());
  if (rank >= c.size) fail(failure_launch, format("block %u of a cluster of %u does not exist", rank, c.size), site);
  return (address & (shared_window - 1)) + (rank + 1) * shared_window;
}

}  // namespace emu
