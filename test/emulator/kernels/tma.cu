// Bulk copies, TMA, mbarriers, stmatrix and clusters (sm_90).
#include "device/device.cuh"

struct Box {
  int rank, bytes, x[5];
};

extern "C" __global__ void tma_box(const __grid_constant__ TensorMap map, uint8_t* out, Box box) {
  DEV_SMEM(smem);
  const uint32_t s = smem_u32(smem), bar = s + 32768;
  if (threadIdx.x == 0) {
    mbar_init(bar, 1);
    mbar_init_fence();
    mbar_arrive_expect_tx(bar, box.bytes);
    const int* x = box.x;
    if (box.rank == 2) tma_load(s, &map, bar, x[0], x[1]);
    if (box.rank == 3) tma_load(s, &map, bar, x[0], x[1], x[2]);
    if (box.rank == 4) tma_load(s, &map, bar, x[0], x[1], x[2], x[3]);
    if (box.rank == 5) tma_load(s, &map, bar, x[0], x[1], x[2], x[3], x[4]);
  }
  __syncthreads();
  mbar_wait(bar, 0);
  for (uint32_t i = threadIdx.x; i < (uint32_t)box.bytes / 4; i += blockDim.x)
    st((uint32_t*)out + i, lds<uint32_t>(s + 4 * i));
}

// The tile holds 16-bit element i at its i-th place; reduce adds float32 tiles of ones instead.
extern "C" __global__ void tma_put(const __grid_constant__ TensorMap map, int bytes, int x, int y, int reduce) {
  DEV_SMEM(smem);
  const uint32_t s = smem_u32(smem);
  for (uint32_t i = threadIdx.x; i < (uint32_t)bytes / 4; i += blockDim.x)
    sts(s + 4 * i, reduce ? f32_bits(1.0f) : (2 * i) | (2 * i + 1) << 16);
  fence_async_shared();
  __syncthreads();
  if (threadIdx.x == 0) {
    if (reduce) tma_reduce_add(&map, s, x, y);
    else tma_store(&map, s, x, y);
    tma_store_commit();
    tma_store_wait<0>();
  }
}

// A ring of two stages, filled by bulk copies: a warp produces, a warp adds up and stores the sums by a bulk copy.
extern "C" __global__ void bulk_ring(const uint32_t* from, uint32_t* to, int tiles) {  // 64 threads, tiles of 32 words
  DEV_SMEM(smem);
  const uint32_t s = smem_u32(smem), full = s + 512, empty = full + 16;
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; i++) mbar_init(full + 8 * i, 1), mbar_init(empty + 8 * i, 32);
    mbar_init_fence();
  }
  __syncthreads();
  if (warp_id() == 0) {
    if (lane_id() == 0)
      for (int t = 0; t < tiles; t++) {
        mbar_wait(empty + t % 2 * 8, (t / 2 + 1) & 1);
        mbar_arrive_expect_tx(full + t % 2 * 8, 128);
        bulk_load(s + t % 2 * 128, from + 32 * t, 128, full + t % 2 * 8);
      }
  } else {
    uint32_t sum = 0;
    for (int t = 0; t < tiles; t++) {
      mbar_wait(full + t % 2 * 8, t / 2 & 1);
      sum += lds<uint32_t>(s + t % 2 * 128 + 4 * lane_id());
      mbar_arrive(empty + t % 2 * 8);
    }
    sts(s + 256 + 4 * lane_id(), sum);
    fence_async_shared();
    __syncwarp();
    if (lane_id() == 0) {
      bulk_store(to, s + 256, 128);
      tma_store_commit();
      tma_store_wait<0>();
    }
  }
}

extern "C" __global__ void stmatrix_layout(uint16_t* out) {  // one warp; lane i's registers hold 8i .. 8i + 7
  DEV_SMEM(smem);
  const uint32_t s = smem_u32(smem), lane = lane_id();
  uint32_t r[4];
  for (uint32_t i = 0; i < 4; i++) r[i] = (8 * lane + 2 * i) | (8 * lane + 2 * i + 1) << 16;
  stmatrix_x4(s + 16 * lane, r);
  stmatrix_x4_trans(s + 512 + 16 * lane, r);
  __syncwarp();
  for (uint32_t i = 0; i < 8; i++) st((uint32_t*)out + 32 * i + lane, lds<uint32_t>(s + 128 * i + 4 * lane));
}

// Clusters of two: each block reads what the other wrote, and block 0 multicasts a tile to both.
extern "C" __global__ void cluster_exchange(const __grid_constant__ TensorMap map, uint32_t* out) {  // 32 threads
  DEV_SMEM(smem);
  const uint32_t s = smem_u32(smem), bar = s + 8192, rank = cluster_rank(), lane = threadIdx.x;
  if (lane == 0) {
    mbar_init(bar, 1);
    mbar_init(bar + 8, 32);
    mbar_init_fence();
    mbar_arrive_expect_tx(bar, 128);
  }
  cluster_sync();
  if (rank == 0 && lane == 0) tma_load_multicast(s, &map, bar, 3, 0, 0);
  mbar_arrive_cluster(bar + 8, rank ^ 1);
  mbar_wait(bar, 0);
  mbar_wait(bar + 8, 0);
  st(out + 32 * blockIdx.x + lane, lds<uint32_t>(s + 4 * lane) + 1000 * rank);
  cluster_sync();
}
DEV_EXPORT(tma_box)
DEV_EXPORT(tma_put)
DEV_EXPORT(bulk_ring)
DEV_EXPORT(stmatrix_layout)
DEV_EXPORT(cluster_exchange)
