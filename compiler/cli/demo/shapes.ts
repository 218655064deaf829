/** The shapes of the motion clips, as signed distances in unit coordinates: negative inside, x to the right, y down. */
export type Shape = (typeof shapeNames)[number];
export const shapeNames = [
  "disc",
  "ring",
  "square",
  "triangle",
  "star",
  "cross",
  "letter L",
  "letter F",
  "letter T",
] as const;

type Point = readonly [x: number, y: number];

export function signedDistance(shape: Shape, x: number, y: number): number {
  if (shape === "disc") return Math.sqrt(x * x + y * y) - 0.9;
  if (shape === "ring") return Math.abs(Math.sqrt(x * x + y * y) - 0.7) - 0.22;
  return distanceToPolygon(polygons[shape], x, y);
}

/** Exact, after Inigo Quilez, "2D distance functions". */
function distanceToPolygon(vertices: readonly Point[], x: number, y: number): number {
  let squared = Infinity;
  let inside = false;
  let previous = vertices.at(-1) ?? [0, 0];
  for (const vertex of vertices) {
    const [edgeX, edgeY] = [previous[0] - vertex[0], previous[1] - vertex[1]];
    const [fromX, fromY] = [x - vertex[0], y - vertex[1]];
    const along = Math.min(Math.max((fromX * edgeX + fromY * edgeY) / (edgeX * edgeX + edgeY * edgeY), 0), 1);
    const [missX, missY] = [fromX - along * edgeX, fromY - along * edgeY];
    squared = Math.min(squared, missX * missX + missY * missY);

    const [above, below, left] = [fromY >= 0, y < previous[1], edgeX * fromY > edgeY * fromX];
    if ((above && below && left) || (!above && !below && !left)) inside = !inside;
    previous = vertex;
  }
  return inside ? -Math.sqrt(squared) : Math.sqrt(squared);
}

/** `count` vertices from the top, clockwise on the screen. */
const around = (count: number, radius: (index: number) => number): readonly Point[] =>
  Array.from({ length: count }, (_, index) => {
    const angle = -Math.PI / 2 + (2 * Math.PI * index) / count;
    return [radius(index) * Math.cos(angle), radius(index) * Math.sin(angle)];
  });

const polygons: { readonly [S in Exclude<Shape, "disc" | "ring">]: readonly Point[] } = {
  square: [
    [-0.75, -0.75],
    [0.75, -0.75],
    [0.75, 0.75],
    [-0.75, 0.75],
  ],
  triangle: around(3, () => 1),
  star: around(10, (index) => (index % 2 === 0 ? 1 : 0.45)),
  cross: [
    [-0.32, -0.95],
    [0.32, -0.95],
    [0.32, -0.32],
    [0.95, -0.32],
    [0.95, 0.32],
    [0.32, 0.32],
    [0.32, 0.95],
    [-0.32, 0.95],
    [-0.32, 0.32],
    [-0.95, 0.32],
    [-0.95, -0.32],
    [-0.32, -0.32],
  ],
  "letter L": [
    [-0.6, -0.9],
    [-0.1, -0.9],
    [-0.1, 0.45],
    [0.6, 0.45],
    [0.6, 0.9],
    [-0.6, 0.9],
  ],
  "letter F": [
    [-0.55, -0.9],
    [0.6, -0.9],
    [0.6, -0.5],
    [-0.1, -0.5],
    [-0.1, -0.15],
    [0.4, -0.15],
    [0.4, 0.25],
    [-0.1, 0.25],
    [-0.1, 0.9],
    [-0.55, 0.9],
  ],
  "letter T": [
    [-0.75, -0.9],
    [0.75, -0.9],
    [0.75, -0.45],
    [0.22, -0.45],
    [0.22, 0.9],
    [-0.22, 0.9],
    [-0.22, -0.45],
    [-0.75, -0.45],
  ],
};
