// All keys of a group of tokens in shared memory; a warp takes slabs of 16 queries. q, k and v are read once each.
#pragma once
#include "bias.cuh"
#include "positions.cuh"

/** The width of a span of keys, as an argument. */
template <int Keys> struct Span { static constexpr int keys = Keys; };

template <class P, class Slab> struct ResidentTiles {
  static constexpr int slabs = P::tile_slots / 16;
  // A large group's queries are shared out to several thread blocks, of which the last may have fewer.
  static constexpr bool tiled = P::tile_slots < P::query_slots;
  // A warp with more than one slab loads the queries of the next one while it works, if there is room for them.
  static constexpr int buffers = slabs > P::warps ? P::query_buffers : 1;
  static constexpr uint32_t slab_bytes = 16 * (Slab::key_bytes > Slab::value_bytes ? Slab::key_bytes : Slab::value_bytes);
  static constexpr uint32_t values = P::values_are_keys ? 0 : P::key_slots * Slab::key_bytes;
  static constexpr uint32_t positions = values + P::key_slots * Slab::value_bytes;
  static constexpr uint32_t queries = positions + PositionTiles<P, Slab>::bytes;
  static constexpr uint32_t scratch = queries + P::warps * buffers * slab_bytes;
  static constexpr uint32_t bias = scratch + P::warps * Slab::scratch_bytes;
  static constexpr uint32_t bytes = bias + BiasTiles<P>::bytes;
};

template <class P, class Slab> DEV void attend_resident(const typename P::Block& block) {
  using T = ResidentTiles<P, Slab>;
  static_assert(T::bytes <= P::shared_bytes, "the launch reserves enough shared memory");
  DEV_SMEM(shared);
  const uint32_t keys = smem_u32(shared), values = keys + T::values, warp = warp_id();
  const uint32_t scratch = keys + T::scratch + warp * Slab::scratch_bytes;
  uint32_t queries = keys + T::queries + warp * T::buffers * T::slab_bytes, other = queries + T::slab_bytes;

  int first = 0, end = T::slabs;
  if constexpr (T::tiled) {
    first = block.tile * T::slabs;
    end = first + T::slabs < P::query_slots / 16 ? first + T::slabs : P::query_slots / 16;
  }

  P::template load_keys<P::key_slots, P::warps * 32>(block, 0, keys, values, threadIdx.x);
  if ((T::slabs % P::warps == 0 && !T::tiled) || first + (int)warp < end) P::load_queries(block, (first + (int)warp) * 16, queries);
  if constexpr (P::bias_count > 0) load_bias<P>(block, keys + T::bias);
  PositionTiles<P, Slab>::load(block, keys + T::positions);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();

  for (int slab = first + (int)warp; slab < end; slab += P::warps) {
    if constexpr (T::buffers == 2) {
      cp_async_wait<0>();
      __syncwarp();
      if (slab + P::warps < end) P::load_queries(block, (slab + P::warps) * 16, other);
      cp_async_commit();
    }
    Slab work;
    work.start(queries, scratch);
    if constexpr (P::bias_count > 0) work.place(block, slab * 16, keys + T::bias);
    if constexpr (Slab::Positions::any) work.positions = {keys + T::positions, slab * 16 + P::key_slots, P::query_slots - slab * 16};
    P::visit(block, slab, [&](auto span, int key0, bool masked) {
      work.template attend<decltype(span)::keys>(block, keys + key0 * Slab::key_bytes, values + key0 * Slab::value_bytes, slab * 16, key0, masked);
    });
    work.finish(queries);  // over queries that nobody reads again
    P::store_results(block, slab * 16, queries);
    if constexpr (T::slabs <= P::warps) break;
    if constexpr (T::buffers == 2) {
      const uint32_t used = queries;
      queries = other;
      other = used;
    } else if (slab + P::warps < end) {
      __syncwarp();  // the results have left
      P::load_queries(block, (slab + P::warps) * 16, queries);
      cp_async_commit();
      cp_async_wait<0>();
      __syncwarp();
    }
  }
}
