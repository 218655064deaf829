// Device primitives for nvcc: inline PTX for sm_80 to sm_90a. A primitive that a target lacks fails only where a kernel uses it.
#pragma once
#include "cuda/numbers.cuh"
#include "cuda/memory.cuh"
#include "cuda/warp.cuh"
#include "cuda/matrix.cuh"
#include "cuda/async.cuh"
#include "cuda/wgmma.cuh"
