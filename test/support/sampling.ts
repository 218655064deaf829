/** Sampling by its definition alone: slow, and written without a look at how the evaluator does it. */

/**
 * A map at a position: the sum of all of its pixels, each by how near it is on both axes (a tent of width one). What is
 * not a number is near to nothing, and so is an infinity that no border holds.
 */
export function bilinear(
  pixel: (y: number, x: number) => number,
  [height, width]: readonly [height: number, width: number],
  [y, x]: readonly [y: number, x: number],
  padding: "zeros" | "border",
): number {
  if (Number.isNaN(y) || Number.isNaN(x)) return 0;
  const held = (at: number, size: number): number => (padding === "border" ? Math.min(Math.max(at, 0), size - 1) : at);
  const near = (at: number, to: number): number => Math.max(0, 1 - Math.abs(at - to));
  let sum = 0;
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const weight = near(held(y, height), row) * near(held(x, width), column);
      if (weight > 0) sum += weight * pixel(row, column);
    }
  return sum;
}

/** Shares of the scores, which add up to one; of none where every score is minus infinity. */
export function softmax(scores: readonly number[]): readonly number[] {
  const most = Math.max(...scores);
  if (most === -Infinity) return scores.map(() => 0);
  const exps = scores.map((score) => Math.exp(score - most));
  const sum = exps.reduce((total, each) => total + each, 0);
  return exps.map((each) => each / sum);
}
