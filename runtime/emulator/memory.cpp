#include "memory.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "access.h"

namespace emu {

namespace {
constexpr uint64_t page = 4096;
// Never destroyed, as nothing here is: workers outlive main.
std::shared_mutex& mutex = *new std::shared_mutex;  // kernels look addresses up from several workers
auto& allocations = *new std::map<uint64_t, Allocation>;
auto& host_allocations = *new std::map<uint64_t, uint64_t>;
struct KernelImage {
  uint64_t begin, end;
  const void* library;
  int file;
};
auto& kernel_images = *new std::vector<KernelImage>;
struct Arena {
  uint64_t begin = 0, end = 0, next = 0;
};
Arena arena;
auto& freed = *new std::multimap<uint64_t, uint64_t>;  // mapped size to first page, oldest first
uint64_t used = 0;

uint64_t pages(uint64_t bytes) { return (bytes + page - 1) / page * page; }
/** Addresses are reserved once; freed ones are used again only when the range is exhausted, so that stale pointers
 * fault. */
bool reserve_arena() {
  if (arena.begin) return true;
  for (uint64_t bytes = 1ull << 40; bytes >= 1ull << 34; bytes >>= 1) {
    void* p = mmap((void*)0x700000000000ull, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) continue;
    arena = {(uint64_t)p, (uint64_t)p + bytes, (uint64_t)p + page};
    return true;
  }
  return false;
}
uint64_t take_addresses(uint64_t bytes) {
  if (arena.next + bytes <= arena.end) {
    const uint64_t at = arena.next;
    arena.next += bytes;
    return at;
  }
  auto it = freed.lower_bound(bytes);
  if (it == freed.end()) return 0;
  const uint64_t at = it->second;
  freed.erase(it);
  return at;
}
}  // namespace

int allocate(uint64_t bytes, uint64_t* address) {
  std::unique_lock<std::shared_mutex> lock(mutex);
  if (!reserve_arena() || used + bytes > config.memory_limit) return 2;
  const uint64_t mapped = pages(bytes + 255), first = take_addresses(mapped + page);
  if (!first || mprotect((void*)first, mapped, PROT_READ | PROT_WRITE)) return 2;
  // As close to the guard page as the driver's alignment of 256 bytes allows.
  const uint64_t begin = (first + mapped - bytes) / 256 * 256;
  if (config.poison) memset((void*)begin, 0xff, bytes);
  Allocation a{begin, bytes, first, first + mapped, nullptr, nullptr, nullptr};
  if (config.uninitialised) a.written.reset(new uint8_t[bytes]());
  used += bytes;
  allocations.emplace(begin, std::move(a));
  *address = begin;
  return 0;
}
static void unmap(const Allocation& a) {
  const uint64_t bytes = a.mapped_end - a.mapped_begin;
  mmap((void*)a.mapped_begin, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  freed.emplace(bytes + page, a.mapped_begin);
  used -= a.bytes;
}
bool release(uint64_t address) {
  std::unique_lock<std::shared_mutex> lock(mutex);
  auto it = allocations.find(address);
  if (it == allocations.end()) return false;
  unmap(it->second);
  allocations.erase(it);
  return true;
}
void release_all() {
  std::unique_lock<std::shared_mutex> lock(mutex);
  for (auto& entry : allocations) unmap(entry.second);
  allocations.clear();
}
uint64_t used_bytes() {
  std::shared_lock<std::shared_mutex> lock(mutex);
  return used;
}

static const Allocation* nearest_locked(uint64_t address) {
  auto it = allocations.upper_bound(address);
  return it == allocations.begin() ? nullptr : &std::prev(it)->second;
}
const Allocation* nearest_allocation(uint64_t address) {
  std::shared_lock<std::shared_mutex> lock(mutex);
  return nearest_locked(address);
}
const Allocation* find_allocation(uint64_t address, uint64_t bytes) {
  const Allocation* a = nearest_allocation(address);
  return a && address + bytes <= a->begin + a->bytes && address + bytes >= address ? a : nullptr;
}
void prepare_sector_tables() {
  std::unique_lock<std::shared_mutex> lock(mutex);
  for (auto& entry : allocations) {
    Allocation& a = entry.second;
    if (a.read_sectors) continue;
    const size_t sectors = (size_t)(a.bytes / 32 + 2);
    a.read_sectors.reset(new std::atomic<uint64_t>[sectors]());
    a.written_sectors.reset(new std::atomic<uint64_t>[sectors]());
  }
}
void mark_written(uint64_t address, uint64_t bytes) {
  const Allocation* a = find_allocation(address, bytes);
  if (a && a->written) memset(a->written.get() + (address - a->begin), 1, bytes);
}
bool in_arena(uint64_t address) { return address >= arena.begin && address < arena.end; }

void* allocate_host(uint64_t bytes) {
  void* p = aligned_alloc(page, pages(bytes));
  std::unique_lock<std::shared_mutex> lock(mutex);
  if (p) host_allocations[(uint64_t)p] = bytes;
  return p;
}
bool release_host(void* p) {
  std::unique_lock<std::shared_mutex> lock(mutex);
  if (!host_allocations.erase((uint64_t)p)) return false;
  free(p);
  return true;
}
bool in_host_allocation(uint64_t address) {
  std::shared_lock<std::shared_mutex> lock(mutex);
  auto it = host_allocations.upper_bound(address);
  if (it == host_allocations.begin()) return false;
  --it;
  return address < it->first + it->second;
}

std::string describe_address(uint64_t address) {
  std::string text = format("illegal address 0x%llx", (unsigned long long)address);
  if (!in_arena(address)) return text;
  if (const Allocation* a = nearest_allocation(address)) {
    const uint64_t end = a->begin + a->bytes;
    if (address >= end)
      return text + format(" (%llu bytes past the end of the allocation of %llu bytes at 0x%llx)",
                           (unsigned long long)(address - end), (unsigned long long)a->bytes,
                           (unsigned long long)a->begin);
  }
  return text + " (outside every allocation)";
}

void add_kernel_image(const void* symbol, const void* library, int file) {
  if (in_kernel_image((uint64_t)symbol)) return;
  struct Search {
    uint64_t address, begin, end;
  } search{(uint64_t)symbol, 0, 0};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        auto& s = *(Search*)data;
        uint64_t begin = ~0ull, end = 0;
        for (int i = 0; i < info->dlpi_phnum; i++) {
          if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
          const uint64_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
          begin = std::min<uint64_t>(begin, at), end = std::max<uint64_t>(end, at + info->dlpi_phdr[i].p_memsz);
        }
        if (s.address < begin || s.address >= end) return 0;
        s.begin = begin, s.end = end;
        return 1;
      },
      &search);
  if (!search.end) return;
  std::unique_lock<std::shared_mutex> lock(mutex);
  kernel_images.push_back({search.begin, search.end, library, file});
}
bool in_kernel_image(
    uint64_t address) {  // called from a signal handler: takes no lock; images are only added between launches
  for (const auto& image : kernel_images)
    if (address >= image.begin && address < image.end) return true;
  return false;
}

int file_of_image(uint64_t address) {
  for (const auto& image : kernel_images)
    if (address >= image.begin && address < image.end) return image.file;
  return -1;
}
void forget_kernel_images(const void* library) {
  std::unique_lock<std::shared_mutex> lock(mutex);
  kernel_images.erase(std::remove_if(kernel_images.begin(), kernel_images.end(),
                                     [&](const KernelImage& i) { return i.library == library; }),
                      kernel_images.end());
}

// Shared addresses have 32 bits, so everything that one can reach behind the block's memory is reserved and faults.
constexpr uint64_t shared_most = 256 << 10, shared_reach = 4ull << 30;
uint8_t* allocate_shared() {
  auto* p = (uint8_t*)mmap(nullptr, shared_most + shared_reach, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                           -1, 0);
  if (p == MAP_FAILED || mprotect(p, shared_most, PROT_READ | PROT_WRITE)) throw std::bad_alloc();
  return p;
}
uint8_t* place_shared(uint8_t* memory, uint32_t bytes) { return memory + (shared_most - bytes) / 128 * 128; }
bool in_shared(const Block& b, uint64_t address) {
  return address >= (uint64_t)b.memory && address - (uint64_t)b.memory < shared_most + shared_reach;
}

}  // namespace emu
