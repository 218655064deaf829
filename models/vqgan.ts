/**
 * The VQGAN of Taming Transformers: images to a grid of codes and back (arXiv 2012.09841). Parameter names are those of
 * the published checkpoints.
 */
import {
  along,
  attend,
  attentionWeights,
  combine,
  Conv,
  type Grid,
  GroupNorm,
  keep,
  linear,
  Linear,
  meanPool,
  Module,
  output,
  parameter,
  pointwise,
  repeat,
  silu,
} from "fovea";
import { z } from "zod";

/** Feature maps, of `s` images each. */
export type Images = Grid<"s" | "h" | "w">;

export const asImages = "(b s) c h w";
const count = z.int().positive();

const DdConfig = z.strictObject({
  double_z: z.boolean().default(false),
  z_channels: count.default(256),
  /** Of the images that it was trained on: it says which levels have attention, whatever images come. */
  resolution: count.default(256),
  in_channels: count.default(3),
  out_ch: count.default(3),
  ch: count.default(128),
  ch_mult: z.array(count).min(1).default([1, 1, 2, 2, 4]),
  num_res_blocks: count.default(2),
  attn_resolutions: z.array(count).default([16]),
  resamp_with_conv: z.boolean().default(true),
  dropout: z.number().default(0),
});
type DdConfig = z.infer<typeof DdConfig>;

export const VqConfig = z.strictObject({
  ddconfig: DdConfig.default(DdConfig.parse({})),
  embed_dim: count.default(256),
  n_embed: count.default(1024),
  /** How much an encoder that strays from its codes costs: the share in `emb_loss`. */
  beta: z.number().positive().default(0.25),
  /** Images of an example: losses are means over them. */
  images: count.default(1),
  /** Height and width of the images, or of the codes where those come in. */
  size: z.tuple([count, count]).default([256, 256]),
  /** Height and width of codes to decode; by default those that the image becomes. */
  code_size: z.tuple([count, count]).optional(),
});
export type VqConfig = z.infer<typeof VqConfig>;

/** Over the positions of each image. */
const norm = () => new GroupNorm(32, { eps: 1e-6, axes: ["h", "w"] });
const conv = (out: number) => new Conv(out, { size: { h: 3, w: 3 }, pad: { h: 1, w: 1 } });

class ResnetBlock extends Module<{ readonly in: number; readonly out: number }> {
  norm1 = norm();
  conv1 = conv(this.config.out);
  norm2 = norm();
  conv2 = conv(this.config.out);
  nin_shortcut = this.config.in === this.config.out ? undefined : new Linear(this.config.out);

  forward(x: Images): Images {
    const y = this.conv2(silu(this.norm2(this.conv1(silu(this.norm1(x))))));
    return keep("", (this.nin_shortcut?.(x) ?? x).add(y), asImages);
  }
}

/** Each position looks at all of its image, by one head as wide as the map has channels. */
export class AttnBlock extends Module<{ readonly channels: number }> {
  norm = norm();
  q = new Linear(this.config.channels);
  k = new Linear(this.config.channels);
  v = new Linear(this.config.channels);
  proj_out = new Linear(this.config.channels);

  forward(x: Images): Images {
    const y = keep("norm", this.norm(x), asImages);
    const q = keep("q", this.q(y), asImages);
    const k = keep("k", this.k(y), asImages);
    const v = keep("v", this.v(y), asImages);
    const options = { keys: along<"h" | "w", "s" | "h" | "w">("h", "w") };
    keep("weights", attentionWeights(q, k, ["h", "w"], options), "(b s) (h w head) key");
    const attended = keep("attended", attend(q, k, v, options), asImages);
    return keep("", x.add(keep("proj_out", this.proj_out(attended), asImages)), asImages);
  }
}

