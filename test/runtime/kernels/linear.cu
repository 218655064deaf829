// hidden[row, n] = x[row, :] . weight[n, :] + bias[n];  x: [rows, 5], weight: [4, 5], hidden: [rows, 4], rows = 3 * batch
#include "device/device.cuh"

constexpr int inner = 5, columns = 4, rowsPerExample = 3;

extern "C" __global__ void linear(const float* x, const float* weight, const float* bias, float* hidden, int batch) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= batch * rowsPerExample * columns) return;
  const int row = at / columns, n = at % columns;
  float sum = ld(bias + n);
  for (int k = 0; k < inner; k++) sum += ld(x + row * inner + k) * ld(weight + n * inner + k);
  st(hidden + at, sum);
}
DEV_EXPORT(linear)
