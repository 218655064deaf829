// Thread ids, barriers, warp collectives and reductions.
#pragma once
DEV uint32_t lane_id() { return emu::self()->lane; }
DEV uint32_t warp_id() { return emu::self()->linear >> 5; }
DEV void __syncthreads(emu::Site site = emu::here()) { emu::barrier_sync(0, 0, site); }
DEV int __syncthreads_or(int p, emu::Site site = emu::here()) {
  return emu::barrier_vote(0, p, emu::BarrierVote::any, site);
}
DEV int __syncthreads_and(int p, emu::Site site = emu::here()) {
  return emu::barrier_vote(0, p, emu::BarrierVote::all, site);
}
DEV int __syncthreads_count(int p, emu::Site site = emu::here()) {
  return emu::barrier_vote(0, p, emu::BarrierVote::count, site);
}
/** Named barrier of n threads, n a multiple of 32. */
DEV void bar_sync(uint32_t id, uint32_t n, emu::Site site = emu::here()) { emu::barrier_sync(id, n, site); }
DEV void bar_arrive(uint32_t id, uint32_t n, emu::Site site = emu::here()) { emu::barrier_arrive(id, n, site); }

namespace emu {
inline void collective_sync(Warp&, uint32_t, void* const*) {}

enum class Shuffle { index, up, down, xor_ };
template <class T>
struct ShuffleArg {
  T value, result;
  uint32_t operand, width;
};
template <class T, Shuffle K>
void collective_shuffle(Warp&, uint32_t mask, void* const* args) {
  for (uint32_t lane = 0; lane < 32; lane++) {
    if (!(mask >> lane & 1)) continue;
    auto* arg = (ShuffleArg<T>*)args[lane];
    const int first = (int)(lane & ~(arg->width - 1)), end = first + (int)arg->width;
    int source;
    if (K == Shuffle::index) source = first | (int)(arg->operand & (arg->width - 1));
    else if (K == Shuffle::up) source = (int)lane - (int)arg->operand;
    else if (K == Shuffle::down) source = (int)lane + (int)arg->operand;
    else source = (int)(lane ^ arg->operand);
    if ((K == Shuffle::up && source < first) || source >= end) source = (int)lane;
    arg->result = mask >> source & 1 ? ((ShuffleArg<T>*)args[source])->value : T{};
    if (!(mask >> source & 1)) trap("shuffle reads a lane that is not in the mask", here());
  }
}
template <class T, Shuffle K>
static inline T shuffle(uint32_t mask, T value, uint32_t operand, uint32_t width, const char* name, Site site) {
  ShuffleArg<T> arg{value, value, operand, width};
  collective(collective_shuffle<T, K>, mask, &arg, name, site);
  return arg.result;
}
struct VoteArg {
  int predicate;
  uint32_t ballot;
};
inline void collective_ballot(Warp&, uint32_t mask, void* const* args) {
  uint32_t ballot = 0;
  for (int lane = 0; lane < 32; lane++)
    if (mask >> lane & 1) ballot |= (((VoteArg*)args[lane])->predicate ? 1u : 0u) << lane;
  for (int lane = 0; lane < 32; lane++)
    if (mask >> lane & 1) ((VoteArg*)args[lane])->ballot = ballot;
}
// Reductions of N values over groups of W lanes in one rendezvous, adding in the order of the GPU's butterfly.
enum class Reduce { sum, max };
template <int N, Reduce K, int W>
void collective_reduce(Warp&, uint32_t, void* const* args) {
  for (int i = 0; i < N; i++) {
    float v[32], t[32];
    for (int lane = 0; lane < 32; lane++) v[lane] = ((float*)args[lane])[i];
    for (int step = W / 2; step; step >>= 1) {
      for (int lane = 0; lane < 32; lane++)
        t[lane] = K == Reduce::max ? fmaxf(v[lane], v[lane ^ step]) : v[lane] + v[lane ^ step];
      memcpy(v, t, sizeof v);
    }
    for (int lane = 0; lane < 32; lane++) ((float*)args[lane])[i] = v[lane];
  }
}
}  // namespace emu
template <class T>
DEV T __shfl_sync(uint32_t m, T v, uint32_t lane, uint32_t w = 32, emu::Site site = emu::here()) {
  return emu::shuffle<T, emu::Shuffle::index>(m, v, lane, w, "__shfl_sync", site);
}
template <class T>
DEV T __shfl_up_sync(uint32_t m, T v, uint32_t by, uint32_t w = 32, emu::Site site = emu::here()) {
  return emu::shuffle<T, emu::Shuffle::up>(m, v, by, w, "__shfl_up_sync", site);
}
template <class T>
DEV T __shfl_down_sync(uint32_t m, T v, uint32_t by, uint32_t w = 32, emu::Site site = emu::here()) {
  return emu::shuffle<T, emu::Shuffle::down>(m, v, by, w, "__shfl_down_sync", site);
}
template <class T>
DEV T __shfl_xor_sync(uint32_t m, T v, uint32_t bits, uint32_t w = 32, emu::Site site = emu::here()) {
  return emu::shuffle<T, emu::Shuffle::xor_>(m, v, bits, w, "__shfl_xor_sync", site);
}
DEV void __syncwarp(uint32_t m = ~0u, emu::Site site = emu::here()) {
  emu::collective(emu::collective_sync, m, nullptr, "__syncwarp", site);
}
DEV uint32_t __ballot_sync(uint32_t m, int p, emu::Site site = emu::here()) {
  emu::VoteArg arg{p, 0};
  emu::collective(emu::collective_ballot, m, &arg, "__ballot_sync", site);
  return arg.ballot;
}
DEV int __any_sync(uint32_t m, int p, emu::Site site = emu::here()) { return __ballot_sync(m, p, site) != 0; }
DEV int __all_sync(uint32_t m, int p, emu::Site site = emu::here()) { return __ballot_sync(m, p, site) == m; }
DEV bool elect_one() { return emu::self()->lane == 0; }

