// Rows of a tile in shared memory: how they lie, how they get there and how results leave. Knows no pattern.
#pragma once
#include "../device/device.cuh"

constexpr int round_up(int x, int to) { return (x + to - 1) / to * to; }

/**
 * Rows of Bytes bytes without padding between them. The 16-byte chunks of a row are permuted so that the same chunk of 8
 * neighbouring rows (what ldmatrix reads) falls into 8 different groups of banks, whatever the width. The first row of a
 * tile, and of every part of it that is addressed on its own, is a multiple of 8.
 */
template <int Bytes> struct Rows {
  static_assert(Bytes % 16 == 0, "a row is a whole number of 16-byte chunks");
  static constexpr int chunks = Bytes / 16;
  static constexpr int twist = chunks % 8 == 0 ? 3 : chunks % 4 == 0 ? 2 : chunks % 2 == 0 ? 1 : 0;
  static DEV_FN uint32_t at(uint32_t row, uint32_t chunk) {
    return row * Bytes + ((chunk ^ ((row >> (3 - twist)) & ((1u << twist) - 1))) << 4);
  }
  /**
   * The address of chunk 2 * pair + half in a tile. In a tile that begins at a multiple of Bytes, a power of two, pairs
   * differ in bits alone: one address serves all of them, where sums would take a register each.
   */
  template <bool Aligned> static DEV_FN uint32_t pair_at(uint32_t tile, uint32_t row, uint32_t half, uint32_t pair) {
    if constexpr (Aligned && (chunks & (chunks - 1)) == 0) return (tile + at(row, half)) ^ (pair << 5);
    else return tile + at(row, pair * 2 + half);
  }
};

/** How lanes share the chunks of a row: those of a lane are `lanes` apart, so that the permutation is the same for all of them. */
template <int Bytes> struct Lanes {
  static constexpr int chunks = Bytes / 16;
  static constexpr int lanes = Rows<Bytes>::twist > 0 ? 1 << Rows<Bytes>::twist : chunks == 1 ? 1 : chunks == 3 ? 4 : chunks <= 8 ? 8 : 16;
  static constexpr int passes = (chunks + lanes - 1) / lanes;
};

/** An unsigned piece of a row, for loads and stores of that many bytes. */
template <int Bytes> struct PieceOf;
template <> struct PieceOf<16> { using type = uint4; };
template <> struct PieceOf<8> { using type = uint2; };
template <> struct PieceOf<4> { using type = uint32_t; };

template <int Granule> DEV void copy_async(uint32_t to, const uint8_t* from, bool live) {
  static_assert(Granule == 16 || Granule == 8 || Granule == 4, "cp.async copies 16, 8 or 4 bytes");
  if constexpr (Granule == 16) cp_async16(to, from, live);
  else if constexpr (Granule == 8) cp_async8(to, from, live);
  else cp_async4(to, from, live);
}

/** What is copied of a row: `bytes` of it (the rest of the shared row is zeros), in pieces of `granule`; `parts` of them, `step` bytes apart. */
template <int Bytes_, int Granule, int Parts = 1, int64_t Step = 0> struct RowCopy {
  static constexpr int bytes = Bytes_, granule = Granule, parts = Parts;
  static constexpr int64_t step = Step;
};

/**
 * Copies Count rows of `Copy` into shared memory, Threads threads together. from(row, live) is the address of a row; where
 * it leaves live false, the row is zeros. Part p goes to `to + p * part_bytes`.
 */
