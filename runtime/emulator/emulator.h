// The emulated device: a library with the symbols of the CUDA driver API, whose kernels run on the host.
//
// Build, from the repository's root (no CUDA header or library is needed):
//
//   g++ -std=c++17 -O2 -fPIC -shared -pthread -ffp-contract=off runtime/emulator/*.cpp -ldl
//     -Wl,-soname,libcuda_emulated.so -Wl,-Bsymbolic-functions -o libcuda_emulated.so
//
// A kernel image is a shared object made from the same .cu text that nvcc compiles:
//
//   g++ -std=c++17 -O1 -g -fPIC -shared -ffp-contract=off -w -x c++ -DFOVEA_EMULATE -I templates kernel.cu -o kernel.so
//
// Its symbols are resolved against the library that loads it. -g is optional: with it, reports of wild addresses name a
// line. Race checks see the accesses that go through primitives (ld, st, lds, sts, ldmatrix, cp.async...). To see plain
// indexing too, compile with -fsanitize=thread in two steps, so that the compiler's own runtime is not linked:
//
//   g++ ... -fsanitize=thread -c kernel.cu -o kernel.o && g++ -shared kernel.o -o kernel.so
//
// After a kernel fails, the context stays broken, as on a GPU, until it is destroyed or reset; the process survives.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Changes a setting; 0, or 1 if there is no such key. Each may also be given as an environment variable, FOVEA_EMU_ and
 * the key in capitals, which cuInit reads.
 *
 *   counters       1: count accesses and traffic (2 to 10 times slower)
 *   races          1: report shared-memory races, and asynchronous reads of what no proxy fence orders (5 times slower)
 *   uninitialised  1: report reads of device memory that nobody wrote; for memory allocated from then on
 *   bounds         1: check every announced access exactly. Without it, only accesses beyond the guard page behind each
 *                  allocation (at most 255 bytes further) are caught
 *   seed           0: threads and copies run in a fixed order. Otherwise they are shuffled: run several seeds
 *   workers        threads that run blocks; 0: one per core
 *   memory_limit   bytes of device memory (16 GiB, or half of the machine's memory if that is less)
 *   late_copies    1: asynchronous copies happen at the wait; 0: at once
 *   poison         1: memory starts as 0xFF bytes, which are NaN
 *   deferred_streams  1: work is done when something waits for it; 0: at once, in the call
 *   spin_ms        how long a busy wait may last without progress (3000)
 *   watchdog_ms    processor time without synchronisation after which a thread counts as endless (20000); 0: never
 *   capability     compute capability times ten of the device that is played: 80, 86, 89 or 90 (90)
 */
int fovea_emu_set(const char* key, int64_t value);

/** What the last launch did, as JSON. Valid until the next call. Traffic is counted only in the counters mode. */
const char* fovea_emu_counters(void);

/** The same, summed over all launches since the last reset. Without the buffers. */
const char* fovea_emu_total_counters(void);

/** Names a range of device memory, whose traffic fovea_emu_counters then lists apart. */
void fovea_emu_name_range(uint64_t address, size_t bytes, const char* name);

/** The last error's full text: which kernel, block, thread and line, and for a deadlock who waits for what. */
const char* fovea_emu_report(void);

/** Forgets the last error, counters and named ranges, and mends the context. Memory and modules stay. */
void fovea_emu_reset(void);

#ifdef __cplusplus
}
#endif
