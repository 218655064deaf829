// Tiles of A and B in shared memory, and how the threads of a block fill them.
#pragma once
#include "device/device.cuh"

/**
 * Where chunk `chunk` (16 bytes) of row `row` lies in a tile whose rows have ROW_BYTES. Chunks are exchanged within a row
 * so that eight rows of one chunk column lie in eight groups of banks: copies, ldmatrix and 16-byte loads meet no conflict.
 */
template <int ROW_BYTES> DEV uint32_t chunk_at(uint32_t row, uint32_t chunk) {
  static_assert(ROW_BYTES == 32 || ROW_BYTES == 64 || ROW_BYTES == 128, "the exchange is periodic in 128 bytes");
  return row * ROW_BYTES + ((chunk ^ (row / (128 / ROW_BYTES) & (ROW_BYTES / 16 - 1))) << 4);
}

/** The rows of a tile that one thread fills: `count` of them, `step` apart, at one chunk column. */
template <int ROWS, int ROW_BYTES, int THREADS> struct RowCopy {
  static constexpr int per_row = ROW_BYTES / 16, step = THREADS / per_row, count = ROWS / step;
  static_assert(step % 8 == 0 && ROWS % step == 0, "a thread's rows share one phase of the exchange");
};

/** Starts copying BYTES that lie end to end. */
template <int BYTES, int THREADS> DEV void copy_linear(uint32_t to, const void* from) {
  constexpr int chunks = BYTES / 16;
  const uint8_t* const bytes = (const uint8_t*)from;
#pragma unroll
  for (int i = 0; i < chunks / THREADS; i++) {
    const uint32_t at = (threadIdx.x + i * THREADS) * 16;
    cp_async16(to + at, bytes + at);
  }
  if (chunks % THREADS != 0 && threadIdx.x < chunks % THREADS) {
    const uint32_t at = (threadIdx.x + chunks / THREADS * THREADS) * 16;
    cp_async16(to + at, bytes + at);
  }
}
