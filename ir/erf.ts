/**
 * The error function to double precision: near zero the series without cancellation
 * 2/sqrt(pi) exp(-x^2) sum of 2^n x^(2n+1) / (2n+1)!!, further out the continued fraction of erfc.
 * (Abramowitz and Stegun, 7.1.6 and 7.1.14.)
 */
export const erf = (x: number): number => {
  const size = Math.abs(x);
  if (!(size < 6)) return Number.isNaN(x) ? x : Math.sign(x);
  const value = size < 2 ? series(size) : 1 - complement(size);
  return x < 0 ? -value : value;
};

const series = (x: number): number => {
  const square = x * x;
  // As many terms as leave less than a unit in the last place: 12 near zero, 40 at 2.
  const terms = 12 + Math.ceil(14 * x);
  let sum = 0;
  for (let n = terms; n > 0; n--) sum = ((1 + sum) * 2 * square) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-square) * x * (1 + sum);
};

/** erfc = exp(-x^2) / sqrt(pi) * 1 / (x + (1/2) / (x + 1 / (x + (3/2) / (x + ...)))). */
const fractionTerms = 60;
const complement = (x: number): number => {
  let tail = x;
  for (let n = fractionTerms; n > 0; n--) tail = x + n / 2 / tail;
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * tail);
};
