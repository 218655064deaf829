// Initialisation, the device and its attributes, contexts, errors, and the fovea_emu_ functions.
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>

#include "access.h"
#include "counting.h"
#include "driver.h"
#include "emulator.h"

namespace emu {

Config config;
Driver& driver() {
  static Driver* d = new Driver;  // never destroyed: worker threads may outlive main
  return *d;
}
static thread_local Context* bound_context = nullptr;
Context* current_context() { return bound_context; }
void set_current_context(Context* c) { bound_context = c; }

int Call::check() const {
  if (!driver().initialised) return not_initialized;
  if (!bound_context) return invalid_context;
  if (bound_context != &driver().primary && !driver().contexts.find(bound_context)) return context_is_destroyed;
  return bound_context->error;
}

static const struct Setting {
  const char* key;
  void (*set)(int64_t);
} settings[] = {
    {"counters", [](int64_t v) { config.counters = v; }},
    {"races", [](int64_t v) { config.races = v; }},
    {"uninitialised", [](int64_t v) { config.uninitialised = v; }},
    {"bounds", [](int64_t v) { config.bounds = v; }},
    {"seed", [](int64_t v) { config.seed = (uint64_t)v; }},
    {"workers", [](int64_t v) { config.workers = (int)v; }},
    {"memory_limit", [](int64_t v) { config.memory_limit = (uint64_t)v; }},
    {"late_copies", [](int64_t v) { config.late_copies = v; }},
    {"poison", [](int64_t v) { config.poison = v; }},
    {"deferred_streams", [](int64_t v) { config.deferred_streams = v; }},
    {"spin_ms", [](int64_t v) { config.spin_ms = (uint64_t)v; }},
    {"watchdog_ms", [](int64_t v) { config.watchdog_ms = (uint64_t)v; }},
    {"capability", [](int64_t v) { driver().capability = (int)v; }},
};

/** Kernel images find this library's functions through the process's global scope. */
static void export_own_symbols() {
  Dl_info info;
  if (dladdr((const void*)&export_own_symbols, &info) && info.dli_fname)
    dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
}
/** Device memory is host memory: a limit that the host does not have would end the process instead of the allocation.
 */
static void choose_memory_limit() {
  if (config.memory_limit) return;
  const uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
  config.memory_limit = std::min<uint64_t>(16ull << 30, machine / 2);
}
static void read_environment() {
  for (const Setting& s : settings) {
    std::string name = "FOVEA_EMU_";
    for (const char* c = s.key; *c; c++) name += (char)toupper(*c);
    if (const char* value = getenv(name.c_str())) s.set(atoll(value));
  }
  update_watching();
}

/** What differs between the devices that can be played. */
struct DeviceModel {
  int capability, multiprocessors, shared_per_block, shared_per_multiprocessor, threads_per_multiprocessor, l2_bytes;
};
static const DeviceModel models[] = {
    {80, 108, 163 << 10, 164 << 10, 2048, 40 << 20},
    {86, 84, 99 << 10, 100 << 10, 1536, 6 << 20},
    {89, 128, 99 << 10, 100 << 10, 1536, 72 << 20},
    {90, 132, 227 << 10, 228 << 10, 2048, 50 << 20},
};
static const DeviceModel& model() {
  for (const DeviceModel& m : models)
    if (m.capability == driver().capability) return m;
  return models[3];
}

}  // namespace emu
using namespace emu;

