// Shuffles, votes, reductions, barriers and atomics. 128 threads; result k of thread t goes to out[k * 128 + t].
#include "device/device.cuh"

struct Results {
  int* out;
  int next;
  DEV_FN void put(int v) { st(out + 128 * next++ + threadIdx.x, v); }
};

extern "C" __global__ void shuffles(int* out) {
  const int t = threadIdx.x, lane = lane_id();
  Results r{out, 0};
  r.put(__shfl_sync(~0u, t * 3, 5));
  r.put(__shfl_up_sync(~0u, t, 3));
  r.put(__shfl_down_sync(~0u, t, 4, 8));
  r.put(__shfl_xor_sync(~0u, t, 9));
  r.put(__shfl_sync(~0u, t, 35, 16));
  int half;  // the halves of a warp apart, each with its own mask
  if (lane < 16) half = __shfl_sync(0xffffu, t, 2);
  else half = __shfl_sync(0xffff0000u, t, 20);
  r.put(half);
  r.put((int)__ballot_sync(~0u, t % 3 == 0));
  r.put(__any_sync(~0u, t == 40));
  r.put(__all_sync(~0u, t < 40));
  r.put((int)warp_id());
  r.put((int)(warp_sum((float)lane) + quad_max((float)lane)));
  float v[2] = {(float)t, (float)-t};
  red_max_n<2, 8>(v);
  r.put((int)v[0] * 1000 - (int)v[1]);
  v[0] = (float)lane, v[1] = 1;
  red_sum_n<2, 4>(v);
  r.put((int)v[0] * 1000 + (int)v[1]);
}

extern "C" __global__ void barriers(int* out, int* total) {
  const int t = threadIdx.x;
  DEV_SMEM(smem);
  const uint32_t count = smem_u32(smem);
  Results r{out, 0};
  r.put(__syncthreads_count(t % 5 == 0));
  r.put(__syncthreads_or(t == 9));
  r.put(__syncthreads_and(t != 9));
  if (t == 0) sts(count, 0u);
  __syncthreads();
  atomicAdd((uint32_t*)smem, (uint32_t)t);
  __syncthreads();
  r.put((int)lds<uint32_t>(count));
  __syncthreads();
  if (t < 64) {  // the first half arrives and goes on; the second waits for it
    if (t == 0) sts(count, 77u);
    bar_arrive(1, 128);
    r.put(0);
  } else {
    bar_sync(1, 128);
    r.put((int)lds<uint32_t>(count));
  }
  atomicAdd(total, 1);
  atomicMax(total + 1, t);
  atomicMin(total + 2, -t);
  atomicAdd((float*)total + 3, 0.5f);
  if (t < 2) atomicCAS(total + 4, 0, 7);
}
DEV_EXPORT(shuffles)
DEV_EXPORT(barriers)
