/** Sampling by its definition alone: slow, and written without a look at how the evaluator does it. */

export type Share = { readonly row: number; readonly column: number; readonly weight: number };

/**
 * What a position takes of each pixel of a map, by how near it is on both axes (a tent of width one). What is not a
 * number is near to nothing, and so is an infinity that no border holds.
 */
export function shares(
  [height, width]: readonly [height: number, width: number],
  [y, x]: readonly [y: number, x: number],
  padding: "zeros" | "border",
): readonly Share[] {
  if (Number.isNaN(y) || Number.isNaN(x)) return [];
  const held = (at: number, size: number): number => (padding === "border" ? Math.min(Math.max(at, 0), size - 1) : at);
  const near = (at: number, to: number): number => Math.max(0, 1 - Math.abs(at - to));
  return Array.from({ length: height * width }, (_, pixel) => {
    const [row, column] = [Math.floor(pixel / width), pixel % width];
    return { row, column, weight: near(held(y, height), row) * near(held(x, width), column) };
  }).filter(({ weight }) => weight > 0);
}

/** A map at a position. */
export const bilinear = (
  pixel: (y: number, x: number) => number,
  size: readonly [height: number, width: number],
  at: readonly [y: number, x: number],
  padding: "zeros" | "border",
): number => shares(size, at, padding).reduce((sum, { row, column, weight }) => sum + weight * pixel(row, column), 0);

/** Shares of the scores, which add up to one; of none where every score is minus infinity. */
export function softmax(scores: readonly number[]): readonly number[] {
  const most = Math.max(...scores);
  if (most === -Infinity) return scores.map(() => 0);
  const exps = scores.map((score) => Math.exp(score - most));
  const sum = exps.reduce((total, each) => total + each, 0);
  return exps.map((each) => each / sum);
}
