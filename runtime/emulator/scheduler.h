// Switching between fibers, and the pool of their stacks.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "state.h"

extern "C" void fovea_fiber_switch(void** save, void* to);

namespace emu {

constexpr size_t stack_bytes = 256 << 10;
/** Lays a first frame on a stack, so that switching to the result calls entry(). */
void* first_frame(uint8_t* stack_top, void (*entry)());

/** Stacks of one worker. Each has a guard page below, so that an overflow faults. */
struct StackPool {
  std::vector<uint8_t*> free;
  uint8_t* take();
};

struct Worker {
  StackPool stacks;
  Cluster cluster;
  void* stack_pointer = nullptr;  // of the worker thread itself, while fibers run
};
Worker* this_worker();
Worker& enter_worker();  // makes the calling thread a worker, once

}  // namespace emu
