/**
 * Vision transformer with deformable attention (arXiv 2201.00520) and DAT++ (arXiv 2309.01430), whose published releases
 * differ in where points begin, how far they move and how the position bias is made. Positions run from -1 to 1, y
 * before x. Parameter names are those of the published checkpoints.
 */
import {
  attend,
  attentionWeights,
  constant,
  Conv,
  deformable,
  gelu,
  type Grid,
  keep,
  LayerNorm,
  Linear,
  meanPool,
  Module,
  parameter,
  pointwise,
  relu,
  type Score,
  score,
  Sequential,
  tanh,
} from "fovea";

type Image = Grid<"h" | "w">;
/** Of each group of heads, a position on the grid of keys. */
type Positions = Grid<"h" | "w" | "group">;
type Bias = Grid<"i" | "j" | "h" | "w">;

export type DatConfig = {
  /** The published version: DAT, or DAT++. */
  release: 2022 | 2023;
  q_size: readonly [height: number, width: number];
  n_heads: number;
  n_head_channels: number;
  n_groups: number;
  stride: number;
  /** How far points move; below zero, they move freely and are kept inside of the image. */
  offset_range_factor: number;
  use_pe: boolean;
  /** A depthwise convolution of the queries in place of a bias of the scores. */
  dwc_pe: boolean;
  /** Keys on a regular grid. */
  no_off: boolean;
  ksize: number;
  /** The bias as a function of the distance. */
  log_cpb: boolean;
};

export class DAttentionBaseline extends Module<DatConfig> {
  #dim = this.config.n_heads * this.config.n_head_channels;
  #groupDim = this.#dim / this.config.n_groups;
  conv_offset = {
    0: new Conv(this.#groupDim, {
      size: { h: this.config.ksize, w: this.config.ksize },
      stride: { h: this.config.stride, w: this.config.stride },
      pad: { h: this.padding(), w: this.padding() },
      groups: this.#groupDim,
    }),
    1: { norm: new LayerNorm() },
    3: new Linear(2, { bias: false }),
  };
  proj_q = new Linear(this.#dim);
  proj_k = new Linear(this.#dim);
  proj_v = new Linear(this.#dim);
  proj_out = new Linear(this.#dim);
  rpe_table = this.table();

  forward(x: Image) {
    const { n_heads, no_off, stride } = this.config;
    const q = keep("proj_q", this.proj_q(x), "b c h w");
    const positions = this.positions(q);
    const sampled = no_off ? meanPool({ size: { h: stride, w: stride } })(x) : this.sampleAt(x, positions);
    keep("x_sampled", sampled, "b c 1 (h w)");
    const k = keep("proj_k", this.proj_k(sampled), "b c 1 (h w)");
    const v = keep("proj_v", this.proj_v(sampled), "b c 1 (h w)");

    const options = { heads: n_heads, ...this.scoring(positions) };
    const scores = attentionWeights(q, k, ["h", "w"], { ...options, normalize: "none" });
    keep("attn_logits", scores, "(b head) (h w) key");
    keep("attn_weights", attentionWeights(q, k, ["h", "w"], options), "(b head) (h w) key");
    let attended = attend(q, k, v, options);
    if (this.rpe_table instanceof Conv) attended = attended.add(this.rpe_table(q));
    return this.proj_out(keep("attended", attended, "b c h w"));
  }

  private padding() {
    const { release, ksize, stride } = this.config;
    return release === 2023 && ksize === stride ? 0 : Math.floor(ksize / 2);
  }

  private table() {
    const { use_pe, dwc_pe, log_cpb, n_heads, n_groups, q_size } = this.config;
    if (!use_pe) return undefined;
    if (dwc_pe) return new Conv(this.#dim, { size: { h: 3, w: 3 }, pad: { h: 1, w: 1 }, groups: this.#dim });
    if (log_cpb) return new Sequential(new Linear(32), relu, new Linear(n_heads / n_groups, { bias: false }));
    return parameter(n_heads, 2 * q_size[0] - 1, 2 * q_size[1] - 1);
  }

  /** Where each group's keys are: a regular grid, moved by what the queries there say. */
  private positions(q: Image): Positions {
    const { release, n_groups, offset_range_factor: factor, no_off } = this.config;
    const local = this.conv_offset[0](q.unpack({ group: n_groups }));
    const raw = this.conv_offset[3](gelu(this.conv_offset[1].norm(local)));
    keep("conv_offset", raw, "(b group) c h w");
    const [h, w] = [raw.extent("h"), raw.extent("w")];
    const [spanH, spanW] = release === 2022 ? [h, w] : [h - 1, w - 1];
    const start = (i: number, span: number) => ((i + 0.5) / span) * 2 - 1;
    const regular = constant(
      { h, w },
      Array.from({ length: h * w }, (_, i) => [start(Math.floor(i / w), spanH), start(i % w, spanW)]),
    );
    const reference = raw.mul(0).add(regular);
    keep("reference", reference, "b group h w c");
    if (no_off) return reference;
    const positions = this.moved(raw, regular, constant({}, [[factor / spanH, factor / spanW]]), factor);
    return keep("pos", positions, "b group h w c");
  }

  private moved(raw: Positions, regular: Grid<"h" | "w">, range: Grid<never>, factor: number): Positions {
    const { release } = this.config;
    if (release === 2022) return factor > 0 ? tanh(raw).mul(range).add(regular) : tanh(raw.add(regular));
    if (factor >= 0) return tanh(raw).mul(range).add(regular);
    return pointwise(raw.add(regular), (p) => Math.min(Math.max(p, -1), 1));
  }

  /** The image's channels of each group at the group's positions. */
  private sampleAt(x: Image, positions: Positions): Image {
    return deformable([x], {
      points: positions.mul(0.5).add(half()),
      axes: ["h", "w"],
      heads: "group",
      coordinates: "centres",
    });
  }

  private scoring(positions: Positions): { score?: Score<"h" | "w"> } {
    const bias = this.bias(positions);
    if (bias === undefined) return {};
    return { score: score((s, q, k, head) => s + bias.element(q.h, q.w, k.h, k.w, head)) };
  }

  /** What is added to the score of each query and key, by head: interpolated in a table of distances, or computed of them. */
  private bias(positions: Positions): Bias | undefined {
    const { release, n_heads, q_size } = this.config;
    const [i, j] = q_size;
    const own = (at: number, size: number) =>
      release === 2022 ? ((at + 0.5) / size) * 2 - 1 : (at / (size - 1)) * 2 - 1;
    const queries = constant(
      { i, j },
      Array.from({ length: i * j }, (_, at) => [own(Math.floor(at / j), i), own(at % j, j)]),
    );
    const distance = positions.expand({ i, j }).mul(-1).add(queries);
    if (this.rpe_table instanceof Sequential) {
      const coarse = pointwise(distance, (d) => Math.sign(d) * (Math.log2(Math.abs(4 * d) + 1) / Math.log2(8)));
      return this.rpe_table(coarse).pack("group");
    }
    if (this.rpe_table === undefined || this.rpe_table instanceof Conv) return undefined;
    const width = 2 * j - 1;
    const table = this.rpe_table
      .grid({ head: n_heads, h: 2 * i - 1 })
      .unpack({ w: width })
      .pack("head");
    return deformable([table], {
      points: distance.mul(0.25).add(half()),
      axes: ["h", "w"],
      heads: "group",
      coordinates: "centres",
    });
  }
}

/** The middle of an image, from 0 to 1. */
const half = () => constant({}, [[0.5]]);
