// The driver API's objects, as the emulated device keeps them.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "memory.h"
#include "state.h"

#define DRIVER extern "C" __attribute__((visibility("default")))

namespace emu {

/** CUresult values that are used here. */
enum Result {
  success = 0,
  invalid_value = 1,
  out_of_memory = 2,
  not_initialized = 3,
  no_device = 100,
  invalid_device = 101,
  invalid_image = 200,
  invalid_context = 201,
  no_binary_for_gpu = 209,
  file_not_found = 301,
  invalid_handle = 400,
  not_found = 500,
  not_ready = 600,
  primary_context_active = 708,
  context_is_destroyed = 709,
  not_supported = 801,
  capture_unsupported = 900,
  capture_invalidated = 901,
  capture_unmatched = 903,
};

struct Context {
  int error = 0;  // sticky
  bool primary = false;
  int retained = 0;
};
struct Function;
struct Module {
  void* library;
  int file = -1;  // the image, already without a name; kept for its debug information
  std::map<std::string, std::unique_ptr<Function>> functions;
};
struct Function {
  const KernelInfo* kernel;
  Module* module;
  uint32_t dynamic_shared_limit = 48 << 10;
};

/** A kernel launch with its own copy of the parameters. */
struct LaunchRecord {
  Function* function;
  Dim grid, block, cluster;
  uint32_t shared_bytes;
  std::shared_ptr<uint8_t> parameters;
};
/** Work of a stream. Kernels are kept as data, so that graphs can change their parameters. */
struct Operation {
  enum class Kind { kernel, copy, fill, host, event } kind;
  std::shared_ptr<LaunchRecord> launch;
  std::function<int()> run;
};
struct GraphNode {
  Operation operation;
};
struct Graph {
  std::vector<std::shared_ptr<GraphNode>> nodes;
};
struct GraphExec {
  std::vector<Operation> operations;
  std::map<const GraphNode*, size_t> index;
};
struct Stream {
  std::deque<Operation> queue;
  std::shared_ptr<Graph> capture;
  bool capture_origin = false, non_blocking = false;
};
struct Event {
  bool recorded = false, queued = false;
  double time_ms = 0;
  Stream* stream = nullptr;
  std::shared_ptr<Graph> capture;
};

/** Handles that were given out. A pointer that is not among them is refused instead of followed. */
template <class T>
class Handles {
 public:
  template <class... Args>
  T* make(Args&&... args) {
    T* object = new T{std::forward<Args>(args)...};
    live_.insert(object);
    return object;
  }
  T* find(const void* handle) const {
    T* object = (T*)handle;
    return live_.count(object) ? object : nullptr;
  }
  bool destroy(void* handle) {
    if (!live_.erase((T*)handle)) return false;
    delete (T*)handle;
    return true;
  }
  const std::set<T*>& all() const { return live_; }

 private:
  std::set<T*> live_;
};

struct Driver {
  std::recursive_mutex mutex;
  bool initialised = false;
  int capability = 90;
  Context primary{0, true, 0};
  Handles<Context> contexts;
  Handles<Module> modules;
  Handles<Stream> streams;
  Handles<Event> events;
  Handles<Graph> graphs;
  Handles<GraphExec> execs;
  std::set<const void*> functions;
  Stream null_stream;
  std::string report, counters_text, total_text, last_kernel;
  Counters last_counters, total_counters;
};
Driver& driver();
Context* current_context();
void set_current_context(Context* c);

/** Locks the driver and says what stands in the way of a call: 0, or not_initialized, invalid_context, the sticky
 * error. */
class Call {
 public:
  Call() : lock_(driver().mutex) {}
  int check() const;

 private:
  std::lock_guard<std::recursive_mutex> lock_;
};
#define ENTER_DRIVER \
  Call call_;        \
  if (int error_ = call_.check()) return error_

Stream* find_stream(const void* handle);  // null if there is none
/** Queues, captures or performs an operation. Failures of the work itself show at the next synchronisation. */
int submit(Stream* s, Operation operation);
int drain(Stream* s);     // does all that the stream holds
int drain_null_stream();  // and what it waits for: the blocking streams
int drain_all();
int execute_launch(const LaunchRecord& record);
int make_launch(Function* f, Dim grid, Dim block, Dim cluster, uint32_t shared_bytes, void* const* parameters,
                void* const* extra, std::shared_ptr<LaunchRecord>& record);

}  // namespace emu