// --- device
DRIVER int cuInit(unsigned flags) {
  if (flags) return invalid_value;
  std::lock_guard<std::recursive_mutex> lock(driver().mutex);
  if (driver().initialised) return success;
  driver().initialised = true;
  export_own_symbols();
  read_environment();
  choose_memory_limit();
  return success;
}
DRIVER int cuDriverGetVersion(int* version) {
  if (!version) return invalid_value;
  *version = 13000;
  return success;
}
DRIVER int cuDeviceGetCount(int* count) {
  if (!count) return invalid_value;
  *count = 1;
  return driver().initialised ? success : not_initialized;
}
static int check_device(int device) {
  return !driver().initialised ? not_initialized : device ? invalid_device : success;
}
DRIVER int cuDeviceGet(int* device, int ordinal) {
  if (int e = check_device(ordinal)) return e;
  *device = 0;
  return success;
}
DRIVER int cuDeviceGetName(char* name, int length, int device) {
  if (int e = check_device(device)) return e;
  snprintf(name, (size_t)length, "fovea emulated device (sm_%d)", model().capability);
  return success;
}
DRIVER int cuDeviceTotalMem_v2(size_t* bytes, int device) {
  if (int e = check_device(device)) return e;
  *bytes = config.memory_limit;
  return success;
}
DRIVER int cuDeviceGetUuid_v2(void* uuid, int device) {
  if (int e = check_device(device)) return e;
  memcpy(uuid, "fovea emulated 0", 16);
  return success;
}
DRIVER int cuDeviceGetUuid(void* uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }
DRIVER int cuDeviceGetAttribute(int* value, int attribute, int device) {
  if (int e = check_device(device)) return e;
  if (!value) return invalid_value;
  const DeviceModel& m = model();
  switch (attribute) {
    case 1: *value = 1024; break;  // threads per block
    case 2:
    case 3: *value = 1024; break;  // block dimensions
    case 4: *value = 64; break;
    case 5: *value = 0x7fffffff; break;  // grid dimensions
    case 6:
    case 7: *value = 65535; break;
    case 8: *value = 48 << 10; break;  // shared memory per block
    case 9: *value = 64 << 10; break;  // constant memory
    case 10: *value = 32; break;       // warp size
    case 12:
    case 82: *value = 65536; break;    // registers per block, per multiprocessor
    case 13: *value = 1000000; break;  // clock rate, kHz
    case 15:
    case 31:
    case 41: *value = 1; break;  // overlap, concurrent kernels, unified addressing
    case 16: *value = m.multiprocessors; break;
    case 36: *value = 1000000; break;  // memory clock rate, kHz
    case 37: *value = 5120; break;     // memory bus width
    case 38: *value = m.l2_bytes; break;
    case 39: *value = m.threads_per_multiprocessor; break;
    case 75: *value = m.capability / 10; break;
    case 76: *value = m.capability % 10; break;
    case 81: *value = m.shared_per_multiprocessor; break;
    case 95: *value = 0; break;  // cooperative launch: blocks do not all run at once
    case 97: *value = m.shared_per_block; break;
    case 106: *value = 32; break;                  // blocks per multiprocessor
    case 111: *value = 1 << 10; break;             // reserved shared memory per block
    case 120: *value = m.capability >= 90; break;  // clusters
    default: *value = 0; break;
  }
  return success;
}

