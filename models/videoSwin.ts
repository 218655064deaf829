/**
 * Video Swin Transformer: attention in shifted windows of space and time (arXiv 2106.13230), with the head of the
 * published recognizers. Parameter names are those of the published checkpoints (`backbone`, `cls_head`).
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
  mod,
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

type Clip = Grid<"t" | "h" | "w">;
type Size = { t: number; h: number; w: number };
type Axis = keyof Size;

const each = (f: (axis: Axis) => number): Size => ({ t: f("t"), h: f("h"), w: f("w") });
const volume = ({ t, h, w }: Size) => t * h * w;

type BlockConfig = {
  dim: number;
  heads: number;
  hidden: number;
  eps: number;
  bias: boolean;
  /** Of the stage's clips. */
  extent: Size;
  window: Size;
  shifted: boolean;
};

class WindowAttention extends Module<BlockConfig> {
  spans = each((axis) => 2 * this.config.window[axis] - 1);
  relative_position_bias_table = parameter(volume(this.spans), this.config.heads).resizable("bicubic", [
    this.spans.t,
    this.spans.h,
    this.spans.w,
  ]);
  relative_position_index = unused;
  qkv = new Linear(3 * this.config.dim, { bias: this.config.bias });
  proj = new Linear(this.config.dim);

  forward(x: Clip) {
    const { heads, window: full, extent, shifted } = this.config;
    // An axis that the window spans is one window, and is not shifted.
    const size = each((axis) => Math.min(full[axis], extent[axis]));
    const shift = each((axis) => (shifted && extent[axis] > full[axis] ? Math.floor(full[axis] / 2) : 0));
    const bias = this.relative_position_bias_table.view(2 * full.t - 1, 2 * full.h - 1, 2 * full.w - 1, heads);

    const between: Score<Axis> = score(
      (s, q, k, head) => s + bias.at(q.t - k.t + full.t - 1, q.h - k.h + full.h - 1, q.w - k.w + full.w - 1, head),
    );
    // Published code cuts the index table of the full window: it reads the numbers of tokens of a window that is smaller
    // in height or width as numbers of the full one.
    const ofNumbers: Score<Axis> = score((s, q, k, head) => {
      const m = numberIn(q.t, q.h, q.w, size, shift);
      const n = numberIn(k.t, k.h, k.w, size, shift);
      const t = Math.floor(m / (full.h * full.w)) - Math.floor(n / (full.h * full.w));
      const h = mod(Math.floor(m / full.w), full.h) - mod(Math.floor(n / full.w), full.h);
      return s + bias.at(t + full.t - 1, h + full.h - 1, mod(m, full.w) - mod(n, full.w) + full.w - 1, head);
    });
    const isCut = size.h < full.h || size.w < full.w;

    // Tokens of the padding are keys like others: their key and value are the biases.
    const [q, k, v] = this.qkv(x.padTo(size)).split(3);
    const y = attend(q, k, v, { heads, keys: window(size, { shift }), score: isCut ? ofNumbers : between });
    return this.proj(y.crop(x));
  }
}
/** The number of a token within its window. */
const numberIn = (t: number, h: number, w: number, size: Size, shift: Size) =>
  (mod(t - shift.t, size.t) * size.h + mod(h - shift.h, size.h)) * size.w + mod(w - shift.w, size.w);

class Block extends Module<BlockConfig> {
  norm1 = new LayerNorm({ eps: this.config.eps });
  attn = new WindowAttention(this.config);
  norm2 = new LayerNorm({ eps: this.config.eps });
  mlp = new Mlp({ hidden: this.config.hidden, out: this.config.dim });

  forward(x: Clip) {
    x = x.add(keep("attn", this.attn(this.norm1(x)), "b t h w c"));
    return keep("", x.add(this.mlp(this.norm2(x))), "b t h w c");
  }
}

class PatchMerging extends Module<{ dim: number; eps: number }> {
  reduction = new Linear(2 * this.config.dim, { bias: false });
  norm = new LayerNorm({ eps: this.config.eps });

  forward(x: Clip) {
    return keep("", this.reduction(this.norm(x.merge({ w: 2, h: 2 }))), "b t h w c");
  }
}

class Stage extends Module<{ depth: number; last: boolean; block: Omit<BlockConfig, "shifted"> }> {
  blocks = repeat(this.config.depth, (index) => new Block({ ...this.config.block, shifted: index % 2 === 1 }));
  downsample = this.config.last ? undefined : new PatchMerging(this.config.block);

