const limit = 8;
export function bucket(distance: number): number {
  return Math.min(Math.abs(distance), limit);
}
export const signedBucket = (distance: number): number => (distance < 0 ? -bucket(distance) : bucket(distance));
export const factorial = (n: number): number => (n <= 1 ? 1 : n * factorial(n - 1));
export const summed = (n: number): number => {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += i;
  return sum;
};
export class Holder {
  slope = 2;
  bend(x: number): number {
    return x * this.slope;
  }
}
