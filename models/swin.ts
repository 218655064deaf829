/**
 * Swin Transformer: attention in shifted windows of an image (arXiv 2103.14030). Parameter names are those of the
 * published checkpoints.
 */
import {
  attend,
  Conv,
  type Grid,
  grid,
  keep,
  LayerNorm,
  Linear,
  Mlp,
  model,
  Module,
  output,
  parameter,
  repeat,
  type Score,
  score,
  unused,
  window,
} from "fovea";
import { z } from "zod";

type Image = Grid<"h" | "w">;

type BlockConfig = {
  dim: number;
  heads: number;
  hidden: number;
  eps: number;
  bias: boolean;
  /** Height and width of a window, and by how much it is shifted. */
  window: number;
  shift: number;
};

class WindowAttention extends Module<BlockConfig> {
  span = 2 * this.config.window - 1;
  relative_position_bias_table = parameter(this.span ** 2, this.config.heads).resizable("bicubic", [
    this.span,
    this.span,
  ]);
  relative_position_index = unused;
  qkv = new Linear(3 * this.config.dim, { bias: this.config.bias });
  proj = new Linear(this.config.dim);

  forward(x: Image) {
    const { heads, window: side, shift } = this.config;
    const bias = this.relative_position_bias_table.view(2 * side - 1, 2 * side - 1, heads);
    const between: Score<"h" | "w"> = score(
      (s, q, k, head) => s + bias.at(q.h - k.h + side - 1, q.w - k.w + side - 1, head),
    );
    // Tokens of the padding, where the windows do not divide the image, are keys like others.
    const [q, k, v] = this.qkv(x.padTo({ h: side, w: side })).split(3);
    const keys = window({ h: side, w: side }, { shift: { h: shift, w: shift } });
    const y = attend(q, k, v, { heads, keys, score: between });
    return this.proj(y.crop(x));
  }
}

class Block extends Module<BlockConfig> {
  attn_mask = unused;
  norm1 = new LayerNorm({ eps: this.config.eps });
  attn = new WindowAttention(this.config);
  norm2 = new LayerNorm({ eps: this.config.eps });
  mlp = new Mlp({ hidden: this.config.hidden, out: this.config.dim });

  forward(x: Image) {
    x = x.add(keep("attn", this.attn(this.norm1(x)), "b h w c"));
    return keep("", x.add(this.mlp(this.norm2(x))), "b h w c");
  }
}

class PatchMerging extends Module<{ dim: number; eps: number }> {
  reduction = new Linear(2 * this.config.dim, { bias: false });
  norm = new LayerNorm({ eps: this.config.eps });

  forward(x: Image) {
    return keep("", this.reduction(this.norm(x.merge({ w: 2, h: 2 }))), "b h w c");
  }
}

class Stage extends Module<{ depth: number; last: boolean; block: BlockConfig }> {
  blocks = repeat(
    this.config.depth,
    (index) => new Block({ ...this.config.block, shift: index % 2 === 1 ? this.config.block.shift : 0 }),
  );
  downsample = this.config.last ? undefined : new PatchMerging(this.config.block);

  forward(x: Image) {
    for (const block of this.blocks) x = block(x);
    return this.downsample === undefined ? x : this.downsample(x);
  }
}

const Config = z.strictObject({
  /** Height and width of the images. */
  img_size: z.int().positive().default(224),
  patch_size: z.int().positive().default(4),
  in_chans: z.int().positive().default(3),
  embed_dim: z.int().positive().default(96),
  depths: z.array(z.int().positive()).nonempty().default([2, 2, 6, 2]),
  num_heads: z.array(z.int().positive()).nonempty().default([3, 6, 12, 24]),
  window_size: z.int().positive().default(7),
  mlp_ratio: z.number().positive().default(4),
  qkv_bias: z.boolean().default(true),
  /** A table of absolute positions beside the relative ones. */
  ape: z.boolean().default(false),
  patch_norm: z.boolean().default(true),
  norm_eps: z.number().positive().default(1e-5),
  num_classes: z.int().positive().default(1000),
});
type Config = z.infer<typeof Config>;

class PatchEmbed extends Module<Config> {
  size = { h: this.config.patch_size, w: this.config.patch_size };
  proj = new Conv(this.config.embed_dim, { size: this.size, stride: this.size });
  norm = this.config.patch_norm ? new LayerNorm({ eps: this.config.norm_eps }) : undefined;

  forward(x: Image) {
    const patches = this.proj(x);
    return keep("", this.norm === undefined ? patches : this.norm(patches), "b (h w) c");
  }
}

const patches = ({ img_size, patch_size }: Config) => Math.floor(img_size / patch_size);

/** Each stage has half the height and width of the one before and twice its channels. */
const stageOf = (config: Config, index: number) => {
  const dim = config.embed_dim * 2 ** index;
  const side = Math.ceil(patches(config) / 2 ** index);
  return {
    depth: config.depths[index] ?? 1,
    last: index === config.depths.length - 1,
    block: {
      dim,
      heads: config.num_heads[index] ?? 1,
      hidden: config.mlp_ratio * dim,
      eps: config.norm_eps,
      bias: config.qkv_bias,
      // A window that would not be smaller than the image is the image, and is not shifted.
      window: Math.min(config.window_size, side),
      shift: side > config.window_size ? Math.floor(config.window_size / 2) : 0,
    },
  };
};

class Swin extends Module<Config> {
  patch_embed = new PatchEmbed(this.config);
  absolute_pos_embed = this.config.ape
    ? parameter(1, patches(this.config) ** 2, this.config.embed_dim).resizable("bicubic", [
        patches(this.config),
        patches(this.config),
      ])
    : undefined;
  layers = repeat(this.config.depths.length, (index) => new Stage(stageOf(this.config, index)));
  norm = new LayerNorm({ eps: this.config.norm_eps });
  head = new Linear(this.config.num_classes);

  forward({ image }: { image: Image }) {
    let x: Image = this.patch_embed(image);
    const positions = this.absolute_pos_embed?.grid({ h: patches(this.config), w: patches(this.config) });
    if (positions !== undefined) x = x.add(positions);
    for (const layer of this.layers) x = layer(x);
    const features = this.norm(x);
    return { logits: this.head(features.mean("h", "w")), features: output(features, "b (h w) c") };
  }
}

export default model({
  name: "swin",
  config: Config,
  presets: {
    tiny: {},
    small: { depths: [2, 2, 18, 2] },
    base: { embed_dim: 128, depths: [2, 2, 18, 2], num_heads: [4, 8, 16, 32] },
    large: { embed_dim: 192, depths: [2, 2, 18, 2], num_heads: [6, 12, 24, 48] },
    "base-384": {
      img_size: 384,
      window_size: 12,
      embed_dim: 128,
      depths: [2, 2, 18, 2],
      num_heads: [4, 8, 16, 32],
    },
    "large-384": {
      img_size: 384,
      window_size: 12,
      embed_dim: 192,
      depths: [2, 2, 18, 2],
      num_heads: [6, 12, 24, 48],
    },
  },
  inputs: ({ img_size, in_chans }) => ({ image: grid({ h: img_size, w: img_size }, in_chans) }),
  module: (config) => new Swin(config),
});