  forward(x: Clip) {
    for (const block of this.blocks) x = block(x);
    return this.downsample === undefined ? x : this.downsample(x);
  }
}

const Triple = z.tuple([z.int().positive(), z.int().positive(), z.int().positive()]);
const Config = z.strictObject({
  /** Frames, height and width of the clips. */
  input_size: Triple.default([32, 224, 224]),
  patch_size: Triple.default([2, 4, 4]),
  in_chans: z.int().positive().default(3),
  embed_dim: z.int().positive().default(96),
  depths: z.array(z.int().positive()).nonempty().default([2, 2, 6, 2]),
  num_heads: z.array(z.int().positive()).nonempty().default([3, 6, 12, 24]),
  window_size: Triple.default([8, 7, 7]),
  mlp_ratio: z.number().positive().default(4),
  qkv_bias: z.boolean().default(true),
  patch_norm: z.boolean().default(true),
  norm_eps: z.number().positive().default(1e-5),
  num_classes: z.int().positive().default(400),
});
type Config = z.infer<typeof Config>;

const sizeOf = ([t, h, w]: readonly [number, number, number]): Size => ({ t, h, w });

class PatchEmbed extends Module<Config> {
  proj = new Conv(this.config.embed_dim, {
    size: sizeOf(this.config.patch_size),
    stride: sizeOf(this.config.patch_size),
  });
  norm = this.config.patch_norm ? new LayerNorm({ eps: this.config.norm_eps }) : undefined;

  forward(x: Clip) {
    const patches = this.proj(x.padTo(sizeOf(this.config.patch_size)));
    return keep("", this.norm === undefined ? patches : this.norm(patches), "b c t h w");
  }
}

/** Each stage has half the height and width of the one before and twice its channels. */
const stageOf = (config: Config, index: number) => {
  const clip = sizeOf(config.input_size);
  const patch = sizeOf(config.patch_size);
  const dim = config.embed_dim * 2 ** index;
  return {
    depth: config.depths[index] ?? 1,
    last: index === config.depths.length - 1,
    block: {
      dim,
      heads: config.num_heads[index] ?? 1,
      hidden: config.mlp_ratio * dim,
      eps: config.norm_eps,
      bias: config.qkv_bias,
      extent: each((axis) => Math.ceil(Math.ceil(clip[axis] / patch[axis]) / (axis === "t" ? 1 : 2 ** index))),
      window: sizeOf(config.window_size),
    },
  };
};

class Backbone extends Module<Config> {
  patch_embed = new PatchEmbed(this.config);
  layers = repeat(this.config.depths.length, (index) => new Stage(stageOf(this.config, index)));
  norm = new LayerNorm({ eps: this.config.norm_eps });

  forward(video: Clip) {
    let x: Clip = this.patch_embed(video);
    for (const layer of this.layers) x = layer(x);
    return this.norm(x);
  }
}

class VideoSwin extends Module<Config> {
  backbone = new Backbone(this.config);
  cls_head = { fc_cls: new Linear(this.config.num_classes) };

  forward({ video }: { video: Clip }) {
    const features = this.backbone(video);
    return { logits: this.cls_head.fc_cls(features.mean("t", "h", "w")), features: output(features, "b c t h w") };
  }
}

export default model({
  name: "video-swin",
  config: Config,
  presets: {
    tiny: {},
    small: { depths: [2, 2, 18, 2] },
    base: { embed_dim: 128, depths: [2, 2, 18, 2], num_heads: [4, 8, 16, 32] },
    large: { embed_dim: 192, depths: [2, 2, 18, 2], num_heads: [6, 12, 24, 48] },
    /** Something-Something: windows of twice as many frames. */
    "base-ssv2": {
      embed_dim: 128,
      depths: [2, 2, 18, 2],
      num_heads: [4, 8, 16, 32],
      window_size: [16, 7, 7],
      num_classes: 174,
    },
  },
  inputs: ({ input_size, in_chans }) => ({ video: grid(sizeOf(input_size), in_chans) }),
  module: (config) => new VideoSwin(config),
  axes: {
    t: (t, { input_size: [, h, w] }) => ({ input_size: [t, h, w] }),
    h: (h, { input_size: [t, , w] }) => ({ input_size: [t, h, w] }),
    w: (w, { input_size: [t, h] }) => ({ input_size: [t, h, w] }),
  },
  root: "backbone",
  fromCase: ({ activation: _gelu, ...config }) => config,
});
