// Loads, stores and atomics. Under -fsanitize=thread the compiler reports every access itself, so these do not.
#pragma once
#define DEV_SMEM(name) uint8_t* const name = emu::block().shared
DEV uint32_t smem_u32(const void* p) { return (uint32_t)((const uint8_t*)p - emu::block().shared); }
#ifdef __SANITIZE_THREAD__
#define FOVEA_NOTE(...) (void)site
#else
#define FOVEA_NOTE(address, bytes, access)                                           \
  do {                                                                               \
    if (__builtin_expect(emu::watching, 0)) emu::note(address, bytes, access, site); \
  } while (0)
#endif
template <class T>
DEV T ld(const T* p, emu::Site site = emu::here()) {
  FOVEA_NOTE(p, sizeof(T), emu::access_read + emu::access_align * alignof(T));
  return *p;
}
template <class T>
DEV void st(T* p, T v, emu::Site site = emu::here()) {
  FOVEA_NOTE(p, sizeof(T), emu::access_write + emu::access_align * alignof(T));
  *p = v;
}
template <class T>
DEV T ld_nc(const T* p, emu::Site site = emu::here()) {
  return ld(p, site);
}
template <class T>
DEV T ld_stream(const T* p, emu::Site site = emu::here()) {
  return ld(p, site);
}
template <class T>
DEV T ld_l2(const T* p, emu::Site site = emu::here()) {
  return ld(p, site);
}
template <class T>
DEV void st_stream(T* p, T v, emu::Site site = emu::here()) {
  st(p, v, site);
}
template <class T>
DEV T __ldg(const T* p, emu::Site site = emu::here()) {
  return ld(p, site);
}
template <class T>
DEV T lds(uint32_t a, emu::Site site = emu::here()) {
  const uint8_t* p = emu::block().shared + a;
  FOVEA_NOTE(p, sizeof(T), emu::access_read + emu::access_align * alignof(T));
  return *(const T*)p;
}
template <class T>
DEV void sts(uint32_t a, T v, emu::Site site = emu::here()) {
  uint8_t* p = emu::block().shared + a;
  FOVEA_NOTE(p, sizeof(T), emu::access_write + emu::access_align * alignof(T));
  *(T*)p = v;
}

// Atomics return the old value. Global memory is shared by the worker threads, so these are atomic on the host as well.
namespace emu {
template <size_t Bytes>
struct WordOf;
template <>
struct WordOf<4> {
  using type = uint32_t;
};
template <>
struct WordOf<8> {
  using type = uint64_t;
};
template <class T, class F>
static inline T atomic_update(T* p, F next, Site site) {
  FOVEA_NOTE(p, sizeof(T), access_write | access_atomic);
  using U = typename WordOf<sizeof(T)>::type;
  U old = __atomic_load_n((U*)p, __ATOMIC_RELAXED), wanted;
  T value;
  do {
    memcpy(&value, &old, sizeof value);
    const T changed = next(value);
    memcpy(&wanted, &changed, sizeof wanted);
  } while (!__atomic_compare_exchange_n((U*)p, &old, wanted, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return value;
}
template <class T>
struct same {
  using type = T;
};  // keeps the value argument out of template deduction
}  // namespace emu
#define FOVEA_ATOMIC(name, expression)                                            \
  template <class T>                                                              \
  DEV T name(T* p, typename emu::same<T>::type v, emu::Site site = emu::here()) { \
    return emu::atomic_update(p, [v](T old) -> T { return expression; }, site);   \
  }
FOVEA_ATOMIC(atomicAdd, old + v)
FOVEA_ATOMIC(atomicMax, old < v ? v : old)
FOVEA_ATOMIC(atomicMin, v < old ? v : old)
FOVEA_ATOMIC(atomicOr, old | v)
FOVEA_ATOMIC(atomicAnd, old& v)
FOVEA_ATOMIC(atomicExch, ((void)old, v))
#undef FOVEA_ATOMIC
template <class T>
DEV T atomicCAS(T* p, typename emu::same<T>::type compare, typename emu::same<T>::type v,
                emu::Site site = emu::here()) {
  return emu::atomic_update(p, [=](T old) { return old == compare ? v : old; }, site);
}
DEV void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
DEV void __threadfence_block() {}
DEV uint32_t ld_acquire(const uint32_t* p, emu::Site site = emu::here()) {
  FOVEA_NOTE(p, 4, emu::access_read | emu::access_atomic);
  return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
DEV void st_release(uint32_t* p, uint32_t v, emu::Site site = emu::here()) {
  FOVEA_NOTE(p, 4, emu::access_write | emu::access_atomic);
  __atomic_store_n(p, v, __ATOMIC_RELEASE);
}
/** Waits until the counter at p has reached v. */
DEV void wait_ge(const uint32_t* p, uint32_t v, emu::Site site = emu::here()) {
  while ((int32_t)(__atomic_load_n(p, __ATOMIC_ACQUIRE) - v) < 0) emu::spin("wait_ge", site);
}
