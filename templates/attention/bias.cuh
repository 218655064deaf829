// A bias of relative places: a token's code is its place in the table of its head, in bytes, and what decides who sees
// whom above it. The difference of two codes is a place in the table, or lies beyond it where the key is hidden.
#pragma once
#include "rows.cuh"
#include "softmax.cuh"

template <class P> struct BiasTiles {
  static constexpr uint32_t codes = P::bias_count > 0 ? P::key_slots * 4 : 0, table = P::bias_count > 0 ? (P::bias_count + 1) * 4 : 0;
  static constexpr uint32_t bytes = codes + table;
};

/** The codes of all keys and the head's table to shared memory; what hides a key stands behind the table. */
template <class P> DEV void load_bias(const typename P::Block& block, uint32_t to) {
  constexpr int threads = P::warps * 32;
  const uint32_t table = to + BiasTiles<P>::codes;
  for (int i = (int)threadIdx.x; i < P::bias_count; i += threads) copy_async<4>(table + i * 4, (const uint8_t*)P::bias_at(block, i), true);
  for (int i = (int)threadIdx.x; i < P::key_slots; i += threads) sts(to + i * 4, P::key_code(block, i));
  if (threadIdx.x == 0) sts(table + P::bias_count * 4, hidden);
}

/** The bias between a query's code and a key's; of a key that may be hidden, minus infinity where it is. */
template <class P, bool Masked> DEV float bias_between(uint32_t to, int query, int key) {
  uint32_t place = (uint32_t)(query - key);
  if (Masked) place = place < P::bias_count * 4u ? place : P::bias_count * 4u;
  return lds<float>(to + BiasTiles<P>::codes + place);
}
