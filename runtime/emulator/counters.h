// What a launch did, counted exactly. One set per worker, added up at the end of the launch.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace emu {

/** Traffic of one direction between the SMs and global memory. */
struct Traffic {
  uint64_t requests = 0;      // warp-wide instructions
  uint64_t sectors = 0;       // 32-byte pieces that the requests touch
  uint64_t bytes = 0;         // that lanes asked for
  uint64_t unique_bytes = 0;  // of memory, each counted once a launch
  void add(const Traffic& o) {
    requests += o.requests, sectors += o.sectors, bytes += o.bytes, unique_bytes += o.unique_bytes;
  }
};

/** Shared-memory accesses of one kind. A wavefront is one pass over the 32 banks; conflicts are those beyond the least
 * possible. */
struct SharedTraffic {
  uint64_t requests = 0, wavefronts = 0, conflicts = 0;
  void add(const SharedTraffic& o) { requests += o.requests, wavefronts += o.wavefronts, conflicts += o.conflicts; }
};

struct Counters {
  uint64_t blocks = 0, barriers = 0, collectives = 0, mbarrier_arrivals = 0, special_ops = 0, lost_points = 0;
  uint64_t mma_m16n8k16 = 0, mma_m16n8k8 = 0, wgmma = 0, tensor_flops = 0;
  uint64_t bulk_bytes = 0, cpu_ns = 0;
  Traffic read, written, atomic;
  SharedTraffic load, store, ldmatrix, stmatrix, cp_async;
  struct Buffer {
    Traffic read, written;
  };
  std::vector<Buffer> buffers;  // by index of the launch's buffer table
  void add(const Counters& o);
};

/** A range of device memory that a launch was given: a pointer parameter or a range named through fovea_emu_name_range.
 */
struct BufferRange {
  uint64_t begin, end;
  int parameter;    // -1 for named ranges
  uint32_t offset;  // of the pointer in the parameter
  std::string name;
};

}  // namespace emu
