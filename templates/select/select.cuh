// What a block finds in a set of elements: the largest, or how often numbers occur. Sums of integers are the same in any
// order, and so are the largest: atomics leave nothing to chance.
#pragma once
#include "device/device.cuh"
#include "lib/order.cuh"

/** Shared memory of top_k: counts of digits, how many keys are in place, and the keys. */
template <int COUNT> struct TopKeys {
  static constexpr int SLOTS = COUNT <= 1 ? 1 : 2 * TopKeys<(COUNT + 1) / 2>::SLOTS;  // a power of two
};
template <> struct TopKeys<1> {
  static constexpr int SLOTS = 1;
};

/**
 * The COUNT largest of OVER elements, in order. Digit by digit, from the highest, the elements that share the digits found
 * so far are counted by their next one, which gives the next digit of the smallest that is wanted. Those above it are
 * put in place and sorted; it fills what is left.
 */
template <class T, int OVER, int COUNT, int THREADS, class Load, class Store>
DEV void top_k(uint8_t* memory, Load load, Store store) {
  constexpr int SLOTS = TopKeys<COUNT>::SLOTS;
  uint32_t* const digits = (uint32_t*)memory;  // [256]
  uint32_t* const taken = digits + 256;
  uint32_t* const keys = taken + 1;  // [SLOTS]
  const uint32_t digits_at = smem_u32(digits), taken_at = smem_u32(taken), keys_at = smem_u32(keys);
  uint32_t smallest = 0, known = 0, wanted = COUNT;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int digit = threadIdx.x; digit < 256; digit += THREADS) sts<uint32_t>(digits_at + 4 * digit, 0);
    __syncthreads();
    for (int i = threadIdx.x; i < OVER; i += THREADS) {
      const uint32_t key = order_of(load(i));
      if ((key & known) == smallest) atomicAdd(digits + (key >> shift & 255), 1u);
    }
    __syncthreads();
    int digit = 255;
    for (; digit > 0; digit--) {
      const uint32_t here = lds<uint32_t>(digits_at + 4 * digit);
      if (here >= wanted) break;
      wanted -= here;
    }
    smallest |= (uint32_t)digit << shift;
    known |= 255u << shift;
    __syncthreads();
  }

  for (int slot = threadIdx.x; slot < SLOTS; slot += THREADS) sts<uint32_t>(keys_at + 4 * slot, slot < COUNT ? smallest : 0);
  if (threadIdx.x == 0) sts<uint32_t>(taken_at, 0);
  __syncthreads();
  for (int i = threadIdx.x; i < OVER; i += THREADS) {
    const uint32_t key = order_of(load(i));
    if (key > smallest) sts<uint32_t>(keys_at + 4 * atomicAdd(taken, 1u), key);
  }
  __syncthreads();

  // A bitonic sort: runs of `size` keys, every other one upside down, become runs of twice their size.
  for (int size = 2; size <= SLOTS; size *= 2) {
    for (int step = size / 2; step > 0; step /= 2) {
      for (int pair = threadIdx.x; pair < SLOTS / 2; pair += THREADS) {
        const int a = 2 * pair - (pair & (step - 1)), b = a + step;
        const uint32_t first = lds<uint32_t>(keys_at + 4 * a), second = lds<uint32_t>(keys_at + 4 * b);
        if ((first < second) == ((a & size) == 0)) {
          sts<uint32_t>(keys_at + 4 * a, second);
          sts<uint32_t>(keys_at + 4 * b, first);
        }
      }
      __syncthreads();
    }
  }
  for (int k = threadIdx.x; k < COUNT; k += THREADS) {
    T value;
    in_order(lds<uint32_t>(keys_at + 4 * k), value);
    store(k, value);
  }
}

/**
 * How often each of `bins` numbers from `first` on occurs among OVER elements. A thread takes neighbours, which are often
 * alike: they are added up before they are counted.
 */
template <int OVER, int THREADS, class Load, class Store>
DEV void histogram(uint8_t* memory, int first, int bins, Load load, Store store) {
  constexpr int NEIGHBOURS = 8;
  int* const counts = (int*)memory;
  const uint32_t counts_at = smem_u32(counts);
  for (int bin = threadIdx.x; bin < bins; bin += THREADS) sts<int>(counts_at + 4 * bin, 0);
  __syncthreads();
  for (int i0 = threadIdx.x * NEIGHBOURS; i0 < OVER; i0 += THREADS * NEIGHBOURS) {
    int last = -1, alike = 0;
    auto count = [&]() {
      if (alike > 0 && last >= 0 && last < bins) atomicAdd(counts + last, alike);
    };
    for (int i = i0; i < OVER && i < i0 + NEIGHBOURS; i++) {
      const int bin = load(i) - first;
      if (bin != last) {
        count();
        last = bin;
        alike = 0;
      }
      alike++;
    }
    count();
  }
  __syncthreads();
  for (int bin = threadIdx.x; bin < bins; bin += THREADS) store(first + bin, lds<int>(counts_at + 4 * bin));
}
