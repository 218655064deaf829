// Callbacks of -fsanitize=thread, for kernels that are compiled with it: every load and store of the kernel arrives
// here. Only the compiler's instrumentation is used, not its runtime.
#include "access.h"

namespace emu {
/** The return address stands for the place. */
static void note_code(const void* address, uint32_t bytes, uint32_t access, const void* pc) {
  if (!watching || !current) return;
  const auto a = (uint64_t)address;
  const Fiber* f = this_fiber();
  if (a >= (uint64_t)f->stack && a < (uint64_t)f->stack + (256u << 10)) return;  // locals
  note_instrumented(address, bytes, access, pc);
}
}  // namespace emu
using namespace emu;

#define CALLBACK extern "C" __attribute__((visibility("default"))) void
#define CALLER __builtin_return_address(0)
#define SIZED(n)                                                                         \
  CALLBACK __tsan_read##n(void* p) { note_code(p, n, access_read, CALLER); }             \
  CALLBACK __tsan_write##n(void* p) { note_code(p, n, access_write, CALLER); }           \
  CALLBACK __tsan_unaligned_read##n(void* p) { note_code(p, n, access_read, CALLER); }   \
  CALLBACK __tsan_unaligned_write##n(void* p) { note_code(p, n, access_write, CALLER); } \
  CALLBACK __tsan_volatile_read##n(void* p) { note_code(p, n, access_read, CALLER); }    \
  CALLBACK __tsan_volatile_write##n(void* p) { note_code(p, n, access_write, CALLER); }  \
  CALLBACK __tsan_read_write##n(void* p) {                                               \
    note_code(p, n, access_read, CALLER), note_code(p, n, access_write, CALLER);         \
  }
SIZED(1)
SIZED(2)
SIZED(4)
SIZED(8)
SIZED(16)
CALLBACK __tsan_read_range(void* p, size_t n) { note_code(p, (uint32_t)n, access_read, CALLER); }
CALLBACK __tsan_write_range(void* p, size_t n) { note_code(p, (uint32_t)n, access_write, CALLER); }
CALLBACK __tsan_func_entry(void*) {}
CALLBACK __tsan_func_exit() {}
CALLBACK __tsan_init() {}
CALLBACK __tsan_vptr_update(void**, void*) {}
CALLBACK __tsan_vptr_read(void**) {}
CALLBACK __tsan_atomic_thread_fence(int) {}
extern "C" __attribute__((visibility("default"))) void* __tsan_memcpy(void* to, const void* from, size_t n) {
  note_code(from, (uint32_t)n, access_read, CALLER), note_code(to, (uint32_t)n, access_write, CALLER);
  return memcpy(to, from, n);
}
extern "C" __attribute__((visibility("default"))) void* __tsan_memset(void* to, int value, size_t n) {
  note_code(to, (uint32_t)n, access_write, CALLER);
  return memset(to, value, n);
}

#define ATOMIC(bits)                                                                                 \
  extern "C" __attribute__((visibility("default"))) uint##bits##_t __tsan_atomic##bits##_load(       \
      const volatile uint##bits##_t* p, int) {                                                       \
    note_code((const void*)p, bits / 8, access_read | access_atomic, CALLER);                        \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                     \
  }                                                                                                  \
  CALLBACK __tsan_atomic##bits##_store(volatile uint##bits##_t* p, uint##bits##_t v, int) {          \
    note_code((const void*)p, bits / 8, access_write | access_atomic, CALLER);                       \
    __atomic_store_n(p, v, __ATOMIC_SEQ_CST);                                                        \
  }                                                                                                  \
  extern "C" __attribute__((visibility("default"))) int __tsan_atomic##bits##_compare_exchange_weak( \
      volatile uint##bits##_t* p, uint##bits##_t* expected, uint##bits##_t v, int, int) {            \
    note_code((const void*)p, bits / 8, access_write | access_atomic, CALLER);                       \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);   \
  }
ATOMIC(32)
ATOMIC(64)