// --- contexts
static int create_context(Context** context, int device) {
  if (int e = check_device(device)) return e;
  std::lock_guard<std::recursive_mutex> lock(driver().mutex);
  *context = driver().contexts.make();
  set_current_context(*context);
  return success;
}
DRIVER int cuCtxCreate_v2(Context** context, unsigned, int device) { return create_context(context, device); }
DRIVER int cuCtxCreate_v4(Context** context, void*, unsigned, int device) { return create_context(context, device); }
DRIVER int cuCtxDestroy_v2(Context* context) {
  std::lock_guard<std::recursive_mutex> lock(driver().mutex);
  if (!driver().contexts.find(context)) return invalid_context;
  if (!context->error) drain_all();
  if (current_context() == context) set_current_context(nullptr);
  driver().contexts.destroy(context);
  if (driver().contexts.all().empty() && !driver().primary.retained) release_all();
  return success;
}
DRIVER int cuDevicePrimaryCtxRetain(Context** context, int device) {
  if (int e = check_device(device)) return e;
  driver().primary.retained++;
  *context = &driver().primary;
  return success;
}
static int reset_primary() {
  std::lock_guard<std::recursive_mutex> lock(driver().mutex);
  driver().primary.error = 0;
  driver().null_stream.queue.clear();
  if (driver().contexts.all().empty()) release_all();
  return success;
}
DRIVER int cuDevicePrimaryCtxRelease_v2(int device) {
  if (int e = check_device(device)) return e;
  if (!driver().primary.retained) return invalid_context;
  return --driver().primary.retained ? success : reset_primary();
}
DRIVER int cuDevicePrimaryCtxReset_v2(int device) {
  return check_device(device) ? check_device(device) : reset_primary();
}
DRIVER int cuDevicePrimaryCtxGetState(int device, unsigned* flags, int* active) {
  if (int e = check_device(device)) return e;
  *flags = 0, *active = driver().primary.retained > 0;
  return success;
}
DRIVER int cuDevicePrimaryCtxSetFlags_v2(int device, unsigned) { return check_device(device); }
DRIVER int cuCtxSetCurrent(Context* context) {
  if (!driver().initialised) return not_initialized;
  if (context && context != &driver().primary && !driver().contexts.find(context)) return invalid_context;
  set_current_context(context);
  return success;
}
DRIVER int cuCtxGetCurrent(Context** context) {
  if (!driver().initialised) return not_initialized;
  *context = current_context();
  return success;
}
DRIVER int cuCtxGetDevice(int* device) {
  if (!current_context()) return invalid_context;
  *device = 0;
  return success;
}
DRIVER int cuCtxSynchronize() {
  ENTER_DRIVER;
  return drain_all();
}

// --- errors
static const struct {
  int code;
  const char *name, *text;
} errors[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {209, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {301, "CUDA_ERROR_FILE_NOT_FOUND", "file not found"},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {702, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {709, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {716, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {903, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "capture was not started in this stream"},
};
DRIVER int cuGetErrorName(int code, const char** name) {
  for (const auto& e : errors)
    if (e.code == code) return *name = e.name, success;
  *name = nullptr;
  return invalid_value;
}
DRIVER int cuGetErrorString(int code, const char** text) {
  for (const auto& e : errors)
    if (e.code == code) return *text = e.text, success;
  *text = nullptr;
  return invalid_value;
}

// --- the emulated device's own functions
DRIVER int fovea_emu_set(const char* key, int64_t value) {
  std::lock_guard<std::recursive_mutex> lock(driver().mutex);
  for (const Setting& s : settings) {
    if (strcmp(s.key, key)) continue;
    s.set(value);
    update_watching();
    return 0;
  }
  return 1;
}
DRIVER const char* fovea_emu_counters(void) {
  std::lock_guard<std::recursive_mutex> lock(driver().mutex);
  Driver& d = driver();
  d.counters_text = counters_json(d.last_kernel.c_str(), d.last_counters, true);
  return d.counters_text.c_str();
}
DRIVER const char* fovea_emu_total_counters(void) {
  std::lock_guard<std::recursive_mutex> lock(driver().mutex);
  Driver& d = driver();
  d.total_text = counters_json("", d.total_counters, false);
  return d.total_text.c_str();
}
DRIVER void fovea_emu_name_range(uint64_t address, size_t bytes, const char* name) {
  std::lock_guard<std::recursive_mutex> lock(driver().mutex);
  name_range(address, bytes, name);
}
DRIVER const char* fovea_emu_report(void) { return driver().report.c_str(); }
DRIVER void fovea_emu_reset(void) {
  std::lock_guard<std::recursive_mutex> lock(driver().mutex);
  Driver& d = driver();
  d.primary.error = 0;
  for (Context* c : d.contexts.all()) c->error = 0;
  d.report.clear();
  d.last_counters = d.total_counters = Counters{};
  d.last_kernel.clear();
  d.null_stream.queue.clear();
  forget_ranges();
}
