// Kernels with one planted bug each: `wrong` 0 runs them right.
#include "device/device.cuh"

extern "C" __global__ void divergent_barrier(float* out, int wrong) {
  if (!wrong || threadIdx.x < 96) __syncthreads();
  st(out + threadIdx.x, 1.0f);
}
extern "C" __global__ void missing_lanes(float* out, int wrong) {
  float x = threadIdx.x;
  if (!wrong || lane_id() < 20) x += __shfl_xor_sync(~0u, x, 1);
  st(out + threadIdx.x, x);
}
extern "C" __global__ void mixed_collectives(float* out, int wrong) {
  float x = threadIdx.x;
  if (wrong && lane_id() % 2) x = __shfl_up_sync(~0u, x, 1);
  else x = __shfl_down_sync(~0u, x, 1);
  st(out + threadIdx.x, x);
}
// 1: the consumer never frees a stage; 2: wrong byte count; 3: the consumer does not wait; 4: it frees a stage before
// it read it.
extern "C" __global__ void ring(const uint32_t* from, uint32_t* out, int wrong) {  // 64 threads
  DEV_SMEM(smem);
  const uint32_t s = smem_u32(smem), full = s + 512, empty = full + 16;
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; i++) mbar_init(full + 8 * i, 1), mbar_init(empty + 8 * i, 32);
    mbar_init_fence();
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    if (threadIdx.x == 0)
      for (int t = 0; t < 6; t++) {
        mbar_wait(empty + t % 2 * 8, (t / 2 + 1) & 1);
        mbar_arrive_expect_tx(full + t % 2 * 8, wrong == 2 ? 64 : 128);
        bulk_load(s + t % 2 * 128, from + 32 * t, 128, full + t % 2 * 8);
      }
  } else {
    uint32_t sum = 0;
    for (int t = 0; t < 6; t++) {
      if (wrong != 3) mbar_wait(full + t % 2 * 8, t / 2 & 1);
      if (wrong == 4) mbar_arrive(empty + t % 2 * 8);
      sum += lds<uint32_t>(s + t % 2 * 128 + 4 * lane_id());
      if (wrong != 1 && wrong != 4) mbar_arrive(empty + t % 2 * 8);
    }
    st(out + lane_id(), sum);
  }
}
extern "C" __global__ void late_wait(const float* x, float* out, int wrong) {  // 128 threads
  DEV_SMEM(smem);
  const uint32_t s = smem_u32(smem), t = threadIdx.x;
  cp_async16(s + 16 * t, x + 4 * t);
  cp_async_commit();
  if (!wrong) cp_async_wait<0>();
  __syncthreads();
  st(out + t, lds<float>(s + (16 * t + 16) % 2048));
  if (wrong) cp_async_wait<0>();
}
extern "C" __global__ void never_waited(const float* x, float* out, int wrong) {
  DEV_SMEM(smem);
  cp_async16(smem_u32(smem) + 16 * threadIdx.x, x + 4 * threadIdx.x);
  cp_async_commit();
  if (!wrong) cp_async_wait<0>();
  st(out + threadIdx.x, 1.0f);
}
extern "C" __global__ void missing_barrier(float* out, int wrong) {  // 128 threads
  DEV_SMEM(smem);
  const uint32_t s = smem_u32(smem), t = threadIdx.x;
  sts(s + 4 * t, (float)t);
  if (!wrong) __syncthreads();
  st(out + t, lds<float>(s + 4 * ((t + 33) % 128)));
}
extern "C" __global__ void plain_race(float* out,
                                      int wrong) {  // plain indexing: seen when compiled with instrumentation
  DEV_SMEM(smem);
  float* shared = (float*)smem;
  shared[threadIdx.x] = threadIdx.x;
  if (!wrong) __syncthreads();
  out[threadIdx.x] = shared[(threadIdx.x + 33) % 128];
}
extern "C" __global__ void ldmatrix_race(float* out, int wrong) {  // 64 threads: warp 1 reads what warp 0 wrote
  DEV_SMEM(smem);
  const uint32_t s = smem_u32(smem);
  if (threadIdx.x < 32) sts(s + 16 * threadIdx.x, make_uint4(1, 2, 3, 4));
  if (!wrong) __syncthreads();
  uint32_t r[4] = {0, 0, 0, 0};
  if (threadIdx.x >= 32) ldmatrix_x4(r, s + 16 * lane_id());
  st(out + threadIdx.x, (float)r[0]);
}
extern "C" __global__ void missing_proxy_fence(float* out, int wrong) {  // 32 threads
  DEV_SMEM(smem);
  const uint32_t s = smem_u32(smem);
  sts(s + 4 * threadIdx.x, 1.0f);
  if (!wrong) fence_async_shared();
  __syncthreads();
  if (threadIdx.x == 0) {
    bulk_store(out, s, 128);
    tma_store_commit();
    tma_store_wait<0>();
  }
}
extern "C" __global__ void out_of_bounds(const float* x, float* out, int n, int wrong) {
  const int i = threadIdx.x;
  st(out + i, ld(x + (wrong ? i + n - 64 : i)));
}
extern "C" __global__ void uninitialised(float* x, float* out, int wrong) {  // 128 threads
  const int i = threadIdx.x;
  if (!wrong || i != 77) st(x + i, 1.0f);
  __syncthreads();
  st(out + i, ld(x + (i ^ 1)));
}
extern "C" __global__ void misaligned(const uint8_t* x, float* out, int wrong) {
  st(out + threadIdx.x, ld((const float2*)(x + 8 * threadIdx.x + 4 * wrong)).x);
}
extern "C" __global__ void busy_wait(uint32_t* flag, float* out, int wrong) {
  if (threadIdx.x == 0 && !wrong) st_release(flag, 1);
  if (threadIdx.x == 32) wait_ge(flag, 1);
  st(out + threadIdx.x, 1.0f);
}
extern "C" __global__ void wild_pointer(float* out, int wrong) {
  __syncthreads();
  if (threadIdx.x == 70) out[(long long)wrong << 40] = 1;
  __syncthreads();
}
DEV float deep(float* p, int n) {
  volatile float frame[4096];
  for (int i = 0; i < 4096; i++) frame[i] = n;
  return n ? deep(p, n - 1) + frame[n] : frame[7];
}
extern "C" __global__ void stack_overflow(float* out, int wrong) { st(out + threadIdx.x, deep(out, wrong * 64)); }
extern "C" __global__ void endless_loop(float* out, int wrong) {
  volatile int go_on = wrong;
  while (go_on) {}
  st(out + threadIdx.x, 1.0f);
}
extern "C" __global__ void outside_shared(float* out, int wrong) {
  DEV_SMEM(smem);
  const uint32_t s = smem_u32(smem);
  sts(s + 4 * threadIdx.x, 1.0f);
  st(out + threadIdx.x, lds<float>(s + 4 * threadIdx.x + (wrong ? 32768 : 0)));
}
// 384 threads have 65536 registers: 40 for one warpgroup leaves 232 for each of the others, not 256.
extern "C" __global__ void __launch_bounds__(384, 1) too_many_registers(float* out, int wrong) {
  if (threadIdx.x < 128) {
    reg_dealloc<40>();
  } else {
    if (wrong) reg_alloc<256>();
    else reg_alloc<232>();
  }
  __syncthreads();
  st(out + threadIdx.x, 1.0f);
}
DEV_EXPORT(divergent_barrier)
DEV_EXPORT(missing_lanes)
DEV_EXPORT(mixed_collectives)
DEV_EXPORT(ring)
DEV_EXPORT(late_wait)
DEV_EXPORT(never_waited)
DEV_EXPORT(missing_barrier)
DEV_EXPORT(plain_race)
DEV_EXPORT(ldmatrix_race)
DEV_EXPORT(missing_proxy_fence)
DEV_EXPORT(out_of_bounds)
DEV_EXPORT(uninitialised)
DEV_EXPORT(misaligned)
DEV_EXPORT(busy_wait)
DEV_EXPORT(wild_pointer)
DEV_EXPORT(stack_overflow)
DEV_EXPORT(endless_loop)
DEV_EXPORT(outside_shared)
DEV_EXPORT(too_many_registers)
