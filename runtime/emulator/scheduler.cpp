// Runs the fibers of a cluster: a ready queue, blocking, and what happens when nothing can run.
#include "scheduler.h"

#include <sched.h>
#include <sys/mman.h>

#include <chrono>
#include <new>

#include "access.h"
#include "race.h"

namespace emu {

__thread ThreadView* current __attribute__((tls_model("initial-exec"))) = nullptr;

static thread_local Worker* worker = nullptr;
Worker* this_worker() { return worker; }
Worker& enter_worker() {
  if (!worker) worker = new Worker;
  return *worker;
}
Cluster& worker_cluster() { return worker->cluster; }

uint8_t* StackPool::take() {
  if (!free.empty()) {
    uint8_t* s = free.back();
    free.pop_back();
    return s;
  }
  const size_t page = 4096;
  auto* p = (uint8_t*)mmap(nullptr, stack_bytes + page, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  mprotect(p, page, PROT_NONE);
  return p + page;
}

void append(Fiber*& head, Fiber*& tail, Fiber* f) {
  f->next = nullptr;
  if (tail) tail->next = f;
  else head = f;
  tail = f;
}
void push_ready(Cluster& c, Fiber* f) {
  if (f->state != FiberState::fresh) f->state = FiberState::ready;
  append(c.ready_head, c.ready_tail, f);
}
static inline Fiber* pop_ready(Cluster& c) {
  Fiber* f = c.ready_head;
  if (f) {
    c.ready_head = f->next;
    if (!c.ready_head) c.ready_tail = nullptr;
  }
  return f;
}

void wake(Cluster& c, Fiber* head, Fiber* tail, uint32_t n, bool front) {
  if (!head) return;
  if (config.seed && n > 1) {  // permute the order in which woken threads go on
    std::vector<Fiber*> woken;
    for (Fiber* f = head; f; f = f->next) woken.push_back(f);
    for (size_t i = woken.size() - 1; i > 0; i--) std::swap(woken[i], woken[c.next_random() % (i + 1)]);
    for (Fiber* f : woken) push_ready(c, f);
    return;
  }
  for (Fiber* f = head; f; f = f->next)
    if (f->state != FiberState::fresh) f->state = FiberState::ready;
  if (front) {
    tail->next = c.ready_head;
    if (!c.ready_head) c.ready_tail = tail;
    c.ready_head = head;
    return;
  }
  if (c.ready_tail) c.ready_tail->next = head;
  else c.ready_head = head;
  c.ready_tail = tail;
}

[[noreturn]] static void fiber_main();
static void prepare(Fiber* f) {
  f->stack = worker->stacks.take();
  // Stagger the tops, else the hot part of every stack falls into the same cache sets.
  uint8_t* top = f->stack + stack_bytes - 64 - f->linear * 1216u % 36864u;
  f->stack_pointer = first_frame(top, fiber_main);
  f->state = FiberState::ready;
}
static inline void switch_to(Fiber* from, Fiber* to) {
  if (to->state == FiberState::fresh) prepare(to);
  current = to;
  Cluster& c = cluster_of(from);
  c.progress.store(c.progress.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  fovea_fiber_switch(&from->stack_pointer, to->stack_pointer);
}

void leave_cluster(Fiber* f) {
  current = nullptr;
  fovea_fiber_switch(&f->stack_pointer, worker->stack_pointer);
  __builtin_unreachable();
}

void record_failure(Cluster& c, int error, const std::string& message, Block* b, Fiber* f, const std::string& where) {
  if (c.error) return;
  c.error = error;
  c.report = std::string("kernel ") + c.kernel->name;
  if (b) c.report += format(" block (%u,%u,%u)", b->block_idx.x, b->block_idx.y, b->block_idx.z);
  if (f) c.report += format(" thread (%u,%u,%u)", f->thread_idx.x, f->thread_idx.y, f->thread_idx.z);
  c.report += ": " + message;
  if (!where.empty()) c.report += " at " + where;
}
void fail(int error, const std::string& message, Site site) {
  Fiber* f = this_fiber();
  record_failure(cluster_of(f), error, message, &block_of(f), f, place(site));
  leave_cluster(f);
}
void trap(const char* message, Site site) { fail(failure_launch, message, site); }

static void deadlock(Cluster& c) {
  record_failure(c, failure_timeout, describe_deadlock(c), &c.blocks[0], nullptr, "");
}

void block_fiber(Fiber* f) {
  Cluster& c = cluster_of(f);
  f->state = FiberState::blocked;
  for (;;) {
    if (Fiber* next = pop_ready(c)) {
      if (next == f) f->state = FiberState::ready;  // woken by a copy performed below
      else switch_to(f, next);
      break;
    }
    if (!run_bulk_copy(c)) {
      deadlock(c);
      leave_cluster(f);
    }
  }
  f->wait = Wait::none;
}
void yield_fiber() {
  Fiber* f = this_fiber();
  Cluster& c = cluster_of(f);
  if (!c.ready_head) return;
  push_ready(c, f);
  switch_to(f, pop_ready(c));
}
static uint64_t now_ns() {
  return (uint64_t)std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}
void spin(const char* what, Site site) {
  Fiber* f = this_fiber();
  Cluster& c = cluster_of(f);
  f->site = site;
  const uint64_t signature = c.live + c.counters.barriers + c.counters.collectives + c.counters.mbarrier_arrivals,
                 now = now_ns();
  if (!c.spin_since_ns || signature != c.spin_signature) c.spin_since_ns = now, c.spin_signature = signature;
  if (now - c.spin_since_ns > config.spin_ms * 1000000)
    fail(failure_timeout, std::string("endless busy wait in ") + what + ": nobody makes it true", site);
  if (!c.ready_head && !run_bulk_copy(c)) sched_yield();  // another block may be the one that is waited for
  yield_fiber();
}

static void thread_ended(Fiber* f) {
  Block& b = block_of(f);
  f->state = FiberState::done;
  b.live--, b.cluster->live--;
  f->warp->live &= ~(1u << f->lane);
  b.cluster->counters.special_ops += f->special_ops, b.cluster->counters.lost_points += f->lost_points;
  if (!f->copies.empty())
    record_failure(*b.cluster, failure_launch, "the thread ended with a cp.async that it never waited for", &b, f,
                   place(f->copies[0].site));
}

// A fiber that ends lends its stack to the next fresh one, so a block without barriers uses one stack.
static void fiber_main() {
  for (;;) {
    Fiber* f = this_fiber();
    Cluster& c = cluster_of(f);
    c.kernel->run(c.parameters);
    thread_ended(f);
    Fiber* next = nullptr;
    while (!c.error && !(next = pop_ready(c)))
      if (!c.live || !run_bulk_copy(c)) break;
    if (!next) {
      if (c.live && !c.error) deadlock(c);
      c.kept_stack = f->stack;
      f->stack = nullptr;
      leave_cluster(f);
    }
    if (next->state == FiberState::fresh) {
      next->stack = f->stack;
      f->stack = nullptr;
      next->state = FiberState::ready;
      current = next;
      continue;
    }
    worker->stacks.free.push_back(f->stack);  // still in use until the switch; only this thread takes from the pool
    f->stack = nullptr;
    switch_to(f, next);
  }
}

static void start_block(Block& b, Cluster& c, const Launch& l, Dim index, uint32_t rank) {
  b.cluster = &c;
  b.block_idx = index, b.block_dim = l.block, b.grid_dim = l.grid, b.cluster_dim = l.cluster, b.cluster_rank = rank;
  b.threads = b.live = l.block.x * l.block.y * l.block.z;
  b.warp_count = (b.threads + 31) / 32;
  b.shared_bytes = l.shared_bytes;
  if (!b.memory) b.memory = allocate_shared();
  b.shared = place_shared(b.memory, l.shared_bytes);
  if (config.poison) memset(b.shared, 0xff, l.shared_bytes);
  b.mbarriers.clear();
  for (Barrier& k : b.barriers) k = Barrier{};
  if (b.fibers.size() < b.threads) b.fibers.resize(b.threads), b.warps.resize(b.warp_count);
  for (uint32_t i = 0; i < b.warp_count; i++) {
    Warp& w = b.warps[i];
    w.block = &b, w.index = i;
    w.full = w.live = b.threads - i * 32 >= 32 ? ~0u : (1u << (b.threads - i * 32)) - 1;
    for (auto& r : w.rendezvous) r.arrived = 0;
    w.wgmma.clear();
    w.wgmma_base = 0;
  }
  for (uint32_t t = 0; t < b.threads; t++) {
    Fiber& f = b.fibers[t];
    f.thread_idx = {t % l.block.x, t / l.block.x % l.block.y, t / l.block.x / l.block.y};
    f.linear = t, f.lane = t & 31, f.block = &b, f.warp = &b.warps[t >> 5], f.special_ops = f.lost_points = 0;
    f.state = FiberState::fresh, f.wait = Wait::none, f.stack = nullptr, f.site = {};
    f.copy_group = f.bulk_group = f.wgmma_issued = f.notes = f.registers = 0;
    f.copies.clear(), f.wgmma_groups.clear();
    append(c.ready_head, c.ready_tail, &f);
  }
  if (config.races) race_start(b);
}

static void finish_block(Block& b, Cluster& c) {
  for (uint32_t i = 0; i < b.warp_count; i++) flush_log(b.warps[i]);
  for (uint32_t t = 0; t < b.threads; t++) {
    Fiber& f = b.fibers[t];
    if (f.stack) worker->stacks.free.push_back(f.stack), f.stack = nullptr;
    if (!f.wgmma_groups.empty() && f.lane == 0)
      record_failure(c, failure_launch, "the warp ended with a wgmma group that it never waited for", &b, &f, "");
  }
  c.counters.blocks++;
}

void run_cluster(const Launch& l, uint64_t index) {
  Cluster& c = worker->cluster;
  const Dim k = l.cluster, clusters = {l.grid.x / k.x, l.grid.y / k.y, l.grid.z / k.z};
  const Dim first = {(uint32_t)(index % clusters.x) * k.x, (uint32_t)(index / clusters.x % clusters.y) * k.y,
                     (uint32_t)(index / clusters.x / clusters.y) * k.z};
  c.kernel = l.kernel, c.parameters = l.parameters;
  c.size = k.x * k.y * k.z;
  if (c.blocks.size() < c.size) c.blocks.resize(c.size);
  c.ready_head = c.ready_tail = c.mbarrier_waiters = nullptr;
  c.barrier = Barrier{};
  c.bulk.clear();
  c.spin_since_ns = 0, c.error = 0, c.report.clear(), c.kept_stack = nullptr;
  c.random = (index + 1) * 0x9E3779B97F4A7C15ull ^ config.seed * 0xD1B54A32D192ED03ull;
  if (!c.random) c.random = 1;
  c.live = c.size * l.block.x * l.block.y * l.block.z;
  for (uint32_t r = 0; r < c.size; r++)
    start_block(c.blocks[r], c, l, {first.x + r % k.x, first.y + r / k.x % k.y, first.z + r / k.x / k.y}, r);
  if (config.seed) {  // start in any order
    Fiber *head = c.ready_head, *tail = c.ready_tail;
    c.ready_head = c.ready_tail = nullptr;
    wake(c, head, tail, c.live, false);
  }
  watchdog_enter(c);
  Fiber* f = pop_ready(c);
  prepare(f);
  current = f;
  fovea_fiber_switch(&worker->stack_pointer, f->stack_pointer);
  watchdog_leave();
  if (c.kept_stack) worker->stacks.free.push_back((uint8_t*)c.kept_stack);
  for (uint32_t r = 0; r < c.size; r++) finish_block(c.blocks[r], c);
  for (BulkCopy& b : c.bulk)
    record_failure(c, failure_launch,
                   b.kind == BulkCopy::Kind::store || b.kind == BulkCopy::Kind::tensor_store
                       ? "the block ended with a bulk store that it never waited for"
                       : "the block ended with a bulk load in flight",
                   b.block, nullptr, place(b.site));
}

}  // namespace emu
