// Kernel images, functions, launches and tensor maps.
#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <cstdio>

#include "driver.h"

namespace emu {

static int open_image(Module** module, const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    driver().report = dlerror();
    return invalid_image;
  }
  *module = driver().modules.make();
  (*module)->library = library;
  return success;
}
/** Bytes of an ELF image: the section headers come last. */
static size_t image_bytes(const uint8_t* image) {
  ElfW(Ehdr) header;
  memcpy(&header, image, sizeof header);
  return header.e_shoff + (size_t)header.e_shentsize * header.e_shnum;
}
static int check_image(const uint8_t* image) {
  if (memcmp(image, "\177ELF", 4)) {
    const bool is_fatbin = !memcmp(image, "\x50\xed\x55\xba", 4);
    driver().report =
        is_fatbin ? "the image is a fatbin: the emulated device wants a shared object of the host"
                  : "the image is no shared object: the emulated device wants what the host compiler makes of a kernel";
    return is_fatbin || !memcmp(image, "//", 2) || !memcmp(image, ".version", 8) ? no_binary_for_gpu : invalid_image;
  }
  const int machine = image[18] | image[19] << 8;
  static const int own = [] {
#if defined(__x86_64__)
    return 62;
#elif defined(__aarch64__)
    return 183;
#else
    return -1;
#endif
  }();
  if (machine == own || own < 0) return success;
  driver().report = machine == 190 ? "the image is a cubin: the emulated device wants a shared object of the host"
                                   : "the image is for another machine";
  return no_binary_for_gpu;
}

int make_launch(Function* f, Dim grid, Dim block, Dim cluster, uint32_t shared_bytes, void* const* parameters,
                void* const* extra, std::shared_ptr<LaunchRecord>& record) {
  if (!driver().functions.count(f)) return invalid_handle;
  const uint64_t threads = (uint64_t)block.x * block.y * block.z;
  if (!threads || threads > 1024 || block.z > 64 || !grid.x || !grid.y || !grid.z || grid.x > 0x7fffffff ||
      grid.y > 65535 || grid.z > 65535)
    return invalid_value;
  if (!cluster.x || !cluster.y || !cluster.z || grid.x % cluster.x || grid.y % cluster.y || grid.z % cluster.z ||
      cluster.x * cluster.y * cluster.z > 16)
    return invalid_value;
  if (shared_bytes > f->dynamic_shared_limit) return invalid_value;
  const KernelInfo& k = *f->kernel;
  uint32_t bytes = 0;
  for (uint32_t i = 0; i < k.parameter_count; i++) bytes = k.parameter_offsets[i] + k.parameter_sizes[i];
  std::shared_ptr<uint8_t> copy((uint8_t*)aligned_alloc(64, (bytes + 127) / 64 * 64), free);
  if (parameters) {
    for (uint32_t i = 0; i < k.parameter_count; i++) {
      if (!parameters[i]) return invalid_value;
      memcpy(copy.get() + k.parameter_offsets[i], parameters[i], k.parameter_sizes[i]);
    }
  } else if (k.parameter_count) {
    const void* buffer = nullptr;
    size_t size = 0;
    for (void* const* e = extra; e && *e; e += 2) {
      if (*e == (void*)1) buffer = e[1];                     // CU_LAUNCH_PARAM_BUFFER_POINTER
      else if (*e == (void*)2) size = *(const size_t*)e[1];  // CU_LAUNCH_PARAM_BUFFER_SIZE
      else return invalid_value;
    }
    if (!buffer || size < bytes) return invalid_value;
    memcpy(copy.get(), buffer, bytes);
  }
  record = std::make_shared<LaunchRecord>(LaunchRecord{f, grid, block, cluster, shared_bytes, copy});
  return success;
}

int execute_launch(const LaunchRecord& r) {
  const KernelInfo& k = *r.function->kernel;
  std::vector<void*> parameters(k.parameter_count + 1);
  for (uint32_t i = 0; i < k.parameter_count; i++) parameters[i] = r.parameters.get() + k.parameter_offsets[i];
  const Launch launch{&k, r.grid, r.block, r.cluster, r.shared_bytes, parameters.data()};
  Driver& d = driver();
  Counters counters;
  std::string report;
  const int error = run_grid(launch, report, counters);
  d.last_kernel = k.name;
  d.last_counters = counters;
  d.total_counters.add(counters);
  d.total_counters.buffers.clear();
  if (error) d.report = report;
  return error;
}

}  // namespace emu
using namespace emu;

