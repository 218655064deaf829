// cp.async, and loads and stores of every size and cache hint.
#include "device/device.cuh"

// 64 threads copy 16, 8 and 4 bytes each; every third copy is dead and gives zeros.
extern "C" __global__ void async_copies(const uint8_t* from, uint8_t* to) {
  DEV_SMEM(smem);
  const uint32_t s = smem_u32(smem), t = threadIdx.x;
  const bool live = t % 3 != 2;
  cp_async16(s + 16 * t, from + 16 * t, live);
  cp_async_commit();
  cp_async8(s + 1024 + 8 * t, from + 1024 + 8 * t, live);
  cp_async4(s + 1536 + 4 * t, from + 1536 + 4 * t, live);
  cp_async_commit();
  cp_async_wait<1>();
  __syncthreads();
  st((uint4*)(to + 16 * t), lds<uint4>(s + 16 * (63 - t)));
  cp_async_wait<0>();
  __syncthreads();
  st((uint2*)(to + 1024 + 8 * t), lds<uint2>(s + 1024 + 8 * t));
  st((uint32_t*)(to + 1536 + 4 * t), lds<uint32_t>(s + 1536 + 4 * t));
}

template <class T>
DEV void copy_by(const uint8_t*& from, uint8_t*& to) {
  const uint32_t t = threadIdx.x;
  const T* x = (const T*)from;
  T* y = (T*)to;
  st(y + t, ld(x + t));
  st(y + 32 + t, ld_nc(x + 32 + t));
  st_stream(y + 64 + t, ld_stream(x + 64 + t));
  st(y + 96 + t, ld_l2(x + 96 + t));
  from += 128 * sizeof(T);
  to += 128 * sizeof(T);
}
extern "C" __global__ void plain_copies(const uint8_t* from, uint8_t* to) {  // 32 threads
  copy_by<uint4>(from, to);
  copy_by<float2>(from, to);
  copy_by<float>(from, to);
  copy_by<bf16>(from, to);
  copy_by<f16>(from, to);
  copy_by<uint8_t>(from, to);
}

// Every lane of a warp reads 16 bytes `pitch` bytes apart: the counters' test.
extern "C" __global__ void strided(const uint8_t* from, uint8_t* to, int pitch) {
  DEV_SMEM(smem);
  const uint32_t s = smem_u32(smem), lane = threadIdx.x;
  sts(s + 16 * lane, ld((const uint4*)(from + pitch * lane)));
  __syncthreads();
  st((uint32_t*)(to + 4 * lane), lds<uint32_t>(s + pitch / 4 * lane));
}
DEV_EXPORT(async_copies)
DEV_EXPORT(plain_copies)
DEV_EXPORT(strided)
