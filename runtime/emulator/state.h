// Private state of the emulated device: threads as fibers, warps, blocks and the cluster that schedules them.
#pragma once
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../../templates/device/emulated/interface.h"
#include "counters.h"

namespace emu {

/** Set through fovea_emu_set and FOVEA_EMU_* (see emulator.h). */
struct Config {
  bool counters = false, races = false, uninitialised = false, bounds = false;
  bool late_copies = true;  // asynchronous copies happen at the wait, not at the issue
  bool poison = true;       // memory starts as 0xFF
  bool deferred_streams = false;
  uint64_t seed = 0;          // 0: in order; otherwise schedules and copy times are shuffled
  int workers = 0;            // 0: one per core
  uint64_t memory_limit = 0;  // 0 until cuInit: then 16 GiB, or half of the machine's memory if that is less
  uint64_t spin_ms = 3000;
  uint64_t watchdog_ms = 20000;
};
extern Config config;
void update_watching();

enum class FiberState : uint8_t { fresh, ready, blocked, done };
enum class Wait : uint8_t { none, barrier, collective, mbarrier, cluster };

struct Block;
struct Cluster;

/** A cp.async that has been issued and not yet performed. */
struct PendingCopy {
  uint32_t to, bytes, group;
  bool live;
  const void* from;
  Site site;
};

/** One emulated thread. The first cache line holds what a switch touches. */
struct alignas(64) Fiber : ThreadView {
  void* stack_pointer = nullptr;
  Fiber* next = nullptr;  // in the queue or wait list that the fiber is in
  Warp* warp = nullptr;
  FiberState state = FiberState::fresh;
  Wait wait = Wait::none;
  uint8_t* stack = nullptr;
  const char* waiting_in = nullptr;
  uint64_t wait_a = 0, wait_b = 0;
  Site site{};  // where it waits, or was seen last
  uint32_t copy_group = 0, bulk_group = 0, wgmma_issued = 0, notes = 0, registers = 0;
  std::vector<PendingCopy> copies;
  std::vector<uint32_t> wgmma_groups;
  // Of the race check: the vector clock, and what it was at the last proxy fence.
  std::vector<uint32_t> clock, fence_clock;
};

/** A wgmma as recorded by its 32 lanes. */
struct WgmmaRecord {
  WgmmaOperands operands;
  uint32_t seen;
  float* d[32];
  uint32_t a[32][4];
  Site site;
};

struct AccessLog;  // access.cpp

struct Warp {
  /** A rendezvous in progress. Disjoint masks of one warp may each have one. */
  struct Rendezvous {
    CollectiveFn run;
    uint32_t mask, arrived = 0, waiters;
    const char* name;
    void* args[32];
    Fiber *head, *tail;
  };
  Block* block;
  uint32_t index, full, live;
  Rendezvous rendezvous[8];
  std::vector<WgmmaRecord> wgmma;
  uint32_t wgmma_base = 0;
  AccessLog* log = nullptr;
};

struct Barrier {
  uint32_t expected = 0, arrived = 0, waiters = 0;
  uint32_t yes = 0, no = 0, last_yes = 0, last_no = 0;
  Fiber *head = nullptr, *tail = nullptr;
  std::vector<uint32_t> clock;
};

/** As it lies in shared memory: 8 bytes. */
struct Mbarrier {
  int32_t bytes;
  uint16_t pending;
  uint16_t expected : 15, phase : 1;
};
static_assert(sizeof(Mbarrier) == 8, "an mbarrier object has 64 bits");

/** What cuTensorMapEncodeTiled writes into the 128 bytes of a CUtensorMap. */
struct TensorMapImage {
  static constexpr uint64_t expected_magic = 0x70616d5461656f66;
  uint64_t magic, base, stride[4];
  uint32_t extent[5];
  uint16_t box[5];
  uint8_t rank, element_bytes, swizzle, fill_nan, is_float;
  uint8_t unused[128 - 48 - 20 - 10 - 5];
};
static_assert(sizeof(TensorMapImage) == 128, "a CUtensorMap has 128 bytes");

/** A bulk or TMA copy that has been issued and not yet performed. */
struct BulkCopy {
  enum class Kind : uint8_t { load, tensor_load, store, tensor_store } kind;
  TmaReduce reduce;
  uint16_t cta_mask;
  int32_t at[5];
  uint32_t shared, mbarrier, bytes, group;
  uint64_t global;
  TensorMapImage map;
  Block* block;
  Fiber* owner;
  Site site;
  std::vector<uint32_t> clock;  // of the owner at the issue, for the race check
};

struct Block : BlockView {
  Cluster* cluster;
  uint32_t threads, live, warp_count;
  uint8_t* memory = nullptr;  // where `shared` points; kept between blocks
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Barrier barriers[16];
  std::vector<uint32_t> mbarriers;
  struct RaceShadow* races = nullptr;
};

/** Blocks that run together; without clusters, one. All its fibers run on one worker thread. */
struct Cluster {
  const KernelInfo* kernel;
  void* const* parameters;
  std::vector<Block> blocks;
  uint32_t size = 1, live = 0;
  Fiber *ready_head = nullptr, *ready_tail = nullptr, *mbarrier_waiters = nullptr;
  Barrier barrier;  // of the cluster
  std::vector<BulkCopy> bulk;
  uint64_t random = 1;
  uint64_t spin_since_ns = 0,
           spin_signature = 0;        // the busy wait in progress and what the block had done when it began
  std::atomic<uint64_t> progress{0};  // counts switches, for the watchdog
  int error = 0;                      // CUresult of the failure
  std::string report;
  void* kept_stack = nullptr;
  Counters counters;