DRIVER int cuModuleLoad(Module** module, const char* path) {
  ENTER_DRIVER;
  FILE* file = fopen(path, "rb");
  if (!file) return file_not_found;
  uint8_t header[64] = {};
  const bool whole = fread(header, 1, sizeof header, file) == sizeof header;
  fclose(file);
  if (!whole) return invalid_image;
  if (int e = check_image(header)) return e;
  return open_image(module, path);
}
DRIVER int cuModuleLoadData(Module** module, const void* image) {
  ENTER_DRIVER;
  if (!image || !module) return invalid_value;
  if (int e = check_image((const uint8_t*)image)) return e;
  // A fresh name each time: the loader tells libraries apart by file.
  char path[] = P_tmpdir "/fovea_kernel_XXXXXX";
  const int file = mkstemp(path);
  if (file < 0) return file_not_found;
  const size_t bytes = image_bytes((const uint8_t*)image);
  size_t written = 0;
  while (written < bytes) {
    const ssize_t n = write(file, (const uint8_t*)image + written, bytes - written);
    if (n <= 0) break;
    written += (size_t)n;
  }
  const int e = written == bytes ? open_image(module, path) : invalid_image;
  unlink(path);
  if (e) close(file);
  else (*module)->file = file;
  return e;
}
DRIVER int cuModuleLoadDataEx(Module** module, const void* image, unsigned, int*, void**) {
  return cuModuleLoadData(module, image);
}
DRIVER int cuModuleUnload(Module* module) {
  ENTER_DRIVER;
  if (!driver().modules.find(module)) return invalid_handle;
  if (int e = drain_all()) return e;
  for (auto& f : module->functions) driver().functions.erase(f.second.get());
  forget_kernel_images(module->library);
  dlclose(module->library);
  if (module->file >= 0) close(module->file);
  driver().modules.destroy(module);
  return success;
}
DRIVER int cuModuleGetFunction(Function** function, Module* module, const char* name) {
  ENTER_DRIVER;
  if (!driver().modules.find(module)) return invalid_handle;
  if (!name || !function) return invalid_value;
  auto& slot = module->functions[name];
  if (!slot) {
    const auto* kernel = (const KernelInfo*)dlsym(module->library, (std::string("emu_kernel_") + name).c_str());
    if (!kernel || kernel->version != interface_version) {
      driver().report = kernel
                            ? std::string("kernel ") + name + " was compiled for another version of the emulated device"
                            : std::string("the image has no DEV_EXPORT(") + name + ")";
      module->functions.erase(name);
      return kernel ? invalid_image : not_found;
    }
    slot.reset(new Function{kernel, module});
    driver().functions.insert(slot.get());
    add_kernel_image(kernel, module->library, module->file);
  }
  *function = slot.get();
  return success;
}
DRIVER int cuModuleGetGlobal_v2(uint64_t* address, size_t* bytes, Module* module, const char* name) {
  ENTER_DRIVER;
  if (!driver().modules.find(module)) return invalid_handle;
  void* symbol = dlsym(module->library, name);
  if (!symbol) return not_found;
  Dl_info info;
  const ElfW(Sym)* entry = nullptr;
  if (address) *address = (uint64_t)symbol;
  if (bytes) *bytes = dladdr1(symbol, &info, (void**)&entry, RTLD_DL_SYMENT) && entry ? entry->st_size : 0;
  return success;
}

