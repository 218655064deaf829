// Happens-before check of shared memory: a vector clock per thread, and a shadow of who touched each 4-byte word last.
#pragma once
#include "state.h"

namespace emu {
void race_start(Block& b);
void race_join_warp(Warp& w, uint32_t mask);
void race_barrier_arrive(Fiber* f, Barrier& b);
void race_barrier_complete(Fiber* last, Barrier& b, uint32_t threads);
void race_release(Fiber* f, Block& b, uint32_t mbarrier);
/** At a bulk copy's issue: what its completion will order. */
void race_issue(Fiber* f, BulkCopy& copy);
void race_complete(const BulkCopy& copy);
void race_acquire(Fiber* f, Block& b, uint32_t mbarrier);
enum class RaceAccess {
  generic,     // by ordinary instructions
  issue,       // a cp.async at its issue: must not meet earlier accesses, but is not yet visible
  async_proxy  // by bulk copies, TMA and wgmma: what ordinary instructions wrote must be fenced before
};
void race_access(Fiber* f, uint32_t offset, uint32_t bytes, uint32_t access, Site site,
                 RaceAccess kind = RaceAccess::generic);
}  // namespace emu
