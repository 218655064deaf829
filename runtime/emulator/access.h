// Accesses that kernels announce: checked against allocations, counted by sectors and banks.
#pragma once
#include "state.h"

namespace emu {

/** Shared memory of one block, with a guard page behind it. */
uint8_t* allocate_shared();
/** Where a block's `bytes` of shared memory start, so that they end at the guard page (give or take 127 bytes). */
uint8_t* place_shared(uint8_t* memory, uint32_t bytes);

/** Whether an address is of a block's shared memory or of what lies in reach behind it. */
bool in_shared(const Block& b, uint64_t address);

/** Accounts for all accesses that the warp's log still holds: its lanes are at one place now. */
void flush_log(Warp& w);
static inline void flush_log_if_any(Warp& w) {
  if (w.log) flush_log(w);
}
/** An access that the compiler's instrumentation reports: its place is an address of code. */
void note_instrumented(const void* address, uint32_t bytes, uint32_t access, const void* code);
/** Keeps a lane's place in the sequence of a site whose access was predicated off. */
void note_dead(uint32_t bytes, uint32_t access, bool shared, Site site);
/** One ldmatrix or stmatrix phase: 8 rows of 16 bytes. */
void note_matrix_rows(Warp& w, const uint32_t* addresses, uint32_t first_lane, bool store, Site site);
/** What the bulk copy engine reads or writes in global memory: one contiguous piece. */
void note_bulk(Cluster& c, uint64_t address, uint32_t bytes, bool write);
/** Fails unless [address, address + bytes) is device memory that may be read (and is initialised) or written. */
void check_global(uint64_t address, uint32_t bytes, uint32_t access, Site site);

/** Before a launch: the ranges that its traffic is split by. */
void begin_counting(const Launch& launch);
std::string counters_json(const char* kernel, const Counters& c, bool with_buffers);

}  // namespace emu
