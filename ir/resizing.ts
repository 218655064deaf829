/**
 * How a parameter is made from a published one of another size, as the model's authors do it: its rows, which are the
 * extent before the channels, are read as a grid after `leading` rows that stay as they are.
 */
export type Resizing = {
  /** Cubic convolution with a = -3/4 of height and width, sampled at pixel centres; or the element at floor(i * in / out). */
  readonly mode: "bicubic" | "nearest";
  /** Extents of the grid, the last two its height and width where there are several. */
  readonly grid: readonly number[];
  readonly leading: number;
};

/** Where along an axis an element of the result comes from: elements, and their weights. */
export type Taps = { readonly index: readonly (readonly number[])[]; readonly weights: readonly (readonly number[])[] };

/** Cubic convolution from `from` elements to `to`, at pixel centres; beyond the border its element stands. */
export const bicubicTaps = (from: number, to: number): Taps => {
  const positions = Array.from({ length: to }, (_, at) => ((at + 0.5) * from) / to - 0.5);
  return {
    index: positions.map((at) => cubicSteps.map((step) => Math.min(from - 1, Math.max(0, Math.floor(at) + step)))),
    weights: positions.map((at) => cubicSteps.map((step) => cubicWeight(at - Math.floor(at) - step))),
  };
};

export const nearestTaps = (from: number, to: number): Taps => ({
  index: Array.from({ length: to }, (_, at) => [Math.floor((at * from) / to)]),
  weights: Array.from({ length: to }, () => [1]),
});

/** The elements that cubic convolution reads, from the one at or below a position. */
export const cubicSteps: readonly number[] = [-1, 0, 1, 2];

/** The weight of an element so far away: Keys, Cubic convolution interpolation (1981), with a = -3/4. */
export const cubicWeight = (away: number): number => {
  const a = -0.75;
  const distance = Math.abs(away);
  if (distance <= 1) return ((a + 2) * distance - (a + 3)) * distance * distance + 1;
  return distance < 2 ? ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a : 0;
};
