import { mulberry32 } from "../../compiler/cli/random.ts";

/** A point in the plane, and which Gaussian it was drawn from. */
type DrawnPoint = { readonly x: number; readonly y: number; readonly component: number };

/** The sets that come with the clustering network: models/dacMixtures/sets, by file. */
export const drawnSets: { readonly [file: string]: readonly DrawnPoint[] } = {
  "1.csv": drawMixture(2, 3),
  "2.csv": drawMixture(5, 4),
  "3.csv": drawMixture(21, 4),
};

/** 200 points of a mixture of Gaussians, no two of which lie close, with shares and deviations of their own. */
function drawMixture(seed: number, components: number): readonly DrawnPoint[] {
  const random = mulberry32(seed);
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
  const gaussians: { readonly x: number; readonly y: number; readonly deviations: readonly [number, number] }[] = [];
  while (gaussians.length < components) {
    const [x, y] = [random.between(-3.5, 3.5), random.between(-3, 3)];
    if (gaussians.some((other) => Math.hypot(other.x - x, other.y - y) < 1.6)) continue;
    gaussians.push({ x, y, deviations: [random.between(0.2, 0.32), random.between(0.2, 0.32)] });
  }
  const shares = gaussians.map(() => random.between(0.5, 1.5));
  return Array.from({ length: 200 }, () => {
    let rest = random.next() * shares.reduce((sum, share) => sum + share, 0);
    const component = shares.findIndex((share) => (rest -= share) < 0);
    const { x, y, deviations } = gaussians[component] ?? { x: 0, y: 0, deviations: [0, 0] };
    return { x: x + deviations[0] * normal(), y: y + deviations[1] * normal(), component };
  });
}

/** As the file has them. */
export const tableOf = (points: readonly DrawnPoint[]): string =>
  ["x,y", ...points.map(({ x, y }) => `${x.toFixed(3)},${y.toFixed(3)}`), ""].join("\n");
