/**
 * What becomes of the maps of Panoptic-DeepLab (arXiv 1911.10194, section 3.3; get_panoptic_segmentation of the published
 * code): centres of instances, the pixels of each, and one map of numbers that say class and instance.
 */
import {
  combine,
  concat,
  constant,
  full,
  type Grid,
  grid,
  keep,
  maxPool,
  Module,
  output,
  pointwise,
  round,
} from "fovea";
import { z } from "zod";

type Map = Grid<"h" | "w">;

const count = z.int().positive();
export const PostProcessingConfig = z.strictObject({
  /** Classes whose instances are told apart. */
  thing_list: z.array(z.int().nonnegative()),
  label_divisor: z.int().positive().default(1000),
  /** Classes without instances that cover less than this are void. */
  stuff_area: z.int().nonnegative().default(2048),
  void_label: z.int(),
  /** Centres are larger. */
  threshold: z.number().default(0.1),
  /** Centres are the largest of a window of this size. */
  nms_kernel: count
    .refine((size) => size % 2 === 1, "must be odd: a centre stands in the middle of its window")
    .default(7),
  /** Where there are so many centres, those below the last of them: one less, as in the published code. */
  top_k: count.default(200),
  classes: count,
  h: count,
  w: count,
});
type Config = z.infer<typeof PostProcessingConfig>;

export const mapsOf = ({ classes, h, w }: Config) => ({
  semantic: grid({ h, w }, classes),
  center: grid({ h, w }, 1),
  offset: grid({ h, w }, 2),
});

export class PanopticPostProcessing extends Module<Config> {
  forward({ semantic, center, offset }: { readonly semantic: Map; readonly center: Map; readonly offset: Map }) {
    const labels = semantic.unpack({ class: this.config.classes }).argmax("class");
    const centers = this.centersOf(center);
    const instance = this.grouped(offset, labels, centers);
    const panoptic = this.merged(labels, instance);
    return {
      semantic_labels: output(labels, "b h w"),
      centers: output(centers.rows, "b rank c", { axis: "rank", count: "found" }),
      found: output(centers.found, "b"),
      instance: output(instance, "b h w"),
      panoptic: output(panoptic, "b h w"),
    };
  }

  /** As many centres as there may be. */
  private get most(): number {
    const { top_k, h, w } = this.config;
    return Math.max(1, Math.min(top_k - 1, h * w));
  }

  /** Local maxima above the threshold, in the order of their pixels. */
  private centersOf(center: Map) {
    const { threshold, nms_kernel, top_k, h, w } = this.config;
    const border = (nms_kernel - 1) / 2;
    const pool = maxPool({
      size: { h: nms_kernel, w: nms_kernel },
      stride: { h: 1, w: 1 },
      pad: { h: border, w: border },
    });
    const heat = pointwise(center, (value) => (value > threshold ? value : -1));
    const peaks = keep(
      "center_nms",
      combine(heat, [pool(heat)], (value, most) => (value === most ? value : -1)),
      "b c h w",
    );
    // Strictly above the last of the top: without so many, all are.
    const last = top_k > h * w ? full({}, 0) : peaks.topK(top_k, "h", "w").at("rank", top_k - 1);
    const number = pointwise(center, (_, at) => at.h * w + at.w);
    const none = -h * w;
    const found = combine(peaks, [last, number], (value, least, pixel) => (value > 0 && value > least ? -pixel : none));
    const pixels = round(found).topK(this.most, "h", "w");
    const isThere = pointwise(pixels, (pixel) => (pixel > none ? 1 : 0));
    const y = pointwise(pixels, (pixel) => Math.floor(-pixel / w));
    const x = combine(pixels, [y], (pixel, row) => -pixel - row * w);
    return { rows: round(concat([y, x])), y, x, isThere, found: round(isThere.sum("rank")) };
  }

  /** Every pixel of a thing belongs to the centre that is nearest to where it points: numbers from 1, 0 for the others. */
  private grouped(
    offset: Map,
    labels: Map,
    { y, x, isThere, found }: ReturnType<PanopticPostProcessing["centersOf"]>,
  ): Map {
    const [dy, dx] = offset.split(1, 1);
    const row = pointwise(dy, (by, at) => at.h + by);
    const column = pointwise(dx, (by, at) => at.w + by);
    const nearness = combine(
      row.expand({ rank: this.most }),
      [column, y, x, isThere],
      (down, across, centreDown, centreAcross, exists) => {
        const alongH = down - centreDown;
        const alongW = across - centreAcross;
        return exists === 0 ? -Infinity : -(alongH * alongH + alongW * alongW);
      },
    );
    const nearest = nearness.argmax("rank");
    const numbered = combine(nearest, [this.isThing(labels), found], (rank, thing, some) =>
      thing === 1 && some > 0 ? rank + 1 : 0,
    );
    return round(numbered);
  }

  /** Instances are of the class that most of their pixels have, and numbered within it; the rest is stuff, or void. */
  private merged(labels: Map, instance: Map): Map {
    const { classes, label_divisor, stuff_area, void_label, thing_list } = this.config;
    const { most } = this;
    const ballots = combine(instance, [labels], (id, label) => (id > 0 ? (id - 1) * classes + label : -1));
    const votes = round(ballots)
      .histogram(most * classes, "h", "w")
      .pack("bin")
      .unpack({ rank: most, class: classes });
    const majority = votes.argmax("class");
    const exists = pointwise(votes.max("class"), (pixels) => (pixels > 0 ? 1 : 0));
    // How many instances of the class have come up to this one.
    const notAfter = pointwise(full({ rank: most, other: most }, 1), (one, at) => (at.other <= at.rank ? one : 0));
    const running = combine(
      majority.expand({ other: most }),
      [majority.rename("rank", "other"), exists.rename("rank", "other"), notAfter],
      (own, other, there, before) => (other === own && there === 1 && before === 1 ? 1 : 0),
    ).sum("other");
    const things = round(combine(majority, [running], (label, number) => label * label_divisor + number));

    const areas = round(combine(labels, [instance], (label, id) => (id > 0 ? -1 : label))).histogram(classes, "h", "w");
    const isThing = constant(
      { bin: classes },
      Array.from({ length: classes }, (_, label) => [thing_list.includes(label) ? 1 : 0]),
    );
    const label = constant(
      { bin: classes },
      Array.from({ length: classes }, (_, each) => [each]),
    );
    const stuff = round(
      combine(areas, [isThing, label], (area, thing, own) =>
        thing === 0 && area >= stuff_area ? own * label_divisor : void_label,
      ),
    );
    const numbers = pointwise(full({ rank: most }, 1), (one, at) => at.rank + one);
    const ofThing = combine(instance.expand({ rank: most }), [numbers, things], (id, number, value) =>
      id === number ? value : 0,
    ).sum("rank");
    const ofStuff = combine(labels.expand({ bin: classes }), [label, stuff], (own, number, value) =>
      own === number ? value : 0,
    ).sum("bin");
    return round(combine(instance, [ofThing, ofStuff], (id, thing, other) => (id > 0 ? thing : other)));
  }

  private isThing(labels: Map): Map {
    return this.config.thing_list.reduce<Map>(
      (some, thing) => combine(labels, [some], (label, is) => (label === thing ? 1 : is)),
      full({ h: this.config.h, w: this.config.w }, 0),
    );
  }
}
