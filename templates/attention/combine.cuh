// What thread blocks have summed up of chunks of keys becomes one result.
#pragma once
#include "rows.cuh"
#include "softmax.cuh"

/**
 * A row of results. record: that of the first chunk, which holds rows of sums, then for each row its maximum (an exponent
 * of base 2) and its sum of weights. Warps take every P::warps-th chunk; all sums are added in one order, always.
 */
template <class P> DEV void combine_row(const typename P::Block& block, const float* record, int row) {
  const int slot = block.tile * P::rows + row;
  if (slot >= P::query_slots) return;  // of the whole thread block
  DEV_SMEM(shared);
  constexpr int each = (P::columns + 31) / 32;  // columns of a lane
  const uint32_t lane = lane_id(), warp = warp_id(), sums = smem_u32(shared), weights = sums + P::warps * P::columns * 4;
  const float2* last = (const float2*)(record + P::rows * P::columns) + row;

  float highest = below_all;
  if constexpr (P::normalize == Normalize::softmax) {
    highest = -__builtin_huge_valf();
    for (int chunk = (int)lane; chunk < P::chunks; chunk += 32) highest = fmaxf(highest, ld_nc(last + chunk * (P::chunk_step / 2)).x);
    highest = warp_max(highest);
  }
  float o[each], sum = 0;
#pragma unroll
  for (int i = 0; i < each; i++) o[i] = 0;
#pragma unroll 4
  for (int chunk = (int)warp; chunk < P::chunks; chunk += P::warps) {
    const float2 top_and_sum = ld_nc(last + chunk * (P::chunk_step / 2));
    const float weight = P::normalize == Normalize::softmax ? fast_exp2(top_and_sum.x - highest) : 1.0f;
    const float* from = record + chunk * P::chunk_step + row * P::columns;
    sum = fmaf(weight, top_and_sum.y, sum);
#pragma unroll
    for (int i = 0; i < each; i++) {
      const int column = (int)lane + 32 * i;
      if (column < P::columns) o[i] = fmaf(weight, ld_nc(from + column), o[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < each; i++) {
    const uint32_t column = lane + 32 * i;
    if (column < (uint32_t)P::columns) sts(sums + (warp * P::columns + column) * 4, o[i]);
  }
  if (lane == 0) sts(weights + warp * 4, sum);
  __syncthreads();

  float all = 0;
#pragma unroll
  for (int w = 0; w < P::warps; w++) all += lds<float>(weights + w * 4);
  const float inverse = P::normalize == Normalize::none ? 1.0f : row_inverse(all);
  for (int column = (int)threadIdx.x; column < P::columns; column += P::warps * 32) {
    float value = 0;
#pragma unroll
    for (int w = 0; w < P::warps; w++) value += lds<float>(sums + (w * P::columns + column) * 4);
    P::store(block, slot, column, epilogue_of<P>(value * inverse, 0));
  }
}
