/**
 * Region proposals (arXiv 1506.01497): which boxes of a feature map may hold something. Parameter names and the order of
 * everything are those of torchvision.
 */
import {
  combine,
  concat,
  constant,
  Conv,
  type Grid,
  keep,
  Linear,
  loop,
  Module,
  pointwise,
  relu,
  sigmoid,
} from "fovea";
import { z } from "zod";

type Map = Grid<"h" | "w">;
/** Corners x1, y1, x2, y2 in pixels of the image. */
export type Boxes<A extends string> = Grid<A>;

const count = z.int().positive();
export const ProposalConfig = z.strictObject({
  anchor_sizes: z.array(count).min(1).default([32, 64, 128, 256, 512]),
  /** Height by width. */
  aspect_ratios: z.array(z.number().positive()).min(1).default([0.5, 1, 2]),
  /** As many of the likeliest are looked at, and as many of those kept. */
  pre_nms: count.default(1000),
  post_nms: count.default(300),
  /** Boxes that share more than this with a likelier one are dropped. */
  nms_thresh: z.number().positive().default(0.7),
});
export type ProposalConfig = z.infer<typeof ProposalConfig>;

type Size = readonly [height: number, width: number];
type Settings = ProposalConfig & { readonly in_channels: number; readonly image: Size };

export class RegionProposals extends Module<Settings> {
  anchors = this.config.anchor_sizes.length * this.config.aspect_ratios.length;
  head = {
    conv: [[new Conv(this.config.in_channels, { size: { h: 3, w: 3 }, pad: { h: 1, w: 1 } })]] as const,
    cls_logits: new Linear(this.anchors),
    bbox_pred: new Linear(4 * this.anchors),
  };

  /** `publish` names what is kept: relative to this module, unless it stands alone. */
  forward(features: Map, prefix = ""): { readonly boxes: Boxes<"r">; readonly scores: Grid<"r"> } {
    const { pre_nms, post_nms, nms_thresh, image } = this.config;
    const y = relu(this.head.conv[0][0](features));
    const objectness = keep(`${prefix}objectness`, this.head.cls_logits(y), "b c h w");
    const deltas = keep(`${prefix}deltas`, this.head.bbox_pred(y), "b c h w").unpack({ a: this.anchors });
    const size: Size = [features.extent("h"), features.extent("w")];
    const anchors = keep(`${prefix}anchors`, anchorsOf(size, this.config), "(h w a) c");
    const decoded = keep(`${prefix}decoded`, decode(anchors, deltas, [1, 1, 1, 1]), "b (h w a) c");

    const n = size[0] * size[1] * this.anchors;
    const boxes = clip(decoded, image).pack("h", "w", "a").unpack({ n });
    const logits = objectness.unpack({ a: this.anchors }).pack("h", "w", "a").unpack({ n });
    const least = logits.topK(Math.min(pre_nms, n), "n").at("rank", Math.min(pre_nms, n) - 1);
    const [x1, y1, x2, y2] = boxes.split(4);
    const first = combine(logits, [least, x1, y1, x2, y2], (logit, last, left, top, right, bottom) =>
      logit >= last && right - left >= 1e-3 && bottom - top >= 1e-3 ? logit : -Infinity,
    );
    const { each } = loop({
      first: { left: first },
      atMost: Math.min(post_nms, n),
      step: ({ left }) => {
        const chosen = left.argmax("n");
        const score = left.max("n");
        const box = boxes.take("n", chosen);
        const shared = overlap(boxes, box);
        const isChosen = pointwise(chosen.expand({ n }), (number, at) => (at.n === number ? 1 : 0));
        const next = combine(left, [shared, isChosen], (logit, share, is) =>
          share > nms_thresh || is === 1 ? -Infinity : logit,
        );
        const isNone = pointwise(next.max("n"), (most) => (most === -Infinity ? 1 : 0));
        return { next: { left: next }, done: isNone, each: { box, score } };
      },
    });
    return { boxes: each.box.rename("step", "r"), scores: sigmoid(each.score).rename("step", "r") };
  }
}

/** The share of two boxes' union that both cover. */
function overlap(all: Boxes<"n">, one: Boxes<never>): Grid<"n"> {
  const [[x1, y1, x2, y2], [left, top, right, bottom]] = [all.split(4), one.split(4)];
  return combine(x1, [y1, x2, y2, left, top, right, bottom], (ax, ay, bx, by, cx, cy, dx, dy) => {
    const width = Math.max(Math.min(bx, dx) - Math.max(ax, cx), 0);
    const height = Math.max(Math.min(by, dy) - Math.max(ay, cy), 0);
    const both = width * height;
    return both / ((bx - ax) * (by - ay) + (dx - cx) * (dy - cy) - both);
  });
}

/** Boxes moved and scaled by what a network says of them, which is divided by `weights` first. */
export function decode<A extends string, B extends A>(
  boxes: Boxes<B>,
  deltas: Grid<A>,
  weights: readonly [number, number, number, number],
): Boxes<A> {
  const [x1, y1, x2, y2] = boxes.split(4);
  const [dx, dy, dw, dh] = deltas.split(4);
  const along = (start: Grid<B>, end: Grid<B>, move: Grid<A>, scale: Grid<A>, by: number, wide: number) => {
    const length = end.sub(start);
    const centre = combine(move, [start, length], (d, from, size) => from + size / 2 + (d / by) * size);
    const half = combine(scale, [length], (d, size) => (Math.exp(Math.min(d / wide, largest)) * size) / 2);
    return [centre.sub(half), centre.add(half)] as const;
  };
  const [left, right] = along(x1, x2, dx, dw, weights[0], weights[2]);
  const [top, bottom] = along(y1, y2, dy, dh, weights[1], weights[3]);
  return concat([left, top, right, bottom]);
}
/** No box becomes more than so many times as long. */
const largest = Math.log(1000 / 16);

export const clip = <A extends string>(boxes: Boxes<A>, [height, width]: Size): Boxes<A> =>
  pointwise(boxes, (x, { channel }) => Math.min(Math.max(x, 0), channel % 2 === 0 ? width : height));

/** Boxes of every size and shape at every position, whose first lies in the image's corner. */
function anchorsOf([h, w]: Size, { anchor_sizes, aspect_ratios, image }: Settings): Boxes<"h" | "w" | "a"> {
  const base = aspect_ratios.flatMap((ratio) =>
    anchor_sizes.map((side) => {
      const [x, y] = [side / Math.sqrt(ratio) / 2, (side * Math.sqrt(ratio)) / 2];
      return [-x, -y, x, y].map(nearestEven);
    }),
  );
  const [down, right] = [Math.floor(image[0] / h), Math.floor(image[1] / w)];
  const tokens = Array.from({ length: h }, (_row, y) =>
    Array.from({ length: w }, (_column, x) =>
      base.map((box) => box.map((side, channel) => side + (channel % 2 === 0 ? x * right : y * down))),
    ),
  ).flat(2);
  return constant({ h, w, a: base.length }, tokens);
}
/** Halves to the even number. */
const nearestEven = (x: number): number => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
