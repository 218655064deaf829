// Warp collectives: lanes wait until the mask is complete; the last one executes for all.
#include "access.h"
#include "race.h"
#include "state.h"

namespace emu {

void collective(CollectiveFn run, uint32_t mask, void* arg, const char* name, Site site) {
  Fiber* f = this_fiber();
  Warp& w = *f->warp;
  Cluster& c = *w.block->cluster;
  if (!(mask >> f->lane & 1)) fail(failure_launch, std::string(name) + ": the calling lane is not in the mask", site);
  mask &= w.full;
  Warp::Rendezvous* r = nullptr;
  for (auto& open : w.rendezvous) {
    if (!open.arrived) {
      if (!r) r = &open;
    } else if (open.mask == mask) {
      if (open.run != run)
        fail(failure_launch,
             std::string("lanes of one warp are in different collectives: ") + name + " and " + open.name, site);
      r = &open;
      break;
    }  // masks may overlap: lanes that are done in one place wait here for lanes that are still in another
  }
  if (!r) fail(failure_launch, "too many collectives open in one warp", site);
  if (!r->arrived) r->run = run, r->mask = mask, r->name = name, r->head = r->tail = nullptr, r->waiters = 0;
  r->args[f->lane] = arg;
  r->arrived |= 1u << f->lane;
  f->site = site;
  if (r->arrived == mask) {
    c.counters.collectives++;
    r->arrived = 0;
    if (config.races) race_join_warp(w, mask);
    run(w, mask, r->args);
    flush_log_if_any(w);
    wake(c, r->head, r->tail, r->waiters,
         true);  // a warp runs on until it waits for another one: its stacks stay in the cache
    return;
  }
  append(r->head, r->tail, f);
  r->waiters++;
  f->wait = Wait::collective, f->waiting_in = name, f->wait_a = (uint64_t)r;
  block_fiber(f);
}

}  // namespace emu
