// Asynchronous copies and the barriers they complete on. Copies happen as late as the program allows, so that a missing
// wait shows.
#pragma once
// cp.async: a dead copy writes zeros and reads nothing.
DEV void cp_async16(uint32_t to, const void* from, bool live = true, emu::Site site = emu::here()) {
  emu::cp_async(to, from, 16, live, site);
}
DEV void cp_async8(uint32_t to, const void* from, bool live = true, emu::Site site = emu::here()) {
  emu::cp_async(to, from, 8, live, site);
}
DEV void cp_async4(uint32_t to, const void* from, bool live = true, emu::Site site = emu::here()) {
  emu::cp_async(to, from, 4, live, site);
}
DEV void cp_async_commit() { emu::cp_async_commit(); }
template <int N>
DEV void cp_async_wait() {
  emu::cp_async_wait(N);
}
/** Arrives at the mbarrier when this thread's earlier copies are done. */
DEV void cp_async_mbar_arrive(uint32_t bar, emu::Site site = emu::here()) { emu::cp_async_mbarrier_arrive(bar, site); }

DEV void mbar_init(uint32_t bar, uint32_t count, emu::Site site = emu::here()) { emu::mbarrier_init(bar, count, site); }
DEV void mbar_init_fence() {}
DEV void mbar_arrive(uint32_t bar, emu::Site site = emu::here()) { emu::mbarrier_arrive(bar, 0, site); }
/** Arrives at the same barrier of block `rank` of the cluster. */
DEV void mbar_arrive_cluster(uint32_t bar, uint32_t rank, emu::Site site = emu::here()) {
  emu::mbarrier_arrive(emu::cluster_address(bar, rank, site), 0, site);
}
DEV void mbar_arrive_expect_tx(uint32_t bar, uint32_t bytes, emu::Site site = emu::here()) {
  emu::mbarrier_arrive(bar, bytes, site);
}
DEV void mbar_wait(uint32_t bar, uint32_t parity, emu::Site site = emu::here()) {
  emu::mbarrier_wait(bar, parity, site);
}
DEV bool mbar_test(uint32_t bar, uint32_t parity, emu::Site site = emu::here()) {
  return emu::mbarrier_test(bar, parity, site);
}
/** Orders ordinary writes to shared memory before the accesses of bulk copies, TMA and wgmma. */
DEV void fence_async_shared() { emu::fence_async_proxy(); }

/** Contiguous copies of a multiple of 16 bytes. */
DEV void bulk_load(uint32_t to, const void* from, uint32_t bytes, uint32_t bar, emu::Site site = emu::here()) {
  emu::bulk_load(to, from, bytes, bar, site);
}
DEV void bulk_store(void* to, uint32_t from, uint32_t bytes, emu::Site site = emu::here()) {
  emu::bulk_store(to, from, bytes, site);
}

struct alignas(64) TensorMap {
  uint64_t w[16];
};
DEV void tma_prefetch_map(const TensorMap*) {}
#define FOVEA_TMA(...)                \
  const int32_t at[] = {__VA_ARGS__}; \
  constexpr int rank = sizeof at / sizeof at[0]
DEV void tma_load(uint32_t to, const TensorMap* m, uint32_t bar, int x, int y, emu::Site site = emu::here()) {
  FOVEA_TMA(x, y);
  emu::tma_load(to, m, bar, at, rank, 0, site);
}
DEV void tma_load(uint32_t to, const TensorMap* m, uint32_t bar, int x, int y, int z, emu::Site site = emu::here()) {
  FOVEA_TMA(x, y, z);
  emu::tma_load(to, m, bar, at, rank, 0, site);
}
DEV void tma_load(uint32_t to, const TensorMap* m, uint32_t bar, int x, int y, int z, int w,
                  emu::Site site = emu::here()) {
  FOVEA_TMA(x, y, z, w);
  emu::tma_load(to, m, bar, at, rank, 0, site);
}
DEV void tma_load(uint32_t to, const TensorMap* m, uint32_t bar, int x, int y, int z, int w, int v,
                  emu::Site site = emu::here()) {
  FOVEA_TMA(x, y, z, w, v);
  emu::tma_load(to, m, bar, at, rank, 0, site);
}
/** Loads the box into the same place of every block of the cluster named in the mask, and completes on the barrier of
 * each. */
DEV void tma_load_multicast(uint32_t to, const TensorMap* m, uint32_t bar, uint16_t mask, int x, int y,
                            emu::Site site = emu::here()) {
  FOVEA_TMA(x, y);
  emu::tma_load(to, m, bar, at, rank, mask, site);
}
DEV void tma_load_multicast(uint32_t to, const TensorMap* m, uint32_t bar, uint16_t mask, int x, int y, int z,
                            emu::Site site = emu::here()) {
  FOVEA_TMA(x, y, z);
  emu::tma_load(to, m, bar, at, rank, mask, site);
}
DEV void tma_store(const TensorMap* m, uint32_t from, int x, int y, emu::Site site = emu::here()) {
  FOVEA_TMA(x, y);
  emu::tma_store(m, from, at, rank, emu::TmaReduce::none, site);
}
DEV void tma_store(const TensorMap* m, uint32_t from, int x, int y, int z, emu::Site site = emu::here()) {
  FOVEA_TMA(x, y, z);
  emu::tma_store(m, from, at, rank, emu::TmaReduce::none, site);
}
DEV void tma_store(const TensorMap* m, uint32_t from, int x, int y, int z, int w, emu::Site site = emu::here()) {
  FOVEA_TMA(x, y, z, w);
  emu::tma_store(m, from, at, rank, emu::TmaReduce::none, site);
}
DEV void tma_store(const TensorMap* m, uint32_t from, int x, int y, int z, int w, int v, emu::Site site = emu::here()) {
  FOVEA_TMA(x, y, z, w, v);
  emu::tma_store(m, from, at, rank, emu::TmaReduce::none, site);
}
DEV void tma_reduce_add(const TensorMap* m, uint32_t from, int x, int y, emu::Site site = emu::here()) {
  FOVEA_TMA(x, y);
  emu::tma_store(m, from, at, rank, emu::TmaReduce::add, site);
}
#undef FOVEA_TMA
DEV void tma_store_commit() { emu::bulk_commit(); }
template <int N>
DEV void tma_store_wait(emu::Site site = emu::here()) {
  emu::bulk_wait(N, site);
}
