// Memory: allocation, copies and fills.
#include "driver.h"

using namespace emu;

static bool is_device(uint64_t p, size_t n) { return find_allocation(p, n) != nullptr; }

DRIVER int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  ENTER_DRIVER;
  return bytes && address ? allocate(bytes, address) : invalid_value;
}
DRIVER int cuMemFree_v2(uint64_t address) {
  ENTER_DRIVER;
  if (!address) return success;
  if (int e = drain_all()) return e;
  return release(address) ? success : invalid_value;
}
DRIVER int cuMemAllocAsync(uint64_t* address, size_t bytes, void* stream) {
  return find_stream(stream) ? cuMemAlloc_v2(address, bytes) : invalid_handle;
}
DRIVER int cuMemFreeAsync(uint64_t address, void* stream) {
  ENTER_DRIVER;
  Stream* s = find_stream(stream);
  if (!s) return invalid_handle;
  return submit(s, {Operation::Kind::host, nullptr, [=] { return release(address) ? success : invalid_value; }});
}
DRIVER int cuMemGetInfo_v2(size_t* available, size_t* total) {
  ENTER_DRIVER;
  const uint64_t used = used_bytes();
  *total = config.memory_limit;
  *available = used < config.memory_limit ? config.memory_limit - used : 0;
  return success;
}
DRIVER int cuMemHostAlloc(void** p, size_t bytes, unsigned) {
  ENTER_DRIVER;
  *p = allocate_host(bytes);
  return *p ? success : out_of_memory;
}
DRIVER int cuMemAllocHost_v2(void** p, size_t bytes) { return cuMemHostAlloc(p, bytes, 0); }
DRIVER int cuMemFreeHost(void* p) {
  ENTER_DRIVER;
  return release_host(p) ? success : invalid_value;
}
DRIVER int cuMemHostGetDevicePointer_v2(uint64_t* address, void* p, unsigned) {
  ENTER_DRIVER;
  if (!in_host_allocation((uint64_t)p)) return invalid_value;
  *address = (uint64_t)p;
  return success;
}
DRIVER int cuMemGetAddressRange_v2(uint64_t* base, size_t* bytes, uint64_t address) {
  ENTER_DRIVER;
  const Allocation* a = find_allocation(address, 1);
  if (!a) return not_found;
  if (base) *base = a->begin;
  if (bytes) *bytes = a->bytes;
  return success;
}

// --- copies. Synchronous ones wait for the null stream, as the driver's do.
static int copy_now(uint64_t to, const void* from, size_t n, bool device_target) {
  if (int e = drain_null_stream()) return e;
  memmove((void*)to, from, n);
  if (device_target) mark_written(to, n);
  return success;
}
static int copy_later(uint64_t to, const void* from, size_t n, void* stream, bool device_target) {
  Stream* s = find_stream(stream);
  if (!s) return invalid_handle;
  return submit(s, {Operation::Kind::copy, nullptr, [=] {
                      memmove((void*)to, from, n);
                      if (device_target) mark_written(to, n);
                      return success;
                    }});
}
DRIVER int cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t n) {
  ENTER_DRIVER;
  return !n ? success : is_device(to, n) && from ? copy_now(to, from, n, true) : invalid_value;
}
DRIVER int cuMemcpyDtoH_v2(void* to, uint64_t from, size_t n) {
  ENTER_DRIVER;
  return !n ? success : is_device(from, n) && to ? copy_now((uint64_t)to, (const void*)from, n, false) : invalid_value;
}
DRIVER int cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t n) {
  ENTER_DRIVER;
  return !n                                       ? success
         : is_device(from, n) && is_device(to, n) ? copy_now(to, (const void*)from, n, true)
                                                  : invalid_value;
}
DRIVER int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t n, void* stream) {
  ENTER_DRIVER;
  if (!n) return success;
  if (!is_device(to, n) || !from) return invalid_value;
  Stream* s = find_stream(stream);
  if (!s) return invalid_handle;
  if (!config.deferred_streams || s->capture || in_host_allocation((uint64_t)from))
    return copy_later(to, from, n, stream, true);
  // Pageable memory is staged before the call returns, so the caller may change it at once.
  auto staged = std::make_shared<std::vector<uint8_t>>((const uint8_t*)from, (const uint8_t*)from + n);
  return submit(s, {Operation::Kind::copy, nullptr, [=] {
                      memcpy((void*)to, staged->data(), n);
                      mark_written(to, n);
                      return success;
                    }});
}
DRIVER int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t n, void* stream) {
  ENTER_DRIVER;
  return !n                         ? success
         : is_device(from, n) && to ? copy_later((uint64_t)to, (const void*)from, n, stream, false)
                                    : invalid_value;
}
DRIVER int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t n, void* stream) {
  ENTER_DRIVER;
  return !n                                       ? success
         : is_device(from, n) && is_device(to, n) ? copy_later(to, (const void*)from, n, stream, true)
                                                  : invalid_value;
}

template <class T>
static int fill(uint64_t to, T value, size_t n, Stream* s) {
  if (!s) return invalid_handle;
  if (!n) return success;
  if (!is_device(to, n * sizeof(T)) || to % sizeof(T)) return invalid_value;
  return submit(s, {Operation::Kind::fill, nullptr, [=] {
                      for (size_t i = 0; i < n; i++) ((T*)to)[i] = value;
                      mark_written(to, n * sizeof(T));
                      return success;
                    }});
}
#define FILL(name, type)                                                    \
  DRIVER int name##_v2(uint64_t to, type value, size_t n) {                 \
    ENTER_DRIVER;                                                           \
    return fill<type>(to, value, n, &driver().null_stream);                 \
  }                                                                         \
  DRIVER int name##Async(uint64_t to, type value, size_t n, void* stream) { \
    ENTER_DRIVER;                                                           \
    return fill<type>(to, value, n, find_stream(stream));                   \
  }
FILL(cuMemsetD8, uint8_t)
FILL(cuMemsetD16, uint16_t)
FILL(cuMemsetD32, uint32_t)
