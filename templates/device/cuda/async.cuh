// Asynchronous copies and the barriers they complete on: cp.async (sm_80); mbarrier, bulk copies and TMA (sm_90).
#pragma once
// A dead copy writes zeros and reads nothing: ignore-src is a predicate and needs no instructions to make a byte count
// of it.
#define FOVEA_CP_ASYNC(name, hint, bytes)                                                                            \
  DEV void name(uint32_t to, const void* from, bool live = true) {                                                   \
    asm volatile("{\n.reg .pred dead;\nsetp.eq.u32 dead, %2, 0;\ncp.async." hint ".shared.global [%0], [%1], " bytes \
                 ", dead;\n}" ::"r"(to),                                                                             \
                 "l"(from), "r"((uint32_t)live)                                                                      \
                 : "memory");                                                                                        \
  }
FOVEA_CP_ASYNC(cp_async16, "cg", "16")
FOVEA_CP_ASYNC(cp_async8, "ca", "8")
FOVEA_CP_ASYNC(cp_async4, "ca", "4")
#undef FOVEA_CP_ASYNC
DEV void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>
DEV void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
/** Arrives at the mbarrier when this thread's earlier copies are done. */
DEV void cp_async_mbar_arrive(uint32_t bar) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(bar) : "memory");
}

DEV void mbar_init(uint32_t bar, uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory");
}
DEV void mbar_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DEV void mbar_arrive(uint32_t bar) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory"); }
/** Arrives at the same barrier of block `rank` of the cluster. */
DEV void mbar_arrive_cluster(uint32_t bar, uint32_t rank) {
  asm volatile(
      "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\nmbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n}" ::
          "r"(bar),
      "r"(rank)
      : "memory");
}
DEV void mbar_arrive_expect_tx(uint32_t bar, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}
DEV bool mbar_test(uint32_t bar, uint32_t parity) {
  uint32_t done;
  asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
               : "=r"(done)
               : "r"(bar), "r"(parity)
               : "memory");
  return done;
}
DEV void mbar_wait(uint32_t bar, uint32_t parity) {
  asm volatile(
      "{\n.reg .pred p;\nwait%=: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra done%=;\nbra wait%=;\ndone%=:\n}" ::
          "r"(bar),
      "r"(parity)
      : "memory");
}
/** Orders ordinary writes to shared memory before the accesses of bulk copies, TMA and wgmma. */
DEV void fence_async_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/** Contiguous copies of a multiple of 16 bytes. */
DEV void bulk_load(uint32_t to, const void* from, uint32_t bytes, uint32_t bar) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
               "l"(from), "r"(bytes), "r"(bar)
               : "memory");
}
DEV void bulk_store(void* to, uint32_t from, uint32_t bytes) {
  asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(from), "r"(bytes)
               : "memory");
}

struct alignas(64) TensorMap {
  uint64_t w[16];
};
DEV void tma_prefetch_map(const TensorMap* m) { asm volatile("prefetch.tensormap [%0];" ::"l"(m) : "memory"); }
#define FOVEA_LOAD(rank, at) \
  "cp.async.bulk.tensor." rank "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {" at "}], [%2];"
DEV void tma_load(uint32_t to, const TensorMap* m, uint32_t bar, int x, int y) {
  asm volatile(FOVEA_LOAD("2", "%3,%4")::"r"(to), "l"(m), "r"(bar), "r"(x), "r"(y) : "memory");
}
DEV void tma_load(uint32_t to, const TensorMap* m, uint32_t bar, int x, int y, int z) {
  asm volatile(FOVEA_LOAD("3", "%3,%4,%5")::"r"(to), "l"(m), "r"(bar), "r"(x), "r"(y), "r"(z) : "memory");
}
DEV void tma_load(uint32_t to, const TensorMap* m, uint32_t bar, int x, int y, int z, int w) {
  asm volatile(FOVEA_LOAD("4", "%3,%4,%5,%6")::"r"(to), "l"(m), "r"(bar), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
}
DEV void tma_load(uint32_t to, const TensorMap* m, uint32_t bar, int x, int y, int z, int w, int v) {
  asm volatile(FOVEA_LOAD("5", "%3,%4,%5,%6,%7")::"r"(to), "l"(m), "r"(bar), "r"(x), "r"(y), "r"(z), "r"(w), "r"(v)
               : "memory");
}
#undef FOVEA_LOAD
/** Loads the box into the same place of every block of the cluster named in the mask, and completes on the barrier of
 * each. */
#define FOVEA_MULTICAST(rank, at) \
  "cp.async.bulk.tensor." rank    \
  "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {" at "}], [%2], %3;"
DEV void tma_load_multicast(uint32_t to, const TensorMap* m, uint32_t bar, uint16_t mask, int x, int y) {
  asm volatile(FOVEA_MULTICAST("2", "%4,%5")::"r"(to), "l"(m), "r"(bar), "h"(mask), "r"(x), "r"(y) : "memory");
}
DEV void tma_load_multicast(uint32_t to, const TensorMap* m, uint32_t bar, uint16_t mask, int x, int y, int z) {
  asm volatile(FOVEA_MULTICAST("3", "%4,%5,%6")::"r"(to), "l"(m), "r"(bar), "h"(mask), "r"(x), "r"(y), "r"(z)
               : "memory");
}
#undef FOVEA_MULTICAST
#define FOVEA_STORE(rank, at) "cp.async.bulk.tensor." rank "d.global.shared::cta.tile.bulk_group [%0, {" at "}], [%1];"
DEV void tma_store(const TensorMap* m, uint32_t from, int x, int y) {
  asm volatile(FOVEA_STORE("2", "%2,%3")::"l"(m), "r"(from), "r"(x), "r"(y) : "memory");
}
DEV void tma_store(const TensorMap* m, uint32_t from, int x, int y, int z) {
  asm volatile(FOVEA_STORE("3", "%2,%3,%4")::"l"(m), "r"(from), "r"(x), "r"(y), "r"(z) : "memory");
}
DEV void tma_store(const TensorMap* m, uint32_t from, int x, int y, int z, int w) {
  asm volatile(FOVEA_STORE("4", "%2,%3,%4,%5")::"l"(m), "r"(from), "r"(x), "r"(y), "r"(z), "r"(w) : "memory");
}
DEV void tma_store(const TensorMap* m, uint32_t from, int x, int y, int z, int w, int v) {
  asm volatile(FOVEA_STORE("5", "%2,%3,%4,%5,%6")::"l"(m), "r"(from), "r"(x), "r"(y), "r"(z), "r"(w), "r"(v)
               : "memory");
}
#undef FOVEA_STORE
DEV void tma_reduce_add(const TensorMap* m, uint32_t from, int x, int y) {
  asm volatile("cp.reduce.async.bulk.tensor.2d.global.shared::cta.add.tile.bulk_group [%0, {%2,%3}], [%1];" ::"l"(m),
               "r"(from), "r"(x), "r"(y)
               : "memory");
}
DEV void tma_store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/** Waits until at most N committed groups still read shared memory. */
template <int N>
DEV void tma_store_wait() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}
