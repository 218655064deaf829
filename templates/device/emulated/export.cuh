// DEV_EXPORT(kernel) tells the library how to call a kernel; parameter sizes and offsets follow from its type.
#pragma once
namespace emu {
// Internal: images of kernels that share a name and differ in their parameters would otherwise share these arrays.
namespace {
template <auto Kernel>
struct Export;
template <class... P, void (*Kernel)(P...)>
struct Export<Kernel> {
  struct Call {
    Call(const P&... arguments) { Kernel(arguments...); }
  };
  // In braces, arguments are evaluated from left to right.
  static void run(void* const* p) {
    size_t i = 0;
    Call{*(const P*)p[i++]...};
  }
  static constexpr uint32_t sizes[] = {(uint32_t)sizeof(P)..., 0};
  struct Offsets {
    uint32_t of[sizeof...(P) + 1];
  };
  static constexpr Offsets layout() {
    Offsets offsets{};
    uint32_t end = 0, i = 0;
    ((end = (uint32_t)((end + alignof(P) - 1) / alignof(P) * alignof(P)), offsets.of[i++] = end,
      end += (uint32_t)sizeof(P)),
     ...);
    offsets.of[i] = end;
    return offsets;
  }
  static constexpr Offsets offsets = layout();
};
}  // namespace
}  // namespace emu
#define DEV_EXPORT(kernel)                                                                                            \
  extern "C" __attribute__((visibility("default")))                                                                   \
  const emu::KernelInfo emu_kernel_##kernel{emu::interface_version,      #kernel,                                     \
                                            emu::Export<&kernel>::run,   sizeof(emu::Export<&kernel>::sizes) / 4 - 1, \
                                            emu::Export<&kernel>::sizes, emu::Export<&kernel>::offsets.of};
