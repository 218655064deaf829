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
  type Entry,
  entry,
  gelu,
  grid,
  type Grid,
  keep,
  LayerNorm,
  Linear,
  meanPool,
  Module,
  output,
  type Parameter,
  parameter,
  pointwise,
  relu,
  type Score,
  score,
  Sequential,
  system,
  tanh,
} from "fovea";
import { z } from "zod";

type Image = Grid<"h" | "w">;
/** Of each group of heads, a position on the grid of keys. */
type Positions = Grid<"h" | "w" | "group">;
type Bias = Grid<"i" | "j" | "h" | "w">;

const Count = z.int().positive();
const DatConfig = z
  .strictObject({
    /** The published version: DAT, or DAT++. */
    release: z.union([z.literal(2022), z.literal(2023)]).default(2023),
    q_size: z.tuple([Count, Count]).default([14, 14]),
    n_heads: Count.default(12),
    n_head_channels: Count.default(32),
    n_groups: Count.default(3),
    stride: Count.default(1),
    /** How far points move; below zero, they move freely and are kept inside of the image. */
    offset_range_factor: z.number().default(2),
    use_pe: z.boolean().default(true),
    /** A depthwise convolution of the queries in place of a bias of the scores. */
    dwc_pe: z.boolean().default(false),
    /** Keys on a regular grid. */
    no_off: z.boolean().default(false),
    /** A bias for each query and key by their number, wherever the key has moved. */
    fixed_pe: z.boolean().default(false),
    ksize: Count.default(3),
    /** The bias as a function of the distance. */
    log_cpb: z.boolean().default(false),
  })
  .superRefine((config, context) => {
    const { release, q_size, n_heads, n_groups, use_pe, dwc_pe, fixed_pe, no_off, log_cpb, stride } = config;
    const wrong = (path: keyof typeof config, message: string) =>
      context.addIssue({ code: "custom", path: [path], message });
    if (n_heads % n_groups !== 0) wrong("n_groups", `${n_groups} groups do not divide ${n_heads} heads`);
    if (log_cpb && release === 2022) wrong("log_cpb", "the release of 2022 has none");
    const keys = q_size.map((size) => keysAlong(config, size));
    if (keys.some((size) => size < 1)) return wrong("ksize", "its window is longer than the image");
    if (release === 2022) return;
    if (keys.some((size) => size === 1))
      wrong("stride", `it leaves ${keys.join(" x ")} keys, and the release of 2023 divides by one less than each`);
    if (no_off && use_pe && dwc_pe)
      wrong("dwc_pe", "the release of 2023 has no position encoding of keys on a regular grid (no_off)");
    if (no_off && keys.some((size, axis) => size !== Math.floor((q_size[axis] ?? 0) / stride)))
      wrong(
        "ksize",
        `it gives ${keys.join(" x ")} keys, not the image's extents by the stride, which no_off averages over`,
      );
    if (use_pe && fixed_pe && !no_off && keys.some((size, axis) => size !== Math.floor((q_size[axis] ?? 0) / stride)))
      wrong(
        "ksize",
        `it gives ${keys.join(" x ")} keys, not the image's extents by the stride, which fixed_pe has a bias for`,
      );
  });
type DatConfig = z.infer<typeof DatConfig>;
type Keys = Pick<DatConfig, "release" | "ksize" | "stride">;

/** Zeros around the image, for the convolution that says where keys go. */
const paddingOf = ({ release, ksize, stride }: Keys) =>
  release === 2023 && ksize === stride ? 0 : Math.floor(ksize / 2);
const keysAlong = (config: Keys, size: number) =>
  Math.floor((size + 2 * paddingOf(config) - config.ksize) / config.stride) + 1;

