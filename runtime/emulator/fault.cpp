// Wild addresses, stack overflows and endless loops end the launch, not the process. A fault in emulated code continues
// in end_of_fault on a stack of its own; faults elsewhere go to whoever handled them before.
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "access.h"
#include "memory.h"
#include "scheduler.h"

namespace emu {

static constexpr size_t alternate_bytes = 256 << 10;
static struct sigaction previous_segv, previous_bus, previous_fpe, previous_watchdog;
static thread_local uint8_t* alternate_stack = nullptr;
static thread_local uint64_t fault_address, fault_pc;
static thread_local int fault_signal;

static int watchdog_signal() { return SIGRTMIN + 7; }

[[noreturn]] static void end_of_fault() {
  Fiber* f = this_fiber();
  std::string text;
  int error = failure_illegal_address;
  const auto stack = (uint64_t)f->stack;
  if (fault_signal == watchdog_signal())
    text = "endless loop: no synchronisation for the watchdog's time", error = failure_timeout;
  else if (fault_signal == SIGFPE) text = "integer division by zero", error = failure_launch;
  else if (stack && fault_address < stack && fault_address + 8192 > stack)
    text = "stack overflow", error = failure_launch;
  else if (const Block& b = block_of(f); in_shared(b, fault_address))
    text = format("access at shared 0x%llx, outside the block's %u bytes",
                  (unsigned long long)(fault_address - (uint64_t)b.shared), b.shared_bytes);
  else text = describe_address(fault_address);
  std::string where = place_of_code((const void*)(fault_pc + 1));
  if (where.empty() || where.compare(0, 4, "code") == 0) {
    const std::string seen = place(f->site);
    if (!seen.empty()) where += (where.empty() ? "" : ", ") + std::string("after ") + seen;
  }
  record_failure(cluster_of(f), error, text, &block_of(f), f, where);
  leave_cluster(f);
}

static bool continue_in(ucontext_t* context, void (*entry)()) {
  auto top = (uintptr_t)alternate_stack + alternate_bytes - 128;
#if defined(__x86_64__)
  fault_pc = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
  context->uc_mcontext.gregs[REG_RSP] = (greg_t)(top - 8);
  context->uc_mcontext.gregs[REG_RIP] = (greg_t)entry;
  return true;
#elif defined(__aarch64__)
  fault_pc = context->uc_mcontext.pc;
  context->uc_mcontext.sp = top;
  context->uc_mcontext.pc = (uint64_t)entry;
  return true;
#else
  (void)context, (void)entry, (void)top;
  return false;
#endif
}
static const struct sigaction& previous(int signal) {
  return signal == SIGSEGV  ? previous_segv
         : signal == SIGBUS ? previous_bus
         : signal == SIGFPE ? previous_fpe
                            : previous_watchdog;
}

static void on_fault(int signal, siginfo_t* info, void* context) {
  fault_address = (uint64_t)info->si_addr;
  fault_signal = signal;
  if (current && alternate_stack && continue_in((ucontext_t*)context, end_of_fault)) return;
  sigaction(signal, &previous(signal), nullptr);  // not ours: the instruction faults again, into the former handler
}

/** The watchdog interrupts only code of kernel images: the library's own may hold locks. */
static void on_watchdog(int signal, siginfo_t*, void* context) {
  if (!current || !alternate_stack) return;
#if defined(__x86_64__)
  const auto pc = (uint64_t)((ucontext_t*)context)->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
  const auto pc = (uint64_t)((ucontext_t*)context)->uc_mcontext.pc;
#else
  const uint64_t pc = 0;
#endif
  if (!in_kernel_image(pc)) return;
  fault_signal = signal;
  continue_in((ucontext_t*)context, end_of_fault);
}

void install_fault_handlers() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaction(SIGSEGV, &action, &previous_segv);
    sigaction(SIGBUS, &action, &previous_bus);
    sigaction(SIGFPE, &action, &previous_fpe);
    action.sa_sigaction = on_watchdog;
    sigaction(watchdog_signal(), &action, &previous_watchdog);
  });
  if (alternate_stack) return;
  // The upper half is for the code that continues after a fault, the lower for the handler itself.
  auto* memory = (uint8_t*)malloc(alternate_bytes + alternate_bytes / 2);
  stack_t stack{};
  stack.ss_sp = memory, stack.ss_size = alternate_bytes / 2;
  sigaltstack(&stack, nullptr);
  alternate_stack = memory + alternate_bytes / 2;
}

// --- watchdog: one thread looks at all workers a few times a second
namespace {
struct Watched {
  pthread_t thread;
  Cluster* cluster;
  uint64_t progress, since_ms;
};
// Never destroyed: the watching thread outlives main, and looks at them until the process is gone.
std::mutex& watch_mutex = *new std::mutex;
std::vector<Watched>& watched = *new std::vector<Watched>;
bool watching_thread_started = false;

/** CPU time of a thread: a machine that is busy elsewhere does not make a kernel endless. */
uint64_t cpu_ms(pthread_t thread) {
  clockid_t clock;
  timespec t{};
  if (pthread_getcpuclockid(thread, &clock) || clock_gettime(clock, &t)) return 0;
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
void watch() {
  for (;;) {
    usleep(200000);
    std::lock_guard<std::mutex> lock(watch_mutex);
    for (Watched& w : watched) {
      const uint64_t progress = w.cluster->progress.load(std::memory_order_relaxed), now = cpu_ms(w.thread);
      if (progress != w.progress) w.progress = progress, w.since_ms = now;
      else if (config.watchdog_ms && now - w.since_ms > config.watchdog_ms) pthread_kill(w.thread, watchdog_signal());
    }
  }
}
}  // namespace

void watchdog_enter(Cluster& c) {
  c.progress.store(c.progress.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  static thread_local bool known = false;
  if (known) return;
  known = true;
  std::lock_guard<std::mutex> lock(watch_mutex);
  watched.push_back({pthread_self(), &c, 0, 0});
  if (!watching_thread_started) std::thread(watch).detach();
  watching_thread_started = true;
}
void watchdog_leave() {}

}  // namespace emu
