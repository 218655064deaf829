// From warp-wide requests to sectors, bytes, wavefronts and traffic by buffer.
#pragma once
#include "state.h"

namespace emu {

struct AccessKind {
  uint32_t bytes, access;
  bool shared;
  bool operator==(const AccessKind& o) const { return bytes == o.bytes && access == o.access && shared == o.shared; }
};

/** Numbers launches from 1. */
extern uint64_t current_launch;

void count_request(Cluster& c, AccessKind kind, uint32_t lanes, const uint64_t* addresses);
void count_matrix_rows(Cluster& c, const uint32_t* rows, bool store);
void count_bulk(Cluster& c, uint64_t address, uint32_t bytes, bool write);

void name_range(uint64_t begin, uint64_t bytes, const std::string& name);
void forget_ranges();

}  // namespace emu