template <int Bytes, class Copy, int Count, int Threads, class From>
DEV void load_rows(uint32_t to, uint32_t part_bytes, uint32_t thread, From from) {
  using R = Rows<Bytes>;
  if constexpr (Copy::granule == 16 && Copy::bytes == Bytes) {
    using L = Lanes<Bytes>;
    constexpr int rows_at_once = Threads / L::lanes, rounds = (Count + rows_at_once - 1) / rows_at_once;
    const uint32_t row0 = thread / L::lanes, chunk = thread % L::lanes;
#pragma unroll
    for (int i = 0; i < rounds; i++) {
      const uint32_t row = row0 + i * rows_at_once;
      if (Count % rows_at_once != 0 && i == rounds - 1 && row >= Count) continue;
      bool live = true;
      const uint8_t* source = from(row, live) + chunk * 16;
      // A multiple of 8 rows further on the permutation is the same: one address and immediates.
      const uint32_t target = to + (rows_at_once % 8 == 0 ? R::at(row0, chunk) + i * rows_at_once * Bytes : R::at(row, chunk));
#pragma unroll
      for (int part = 0; part < Copy::parts; part++)
#pragma unroll
        for (int pass = 0; pass < L::passes; pass++)
          if (L::chunks % L::lanes == 0 || chunk + pass * L::lanes < (uint32_t)L::chunks)
            cp_async16(target + part * part_bytes + pass * L::lanes * 16, source + part * Copy::step + pass * L::lanes * 16, live);
    }
  } else {
    constexpr int pieces = Bytes / Copy::granule;
    for (int i = (int)thread; i < Count * pieces; i += Threads) {
      const int row = i / pieces, byte = i % pieces * Copy::granule;
      bool live = true;
      const uint8_t* source = from(row, live);
      live &= byte < Copy::bytes;
#pragma unroll
      for (int part = 0; part < Copy::parts; part++)
        copy_async<Copy::granule>(to + part * part_bytes + R::at(row, byte / 16) + byte % 16, live ? source + part * Copy::step + byte : source, live);
    }
  }
}

/** The same, element by element: for rows that are not aligned to 4 bytes, that are not contiguous, or whose fill is not zero. */
template <class E, int Bytes, int Columns, int Count, int Threads, class ElementAt>
DEV void gather_rows(uint32_t to, uint32_t thread, ElementAt element_at) {
  constexpr int columns = Bytes / (int)sizeof(E);
  for (int i = (int)thread; i < Count * columns; i += Threads) {
    const int row = i / columns, column = i % columns, byte = column * (int)sizeof(E);
    sts(to + Rows<Bytes>::at(row, byte / 16) + byte % 16, column < Columns ? element_at(row, column) : from_f32<E>(0));
  }
}

/** 16 rows of a warp from shared to global memory. row_at(row, live) is where a row goes; not live: nowhere. */
template <int Bytes, class Copy, class RowAt> DEV void store_rows(uint32_t from, RowAt row_at) {
  using R = Rows<Bytes>;
  if constexpr (Copy::granule == 16 && Copy::bytes == Bytes) {
    using L = Lanes<Bytes>;
    constexpr int rows_at_once = 32 / L::lanes, rounds = (16 + rows_at_once - 1) / rows_at_once;
    const uint32_t row0 = lane_id() / L::lanes, chunk = lane_id() % L::lanes;
#pragma unroll
    for (int i = 0; i < rounds; i++) {
      const uint32_t row = row0 + i * rows_at_once;
      if (rows_at_once > 16 && row >= 16) continue;
      bool live = true;
      uint8_t* target = row_at(row, live) + chunk * 16;
      const uint32_t source = from + (rows_at_once % 8 == 0 ? R::at(row0, chunk) + i * rows_at_once * Bytes : R::at(row, chunk));
#pragma unroll
      for (int pass = 0; pass < L::passes; pass++)
        if (live && (L::chunks % L::lanes == 0 || chunk + pass * L::lanes < (uint32_t)L::chunks))
          st((uint4*)(target + pass * L::lanes * 16), lds<uint4>(source + pass * L::lanes * 16));
    }
  } else {
    constexpr int pieces = (Copy::bytes + Copy::granule - 1) / Copy::granule;
    using Piece = typename PieceOf<Copy::granule>::type;
    for (int i = (int)lane_id(); i < 16 * pieces; i += 32) {
      const int row = i / pieces, byte = i % pieces * Copy::granule;
      bool live = true;
      uint8_t* target = row_at(row, live);
      if (live) st((Piece*)(target + byte), lds<Piece>(from + R::at(row, byte / 16) + byte % 16));
    }
  }
}

/** The same, element by element: store(row, column, value). */
template <class E, int Bytes, int Columns, class Store> DEV void scatter_rows(uint32_t from, Store store) {
  for (int i = (int)lane_id(); i < 16 * Columns; i += 32) {
    const int row = i / Columns, column = i % Columns, byte = column * (int)sizeof(E);
    store(row, column, lds<E>(from + Rows<Bytes>::at(row, byte / 16) + byte % 16));
  }
}
