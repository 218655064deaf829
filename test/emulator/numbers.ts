// The 16-bit formats by their definitions, and random numbers from a seed.
const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);
export const bitsOf = (x: number): number => {
  f32[0] = x;
  return u32[0] ?? 0;
};
const floatOf = (bits: number): number => {
  u32[0] = bits;
  return f32[0] ?? 0;
};

/** What a format of 5 or 8 exponent bits and `fraction` fraction bits makes of a float32, to nearest even. */
const toFormat = (x: number, fraction: number, exponent: 5 | 8): number => {
  const sign = bitsOf(x) >>> 31 ? 1 << 15 : 0;
  if (Number.isNaN(x)) return 0x7fff;
  const bias = 2 ** (exponent - 1) - 1;
  const infinity = (2 ** exponent - 1) * 2 ** fraction;
  const magnitude = Math.abs(x);
  if (magnitude === Infinity) return sign | infinity;
  if (magnitude === 0) return sign;
  const e = Math.max(Math.floor(Math.log2(magnitude)), 1 - bias);
  const scaled = magnitude / 2 ** (e - fraction); // exact: a division by a power of two
  const below = Math.floor(scaled);
  const rest = scaled - below;
  const rounded = below + (rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? 1 : 0);
  return sign | Math.min((e + bias - 1) * 2 ** fraction + rounded, infinity);
};
export const toBf16 = (x: number): number => toFormat(x, 7, 8);
export const toF16 = (x: number): number => toFormat(x, 10, 5);
export const fromBf16 = (bits: number): number => floatOf((bits << 16) >>> 0);
export const fromF16 = (bits: number): number => {
  const sign = bits & 0x8000 ? -1 : 1;
  const e = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (e === 31) return fraction ? NaN : sign * Infinity;
  return sign * (e ? (1 + fraction / 1024) * 2 ** (e - 15) : (fraction / 1024) * 2 ** -14);
};

/** Uniform in [-1, 1), the same on every machine. */
export const randomNumbers = (seed: number, count: number): Float32Array => {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 2 ** 23 - 1;
  });
};
