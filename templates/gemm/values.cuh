// Runs of elements between memory and float registers: one access of up to 16 bytes for a run.
#pragma once
#include "device/device.cuh"

template <int BYTES> struct WordOf;
template <> struct WordOf<1> { using type = uint8_t; };
template <> struct WordOf<2> { using type = uint16_t; };
template <> struct WordOf<4> { using type = uint32_t; };
template <> struct WordOf<8> { using type = uint2; };
template <> struct WordOf<16> { using type = uint4; };
/** WIDTH elements of storage type S as they come from memory. */
template <class S, int WIDTH> using Run = typename WordOf<sizeof(S) * WIDTH>::type;

DEV float value_of(float x) { return x; }
DEV float value_of(bf16 x) { return bf16_to_f32(x); }
DEV float value_of(f16 x) { return f16_to_f32(x); }
DEV float value_of(int32_t x) { return (float)x; }
DEV float value_of(uint8_t x) { return (float)x; }

template <class S, int WIDTH> DEV Run<S, WIDTH> load_run(const S* p) { return ld((const Run<S, WIDTH>*)p); }

/** Elements q .. q + WIDTH - 1 of v from a run. */
template <class S, int WIDTH, int V> DEV void unpack_run(float (&v)[V], int q, Run<S, WIDTH> run) {
  S parts[WIDTH];
  __builtin_memcpy(parts, &run, sizeof run);
#pragma unroll
  for (int j = 0; j < WIDTH; j++) v[q + j] = value_of(parts[j]);
}

/** A run from elements q .. q + WIDTH - 1 of v; pairs of 16-bit elements share one conversion. */
template <class S, int WIDTH, int V> DEV Run<S, WIDTH> pack_run(const float (&v)[V], int q) {
  Run<S, WIDTH> run;
  if constexpr (sizeof(S) == 4) {
    __builtin_memcpy(&run, &v[q], sizeof run);
  } else if constexpr (WIDTH == 1) {
    run = from_f32<S>(v[q]).u;
  } else {
    uint32_t pairs[WIDTH / 2];
#pragma unroll
    for (int j = 0; j < WIDTH / 2; j++) pairs[j] = pack2<S>(v[q + 2 * j], v[q + 2 * j + 1]);
    __builtin_memcpy(&run, pairs, sizeof run);
  }
  return run;
}

/**
 * Elements q .. q + WIDTH - 1 of v from p[at ...]. A dead run reads the first elements of p instead: a choice of address
 * costs less than a branch, and nobody looks at what came.
 */
template <int WIDTH, class S, int V, class At> DEV void load_values(float (&v)[V], int q, const S* p, At at, bool live = true) {
  unpack_run<S, WIDTH>(v, q, load_run<S, WIDTH>(p + (live ? at : (At)0)));
}
/** The same, with `fill` where the run is dead. */
template <int WIDTH, class S, int V, class At> DEV void load_values_or(float (&v)[V], int q, const S* p, At at, bool live, float fill) {
  load_values<WIDTH>(v, q, p, at, live);
#pragma unroll
  for (int j = 0; j < WIDTH; j++) v[q + j] = live ? v[q + j] : fill;
}
/** p[at ...] from elements q .. q + WIDTH - 1 of v. */
template <int WIDTH, class S, int V, class At> DEV void store_values(S* p, At at, const float (&v)[V], int q, bool live) {
  const Run<S, WIDTH> run = pack_run<S, WIDTH>(v, q);
  if (live) st((Run<S, WIDTH>*)(p + at), run);
}
