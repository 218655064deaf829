// The texts of failures: where, and for a deadlock who waits for what.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <map>

#include "memory.h"
#include "state.h"

namespace emu {

std::string format(const char* pattern, ...) {
  char text[512];
  va_list args;
  va_start(args, pattern);
  vsnprintf(text, sizeof text, pattern, args);
  va_end(args);
  return text;
}

std::string place(Site site) {
  if (!site.file) return "";
  if (site.line == code_site) return place_of_code(site.file);
  const char* slash = strrchr(site.file, '/');
  return format("%s:%u", slash ? slash + 1 : site.file, site.line);
}

/** File and line of an instruction by addr2line, if the image has debug information; else its function. */
std::string place_of_code(const void* pc) {
  Dl_info info;
  if (!pc || !dladdr(pc, &info) || !info.dli_fname) return "";
  const size_t offset = (size_t)((const char*)pc - (const char*)info.dli_fbase) - 1;
  std::string line;
  const int file = file_of_image((uint64_t)pc);
  const std::string image = file >= 0 ? format("/proc/%d/fd/%d", (int)getpid(), file) : info.dli_fname;
  const std::string command = format("addr2line -s -e '%s' 0x%zx 2>/dev/null", image.c_str(), offset);
  if (FILE* pipe = popen(command.c_str(), "r")) {
    char text[256];
    if (fgets(text, sizeof text, pipe)) line = text;
    pclose(pipe);
  }
  line = line.substr(0, line.find_first_of(" \n"));
  if (line.empty() || line[0] == '?') return info.dli_sname ? std::string("code of ") + info.dli_sname : "";
  return line;
}

static std::string describe(Fiber& f) {
  Block& b = block_of(&f);
  std::string text;
  switch (f.wait) {
    case Wait::barrier: {
      const Barrier& k = b.barriers[f.wait_a];
      text = format("waits at barrier %u (%u of %u threads have arrived)", (unsigned)f.wait_a, k.arrived, k.expected);
      break;
    }
    case Wait::collective: {
      const auto& r = *(const Warp::Rendezvous*)f.wait_a;
      text = format("waits in %s for lanes %08x", f.waiting_in, r.mask & ~r.arrived);
      break;
    }
    case Wait::mbarrier: {
      const auto& m = *(const Mbarrier*)(b.shared + f.wait_a);
      text = format(
          "waits on the mbarrier at shared 0x%x for parity %u (it is in phase %u, %u arrivals and %d bytes missing)",
          (unsigned)f.wait_a, (unsigned)f.wait_b, m.phase, m.pending, m.bytes);
      break;
    }
    case Wait::cluster:
      text = format("waits at the cluster barrier (%u of %u threads have arrived)", b.cluster->barrier.arrived,
                    b.cluster->barrier.expected);
      break;
    case Wait::none: return f.state == FiberState::done ? "has ended" : "is ready";
  }
  const std::string where = place(f.site);
  return where.empty() ? text : text + " at " + where;
}

std::string describe_deadlock(Cluster& c) {
  std::string text = "deadlock: no thread can go on\n";
  for (uint32_t r = 0; r < c.size; r++) {
    Block& b = c.blocks[r];
    for (uint32_t w = 0; w < b.warp_count; w++) {
      std::map<std::string, uint32_t> lanes;
      for (uint32_t t = w * 32; t < b.threads && t < w * 32 + 32; t++) lanes[describe(b.fibers[t])] |= 1u << (t & 31);
      for (const auto& [what, mask] : lanes) {
        text += c.size > 1 ? format("  block %u warp %u ", r, w) : format("  warp %u ", w);
        text += (mask == b.warps[w].full ? std::string("all lanes: ") : format("lanes %08x: ", mask)) + what + "\n";
      }
    }
  }
  text.pop_back();
  return text;
}

}  // namespace emu
