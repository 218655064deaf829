// Moving a box between a tensor in global memory and a swizzled tile in shared memory, as TMA does: outside the tensor,
// loads give zeros (or NaN) and stores write nothing.
#include <cmath>

#include "access.h"
#include "state.h"

namespace emu {

/** Swizzles exchange 16-byte chunks within rows of 32, 64 or 128 bytes. */
uint32_t swizzled(uint32_t address, uint32_t mode) {
  switch (mode) {
    case 1: return address ^ (address >> 3 & 0x10);
    case 2: return address ^ (address >> 3 & 0x30);
    case 3: return address ^ (address >> 3 & 0x70);
    default: return address;
  }
}

static float float_of(uint32_t bits) {
  float f;
  memcpy(&f, &bits, 4);
  return f;
}
static void reduce_f32(uint8_t* to, const uint8_t* from, TmaReduce reduce) {
  uint32_t old = __atomic_load_n((uint32_t*)to, __ATOMIC_RELAXED), operand, wanted;
  memcpy(&operand, from, 4);
  do {
    const float a = float_of(old), b = float_of(operand);
    const float r = reduce == TmaReduce::add ? a + b : reduce == TmaReduce::min ? std::fmin(a, b) : std::fmax(a, b);
    memcpy(&wanted, &r, 4);
  } while (!__atomic_compare_exchange_n((uint32_t*)to, &old, wanted, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

static void fill(uint8_t* to, uint32_t bytes, const TensorMapImage& m) {
  if (!m.fill_nan) {
    memset(to, 0, bytes);
    return;
  }
  for (uint32_t i = 0; i < bytes; i += m.element_bytes)  // a quiet NaN of the element's type has all bits set
    memset(to + i, 0xff, m.element_bytes);
}

void move_tensor(const BulkCopy& copy, Block& block) {
  const TensorMapImage& m = copy.map;
  const bool load = copy.kind == BulkCopy::Kind::tensor_load;
  const uint32_t size = m.element_bytes, row_bytes = m.box[0] * size;
  uint32_t rows = 1;
  for (int i = 1; i < m.rank; i++) rows *= m.box[i];
  uint32_t index[5] = {};
  for (uint32_t r = 0; r < rows; r++) {
    bool inside = true;
    uint64_t global = m.base;
    for (int i = 1; i < m.rank; i++) {
      const int64_t x = (int64_t)copy.at[i] + index[i];
      inside &= x >= 0 && x < (int64_t)m.extent[i];
      global += (uint64_t)x * m.stride[i - 1];
    }
    // The part [low, high) of this row of the box that lies inside the tensor.
    const int64_t x0 = copy.at[0];
    int64_t low = x0 < 0 ? -x0 : 0, high = (int64_t)m.extent[0] - x0;
    if (high > m.box[0]) high = m.box[0];
    if (!inside || high < low) low = high = 0;
    if (watching && high > low)
      note_bulk(*block.cluster, global + (uint64_t)(x0 + low) * size, (uint32_t)(high - low) * size, !load);
    for (uint32_t at = 0; at < row_bytes; at += 16) {
      uint8_t* shared = block.shared + swizzled(copy.shared + r * row_bytes + at, m.swizzle);
      if (const int64_t x = at / size;
          x >= low && x + 16 / size <= high && copy.reduce == TmaReduce::none) {  // all inside
        auto* there = (uint8_t*)(global + (uint64_t)(x0 + x) * size);
        load ? memcpy(shared, there, 16) : memcpy(there, shared, 16);
        continue;
      }
      for (uint32_t e = 0; e < 16; e += size) {
        const int64_t x = (at + e) / size;
        auto* there = (uint8_t*)(global + (uint64_t)(x0 + x) * size);
        if (x < low || x >= high) {
          if (load) fill(shared + e, size, m);
        } else if (load) {
          memcpy(shared + e, there, size);
        } else if (copy.reduce == TmaReduce::none) {
          memcpy(there, shared + e, size);
        } else {
          reduce_f32(there, shared + e, copy.reduce);
        }
      }
    }
    for (int i = 1; i < m.rank; i++) {
      if (++index[i] < m.box[i]) break;
      index[i] = 0;
    }
  }
}

}  // namespace emu
