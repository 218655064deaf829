// Numbers as unsigned integers in the same order.
#pragma once
#include "device/device.cuh"

DEV uint32_t order_of(float value) {
  const float plain = value + 0.0f;  // -0 is 0
  uint32_t bits;
  __builtin_memcpy(&bits, &plain, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
DEV uint32_t order_of(int value) { return (uint32_t)value ^ 0x80000000u; }

DEV void in_order(uint32_t order, float& value) {
  const uint32_t bits = order & 0x80000000u ? order & 0x7fffffffu : ~order;
  __builtin_memcpy(&value, &bits, sizeof value);
}
DEV void in_order(uint32_t order, int& value) { value = (int)(order ^ 0x80000000u); }
