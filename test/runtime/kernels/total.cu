// total[example] = the sum of hidden over an example's 12 elements; sign[example] = whether it is above `threshold`
#include "device/device.cuh"

constexpr int perExample = 12;

extern "C" __global__ void total(const float* hidden, int batch, const float* threshold, float* total, int* sign) {
  const int example = blockIdx.x * blockDim.x + threadIdx.x;
  if (example >= batch) return;
  float sum = 0;
  for (int i = 0; i < perExample; i++) sum += ld(hidden + example * perExample + i);
  st(total + example, sum);
  st(sign + example, sum > ld(threshold) ? 1 : 0);
}
DEV_EXPORT(total)
