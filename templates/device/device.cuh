// Device primitives. Kernels are written against these names only, so that one text runs on a GPU and on the emulated device.
#pragma once
#ifdef FOVEA_EMULATE
#include "emulated.cuh"
#else
#include "cuda.cuh"
#endif
