// Loads and stores of 1 to 16 bytes with cache hints, and shared memory by its 32-bit address.
#pragma once
#define DEV_SMEM(name) extern __shared__ __align__(1024) uint8_t name[]
DEV uint32_t smem_u32(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }

// The unsigned type that carries a T of its size through a load or store instruction.
template <int Bytes>
struct CarrierOf;
template <>
struct CarrierOf<1> {
  using type = unsigned char;
};
template <>
struct CarrierOf<2> {
  using type = unsigned short;
};
template <>
struct CarrierOf<4> {
  using type = unsigned int;
};
template <>
struct CarrierOf<8> {
  using type = uint2;
};
template <>
struct CarrierOf<16> {
  using type = uint4;
};
template <class T>
using Carrier = typename CarrierOf<sizeof(T)>::type;
template <class T, class C>
DEV T from_carrier(C c) {
  T v;
  __builtin_memcpy(&v, &c, sizeof v);
  return v;
}
template <class T>
DEV Carrier<T> to_carrier(T v) {
  Carrier<T> c;
  __builtin_memcpy(&c, &v, sizeof c);
  return c;
}

template <class T>
DEV T ld(const T* p) {
  return *p;
}
template <class T>
DEV void st(T* p, T v) {
  *p = v;
}
/** Data that no thread of this launch writes. */
template <class T>
DEV T ld_nc(const T* p) {
  return from_carrier<T>(__ldg((const Carrier<T>*)p));
}
/** Data read once: first to leave the caches. */
template <class T>
DEV T ld_stream(const T* p) {
  return from_carrier<T>(__ldcs((const Carrier<T>*)p));
}
/** Past L1: sees what other blocks have written. */
template <class T>
DEV T ld_l2(const T* p) {
  return from_carrier<T>(__ldcg((const Carrier<T>*)p));
}
template <class T>
DEV void st_stream(T* p, T v) {
  __stcs((Carrier<T>*)p, to_carrier(v));
}

template <int Bytes>
struct SharedAccess;
template <>
struct SharedAccess<2> {
  static DEV unsigned short load(uint32_t a) {
    unsigned short r;
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(r) : "r"(a) : "memory");
    return r;
  }
  static DEV void store(uint32_t a, unsigned short v) {
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(a), "h"(v) : "memory");
  }
};
template <>
struct SharedAccess<4> {
  static DEV unsigned int load(uint32_t a) {
    unsigned int r;
    asm volatile("ld.shared.b32 %0, [%1];" : "=r"(r) : "r"(a) : "memory");
    return r;
  }
  static DEV void store(uint32_t a, unsigned int v) {
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(a), "r"(v) : "memory");
  }
};
template <>
struct SharedAccess<8> {
  static DEV uint2 load(uint32_t a) {
    uint2 r;
    asm volatile("ld.shared.v2.b32 {%0,%1}, [%2];" : "=r"(r.x), "=r"(r.y) : "r"(a) : "memory");
    return r;
  }
  static DEV void store(uint32_t a, uint2 v) {
    asm volatile("st.shared.v2.b32 [%0], {%1,%2};" ::"r"(a), "r"(v.x), "r"(v.y) : "memory");
  }
};
template <>
struct SharedAccess<16> {
  static DEV uint4 load(uint32_t a) {
    uint4 r;
    asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r.x), "=r"(r.y), "=r"(r.z), "=r"(r.w)
                 : "r"(a)
                 : "memory");
    return r;
  }
  static DEV void store(uint32_t a, uint4 v) {
    asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};" ::"r"(a), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
  }
};
template <class T>
DEV T lds(uint32_t a) {
  return from_carrier<T>(SharedAccess<sizeof(T)>::load(a));
}
template <class T>
DEV void sts(uint32_t a, T v) {
  SharedAccess<sizeof(T)>::store(a, to_carrier(v));
}

DEV uint32_t ld_acquire(const uint32_t* p) {
  uint32_t x;
  asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(x) : "l"(p) : "memory");
  return x;
}
DEV void st_release(uint32_t* p, uint32_t v) {
  asm volatile("st.release.gpu.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
/** Waits until the counter at p has reached v. */
DEV void wait_ge(const uint32_t* p, uint32_t v) {
  while ((int32_t)(ld_acquire(p) - v) < 0) {}
}
