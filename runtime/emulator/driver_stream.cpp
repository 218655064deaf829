// Streams, events and graphs. Work is done in the call, or (deferred_streams) when something waits for it, which shows
// programs that forgot to wait.
#include <algorithm>
#include <chrono>

#include "driver.h"

namespace emu {

Stream* find_stream(const void* handle) {
  const auto value = (uintptr_t)handle;
  return value <= 2 ? &driver().null_stream
                    : driver().streams.find(handle);  // 1 and 2: the legacy and the per-thread stream
}
static int perform(const Operation& o) {
  Context* c = current_context();
  if (c && c->error) return c->error;
  const int e = o.launch ? execute_launch(*o.launch) : o.run();
  if (e && c) c->error = e;
  return e;
}
int drain(Stream* s) {
  while (!s->queue.empty()) {
    const Operation o = std::move(s->queue.front());
    s->queue.pop_front();
    if (int e = perform(o)) {
      s->queue.clear();
      return e;
    }
  }
  return current_context() ? current_context()->error : success;
}
int drain_null_stream() {
  for (Stream* s : driver().streams.all())
    if (!s->non_blocking)
      if (int e = drain(s)) return e;
  return drain(&driver().null_stream);
}
int drain_all() {
  for (Stream* s : driver().streams.all())
    if (int e = drain(s)) return e;
  return drain(&driver().null_stream);
}
int submit(Stream* s, Operation o) {
  if (s->capture) {
    s->capture->nodes.push_back(std::make_shared<GraphNode>(GraphNode{std::move(o)}));
    return success;
  }
  if (config.deferred_streams) {
    s->queue.push_back(std::move(o));
    return success;
  }
  perform(o);  // a failure shows at the next synchronisation
  return success;
}
static double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace emu
using namespace emu;

// --- streams
DRIVER int cuStreamCreate(Stream** stream, unsigned flags) {
  ENTER_DRIVER;
  *stream = driver().streams.make();
  (*stream)->non_blocking = flags & 1;
  return success;
}
DRIVER int cuStreamCreateWithPriority(Stream** stream, unsigned flags, int) { return cuStreamCreate(stream, flags); }
DRIVER int cuStreamDestroy_v2(Stream* stream) {
  ENTER_DRIVER;
  if (!driver().streams.find(stream)) return invalid_handle;
  const int e = drain(stream);
  for (Event* event : driver().events.all())
    if (event->stream == stream) event->stream = nullptr;
  driver().streams.destroy(stream);
  return e;
}
DRIVER int cuStreamSynchronize(void* stream) {
  ENTER_DRIVER;
  Stream* s = find_stream(stream);
  if (!s) return invalid_handle;
  if (s->capture) return capture_unsupported;
  return s == &driver().null_stream ? drain_null_stream() : drain(s);
}
DRIVER int cuStreamQuery(void* stream) {
  ENTER_DRIVER;
  Stream* s = find_stream(stream);
  if (!s) return invalid_handle;
  if (s->queue.empty()) return success;
  drain(s);  // so that polling ends
  return not_ready;
}
DRIVER int cuLaunchHostFunc(void* stream, void (*function)(void*), void* data) {
  ENTER_DRIVER;
  Stream* s = find_stream(stream);
  if (!s) return invalid_handle;
  return submit(s, {Operation::Kind::host, nullptr, [=] { return function(data), success; }});
}

// --- events
DRIVER int cuEventCreate(Event** event, unsigned) {
  ENTER_DRIVER;
  *event = driver().events.make();
  return success;
}
DRIVER int cuEventDestroy_v2(Event* event) {
  ENTER_DRIVER;
  return driver().events.destroy(event) ? success : invalid_handle;
}
DRIVER int cuEventRecord(Event* event, void* stream) {
  ENTER_DRIVER;
  Stream* s = find_stream(stream);
  if (!s || !driver().events.find(event)) return invalid_handle;
  event->stream = s, event->capture = s->capture;
  if (s->capture) return success;  // orders captured streams only
  event->recorded = false, event->queued = true;
  return submit(s, {Operation::Kind::event, nullptr, [=] {
                      if (!driver().events.find(event)) return success;
                      event->time_ms = now_ms(), event->recorded = true, event->queued = false;
                      return success;
                    }});
}
static int wait_for(Event* event) { return event->queued && event->stream ? drain(event->stream) : success; }
DRIVER int cuEventSynchronize(Event* event) {
  ENTER_DRIVER;
  return driver().events.find(event) ? wait_for(event) : invalid_handle;
}
DRIVER int cuEventQuery(Event* event) {
  ENTER_DRIVER;
  if (!driver().events.find(event)) return invalid_handle;
  if (!event->queued) return success;
  wait_for(event);
  return not_ready;
}
DRIVER int cuEventElapsedTime(float* ms, Event* from, Event* to) {
  ENTER_DRIVER;
  if (!driver().events.find(from) || !driver().events.find(to)) return invalid_handle;
  if (from->queued || to->queued) return not_ready;
  if (!from->recorded || !to->recorded) return invalid_handle;
  *ms = (float)(to->time_ms - from->time_ms);
  return success;
}
DRIVER int cuEventElapsedTime_v2(float* ms, Event* from, Event* to) { return cuEventElapsedTime(ms, from, to); }
DRIVER int cuStreamWaitEvent(void* stream, Event* event, unsigned) {
  ENTER_DRIVER;
  Stream* s = find_stream(stream);
  if (!s || !driver().events.find(event)) return invalid_handle;
  if (event->capture) {  // the stream joins the capture; nodes keep the order of the calls
    s->capture = event->capture;
    return success;
  }
  return submit(
      s, {Operation::Kind::event, nullptr, [=] { return driver().events.find(event) ? wait_for(event) : success; }});
}

// --- capture and graphs
DRIVER int cuStreamBeginCapture_v2(void* stream, int) {
  ENTER_DRIVER;
  Stream* s = find_stream(stream);
  if (!s) return invalid_handle;
  if (s == &driver().null_stream || s->capture) return capture_unsupported;
  s->capture = std::make_shared<Graph>();
  s->capture_origin = true;
  return success;
}
DRIVER int cuStreamEndCapture(void* stream, Graph** graph) {
  ENTER_DRIVER;
  Stream* s = find_stream(stream);
  if (!s) return invalid_handle;
  if (!s->capture || !s->capture_origin) return capture_unmatched;
  *graph = driver().graphs.make(*s->capture);
  const std::shared_ptr<Graph> capture = s->capture;
  s->capture_origin = false;
  for (Stream* other : driver().streams.all())
    if (other->capture == capture) other->capture = nullptr;
  for (Event* event : driver().events.all())
    if (event->capture == capture) event->capture = nullptr;
  return success;
}
DRIVER int cuStreamIsCapturing(void* stream, int* status) {
  ENTER_DRIVER;
  Stream* s = find_stream(stream);
  if (!s) return invalid_handle;
  *status = s->capture ? 1 : 0;
  return success;
}
DRIVER int cuGraphDestroy(Graph* graph) {
  ENTER_DRIVER;
  return driver().graphs.destroy(graph) ? success : invalid_handle;
}
DRIVER int cuGraphGetNodes(Graph* graph, GraphNode** nodes, size_t* count) {
  ENTER_DRIVER;
  if (!driver().graphs.find(graph)) return invalid_handle;
  if (nodes)
    for (size_t i = 0; i < std::min(*count, graph->nodes.size()); i++) nodes[i] = graph->nodes[i].get();
  *count = graph->nodes.size();
  return success;
}
DRIVER int cuGraphNodeGetType(GraphNode* node, int* type) {
  ENTER_DRIVER;
  switch (node->operation.kind) {
    case Operation::Kind::kernel: *type = 0; break;
    case Operation::Kind::copy: *type = 1; break;
    case Operation::Kind::fill: *type = 2; break;
    case Operation::Kind::host: *type = 3; break;
    case Operation::Kind::event: *type = 5; break;
  }
  return success;
}
DRIVER int cuGraphInstantiateWithFlags(GraphExec** exec, Graph* graph, unsigned long long) {
  ENTER_DRIVER;
  if (!driver().graphs.find(graph)) return invalid_handle;
  *exec = driver().execs.make();
  for (const auto& node : graph->nodes) {
    (*exec)->index[node.get()] = (*exec)->operations.size();
    (*exec)->operations.push_back(node->operation);
  }
  return success;
}
DRIVER int cuGraphLaunch(GraphExec* exec, void* stream) {
  ENTER_DRIVER;
  Stream* s = find_stream(stream);
  if (!s || !driver().execs.find(exec)) return invalid_handle;
  for (const Operation& o : exec->operations)
    if (int e = submit(s, o)) return e;
  return success;
}
DRIVER int cuGraphUpload(GraphExec* exec, void*) {
  ENTER_DRIVER;
  return driver().execs.find(exec) ? success : invalid_handle;
}
DRIVER int cuGraphExecDestroy(GraphExec* exec) {
  ENTER_DRIVER;
  return driver().execs.destroy(exec) ? success : invalid_handle;
}

struct KernelNodeParams {  // CUDA_KERNEL_NODE_PARAMS_v2
  Function* function;
  Dim grid, block;
  unsigned shared_bytes;
  void **parameters, **extra;
  void *kernel, *context;
};
DRIVER int cuGraphKernelNodeGetParams_v2(GraphNode* node, KernelNodeParams* out) {
  ENTER_DRIVER;
  if (!node->operation.launch) return invalid_value;
  const LaunchRecord& r = *node->operation.launch;
  *out = {r.function, r.grid, r.block, r.shared_bytes, nullptr, nullptr, nullptr, nullptr};
  return success;
}
static int replace_launch(Operation& o, const KernelNodeParams* p) {
  if (!o.launch) return invalid_value;
  std::shared_ptr<LaunchRecord> record;
  if (int e = make_launch(p->function, p->grid, p->block, o.launch->cluster, p->shared_bytes, p->parameters, p->extra,
                          record))
    return e;
  o.launch = record;
  return success;
}
DRIVER int cuGraphKernelNodeSetParams_v2(GraphNode* node, const KernelNodeParams* p) {
  ENTER_DRIVER;
  return replace_launch(node->operation, p);
}
DRIVER int cuGraphExecKernelNodeSetParams_v2(GraphExec* exec, GraphNode* node, const KernelNodeParams* p) {
  ENTER_DRIVER;
  if (!driver().execs.find(exec)) return invalid_handle;
  auto it = exec->index.find(node);
  return it == exec->index.end() ? invalid_value : replace_launch(exec->operations[it->second], p);
}
