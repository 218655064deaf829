// What a kernel image and the emulated device's library know of each other. Included by both; needs no CUDA header.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace emu {

/** A place in kernel text. Primitives take one as their last default argument, so that reports name the caller's line.
 */
struct Site {
  const char* file;
  uint32_t line;
};
constexpr Site here(const char* file = __builtin_FILE(), uint32_t line = __builtin_LINE()) { return {file, line}; }

struct Dim {
  uint32_t x, y, z;
};

/** The part of a thread block that kernels read. */
struct BlockView {
  Dim block_idx, block_dim, grid_dim, cluster_dim;
  uint32_t cluster_rank;
  uint8_t* shared;
  uint32_t shared_bytes;
};

/** The part of an emulated thread that kernels read. */
struct ThreadView {
  Dim thread_idx;
  uint32_t lane, linear;
  BlockView* block;
  uint64_t special_ops;  // exp2, reciprocal, tanh...: what a GPU's MUFU executes
  uint64_t lost_points;  // of sampling: at no place
};

extern __thread ThreadView* current __attribute__((tls_model("initial-exec")));
/** Non-zero while accesses are counted or checked: the one test that an access pays in the fast mode. */
extern uint8_t watching;

static inline __attribute__((always_inline)) ThreadView* self() { return current; }
static inline __attribute__((always_inline)) BlockView& block() { return *current->block; }
static inline __attribute__((always_inline)) void count_special() {
  if (__builtin_expect(watching, 0)) current->special_ops++;
}

static inline void count_lost_point() { current->lost_points++; }

// --- warps. The last lane to arrive runs `run` for all; args[lane] is what each lane passed.
struct Warp;
using CollectiveFn = void (*)(Warp&, uint32_t mask, void* const* args);
void collective(CollectiveFn run, uint32_t mask, void* arg, const char* name, Site site);

// --- barriers. A count of 0 means all threads of the block.
enum class BarrierVote { any, all, count };
void barrier_sync(uint32_t id, uint32_t count, Site site);
void barrier_arrive(uint32_t id, uint32_t count, Site site);
int barrier_vote(uint32_t id, int predicate, BarrierVote vote, Site site);
void cluster_arrive(Site site);
void cluster_wait(Site site);
uint32_t cluster_address(uint32_t shared_address, uint32_t rank, Site site);
void spin(const char* what, Site site);  // called by busy waits: lets other threads go on
[[noreturn]] void trap(const char* message, Site site);

// --- asynchronous barriers and copies. Shared addresses are offsets into the block's shared memory.
void mbarrier_init(uint32_t address, uint32_t count, Site site);
void mbarrier_arrive(uint32_t address, uint32_t expected_bytes, Site site);
void mbarrier_wait(uint32_t address, uint32_t parity, Site site);
bool mbarrier_test(uint32_t address, uint32_t parity, Site site);
void cp_async(uint32_t to, const void* from, uint32_t bytes, bool live, Site site);
void cp_async_commit();
void cp_async_wait(uint32_t groups_in_flight);
void cp_async_mbarrier_arrive(uint32_t address, Site site);
/** Matters to the race check only: accesses do happen in order here. */
void fence_async_proxy();
void bulk_load(uint32_t to, const void* from, uint32_t bytes, uint32_t mbarrier, Site site);
void bulk_store(void* to, uint32_t from, uint32_t bytes, Site site);
void tma_load(uint32_t to, const void* map, uint32_t mbarrier, const int32_t* at, int rank, uint32_t cta_mask,
              Site site);
enum class TmaReduce { none, add, min, max };
void tma_store(const void* map, uint32_t from, const int32_t* at, int rank, TmaReduce reduce, Site site);
void bulk_commit();
void bulk_wait(uint32_t groups_in_flight, Site site);

// --- matrix units
enum class Element : uint8_t { bf16, f16, tf32 };
struct MatrixLoad {
  uint32_t* registers;
  const uint32_t* addresses;
  int count, matrices;
  bool transposed;
};
void ldmatrix(const MatrixLoad& load, Site site);
void stmatrix(const uint32_t* registers, uint32_t address, int matrices, bool transposed, Site site);
/** rows x columns products m16n8k16 (m16n8k8 for tf32): d[rows][columns][4] += a[rows][4] * b[columns][2]. */
void mma(float* d, const uint32_t* a, const uint32_t* b, int rows, int columns, Element element, Site site);
struct WgmmaOperands {
  const uint32_t* a_registers;  // null: A comes from shared memory
  uint64_t a, b;
  int n;
  bool keep, a_transposed, b_transposed;
  Element element;
};
void wgmma(float* d, const WgmmaOperands& operands, Site site);
void wgmma_commit();
void wgmma_wait(uint32_t groups_in_flight, Site site);
void set_registers(uint32_t count, bool increase, Site site);

// --- explicit accesses, in the counting and checking modes
enum Access : uint32_t {
  access_read = 0,
  access_write = 1,
  access_atomic = 2,
  access_async = 4,
  access_bits = 7,
  access_align = 8
};
/** `access` may have added access_align times the alignment; without it, an access is aligned to its size. */
void note(const void* address, uint32_t bytes, uint32_t access, Site site);

/** One per kernel, exported by the image as emu_kernel_<name>. */
struct KernelInfo {
  uint32_t version;
  const char* name;
  void (*run)(void* const* parameters);
  uint32_t parameter_count;
  const uint32_t* parameter_sizes;
  const uint32_t* parameter_offsets;  // as in CU_LAUNCH_PARAM_BUFFER_POINTER
};
constexpr uint32_t interface_version = 1;

}  // namespace emu