/** Half the height and width; what a window lacks at the border is on the right and at the bottom. */
class Downsample extends Module<{ readonly channels: number; readonly hasConv: boolean }> {
  conv = this.config.hasConv
    ? new Conv(this.config.channels, { size: { h: 3, w: 3 }, stride: { h: 2, w: 2 }, pad: { h: [0, 1], w: [0, 1] } })
    : undefined;

  forward(x: Images): Images {
    return keep("", this.conv?.(x) ?? meanPool({ size: { h: 2, w: 2 } })(x), asImages);
  }
}

class Upsample extends Module<{ readonly channels: number; readonly hasConv: boolean }> {
  conv = this.config.hasConv ? conv(this.config.channels) : undefined;

  forward(x: Images): Images {
    const larger = x.resize({ h: 2 * x.extent("h"), w: 2 * x.extent("w") });
    return keep("", this.conv?.(larger) ?? larger, asImages);
  }
}

type LevelConfig = {
  readonly in: number;
  readonly out: number;
  readonly blocks: number;
  readonly hasAttention: boolean;
};
/** The blocks at one resolution, an attention behind each where the resolution has them, and the way to the next. */
class Level extends Module<
  LevelConfig & { readonly hasConv: boolean; readonly next: "downsample" | "upsample" | undefined }
> {
  block = repeat(
    this.config.blocks,
    (index) => new ResnetBlock({ in: index === 0 ? this.config.in : this.config.out, out: this.config.out }),
  );
  attn = repeat(this.config.hasAttention ? this.config.blocks : 0, () => new AttnBlock({ channels: this.config.out }));
  resampling = { channels: this.config.out, hasConv: this.config.hasConv };
  downsample = this.config.next === "downsample" ? new Downsample(this.resampling) : undefined;
  upsample = this.config.next === "upsample" ? new Upsample(this.resampling) : undefined;

  forward(x: Images): Images {
    for (const [index, block] of this.block.entries()) {
      x = block(x);
      x = this.attn[index]?.(x) ?? x;
    }
    return this.downsample?.(x) ?? this.upsample?.(x) ?? x;
  }
}

class Middle extends Module<{ readonly channels: number }> {
  block_1 = new ResnetBlock({ in: this.config.channels, out: this.config.channels });
  attn_1 = new AttnBlock(this.config);
  block_2 = new ResnetBlock({ in: this.config.channels, out: this.config.channels });

  forward(x: Images): Images {
    return this.block_2(this.attn_1(this.block_1(x)));
  }
}

/** How wide each resolution is, the full one first, and whether it has attention. */
const levelsOf = ({ ch, ch_mult, resolution, attn_resolutions }: DdConfig) =>
  ch_mult.map((times, index) => ({
    out: ch * times,
    hasAttention: attn_resolutions.includes(Math.floor(resolution / 2 ** index)),
  }));

class Encoder extends Module<DdConfig> {
  conv_in = conv(this.config.ch);
  down = levelsOf(this.config).map(
    (level, index, levels) =>
      new Level({
        ...level,
        in: levels[index - 1]?.out ?? this.config.ch,
        blocks: this.config.num_res_blocks,
        hasConv: this.config.resamp_with_conv,
        next: index + 1 < levels.length ? "downsample" : undefined,
      }),
  );
  mid = new Middle({ channels: widest(this.config) });
  norm_out = norm();
  conv_out = conv((this.config.double_z ? 2 : 1) * this.config.z_channels);

  forward(image: Images): Images {
    let x = keep("conv_in", this.conv_in(image), asImages);
    for (const level of this.down) x = level(x);
    x = keep("norm_out", this.norm_out(this.mid(x)), asImages);
    return keep("conv_out", this.conv_out(silu(x)), asImages);
  }
}

/** From the smallest resolution up; levels are numbered from the full one. */
class Decoder extends Module<DdConfig> {
  conv_in = conv(widest(this.config));
  mid = new Middle({ channels: widest(this.config) });
  up = levelsOf(this.config).map(
    (level, index, levels) =>
      new Level({
        ...level,
        in: levels[index + 1]?.out ?? level.out,
        blocks: this.config.num_res_blocks + 1,
        hasConv: this.config.resamp_with_conv,
        next: index > 0 ? "upsample" : undefined,
      }),
  );
  norm_out = norm();
  conv_out = conv(this.config.out_ch);

