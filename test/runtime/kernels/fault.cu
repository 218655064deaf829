// Writes far outside of every array.
#include "device/device.cuh"

extern "C" __global__ void fault(float* y, int batch) { st(y + (1ll << 34) + batch, 1.0f); }
DEV_EXPORT(fault)