class DAttentionBaseline extends Module<DatConfig> {
  #dim = this.config.n_heads * this.config.n_head_channels;
  #groupDim = this.#dim / this.config.n_groups;
  /** How many keys there are along both axes. */
  #keys = this.config.q_size.map((size) => keysAlong(this.config, size)) as [h: number, w: number];
  conv_offset = {
    0: new Conv(this.#groupDim, {
      size: { h: this.config.ksize, w: this.config.ksize },
      stride: { h: this.config.stride, w: this.config.stride },
      pad: { h: paddingOf(this.config), w: paddingOf(this.config) },
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
    const { release, n_heads, no_off, stride } = this.config;
    const q = keep("proj_q", this.proj_q(x), "b c h w");
    const positions = this.positions(q);
    const averaged = no_off && release === 2023;
    const sampled = averaged ? meanPool({ size: { h: stride, w: stride } })(x) : this.sampleAt(x, positions);
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

  private table() {
    const { release, use_pe, dwc_pe, fixed_pe, log_cpb, no_off, n_heads, n_groups, q_size } = this.config;
    if (!use_pe || (no_off && release === 2023)) return undefined;
    if (dwc_pe) return new Conv(this.#dim, { size: { h: 3, w: 3 }, pad: { h: 1, w: 1 }, groups: this.#dim });
    if (fixed_pe) return parameter(n_heads, q_size[0] * q_size[1], this.#keys[0] * this.#keys[1]);
    if (log_cpb) return new Sequential(new Linear(32), relu, new Linear(n_heads / n_groups, { bias: false }));
    return parameter(n_heads, 2 * q_size[0] - 1, 2 * q_size[1] - 1);
  }

  /** Where each group's keys are: a regular grid, moved by what the queries there say. */
  private positions(q: Image): Positions {
    const { release, n_groups, offset_range_factor: factor, no_off } = this.config;
    const local = this.conv_offset[0](q.unpack({ group: n_groups }));
    const raw = this.conv_offset[3](gelu(this.conv_offset[1].norm(local)));
    keep("conv_offset", raw, "(b group) c h w");
    const [h, w] = this.#keys;
    const [spanH, spanW] = release === 2022 ? [h, w] : [h - 1, w - 1];
    const start = (i: number, span: number) => ((i + 0.5) / span) * 2 - 1;
    const places = Array.from({ length: h * w }, (_, i) => [start(Math.floor(i / w), spanH), start(i % w, spanW)]);
    const regular = constant({ h, w }, places);
    keep("reference", raw.mul(0).add(regular), "b group h w c");
    if (no_off) {
      const inside = release === 2022 ? Math.tanh : (p: number) => Math.min(Math.max(p, -1), 1);
      const kept =
        factor < 0
          ? constant(
              { h, w },
              places.map((place) => place.map(inside)),
            )
          : regular;
      keep("pos", raw.mul(0).add(kept), "b group h w c");
      return kept.expand({ group: n_groups });
    }
    const positions = this.moved(raw, regular, constant({}, [[factor / spanH, factor / spanW]]));
    return keep("pos", positions, "b group h w c");
  }

  private moved(raw: Positions, regular: Grid<"h" | "w">, range: Grid<never>): Positions {
    const { release, offset_range_factor: factor } = this.config;
    if (release === 2022) {
      if (factor > 0) return tanh(raw).mul(range).add(regular);
      return factor === 0 ? raw.add(regular) : tanh(raw.add(regular));
    }
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
    const table = this.rpe_table;
    if (table === undefined || table instanceof Conv) return {};
    if (!(table instanceof Sequential) && this.config.fixed_pe) {
      const [columns, keyColumns] = [this.config.q_size[1], this.#keys[1]];
      return {
        score: score((s, q, k, head) => s + table.at(head, q.h * columns + q.w, k.h * keyColumns + k.w)),
      };
    }
    const bias = this.bias(table, positions);
    return { score: score((s, q, k, head) => s + bias.element(q.h, q.w, k.h, k.w, head)) };
  }

  /** What is added to the score of each query and key, by head: interpolated in a table of distances, or computed of them. */
  private bias(rpe: Parameter | Sequential, positions: Positions): Bias {
    const { release, n_heads, q_size } = this.config;
    const [i, j] = q_size;
    const own = (at: number, size: number) =>
      release === 2022 ? ((at + 0.5) / size) * 2 - 1 : (at / (size - 1)) * 2 - 1;
    const queries = constant(
      { i, j },
      Array.from({ length: i * j }, (_, at) => [own(Math.floor(at / j), i), own(at % j, j)]),
    );
    const distance = positions.expand({ i, j }).mul(-1).add(queries);
    if (rpe instanceof Sequential) {
      const coarse = pointwise(distance, (d) => Math.sign(d) * (Math.log2(Math.abs(4 * d) + 1) / Math.log2(8)));
      return rpe(coarse).pack("group");
    }
    const width = 2 * j - 1;
    const table = rpe
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

export const datEntries: { readonly [name: string]: Entry } = {
  DAttentionBaseline: entry({
    config: DatConfig,
    inputs: ({ q_size: [h, w], n_heads, n_head_channels }) => ({ x: grid({ h, w }, n_heads * n_head_channels) }),
    module: (config) => {
      const attention = new DAttentionBaseline(config);
      return { ...attention, forward: ({ x }: { x: Image }) => ({ out: output(attention(x), "b c h w") }) };
    },
  }),
};

export default system({ name: "dat", entries: datEntries });
