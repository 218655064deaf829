// Number formats: what each conversion gives, for the test to compare with the definition.
#include "device/device.cuh"

extern "C" __global__ void narrow(const float* x, uint16_t* as_bf16, uint16_t* as_f16, uint32_t* as_tf32,
                                  uint32_t* pairs, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float v = ld(x + i);
  st(as_bf16 + i, f32_to_bf16(v).u);
  st(as_f16 + i, f32_to_f16(v).u);
  st(as_tf32 + i, f32_to_tf32(v));
  st(pairs + 2 * i, pack2<bf16>(v, -v));
  st(pairs + 2 * i + 1, pack2<f16>(v, -v));
}
extern "C" __global__ void widen(float* of_bf16, float* of_f16) {  // 65536 threads: every value
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  st(of_bf16 + i, to_f32(bf16{(uint16_t)i}));
  st(of_f16 + i, unpack2<f16>(i << 16).y);
}
extern "C" __global__ void approximate(const float* x, float* exp2s, float* reciprocals, float* tanhs, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float v = ld(x + i);
  st(exp2s + i, fast_exp2(v));
  st(reciprocals + i, fast_rcp(v));
  st(tanhs + i, fast_tanh(v));
}
DEV_EXPORT(narrow)
DEV_EXPORT(widen)
DEV_EXPORT(approximate)
