// Device memory: one reserved range of addresses, allocations that end at guard pages, and what is known of each.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "state.h"

namespace emu {

struct Allocation {
  uint64_t begin, bytes;
  uint64_t mapped_begin, mapped_end;   // whole pages; the page behind is inaccessible
  std::unique_ptr<uint8_t[]> written;  // one byte per byte, only if made while uninitialised reads are checked
  // For each 32-byte sector: the launch that last touched it (high half) and which of its bytes (low half). Made when
  // counting.
  std::unique_ptr<std::atomic<uint64_t>[]> read_sectors, written_sectors;
};

/** 0, or 2 when the limit is reached. */
int allocate(uint64_t bytes, uint64_t* address);
bool release(uint64_t address);
void release_all();
uint64_t used_bytes();
/** The allocation that holds [address, address + bytes), or null. */
const Allocation* find_allocation(uint64_t address, uint64_t bytes);
/** The allocation that starts at or below an address, wherever it ends. */
const Allocation* nearest_allocation(uint64_t address);
/** Before a launch that counts: every allocation gets its sector tables. */
void prepare_sector_tables();
void mark_written(uint64_t address, uint64_t bytes);
bool in_arena(uint64_t address);

/** Page-locked host memory, which kernels may use too. */
void* allocate_host(uint64_t bytes);
bool release_host(void* p);
bool in_host_allocation(uint64_t address);

/** What a bad address is near to, for reports. */
std::string describe_address(uint64_t address);

// Loaded kernel images, whose code the watchdog may interrupt and whose constants kernels may read.
void add_kernel_image(const void* symbol, const void* library, int file);
/** The open file of the image that holds an address, or -1. */
int file_of_image(uint64_t address);
void forget_kernel_images(const void* library);
bool in_kernel_image(uint64_t address);

}  // namespace emu
