// Runs a launch: blocks (or clusters) are handed out to a pool of worker threads.
#include <time.h>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "access.h"
#include "scheduler.h"

namespace emu {

namespace {
/** Threads that live as long as the process; a job runs on the first `wanted` of them. */
class Pool {
 public:
  void run(int wanted, const std::function<void()>& job) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (count_ < wanted) start_thread();
    job_ = &job, left_ = wanted_ = wanted;
    generation_++;
    ready_.notify_all();
    done_.wait(lock, [&] { return left_ == 0; });
  }

 private:
  void start_thread() {
    const int index = count_++;
    std::thread([this, index, seen = generation_]() mutable {
      std::unique_lock<std::mutex> lock(mutex_);
      for (;;) {
        ready_.wait(lock, [&] { return generation_ != seen; });
        seen = generation_;
        if (index >= wanted_) continue;
        const auto* job = job_;
        lock.unlock();
        (*job)();
        lock.lock();
        if (--left_ == 0) done_.notify_all();
      }
    }).detach();
  }
  std::mutex mutex_;
  std::condition_variable ready_, done_;
  const std::function<void()>* job_ = nullptr;
  uint64_t generation_ = 0;
  int count_ = 0, wanted_ = 0, left_ = 0;
};
Pool& pool() {
  static Pool* p = new Pool;  // never destroyed: its threads outlive main
  return *p;
}
uint64_t thread_ns() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}
}  // namespace

int run_grid(const Launch& launch, std::string& report, Counters& counters) {
  const Dim g = launch.grid, k = launch.cluster;
  const uint64_t clusters = (uint64_t)(g.x / k.x) * (g.y / k.y) * (g.z / k.z);
  int workers = config.workers > 0 ? config.workers : (int)std::thread::hardware_concurrency();
  if (workers < 1) workers = 1;
  if ((uint64_t)workers > clusters) workers = (int)clusters;
  std::atomic<uint64_t> next{0};
  std::atomic<int> error{0};
  std::mutex mutex;
  begin_counting(launch);
  const std::function<void()> job = [&] {
    Cluster& c = enter_worker().cluster;
    install_fault_handlers();
    const uint64_t start = thread_ns();
    c.counters = Counters{};
    for (uint64_t i; !error && (i = next++) < clusters;) {
      run_cluster(launch, i);
      if (!c.error) continue;
      std::lock_guard<std::mutex> lock(mutex);
      if (!error) error = c.error, report = c.report;
    }
    c.counters.cpu_ns = thread_ns() - start;
    std::lock_guard<std::mutex> lock(mutex);
    counters.add(c.counters);
  };
  pool().run(workers, job);
  return error;
}

}  // namespace emu
