import { describe, expect, test } from "vitest";
import motion from "../../models/motion.ts";
import { runPasses } from "../../compiler/passes/pipeline.ts";
import { lower } from "../../compiler/schedule/lower/lower.ts";
import { evaluate } from "../../ir/evaluate.ts";
import { normal } from "../kernels/testData.ts";
import { deviceErrors } from "../support/agreement.ts";
import { refusalOf } from "../support/trace.ts";

const [frames, h, w, block, reach] = [4, 24, 32, 8, 3] as const;
const config = { frames, image: [h, w], block, reach };
const traced = motion.trace({ entry: "BlockMatching", config });
const matched = (clip: Float64Array) => {
  const { outputs } = evaluate(traced, { batch: 1, inputs: { clip }, parameters: {} });
  return { vectors: outputs["motion_vectors"] ?? [], residuals: outputs["residuals"] ?? [] };
};

/** A texture that moves by (x, y) from each frame to the next. */
const texture = normal(3, 128 * 128);
const moving = (x: number, y: number): Float64Array =>
  Float64Array.from({ length: frames * 3 * h * w }, (_, i) => {
    const [t, colour, row, column] = [
      Math.floor(i / (3 * h * w)),
      Math.floor(i / (h * w)) % 3,
      Math.floor(i / w) % h,
      i % w,
    ];
    return (texture[(50 + row - t * y) * 128 + 50 + column - t * x] ?? Number.NaN) + colour;
  });
const at = (array: ArrayLike<number>, t: number, c: number, channels: number, y: number, x: number): number =>
  array[((t * channels + c) * h + y) * w + x] ?? Number.NaN;

describe("block matching", () => {
  test.each([
    [0, 0],
    [1, 0],
    [-3, 2],
    [2, -3],
  ])("finds that everything has moved by (%i, %i), but where it came in from outside", (x, y) => {
    const { vectors, residuals } = matched(moving(x, y));
    for (let t = 0; t < frames; t++)
      for (let row = 0; row < h; row++)
        for (let column = 0; column < w; column++) {
          const [top, left] = [row - (row % block) - y, column - (column % block) - x];
          if (t > 0 && (top < 0 || left < 0 || top > h - block || left > w - block)) continue;
          const moved = t === 0 ? [0, 0] : [x, y];
          expect([at(vectors, t, 0, 2, row, column), at(vectors, t, 1, 2, row, column)]).toEqual(moved);
          for (const colour of [0, 1, 2])
            expect(Math.abs(at(residuals, t, colour, 3, row, column))).toBeLessThan(1e-14);
        }
  });

  test("finds the least sum of differences of any clip, by looking at all of them", () => {
    const clip = normal(7, frames * 3 * h * w).map((value) => Math.round(2 * value));
    const { vectors, residuals } = matched(clip);
    const grey = (t: number, y: number, x: number): number =>
      [0, 1, 2].reduce((sum, colour) => sum + at(clip, t, colour, 3, y, x), 0) / 3;
    for (let t = 1; t < frames; t++)
      for (let top = 0; top < h; top += block)
        for (let left = 0; left < w; left += block) {
          let best = { cost: Infinity, distance: Infinity, y: 0, x: 0 };
          for (let y = -reach; y <= reach; y++)
            for (let x = -reach; x <= reach; x++) {
              if (top + y < 0 || left + x < 0 || top + y > h - block || left + x > w - block) continue;
              let cost = 0;
              for (let i = 0; i < block ** 2; i++) {
                const [row, column] = [top + Math.floor(i / block), left + (i % block)];
                cost += Math.abs(grey(t, row, column) - grey(t - 1, row + y, column + x));
              }
              const distance = y * y + x * x;
              if (cost < best.cost - 1e-9 || (Math.abs(cost - best.cost) < 1e-9 && distance < best.distance))
                best = { cost, distance, y, x };
            }
          const [vx, vy] = [at(vectors, t, 0, 2, top, left), at(vectors, t, 1, 2, top, left)];
          expect([best.x + vx, best.y + vy]).toEqual([0, 0]);
          const left0 = at(clip, t, 1, 3, top, left) - at(clip, t - 1, 1, 3, top + best.y, left + best.x);
          expect(at(residuals, t, 1, 3, top, left)).toBeCloseTo(left0, 12);
        }
  });

  test("is on the device what the evaluator computes", async () => {
    for (const [name, error] of await deviceErrors(traced, { precision: "f32", keep: false, batch: 2 }))
      expect({ name, error }).toSatisfy(() => error < 1e-6);
  });

  test("never stores the differences that it sums", () => {
    const { graph } = runPasses(motion.trace({ entry: "BlockMatching" }));
    const elements = lower(graph, "f32").launches.flatMap(({ kernel }) =>
      kernel.operands.map(({ exampleSize }) => exampleSize),
    );
    // The largest array is the clip; sums there are for each block of each frame, 15 x 15.
    expect(Math.max(...elements)).toBe(8 * 224 * 224 * 3);
  });

  test("refuses blocks that do not tile the image, and places too far to be numbered", () => {
    const refused = (more: object) =>
      refusalOf(() => motion.trace({ entry: "BlockMatching", config: { ...config, ...more } }));
    expect(refused({ block: 10 })).toMatch(/config.block: block does not divide the image/);
    expect(refused({ reach: 32 })).toMatch(/config.reach/);
  });
});

test("residuals of known motion are what it leaves, borders repeated", () => {
  const graph = motion.trace({ entry: "Residuals", config: { frames, image: [h, w] } });
  const clip = moving(2, 0);
  const motion_vectors = Float64Array.from({ length: frames * 2 * h * w }, (_, i) =>
    Math.floor(i / (h * w)) % 2 === 0 ? 1.5 : 0,
  );
  const { residuals = [] } = evaluate(graph, { batch: 1, inputs: { clip, motion_vectors }, parameters: {} }).outputs;
  const before = (x: number): number => at(clip, 1, 2, 3, 5, Math.max(0, x));
  for (const x of [0, 1, 2, 20]) {
    const explained = x < 2 ? before(0) : (before(x - 2) + before(x - 1)) / 2;
    expect(at(residuals, 2, 2, 3, 5, x)).toBeCloseTo(at(clip, 2, 2, 3, 5, x) - explained, 12);
  }
});
