#include "counting.h"

#include <algorithm>
#include <mutex>

#include "access.h"
#include "memory.h"

namespace emu {

uint64_t current_launch = 0;

// --- the ranges that traffic is split by
static auto& named_ranges = *new std::vector<BufferRange>;  // never destroyed: workers outlive main
static auto& launch_ranges = *new std::vector<BufferRange>;
void name_range(uint64_t begin, uint64_t bytes, const std::string& name) {
  for (auto& r : named_ranges)
    if (r.begin == begin && r.end == begin + bytes) {
      r.name = name;
      return;
    }
  named_ranges.push_back({begin, begin + bytes, -1, 0, name});
}
void forget_ranges() { named_ranges.clear(); }

/** Pointer parameters: each reaches to the next one in the same allocation, or to its end. */
static void add_parameter_ranges(const Launch& l) {
  std::vector<BufferRange> found;
  for (uint32_t i = 0; i < l.kernel->parameter_count; i++) {
    for (uint32_t at = 0; at + 8 <= l.kernel->parameter_sizes[i];
         at += 8) {  // structs and tensor maps hold pointers too
      uint64_t address;
      memcpy(&address, (const uint8_t*)l.parameters[i] + at, 8);
      const Allocation* a = in_arena(address) ? find_allocation(address, 1) : nullptr;
      if (a) found.push_back({address, a->begin + a->bytes, (int)i, at, ""});
    }
  }
  for (auto& r : found)
    for (const auto& other : found)
      if (other.begin > r.begin && other.begin < r.end) r.end = other.begin;
  launch_ranges.insert(launch_ranges.end(), found.begin(), found.end());
}
void begin_counting(const Launch& l) {
  current_launch++;
  if (!config.counters) return;
  prepare_sector_tables();
  launch_ranges = named_ranges;
  add_parameter_ranges(l);
}
static int range_of(uint64_t address) {
  for (size_t i = 0; i < launch_ranges.size(); i++)
    if (address >= launch_ranges[i].begin && address < launch_ranges[i].end) return (int)i;
  return -1;
}
static Counters::Buffer* buffer_of(Counters& k, uint64_t address) {
  const int i = range_of(address);
  if (i < 0) return nullptr;
  if (k.buffers.size() <= (size_t)i) k.buffers.resize((size_t)i + 1);
  return &k.buffers[(size_t)i];
}

// --- global memory
/** How many of these bytes no one has touched in this launch. */
static uint32_t first_touches(uint64_t address, uint32_t bytes, bool write) {
  static thread_local const Allocation* a = nullptr;
  static thread_local uint64_t launch = 0;
  if (launch != current_launch || !a || address < a->begin || address + bytes > a->begin + a->bytes)
    a = find_allocation(address, bytes), launch = current_launch;
  if (!a || !a->read_sectors) return 0;
  std::atomic<uint64_t>* table = (write ? a->written_sectors : a->read_sectors).get();
  uint32_t fresh = 0;
  for (uint64_t at = address - a->begin, end = at + bytes; at < end;) {
    const uint64_t sector = at / 32, low = at % 32, high = std::min<uint64_t>(32, low + end - at);
    const uint64_t mask = ((high == 32 ? 1ull << 32 : 1ull << high) - 1) & ~((1ull << low) - 1);
    uint64_t old = table[sector].load(std::memory_order_relaxed), wanted, before;
    do {
      before = old >> 32 == (current_launch & 0xffffffff) ? old & 0xffffffff : 0;
      wanted = current_launch << 32 | before | mask;
    } while (old != wanted && !table[sector].compare_exchange_weak(old, wanted, std::memory_order_relaxed));
    fresh += (uint32_t)__builtin_popcountll(mask & ~before);
    at += high - low;
  }
  return fresh;
}
static void count_global(Counters& k, AccessKind kind, uint32_t lanes, const uint64_t* addresses) {
  const bool write = kind.access & access_write, atomic = kind.access & access_atomic;
  Traffic& total = atomic ? k.atomic : write ? k.written : k.read;
  uint64_t sectors[64];
  uint32_t n = 0;
  Counters::Buffer* last = nullptr;
  for (uint32_t rest = lanes; rest; rest &= rest - 1) {
    const uint64_t address = addresses[__builtin_ctz(rest)];
    Counters::Buffer* buffer = buffer_of(k, address);
    Traffic* own = buffer ? write ? &buffer->written : &buffer->read : nullptr;
    const uint32_t fresh = first_touches(address, kind.bytes, write);
    total.bytes += kind.bytes, total.unique_bytes += fresh;
    if (own) own->bytes += kind.bytes, own->unique_bytes += fresh;
    if (own && buffer != last) own->requests++;
    last = buffer;
    for (uint64_t s = address >> 5; s <= (address + kind.bytes - 1) >> 5; s++) {
      bool known = false;
      for (uint32_t i = n; i-- > 0 && !known;) known = sectors[i] == s;
      if (known || n == 64) continue;
      sectors[n++] = s;
      if (own) own->sectors++;
    }
  }
  total.requests++;
  total.sectors += n;
}
void count_bulk(Cluster& c, uint64_t address, uint32_t bytes, bool write) {
  Counters& k = c.counters;
  const Traffic piece{1, ((address + bytes - 1) >> 5) - (address >> 5) + 1, bytes,
                      first_touches(address, bytes, write)};
  (write ? k.written : k.read).add(piece);
  if (Counters::Buffer* b = buffer_of(k, address)) (write ? b->written : b->read).add(piece);
}

// --- shared memory: 32 banks of 4 bytes. 8-byte accesses go by half warps, 16-byte accesses by quarters.
static void count_shared(Counters& k, AccessKind kind, uint32_t lanes, const uint64_t* offsets) {
  const uint32_t group = kind.bytes <= 4 ? 32 : kind.bytes == 8 ? 16 : 8, words = (kind.bytes + 3) / 4;
  uint32_t wavefronts = 0, least = 0;
  for (uint32_t first = 0; first < 32; first += group) {
    uint32_t in_bank[32] = {}, word_of[32][8], distinct = 0, most = 0;
    for (uint32_t lane = first; lane < first + group; lane++) {
      if (!(lanes >> lane & 1)) continue;
      for (uint32_t i = 0; i < words; i++) {
        const auto word = (uint32_t)(offsets[lane] / 4 + i), bank = word % 32;
        bool known = false;  // lanes that read one word share it
        for (uint32_t j = 0; j < std::min(in_bank[bank], 8u) && !known; j++) known = word_of[bank][j] == word;
        if (known) continue;
        if (in_bank[bank] < 8) word_of[bank][in_bank[bank]] = word;
        distinct++;
        most = std::max(most, ++in_bank[bank]);
      }
    }
    wavefronts += most;
    least += (distinct + 31) / 32;
  }
  const SharedTraffic one{1, wavefronts, wavefronts - least};
  (kind.access & access_async ? k.cp_async : kind.access & access_write ? k.store : k.load).add(one);
}
void count_request(Cluster& c, AccessKind kind, uint32_t lanes, const uint64_t* addresses) {
  kind.shared ? count_shared(c.counters, kind, lanes, addresses) : count_global(c.counters, kind, lanes, addresses);
}
void count_matrix_rows(Cluster& c, const uint32_t* rows, bool store) {
  uint32_t in_group[8] = {},
           most = 0;  // 8 rows of 16 bytes fill the 32 banks once if they fall into different groups of four
  for (int i = 0; i < 8; i++) {
    bool known = false;
    for (int j = 0; j < i; j++) known |= rows[j] == rows[i];
    if (!known) most = std::max(most, ++in_group[rows[i] >> 4 & 7]);
  }
  (store ? c.counters.stmatrix : c.counters.ldmatrix).add({1, most, most - 1});
}

void Counters::add(const Counters& o) {
  blocks += o.blocks, barriers += o.barriers, collectives += o.collectives, mbarrier_arrivals += o.mbarrier_arrivals;
  special_ops += o.special_ops, mma_m16n8k16 += o.mma_m16n8k16, mma_m16n8k8 += o.mma_m16n8k8, wgmma += o.wgmma;
  lost_points += o.lost_points, tensor_flops += o.tensor_flops, bulk_bytes += o.bulk_bytes, cpu_ns += o.cpu_ns;
  read.add(o.read), written.add(o.written), atomic.add(o.atomic);
  load.add(o.load), store.add(o.store), ldmatrix.add(o.ldmatrix), stmatrix.add(o.stmatrix), cp_async.add(o.cp_async);
  if (buffers.size() < o.buffers.size()) buffers.resize(o.buffers.size());
  for (size_t i = 0; i < o.buffers.size(); i++)
    buffers[i].read.add(o.buffers[i].read), buffers[i].written.add(o.buffers[i].written);
}

// --- JSON
static std::string number(const char* name, uint64_t n) { return format("\"%s\":%llu", name, (unsigned long long)n); }
static std::string json(const Traffic& t) {
  return "{" + number("requests", t.requests) + "," + number("sectors", t.sectors) + "," + number("bytes", t.bytes) +
         "," + number("uniqueBytes", t.unique_bytes) + "}";
}
static std::string json(const SharedTraffic& t) {
  return "{" + number("requests", t.requests) + "," + number("wavefronts", t.wavefronts) + "," +
         number("conflicts", t.conflicts) + "}";
}
std::string counters_json(const char* kernel, const Counters& k, bool with_buffers) {
  std::string s = std::string("{\"kernel\":\"") + kernel + "\"," + number("blocks", k.blocks) + "," +
                  number("barriers", k.barriers) + "," + number("collectives", k.collectives) + "," +
                  number("mbarrierArrivals", k.mbarrier_arrivals) + "," + number("specialOps", k.special_ops) + "," +
                  number("lostPoints", k.lost_points) + "," +
                  number("mmaM16n8k16", k.mma_m16n8k16) + "," + number("mmaM16n8k8", k.mma_m16n8k8) + "," +
                  number("wgmma", k.wgmma) + "," + number("tensorFlops", k.tensor_flops) + "," +
                  number("bulkBytes", k.bulk_bytes) + "," + number("cpuNanoseconds", k.cpu_ns);
  s += ",\"global\":{\"read\":" + json(k.read) + ",\"written\":" + json(k.written) + ",\"atomic\":" + json(k.atomic) +
       "}";
  s += ",\"shared\":{\"load\":" + json(k.load) + ",\"store\":" + json(k.store) + ",\"ldmatrix\":" + json(k.ldmatrix) +
       ",\"stmatrix\":" + json(k.stmatrix) + ",\"cpAsync\":" + json(k.cp_async) + "}";
  if (!with_buffers) return s + "}";
  s += ",\"buffers\":[";
  for (size_t i = 0; i < launch_ranges.size(); i++) {
    const BufferRange& r = launch_ranges[i];
    const Counters::Buffer b = i < k.buffers.size() ? k.buffers[i] : Counters::Buffer{};
    std::string name;
    for (char ch : r.name) {
      if (ch == '"' || ch == '\\') name += '\\';
      if ((unsigned char)ch >= 32) name += ch;
    }
    s += (i ? ",{" : "{") + std::string(r.parameter < 0
                                            ? "\"name\":\"" + name + "\""
                                            : format("\"parameter\":%d,\"offset\":%u", r.parameter, r.offset));
    s += format(",\"address\":\"0x%llx\",", (unsigned long long)r.begin) + number("size", r.end - r.begin) +
         ",\"read\":" + json(b.read) + ",\"written\":" + json(b.written) + "}";
  }
  return s + "]}";
}

}  // namespace emu
