/**
 * Motion between the frames of a clip, in pixels (x, y) that what is seen has moved by since the frame before, and the
 * residuals: what the frame before, moved so, does not explain. Both are zero in the first frame.
 */
import {
  combine,
  constant,
  concat,
  deformable,
  entry,
  type Grid,
  grid,
  Module,
  output,
  pointwise,
  system,
} from "fovea";
import { z } from "zod";

type Clip = Grid<"t" | "h" | "w">;
type Sizes = { readonly frames: number; readonly image: readonly [height: number, width: number] };

const Count = z.int().positive();
const Fields = { frames: z.int().min(2).default(8), image: z.tuple([Count, Count]).default([224, 224]) };
const MatchingConfig = z
  .strictObject({
    ...Fields,
    /** Blocks of so many pixels on both axes move as one. */
    block: Count.default(16),
    /** So far a block may have moved on each axis. */
    reach: Count.max(31).default(7),
  })
  .refine(({ image, block }) => image.every((size) => size % block === 0), {
    message: "block does not divide the image",
    path: ["block"],
  });
type MatchingConfig = z.infer<typeof MatchingConfig>;

/**
 * Each block moves to where the sum of absolute differences is least, in grey, among all places inside of the frame
 * before; of several the nearest, so that what stands still has not moved.
 */
class BlockMatching extends Module<MatchingConfig> {
  forward({ clip }: { clip: Clip }) {
    const { block, reach, frames, image } = this.config;
    const [h, w] = image;
    const grey = clip.unpack({ colour: clip.channels }).mean("colour");
    const now = grey
      .slice("t", 1, frames)
      .pack("h")
      .unpack({ Y: h / block, y: block })
      .pack("w")
      .unpack({ X: w / block, x: block });
    const before = this.moved(grey.slice("t", 0, frames - 1));
    const sums = combine(before, [now], (a, b) => Math.abs(a - b)).sum("y", "x");
    const cost = pointwise(sums, (sum, { Y, X, dy, dx }) => {
      const top = Y * block + dy - reach;
      const left = X * block + dx - reach;
      return top >= 0 && left >= 0 && top <= h - block && left <= w - block ? sum : Infinity;
    });
    const best = pointwise(cost, (sum) => -sum).max("dy", "dx");
    // The square of the distance, then 6 bits for each of dy and dx: below 2^24, which float32 holds.
    const places = combine(cost, [best], (sum, most) => (sum === -most ? 1 : 0));
    const nearest = pointwise(places, (is, { dy, dx }) =>
      is === 1 ? -(((dy - reach) ** 2 + (dx - reach) ** 2) * 4096 + dy * 64 + dx) : -Infinity,
    ).max("dy", "dx");
    const x = pointwise(nearest, (code) => reach - (-code % 64));
    const y = pointwise(nearest, (code) => reach - Math.floor((-code % 4096) / 64));
    const blocks = concat([x, y]).rename("Y", "h").rename("X", "w");
    const motion = blocks.expand({ y: block, x: block }).pack("y", "x").unmerge({ h: block, w: block });
    return outputsOf(clip, motion, this.config);
  }

  /** Of each place: the frame at (h + dy - reach, w + dx - reach), zeros outside, cut into blocks. */
  private moved(frame: Clip) {
    const { reach, block, image } = this.config;
    const [h, w] = image;
    const count = 2 * reach + 1;
    const [tall, wide] = [h + 2 * reach, w + 2 * reach];
    // Rows of n + 1 cut from copies of n, end to end, begin one position later each.
    return frame
      .pad({ h: reach, w: reach })
      .expand({ dy: count })
      .pack("dy", "h")
      .unpack({ flat: count * tall })
      .padTo({ flat: count * (tall + 1) })
      .pack("flat")
      .unpack({ dy: count, h: tall + 1 })
      .slice("h", 0, h)
      .expand({ dx: count })
      .pack("dx", "w")
      .unpack({ flat: count * wide })
      .padTo({ flat: count * (wide + 1) })
      .pack("flat")
      .unpack({ dx: count, w: wide + 1 })
      .slice("w", 0, w)
      .pack("h")
      .unpack({ Y: h / block, y: block })
      .pack("w")
      .unpack({ X: w / block, x: block });
  }
}

/** Residuals of motion that is known. */
class Residuals extends Module<Sizes> {
  forward({ clip, motion_vectors }: { clip: Clip; motion_vectors: Clip }) {
    return outputsOf(clip, motion_vectors.slice("t", 1, this.config.frames), this.config);
  }
}

/** `motion` is that of all frames but the first. */
function outputsOf(clip: Clip, motion: Clip, { frames, image: [h, w] }: Sizes) {
  const own = Array.from({ length: h * w }, (_, i) => [i % w, Math.floor(i / w)]);
  const points = motion.mul(-1).add(constant({ h, w }, own));
  const before = clip.slice("t", 0, frames - 1);
  const explained = deformable([before], { points, axes: ["w", "h"], padding: "border" });
  const residuals = clip.slice("t", 1, frames).sub(explained);
  return {
    motion_vectors: output(behindZeros(motion, frames), "b t c h w"),
    residuals: output(behindZeros(residuals, frames), "b t c h w"),
  };
}
const behindZeros = (x: Clip, frames: number) => x.pad({ t: 1 }).slice("t", 0, frames);

const clipOf = ({ frames, image: [h, w] }: Sizes, channels: number) =>
  grid({ t: frames, h, w }, channels, { layout: "b t c h w" });

export default system({
  name: "motion",
  entries: {
    BlockMatching: entry({
      config: MatchingConfig,
      inputs: (config) => ({ clip: clipOf(config, 3) }),
      module: (config) => new BlockMatching(config),
    }),
    Residuals: entry({
      config: z.strictObject(Fields),
      inputs: (config) => ({ clip: clipOf(config, 3), motion_vectors: clipOf(config, 2) }),
      module: (config) => new Residuals(config),
    }),
  },
});
