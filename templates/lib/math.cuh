// Functions that printed scalar expressions call. Those named fast_ are for results stored in 16 bits.
#pragma once
#include "device/device.cuh"

// Integers, rounding towards minus infinity; the divisor is not zero.
DEV int floor_div(int a, int b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
DEV int floor_mod(int a, int b) {
  const int rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
DEV int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
DEV int64_t floor_mod(int64_t a, int64_t b) {
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
DEV float floor_mod(float a, float b) {
  const float rest = fmodf(a, b);
  return rest != 0.0f && (rest < 0.0f) != (b < 0.0f) ? rest + b : rest;
}

template <class T> DEV T sign_of(T x) { return (T)((x > (T)0) - (x < (T)0)); }
template <class T> DEV T square(T x) { return x * x; }
template <class T> DEV T cube(T x) { return x * x * x; }
/** Halves go up, as Math.round has it. */
DEV float round_half_up(float x) {
  const float whole = floorf(x);
  return x - whole >= 0.5f ? whole + 1.0f : whole;
}

DEV float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
DEV float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.707106781f)); }

// One multiplication, and the special function unit's exponential.
DEV float fast_exp(float x) { return fast_exp2(x * 1.44269504f); }
DEV float fast_sigmoid(float x) { return fast_rcp(1.0f + fast_exp2(x * -1.44269504f)); }
/**
 * max(x, 0) - |x| exp2(-p(|x|)): p is the polynomial of degree 5 closest to -log2(erfc(|x| / sqrt 2) / 2).
 * Within 1e-6 of the exact GELU everywhere.
 */
DEV float fast_gelu(float x) {
  const float a = fabsf(x);
  float p = 4.881021192e-04f;
  p = fmaf(p, a, -7.198718417e-03f);
  p = fmaf(p, a, 5.214663206e-02f);
  p = fmaf(p, a, 4.595958439e-01f);
  p = fmaf(p, a, 1.151000543e+00f);
  p = fmaf(p, a, 1.0f);
  return fmaf(-a, fast_exp2(-p), fmaxf(x, 0.0f));
}
