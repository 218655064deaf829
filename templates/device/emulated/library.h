// What kernels use of the C and C++ libraries. Declared here: the C++ library's headers take a compiler longer than a
// kernel does.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

extern "C" {
int abs(int) noexcept;
long long llabs(long long) noexcept;
float fabsf(float) noexcept;
float copysignf(float, float) noexcept;
float floorf(float) noexcept;
float ceilf(float) noexcept;
float nearbyintf(float) noexcept;
float fminf(float, float) noexcept;
float fmaxf(float, float) noexcept;
float fmaf(float, float, float) noexcept;
float fmodf(float, float) noexcept;
float sqrtf(float) noexcept;
float powf(float, float) noexcept;
float expf(float) noexcept;
float logf(float) noexcept;
float log2f(float) noexcept;
float sinf(float) noexcept;
float cosf(float) noexcept;
float tanhf(float) noexcept;
float erff(float) noexcept;
}
#ifndef INFINITY
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#endif