template <int N, int W>
DEV void red_max_n(float (&x)[N], emu::Site site = emu::here()) {
  emu::collective(emu::collective_reduce<N, emu::Reduce::max, W>, ~0u, x, "red_max", site);
}
template <int N, int W>
DEV void red_sum_n(float (&x)[N], emu::Site site = emu::here()) {
  emu::collective(emu::collective_reduce<N, emu::Reduce::sum, W>, ~0u, x, "red_sum", site);
}
template <int W>
DEV float red_max(float x, emu::Site site = emu::here()) {
  emu::collective(emu::collective_reduce<1, emu::Reduce::max, W>, ~0u, &x, "red_max", site);
  return x;
}
template <int W>
DEV float red_sum(float x, emu::Site site = emu::here()) {
  emu::collective(emu::collective_reduce<1, emu::Reduce::sum, W>, ~0u, &x, "red_sum", site);
  return x;
}
DEV float warp_sum(float x, emu::Site site = emu::here()) { return red_sum<32>(x, site); }
DEV float warp_max(float x, emu::Site site = emu::here()) { return red_max<32>(x, site); }
DEV float quad_sum(float x, emu::Site site = emu::here()) { return red_sum<4>(x, site); }
DEV float quad_max(float x, emu::Site site = emu::here()) { return red_max<4>(x, site); }

// Clusters: blocks that run together and reach each other's shared memory.
DEV uint32_t cluster_rank() { return emu::block().cluster_rank; }
DEV void cluster_arrive(emu::Site site = emu::here()) { emu::cluster_arrive(site); }
DEV void cluster_wait(emu::Site site = emu::here()) { emu::cluster_wait(site); }
DEV void cluster_sync(emu::Site site = emu::here()) { emu::cluster_arrive(site), emu::cluster_wait(site); }
/** The address of the same place in the shared memory of block `rank` of the cluster. */
DEV uint32_t map_shared(uint32_t a, uint32_t rank, emu::Site site = emu::here()) {
  return emu::cluster_address(a, rank, site);
}
