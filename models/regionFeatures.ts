/** What a feature map holds in boxes, and a query made of it (arXiv 1703.06870, arXiv 1504.08083, arXiv 1812.02707). */
import { combine, concat, deformable, full, type Grid, Linear, maxPool, Module, pointwise } from "fovea";
import { z } from "zod";

/** One map, or one for each of several images. */
export type Features = Grid<"h" | "w"> | Grid<"s" | "h" | "w">;
/** Features of each box's cells. */
export type Cells = Grid<"r" | "y" | "x">;

const count = z.int().positive();
export const RoiConfig = z.strictObject({
  roi_op: z.enum(["roi_align", "roi_pool"]).default("roi_align"),
  /** Cells along each side of a box. */
  roi_out: count.multipleOf(2).default(14),
  /** Samples along each side of a cell. */
  sampling_ratio: count.default(2),
  /** Whether pixels are squares about their centres: boxes then move by half a pixel, and may be smaller than one. */
  aligned: z.boolean().default(false),
  spatial_scale: z
    .number()
    .positive()
    .default(1 / 16),
});
export type RoiConfig = z.infer<typeof RoiConfig>;
/** Corners of the boxes in pixels of the image, and, of several images, the number of each one's. */
export type Regions = { readonly boxes: Grid<"r">; readonly image?: Grid<"r"> };

export const regionFeatures = (map: Features, regions: Regions, config: RoiConfig): Cells =>
  config.roi_op === "roi_align" ? align(map, regions, config) : pool(map, regions, config);

/** The mean of bilinear samples in each cell; what lies more than a pixel outside is zero. */
function align(map: Features, { boxes, image }: Regions, config: RoiConfig): Cells {
  const { roi_out, sampling_ratio, aligned, spatial_scale } = config;
  const offset = aligned ? 0.5 : 0;
  const least = aligned ? -Infinity : 1;
  const [x1, y1, x2, y2] = pointwise(boxes, (corner) => corner * spatial_scale - offset).split(4);
  const cell = (start: Grid<"r">, end: Grid<"r">) =>
    combine(end, [start], (to, from) => Math.max(to - from, least) / roi_out);
  const samples = { y: roi_out, x: roi_out, i: sampling_ratio, j: sampling_ratio };
  const ys = pointwise(cell(y1, y2).expand(samples), (size, at) => size * (at.y + (at.i + 0.5) / sampling_ratio)).add(
    y1,
  );
  const xs = pointwise(cell(x1, x2).expand(samples), (size, at) => size * (at.x + (at.j + 0.5) / sampling_ratio)).add(
    x1,
  );
  const [height, width] = [map.extent("h"), map.extent("w")];
  const share = 1 / sampling_ratio ** 2;
  const weights = combine(ys, [xs], (y, x) => (y < -1 || y > height || x < -1 || x > width ? 0 : share));
  const options = { axes: ["h", "w"], padding: "border", normalize: "none" } as const;
  if (image === undefined)
    return deformable([map], { ...options, points: concat([ys, xs]), weights, over: ["i", "j"] });
  // Each box reads its own image: all others weigh nothing.
  const own = isOwn(image, map as Images);
  const points = concat([ys, xs]).expand({ s: own.extent("s") });
  const ofImages = combine(own.expand(samples), [weights], (is, weight) => is * weight);
  return deformable([map], { ...options, points, weights: ofImages, over: ["s", "i", "j"] });
}

/** The largest of the whole pixels in each cell, zero where there is none. */
function pool(map: Features, { boxes, image }: Regions, { roi_out, spatial_scale }: RoiConfig): Cells {
  const corners = pointwise(boxes, (corner) => {
    const x = corner * spatial_scale;
    return x < 0 ? -Math.floor(0.5 - x) : Math.floor(x + 0.5);
  });
  const [x1, y1, x2, y2] = corners.split(4);
  const [h, w] = [map.extent("h"), map.extent("w")];
  /** Along one side: whether a pixel is in a cell. */
  const isIn = (start: Grid<"r">, end: Grid<"r">, pixels: number) => {
    const size = combine(end, [start], (to, from) => Math.max(to - from + 1, 1) / roi_out);
    const cells = size.expand({ pixel: pixels, cell: roi_out });
    const from = pointwise(cells, (each, at) => Math.floor(at.cell * each)).add(start);
    const to = pointwise(cells, (each, at) => Math.ceil((at.cell + 1) * each)).add(start);
    const isBehind = pointwise(from, (first, at) => (at.pixel >= first ? 1 : 0));
    return isBehind.mul(pointwise(to, (after, at) => (at.pixel < after ? 1 : 0)));
  };
  const down = isIn(y1, y2, h).rename("pixel", "h").rename("cell", "y");
  const right = isIn(x1, x2, w).rename("pixel", "w").rename("cell", "x");
  const everywhere = full({ y: roi_out, x: roi_out, r: boxes.extent("r"), h, w }, 1);
  const inside = everywhere.mul(down).mul(right);
  if (image === undefined) return nothing(largest(inside, map).max("h", "w"));
  const own = isOwn(image, map as Images);
  const ofImages = combine(inside.expand({ s: own.extent("s") }), [own], (there, is) => there * is);
  return nothing(largest(ofImages, map).max("s", "h", "w"));
}
const largest = <A extends string>(inside: Grid<A>, map: Features): Grid<A> =>
  combine(inside, [map], (is, value) => (is === 1 ? value : -Infinity));
const nothing = (most: Cells): Cells => pointwise(most, (x) => (x === -Infinity ? 0 : x));

type Images = Grid<"s" | "h" | "w">;
/** 1 at the image that a box is of. */
const isOwn = (image: Grid<"r">, map: Images): Grid<"s" | "r"> =>
  pointwise(image.expand({ s: map.extent("s") }), (number, at) => (at.s === number ? 1 : 0));

export const QueryConfig = RoiConfig.extend({
  /** Channels of a query. */
  d: count.default(128),
  /** One query of all cells in their places, by few channels each, or of their mean. */
  qpr: z.enum(["highres", "lowres"]).default("highres"),
  qpr_reduce: count.default(32),
});
export type QueryConfig = z.infer<typeof QueryConfig>;

/** A box's query (section 3.2, "QPr"), and what it is made of. */
export class RegionQuery extends Module<QueryConfig> {
  reduce = this.config.qpr === "highres" ? new Linear(this.config.qpr_reduce) : undefined;
  linear = new Linear(this.config.d);

  /** `other` reads the regions in another way. */
  forward(map: Features, regions: Regions, other: Partial<RoiConfig> = {}) {
    const roi = regionFeatures(map, regions, { ...this.config, ...other });
    const pooled = maxPool({ size: { y: 2, x: 2 } })(roi);
    if (this.reduce === undefined) return { roi, pooled, query: this.linear(pooled.mean("y", "x")) };
    const reduced = this.reduce(pooled);
    return { roi, pooled, reduced, query: this.linear(reduced.pack("y", "x")) };
  }
}
