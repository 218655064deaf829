// Device primitives for the host compiler: same names and meanings as cuda.cuh, executed by the emulated device's library.
#pragma once
#include "emulated/interface.h"
#include "emulated/language.cuh"
#include "emulated/numbers.cuh"
#include "emulated/memory.cuh"
#include "emulated/warp.cuh"
#include "emulated/matrix.cuh"
#include "emulated/async.cuh"
#include "emulated/wgmma.cuh"
#include "emulated/export.cuh"
