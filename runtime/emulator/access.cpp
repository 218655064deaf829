// Checks and logs each announced access. The log pairs the k-th access of every lane at one place in the kernel, which
// is how the hardware's warp-wide requests come about; a rendezvous of the warp closes what is open.
#include "access.h"

#include "counting.h"
#include "memory.h"
#include "race.h"
#include "scheduler.h"

namespace emu {

uint8_t watching = 0;
void update_watching() { watching = config.counters || config.races || config.uninitialised || config.bounds; }

// --- what an address is
static const Allocation* cached_allocation(uint64_t address, uint64_t bytes) {
  static thread_local const Allocation* recent[4] = {};
  static thread_local uint64_t launch = 0;
  if (launch != current_launch)
    launch = current_launch, memset(recent, 0, sizeof recent);  // allocations may have gone since
  for (int i = 0; i < 4; i++) {
    const Allocation* a = recent[i];
    if (!a || address < a->begin || address + bytes > a->begin + a->bytes) continue;
    if (i) std::swap(recent[i], recent[i - 1]);
    return a;
  }
  const Allocation* a = find_allocation(address, bytes);
  if (a) recent[3] = a;
  return a;
}

/** Null if the kernel may use the address although it is no device memory; fails if it may not use it at all. */
static const Allocation* checked_allocation(uint64_t address, uint32_t bytes, uint32_t align, uint32_t access,
                                            Site site) {
  const char* verb = access & access_write ? "write" : "read";
  if (address % align)
    fail(failure_misaligned,
         format("%s of %u bytes at misaligned address 0x%llx", verb, bytes, (unsigned long long)address), site);
  if (const Allocation* a = cached_allocation(address, bytes)) return a;
  if (in_arena(address))
    fail(failure_illegal_address, format("%s of %u bytes: ", verb, bytes) + describe_address(address), site);
  const Fiber* f = this_fiber();
  const bool own_stack = f && address >= (uint64_t)f->stack && address < (uint64_t)f->stack + stack_bytes;
  if (own_stack || in_host_allocation(address) || in_kernel_image(address)) return nullptr;
  fail(failure_illegal_address,
       format("%s of %u bytes at 0x%llx, which is host memory that the device cannot reach", verb, bytes,
              (unsigned long long)address),
       site);
}
static void check_initialised(const Allocation& a, uint64_t address, uint32_t bytes, uint32_t access, Site site) {
  if (!a.written) return;
  uint8_t* written = a.written.get() + (address - a.begin);
  if (!(access & access_write) || access & access_atomic)
    for (uint32_t i = 0; i < bytes; i++)
      if (!written[i])
        fail(failure_launch,
             format(
                 "read of device memory that was never written, %llu bytes into the allocation of %llu bytes at 0x%llx",
                 (unsigned long long)(address + i - a.begin), (unsigned long long)a.bytes, (unsigned long long)a.begin),
             site);
  if (access & access_write) memset(written, 1, bytes);
}
void check_global(uint64_t address, uint32_t bytes, uint32_t access, Site site) {
  const Allocation* a = cached_allocation(address, bytes);
  if (!a) {
    if (in_host_allocation(address)) return;
    fail(failure_illegal_address, format("bulk copy of %u bytes: ", bytes) + describe_address(address + bytes), site);
  }
  if (config.uninitialised) check_initialised(*a, address, bytes, access, site);
}

// --- the log
/** The accesses of one instruction, as far as lanes have executed it. */
struct Request {
  uint32_t seen = 0, dead = 0;
  uint64_t addresses[32];
};
struct SiteLog {
  Site site;
  AccessKind kind;
  uint32_t done = 0;        // requests accounted for since the last flush
  uint32_t lane_count[32];  // accesses of each lane since the last flush
  std::vector<Request> open;
  size_t first_open = 0;
};
struct AccessLog {
  std::vector<SiteLog> sites;
  uint16_t recent[64] = {};  // index + 1 into sites, by hash of the place
  bool used = false;
};

static SiteLog& log_of(Warp& w, Site site, AccessKind kind) {
  if (!w.log) w.log = new AccessLog;
  AccessLog& log = *w.log;
  log.used = true;
  uint16_t& recent =
      log.recent[(site.line * 7 + (uintptr_t)site.file * (site.line == code_site) + kind.access * 3 + kind.bytes) & 63];
  auto matches = [&](const SiteLog& s) {
    return s.site.line == site.line && s.site.file == site.file && s.kind == kind;
  };
  if (recent && recent <= log.sites.size() && matches(log.sites[recent - 1])) return log.sites[recent - 1];
  size_t i = 0;
  while (i < log.sites.size() && !matches(log.sites[i])) i++;
  if (i == log.sites.size()) {
    log.sites.push_back({site, kind, 0, {}, {}, 0});
    memset(log.sites.back().lane_count, 0, sizeof log.sites.back().lane_count);
  }
  recent = (uint16_t)(i + 1);
  return log.sites[i];
}
static void account(Warp& w, const SiteLog& s, const Request& r) {
  const uint32_t lanes = r.seen & ~r.dead;
  if (lanes) count_request(*w.block->cluster, s.kind, lanes, r.addresses);
}
static void log_access(Fiber* f, uint64_t address, AccessKind kind, bool dead, Site site) {
  Warp& w = *f->warp;
  SiteLog& s = log_of(w, site, kind);
  const uint32_t k = s.lane_count[f->lane]++;
  if (k < s.done) return;
  const size_t at = s.first_open + (k - s.done);
  while (at >= s.open.size()) s.open.emplace_back();
  Request& r = s.open[at];
  r.seen |= 1u << f->lane;
  if (dead) r.dead |= 1u << f->lane;
  r.addresses[f->lane] = address;
  while (s.first_open < s.open.size() && (s.open[s.first_open].seen & w.live) == w.live)
    account(w, s, s.open[s.first_open++]), s.done++;
  if (s.first_open == s.open.size()) s.open.clear(), s.first_open = 0;
}
void flush_log(Warp& w) {
  if (!w.log || !w.log->used) return;
  for (SiteLog& s : w.log->sites) {
    for (size_t i = s.first_open; i < s.open.size(); i++) account(w, s, s.open[i]);
    s.open.clear();
    s.first_open = 0, s.done = 0;
    memset(s.lane_count, 0, sizeof s.lane_count);
  }
  w.log->used = false;
}

void note(const void* pointer, uint32_t bytes, uint32_t access_and_align, Site site) {
  Fiber* f = this_fiber();
  if (!f || !watching) return;
  Block& b = block_of(f);
  const auto address = (uint64_t)pointer;
  f->site = site;
  const uint32_t access = access_and_align & access_bits,
                 align = access_and_align > access_bits ? access_and_align / access_align : bytes;
  AccessKind kind{bytes, access, false};
  if (in_shared(b, address)) {
    const int64_t offset = (int64_t)(address - (uint64_t)b.shared);
    if (offset < 0 || offset + bytes > b.shared_bytes)
      fail(failure_illegal_address,
           format("access of %u bytes at shared 0x%llx, outside the block's %u bytes", bytes, (long long)offset,
                  b.shared_bytes),
           site);
    if (offset % align)
      fail(failure_misaligned, format("access of %u bytes at misaligned shared 0x%llx", bytes, (long long)offset),
           site);
    if (config.races)
      race_access(f, (uint32_t)offset, bytes, access, site,
                  access & access_async ? RaceAccess::issue : RaceAccess::generic);
    kind.shared = true;
    if (config.counters) log_access(f, (uint64_t)offset, kind, false, site);
  } else {
    const Allocation* a = checked_allocation(address, bytes, align, access, site);
    if (!a) return;
    if (config.uninitialised) check_initialised(*a, address, bytes, access, site);
    if (config.counters) log_access(f, address, kind, false, site);
  }
  if (++f->notes >= 512) f->notes = 0, yield_fiber();  // keeps the lanes abreast, so that few requests stay open
}
void note_instrumented(const void* address, uint32_t bytes, uint32_t access, const void* code) {
  const auto a = (uint64_t)address;
  const Block& b = block_of(this_fiber());
  if (!in_shared(b, a) && !in_arena(a)) return;        // locals and constants of the image
  for (uint64_t at = a, end = a + bytes; at < end;) {  // in aligned pieces, as the hardware would have to do it
    uint32_t piece = 16;
    while (at % piece || at + piece > end) piece /= 2;
    note((const void*)at, piece, access, {(const char*)code, code_site});
    at += piece;
  }
}
void note_dead(uint32_t bytes, uint32_t access, bool shared, Site site) {
  if (config.counters) log_access(this_fiber(), 0, {bytes, access, shared}, true, site);
}
void note_matrix_rows(Warp& w, const uint32_t* rows, uint32_t first_lane, bool store, Site site) {
  Block& b = *w.block;
  if (config.races)
    for (uint32_t r = 0; r < 8; r++)
      race_access(&b.fibers[w.index * 32 + first_lane + r], rows[r], 16, store ? access_write : access_read, site);
  if (config.counters) count_matrix_rows(*b.cluster, rows, store);
}
void note_bulk(Cluster& c, uint64_t address, uint32_t bytes, bool write) {
  if (config.counters) count_bulk(c, address, bytes, write);
  if (write && config.uninitialised) mark_written(address, bytes);
}

}  // namespace emu
