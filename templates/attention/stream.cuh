// Keys pass by in blocks, two of which are in shared memory: one at work, one on its way. A warp keeps 16 queries.
#pragma once
#include "bias.cuh"
#include "positions.cuh"

/** A block of keys that a tile of queries meets, and whether every query sees every key of it. */
struct KeyBlock {
  int key0;
  bool full;
};

template <class P, class Slab> struct StreamTiles {
  static constexpr uint32_t slab_bytes = 16 * (Slab::key_bytes > Slab::value_bytes ? Slab::key_bytes : Slab::value_bytes);
  static constexpr uint32_t key_tile = P::span * Slab::key_bytes, value_tile = P::span * Slab::value_bytes;
  static constexpr uint32_t values = P::values_are_keys ? 0 : 2 * key_tile, positions = values + 2 * value_tile;
  static constexpr uint32_t queries = positions + PositionTiles<P, Slab>::bytes;
  static constexpr uint32_t scratch = queries + P::warps * slab_bytes, bias = scratch + P::warps * Slab::scratch_bytes;
  static constexpr uint32_t bytes = bias + BiasTiles<P>::bytes;
};

/** Which chunk of the keys the thread block takes. */
template <class P> DEV int chunk_of(const typename P::Block& block) {
  if constexpr (P::chunk_blocks > 0) return block.chunk;
  else return 0;
}

template <class P, class Slab> DEV void attend_stream(const typename P::Block& block) {
  using T = StreamTiles<P, Slab>;
  static_assert(T::bytes <= P::shared_bytes, "the launch reserves enough shared memory");
  DEV_SMEM(shared);
  const uint32_t keys = smem_u32(shared), values = keys + T::values, warp = warp_id();
  const uint32_t queries = keys + T::queries + warp * T::slab_bytes;
  const int query0 = (block.tile * P::warps + (int)warp) * 16;
  const bool idle = query0 >= P::query_slots;  // of the whole warp: it helps to load and does nothing else
  // A chunk of the keys' blocks, or all of them.
  const int all = P::key_blocks(block), first = P::chunk_blocks > 0 ? chunk_of<P>(block) * P::chunk_blocks : 0;
  const int count = P::chunk_blocks > 0 && first + P::chunk_blocks < all ? first + P::chunk_blocks : all;

  if (!idle && first < count) P::load_queries(block, query0, queries);
  KeyBlock now = P::key_block(block, first < all ? first : 0);
  if (first < count) P::template load_keys<P::span, P::warps * 32>(block, now.key0, keys, values, threadIdx.x);
  if constexpr (P::bias_count > 0) load_bias<P>(block, keys + T::bias);
  PositionTiles<P, Slab>::load(block, keys + T::positions);
  cp_async_commit();

  Slab work;
  work.start(queries, keys + T::scratch + warp * Slab::scratch_bytes);
  if constexpr (P::bias_count > 0) work.place(block, query0, keys + T::bias);
  // Rows are counted from the thread block's first query.
  if constexpr (Slab::Positions::any) work.positions = {keys + T::positions, (int)warp * 16 + P::key_slots, (P::warps - (int)warp) * 16};
  for (int i = first; i < count; i++) {
    cp_async_wait<0>();
    __syncthreads();  // block i is there, and nobody reads block i - 1 any more
    const KeyBlock next = P::key_block(block, i + 1);
    const uint32_t stage = (i - first) & 1, other = stage ^ 1;
    if (i + 1 < count)
      P::template load_keys<P::span, P::warps * 32>(block, next.key0, keys + other * T::key_tile, values + other * T::value_tile, threadIdx.x);
    cp_async_commit();
    if (!idle) work.template attend<P::span>(block, keys + stage * T::key_tile, values + stage * T::value_tile, query0, now.key0, !now.full);
    now = next;
  }
  if (first >= count) {
    cp_async_wait<0>();  // no block has: results go where the queries still come
    __syncwarp();
  }
  if (idle) return;
  if constexpr (P::chunk_blocks > 0) {
    work.leave(block.record, (int)warp * 16);
  } else {
    work.finish(queries);
    P::store_results(block, query0, queries);
  }
}