  forward(code: Images): Images {
    let x = this.mid(keep("conv_in", this.conv_in(code), asImages));
    for (const level of this.up.toReversed()) x = level(x);
    x = keep("norm_out", this.norm_out(x), asImages);
    return keep("conv_out", this.conv_out(silu(x)), asImages);
  }
}
const widest = ({ ch, ch_mult }: DdConfig): number => ch * (ch_mult.at(-1) ?? 1);

/** Each position's nearest entry of the codebook, the first of several as near. */
class VectorQuantizer extends Module<VqConfig> {
  embedding = { weight: parameter(this.config.n_embed, this.config.embed_dim) };

  forward(latent: Images) {
    const { n_embed, embed_dim, beta } = this.config;
    const square = (x: Images) => x.mul(x).unpack({ d: embed_dim }).sum("d");
    const entries = this.embedding.weight.grid({ out: n_embed });
    const lengths = entries.mul(entries).unpack({ d: embed_dim }).sum("d").rename("out", "code");
    const products = linear(latent, entries).unpack({ code: n_embed });
    const distances = combine(
      products,
      [square(latent), lengths],
      (product, own, length) => own + length - 2 * product,
    );
    keep("distances", distances, "(b s h w) code");
    const nearest = pointwise(distances, (distance) => -distance);
    const [first, second] = [0, 1].map((rank) => nearest.topK(2, "code").at("rank", rank));
    if (first !== undefined && second !== undefined) keep("margin", first.sub(second), "(b s) h w");
    const indices = nearest.argmax("code");
    const quant = this.entry(indices);
    const strayed = quant.sub(latent).unpack({ d: embed_dim });
    keep(
      "emb_loss",
      strayed
        .mul(strayed)
        .mean("s", "h", "w", "d")
        .mul(1 + beta),
      "b",
    );
    return { indices, quant };
  }

  /** The codebook's entries of these numbers. */
  entry(indices: Images): Images {
    return this.embedding.weight.grid({ code: this.config.n_embed }).take("code", indices);
  }
}

/** How large a grid of codes is: that of the images, halved between levels. */
export const codeSize = ({ code_size, size: [h, w], ddconfig }: VqConfig): readonly [number, number] => {
  const halves = 2 ** (ddconfig.ch_mult.length - 1);
  return code_size ?? [Math.floor(h / halves), Math.floor(w / halves)];
};

export const encoded = ({ indices, quant }: { readonly indices: Images; readonly quant: Images }) => ({
  indices: output(indices, "(b s) h w"),
  quant: output(quant, asImages),
});

/** Images to codes and back. */
export class VqModel extends Module<VqConfig> {
  encoder = new Encoder(this.config.ddconfig);
  decoder = new Decoder(this.config.ddconfig);
  quantize = new VectorQuantizer(this.config);
  quant_conv = new Linear(this.config.embed_dim);
  post_quant_conv = new Linear(this.config.ddconfig.z_channels);

  forward({ image, code_indices }: { readonly image: Images; readonly code_indices: Images }) {
    const code = keep("decode.code", this.codes(code_indices), asImages);
    return { ...encoded(this.encode(image)), reconstruction: output(this.decode(code), asImages) };
  }

  encode(image: Images) {
    return this.quantize(keep("quant_conv", this.quant_conv(this.encoder(image)), asImages));
  }
  /** The image of entries of the codebook. */
  decode(code: Images): Images {
    return this.decoder(keep("post_quant_conv", this.post_quant_conv(code), asImages));
  }
  /** The entries of the codebook that have these numbers. */
  codes(indices: Images): Images {
    return this.quantize.entry(indices);
  }
}