// --- functions
enum {
  attribute_max_threads = 0,
  attribute_registers = 4,
  attribute_binary_version = 6,
  attribute_max_dynamic_shared = 8
};
DRIVER int cuDeviceGetAttribute(int* value, int attribute, int device);  // driver_context.cpp
DRIVER int cuFuncSetAttribute(Function* f, int attribute, int value) {
  ENTER_DRIVER;
  if (!driver().functions.count(f)) return invalid_handle;
  if (attribute != attribute_max_dynamic_shared) return success;
  int limit = 0;
  cuDeviceGetAttribute(&limit, 97, 0);
  if (value < 0 || value > limit) return invalid_value;
  f->dynamic_shared_limit = (uint32_t)value;
  return success;
}
DRIVER int cuFuncGetAttribute(int* value, int attribute, Function* f) {
  ENTER_DRIVER;
  if (!driver().functions.count(f)) return invalid_handle;
  switch (attribute) {
    case attribute_max_threads: *value = 1024; break;
    case attribute_binary_version: *value = driver().capability; break;
    case attribute_max_dynamic_shared: *value = (int)f->dynamic_shared_limit; break;
    default: *value = 0; break;  // registers, local and static shared memory: not known here
  }
  return success;
}
DRIVER int cuFuncSetCacheConfig(Function*, int) { return success; }
/** By threads and shared memory; registers are not known. */
DRIVER int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Function* f, int threads, size_t shared_bytes) {
  ENTER_DRIVER;
  if (!driver().functions.count(f)) return invalid_handle;
  if (threads <= 0 || threads > 1024) return invalid_value;
  int max_threads = 0, max_shared = 0, reserved = 0;
  cuDeviceGetAttribute(&max_threads, 39, 0), cuDeviceGetAttribute(&max_shared, 81, 0),
      cuDeviceGetAttribute(&reserved, 111, 0);
  *blocks = std::min(32, max_threads / ((threads + 31) / 32 * 32));
  *blocks = std::min(*blocks, max_shared / (int)(shared_bytes + (size_t)reserved));
  return success;
}

// --- launches
static int launch(Function* f, Dim grid, Dim block, Dim cluster, unsigned shared_bytes, void* stream, void** parameters,
                  void** extra) {
  ENTER_DRIVER;
  Stream* s = find_stream(stream);
  if (!s) return invalid_handle;
  std::shared_ptr<LaunchRecord> record;
  if (int e = make_launch(f, grid, block, cluster, shared_bytes, parameters, extra, record)) return e;
  return submit(s, {Operation::Kind::kernel, record, nullptr});
}
DRIVER int cuLaunchKernel(Function* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned shared_bytes, void* stream, void** parameters, void** extra) {
  return launch(f, {gx, gy, gz}, {bx, by, bz}, {1, 1, 1}, shared_bytes, stream, parameters, extra);
}
struct LaunchAttribute {  // CUlaunchAttribute
  int id;
  uint32_t unused;
  union {
    Dim cluster;
    uint8_t bytes[64];
  };
};
struct LaunchConfig {  // CUlaunchConfig
  Dim grid, block;
  unsigned shared_bytes;
  void* stream;
  const LaunchAttribute* attributes;
  unsigned attribute_count;
};
DRIVER int cuLaunchKernelEx(const LaunchConfig* config, Function* f, void** parameters, void** extra) {
  constexpr int cluster_dimension = 4;
  Dim cluster = {1, 1, 1};
  for (unsigned i = 0; i < config->attribute_count; i++)
    if (config->attributes[i].id == cluster_dimension) cluster = config->attributes[i].cluster;
  return launch(f, config->grid, config->block, cluster, config->shared_bytes, config->stream, parameters, extra);
}

// --- tensor maps, with the rules of cuTensorMapEncodeTiled
DRIVER int cuTensorMapEncodeTiled(void* map, int type, uint32_t rank, void* base, const uint64_t* extent,
                                  const uint64_t* stride, const uint32_t* box, const uint32_t* element_stride,
                                  int interleave, int swizzle, int, int out_of_bounds) {
  static const uint8_t element_bytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
  if (!map || (uintptr_t)map & 63 || type < 0 || type > 12 || rank < 1 || rank > 5 || (uintptr_t)base & 15 ||
      swizzle < 0 || swizzle > 3)
    return invalid_value;
  if (interleave) return not_supported;
  TensorMapImage m{};
  m.magic = TensorMapImage::expected_magic, m.base = (uint64_t)base, m.rank = (uint8_t)rank;
  m.element_bytes = element_bytes[type], m.swizzle = (uint8_t)swizzle, m.fill_nan = (uint8_t)out_of_bounds,
  m.is_float = type >= 6;
  for (uint32_t i = 0; i < rank; i++) {
    if (!extent[i] || extent[i] > 1ull << 32 || !box[i] || box[i] > 256) return invalid_value;
    if (element_stride[i] != 1) return not_supported;
    m.extent[i] = (uint32_t)extent[i], m.box[i] = (uint16_t)box[i];
    if (i + 1 == rank) break;
    if (stride[i] & 15 || stride[i] >= 1ull << 40) return invalid_value;
    m.stride[i] = stride[i];
  }
  const uint32_t row = box[0] * m.element_bytes;
  if (row & 15 || (swizzle && row > 16u << swizzle)) return invalid_value;
  memcpy(map, &m, sizeof m);
  return success;
}
