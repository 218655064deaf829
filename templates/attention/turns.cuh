// Groups of tokens that share their biases, one after the other: a warp keeps the biases of its 16 queries in registers and
// starts every group's products from them. The next group comes while this one is at work.
#pragma once
#include "bias.cuh"

template <class P, class Slab> struct TurnTiles {
  static_assert(P::query_slots <= 16 * P::warps && P::key_slots == P::span, "a warp has one tile of queries, and one step of keys");
  static constexpr uint32_t slab_bytes = 16 * (Slab::key_bytes > Slab::value_bytes ? Slab::key_bytes : Slab::value_bytes);
  static constexpr uint32_t values = P::key_slots * Slab::key_bytes, queries = values + P::key_slots * Slab::value_bytes;
  static constexpr uint32_t stage = queries + P::warps * slab_bytes;
  static constexpr uint32_t bias = 2 * stage;
  static constexpr uint32_t bytes = bias + BiasTiles<P>::bytes;
};

/** `first`: the thread block's first group, which `block` is at. */
template <class P, class Slab> DEV void attend_in_turn(typename P::Block& block, int first) {
  using T = TurnTiles<P, Slab>;
  static_assert(T::bytes <= P::shared_bytes, "the launch reserves enough shared memory");
  DEV_SMEM(shared);
  const uint32_t base = smem_u32(shared), warp = warp_id();
  const int query0 = (int)warp * 16, count = P::groups - first < P::turns ? P::groups - first : P::turns;
  const bool idle = query0 >= P::query_slots;  // of the whole warp: it helps to load and does nothing else
  auto load = [&](uint32_t stage) {
    P::template load_keys<P::key_slots, P::warps * 32>(block, 0, stage, stage + T::values, threadIdx.x);
    if (!idle) P::load_queries(block, query0, stage + T::queries + warp * T::slab_bytes);
  };

  load(base);
  typename P::Block regular = block;
  P::turn(regular, 0);  // the first group is neither cut off nor wrapped
  load_bias<P>(regular, base + T::bias);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  Slab work;
  float biases[P::span / 8][4];
  work.place(regular, query0, base + T::bias);
  work.template fetch<P::span>(biases);

  for (int i = 0; i < count; i++) {
    if (i > 0) {
      cp_async_wait<0>();
      __syncthreads();  // group i is there, and nobody reads group i - 1 any more
    }
    const typename P::Block now = block;
    const uint32_t stage = base + (i & 1) * T::stage, queries = stage + T::queries + warp * T::slab_bytes;
    if (i + 1 < count) {
      P::turn(block, first + i + 1);
      load(base + ((i + 1) & 1) * T::stage);
    }
    cp_async_commit();
    if (idle) continue;
    work.start(queries, 0);
    work.template attend_from<P::span>(biases, now, stage, stage + T::values, query0, P::masked(now));
    work.finish(queries);
    P::store_results(now, query0, queries);
  }
}