  uint64_t next_random() {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return random;
  }
};

/** As a Site's line: its file is an address of code instead. */
constexpr uint32_t code_site = ~0u;

/** Failures as the driver API reports them. */
enum Failure { failure_illegal_address = 700, failure_timeout = 702, failure_misaligned = 716, failure_launch = 719 };

struct Launch {
  const KernelInfo* kernel;
  Dim grid, block, cluster;
  uint32_t shared_bytes;
  void* const* parameters;
};

static inline Fiber* this_fiber() { return (Fiber*)current; }
static inline Block& block_of(Fiber* f) { return *(Block*)f->block; }
static inline Cluster& cluster_of(Fiber* f) { return *block_of(f).cluster; }

// scheduler.cpp
void push_ready(Cluster& c, Fiber* f);
/** Makes a list of n waiting fibers ready; in front when they should go on before others. */
void wake(Cluster& c, Fiber* head, Fiber* tail, uint32_t n, bool front);
void block_fiber(Fiber* f);                 // until woken
void yield_fiber();                         // behind those that are ready
[[noreturn]] void leave_cluster(Fiber* f);  // gives the cluster up after a failure
[[noreturn]] void fail(int error, const std::string& message, Site site);
void append(Fiber*& head, Fiber*& tail, Fiber* f);
/** Records a failure that no running fiber is to blame for. */
void record_failure(Cluster& c, int error, const std::string& message, Block* b, Fiber* f, const std::string& place);
/** Runs one cluster to its end on this worker thread. */
void run_cluster(const Launch& launch, uint64_t index);
Cluster& worker_cluster();

// grid.cpp
/** Runs all blocks of a launch on the workers. Returns 0 or the error, and then the report. */
int run_grid(const Launch& launch, std::string& report, Counters& counters);

// async_copy.cpp
bool run_bulk_copy(Cluster& c);  // performs one pending load; false when there is none
uint8_t* shared_at(Block& own, uint32_t address, uint32_t bytes, const char* what, Site site);
Block& block_at(Block& own, uint32_t address, Site site);
constexpr uint32_t shared_window = 1u << 24;  // bytes of address space per block of a cluster

// mbarrier.cpp
void mbarrier_complete_bytes(Block& b, uint32_t address, uint32_t bytes);
Mbarrier* find_mbarrier(Block& b, uint32_t address, Site site);

// report.cpp
std::string describe_deadlock(Cluster& c);
std::string place(Site site);
std::string place_of_code(const void* pc);
std::string format(const char* pattern, ...) __attribute__((format(printf, 1, 2)));

// fault.cpp
void install_fault_handlers();
void watchdog_enter(Cluster& c);
void watchdog_leave();

}  // namespace emu
