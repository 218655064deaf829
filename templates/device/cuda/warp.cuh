// Thread ids, named barriers, reductions, clusters. Shuffles, votes and __syncthreads are CUDA's own.
#pragma once
DEV uint32_t lane_id() { return threadIdx.x & 31; }
/** Uniform: ptxas then knows that branches on it do not diverge. For one-dimensional blocks. */
DEV uint32_t warp_id() { return __shfl_sync(~0u, threadIdx.x >> 5, 0); }
/** Named barrier of n threads, n a multiple of 32. */
DEV void bar_sync(uint32_t id, uint32_t n) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(n) : "memory"); }
DEV void bar_arrive(uint32_t id, uint32_t n) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(n) : "memory"); }
DEV bool elect_one() {
  uint32_t p;
  asm volatile("{ .reg .pred p; elect.sync _|p, 0xffffffff; selp.u32 %0, 1, 0, p; }" : "=r"(p));
  return p;
}

// Over groups of W neighbouring lanes.
template <int W>
DEV float red_sum(float x) {
#pragma unroll
  for (int step = W / 2; step; step >>= 1) x += __shfl_xor_sync(~0u, x, step);
  return x;
}
template <int W>
DEV float red_max(float x) {
#pragma unroll
  for (int step = W / 2; step; step >>= 1) x = fmaxf(x, __shfl_xor_sync(~0u, x, step));
  return x;
}
template <int N, int W>
DEV void red_max_n(float (&x)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) x[i] = red_max<W>(x[i]);
}
template <int N, int W>
DEV void red_sum_n(float (&x)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) x[i] = red_sum<W>(x[i]);
}
DEV float warp_sum(float x) { return red_sum<32>(x); }
DEV float warp_max(float x) { return red_max<32>(x); }
DEV float quad_sum(float x) { return red_sum<4>(x); }
DEV float quad_max(float x) { return red_max<4>(x); }

// Clusters: blocks that run together and reach each other's shared memory (sm_90).
DEV uint32_t cluster_rank() {
  uint32_t r;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
  return r;
}
DEV void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
DEV void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
DEV void cluster_sync() {
  cluster_arrive();
  cluster_wait();
}
/** The address of the same place in the shared memory of block `rank` of the cluster. */
DEV uint32_t map_shared(uint32_t a, uint32_t rank) {
  uint32_t r;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(rank));
  return r;
}
