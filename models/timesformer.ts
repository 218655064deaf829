/**
 * TimeSformer: is space-time attention all you need for video understanding? (arXiv 2102.05095). Parameter names are
 * those of the published checkpoints. The paper leaves choices open in L+G and T+W+H: the class token is a key of every
 * patch in every stage and sees all tokens, and every stage but the last has a linear layer of its own behind it.
 */
import {
  all,
  along,
  attend,
  Conv,
  every,
  type Grid,
  grid,
  keep,
  LayerNorm,
  Linear,
  Mlp,
  model,
  Module,
  near,
  parameter,
  type Pattern,
  prefix,
  repeat,
  union,
  where,
} from "fovea";
import { z } from "zod";

type Clip = Grid<"t" | "h" | "w">;
type Keys = Pattern<"t" | "h" | "w">;
type BlockConfig = {
  dim: number;
  heads: number;
  hidden: number;
  eps: number;
  bias: boolean;
  sparse: { local: Keys; global: Keys };
};

/** All tokens of a clip, the class token first, then height, width and time, time fastest. */
const asClip = "b (prefix | h w t) c";
/** The tokens of each frame, a class token before each. */
const asFrames = "(b t) (prefix | h w) c";

class Attention extends Module<BlockConfig> {
  qkv = new Linear(3 * this.config.dim, { bias: this.config.bias });
  proj = new Linear(this.config.dim);

  forward(x: Clip, keys: Keys) {
    const [q, k, v] = this.qkv(x).split(3);
    return this.proj(attend(q, k, v, { heads: this.config.heads, keys }));
  }
}

/** What the blocks have in common: their last attention, and the perceptron behind it. */
abstract class Block extends Module<BlockConfig> {
  norm1 = new LayerNorm({ eps: this.config.eps });
  attn = new Attention(this.config);
  norm2 = new LayerNorm({ eps: this.config.eps });
  mlp = new Mlp({ hidden: this.config.hidden, out: this.config.dim });

  abstract override forward(x: Clip): Clip;

  protected attention(x: Clip, keys: Keys, layout: string) {
    return keep("attn", this.attn(this.norm1(x), keys), layout);
  }
  protected perceptron(x: Clip, layout: string) {
    return keep("", x.add(this.mlp(this.norm2(x))), layout);
  }
}

/** Time, then space; each frame looks at its own copy of the class token. */
class DividedBlock extends Block {
  temporal_norm1 = new LayerNorm({ eps: this.config.eps });
  temporal_attn = new Attention(this.config);
  temporal_fc = new Linear(this.config.dim);

  forward(x: Clip) {
    const time = keep("temporal_attn", this.temporal_attn(this.temporal_norm1(x.grid), along("t")), "(b h w) t c");
    x = x.grid.add(keep("temporal_fc", this.temporal_fc(time), "b (h w t) c")).withPrefix(x.prefix);

    const space = this.attention(x.repeatPrefix("t"), union(prefix(), along("h", "w")), asFrames);
    return this.perceptron(x.add(space.meanPrefix("t")), asClip);
  }
}

/** All tokens look at all. */
class JointBlock extends Block {
  forward(x: Clip) {
    return this.perceptron(x.add(this.attention(x, all(), asClip)), asClip);
  }
}

/** Each frame on its own. */
class SpaceBlock extends Block {
  forward(x: Clip) {
    const space = this.attention(x, union(prefix(), along("h", "w")), asFrames);
    return this.perceptron(x.add(space), asFrames);
  }
}

/** A neighbourhood of half the height and width in all frames, then every second position of everything ("L+G"). */
class LocalGlobalBlock extends Block {
  local_norm1 = new LayerNorm({ eps: this.config.eps });
  local_attn = new Attention(this.config);
  local_fc = new Linear(this.config.dim);

  forward(x: Clip) {
    const { local, global } = this.config.sparse;
    const nearby = keep("local_attn", this.local_attn(this.local_norm1(x), union(prefix(), local)), asClip);
    x = x.add(keep("local_fc", this.local_fc(nearby), asClip));
    return this.perceptron(x.add(this.attention(x, union(prefix(), global), asClip)), asClip);
  }
}

/** Time, width, height ("T+W+H"). */
class AxialBlock extends Block {
  temporal_norm1 = new LayerNorm({ eps: this.config.eps });
  temporal_attn = new Attention(this.config);
  temporal_fc = new Linear(this.config.dim);
  width_norm1 = new LayerNorm({ eps: this.config.eps });
  width_attn = new Attention(this.config);
  width_fc = new Linear(this.config.dim);

  forward(x: Clip) {
    const time = keep("temporal_attn", this.temporal_attn(this.temporal_norm1(x), union(prefix(), along("t"))), asClip);
    x = x.add(keep("temporal_fc", this.temporal_fc(time), asClip));
    const width = keep("width_attn", this.width_attn(this.width_norm1(x), union(prefix(), along("w"))), asClip);
    x = x.add(keep("width_fc", this.width_fc(width), asClip));
    return this.perceptron(x.add(this.attention(x, union(prefix(), along("h")), asClip)), asClip);
  }
}

const blocks = {
  divided_space_time: DividedBlock,
  joint_space_time: JointBlock,
  space_only: SpaceBlock,
  sparse_local_global: LocalGlobalBlock,
  axial: AxialBlock,
};

const Size = z.tuple([z.int().positive(), z.int().positive()]);
const Config = z.strictObject({
  attention_type: z
    .enum(["divided_space_time", "joint_space_time", "space_only", "sparse_local_global", "axial"])
    .default("divided_space_time"),
  /** Height and width that the position table was made for. */
  img_size: Size.default([224, 224]),
  patch_size: z.int().positive().default(16),
  in_chans: z.int().positive().default(3),
  num_frames: z.int().positive().default(8),
  embed_dim: z.int().positive().default(768),
  depth: z.int().positive().default(12),
  num_heads: z.int().positive().default(12),
  mlp_ratio: z.number().positive().default(4),
  qkv_bias: z.boolean().default(true),
  norm_eps: z.number().positive().default(1e-6),
  num_classes: z.int().positive().default(400),
  /** Where L+G's global keys are: on every second position counted from the query, or from 0. */
  global_pattern: z.enum(["query-aligned", "fixed-at-zero"]).default("query-aligned"),
  /** Height, width and frames of the clips, where they are not those of the tables. */
  input_size: Size.optional(),
  input_frames: z.int().positive().optional(),
});
type Config = z.infer<typeof Config>;

/** How many patches there are along each axis. */
const patches = ([h, w]: readonly [number, number], size: number) => ({
  h: Math.floor(h / size),
  w: Math.floor(w / size),
});
const clipOf = ({ input_size, img_size, input_frames, num_frames, patch_size }: Config) => ({
  t: input_frames ?? num_frames,
  ...patches(input_size ?? img_size, patch_size),
});

class VisionTransformer extends Module<Config> {
  table = patches(this.config.img_size, this.config.patch_size);
  patch_embed = {
    proj: new Conv(this.config.embed_dim, {
      size: { h: this.config.patch_size, w: this.config.patch_size },
      stride: { h: this.config.patch_size, w: this.config.patch_size },
    }),
  };
  cls_token = parameter(1, 1, this.config.embed_dim);
  pos_embed = parameter(1, 1 + this.table.h * this.table.w, this.config.embed_dim).resizable(
    "nearest",
    [this.table.h, this.table.w],
    { leading: 1 },
  );
  // Frames that never meet have no order.
  time_embed =
    this.config.attention_type === "space_only"
      ? undefined
      : parameter(1, this.config.num_frames, this.config.embed_dim).resizable("nearest", [this.config.num_frames]);
  blocks = repeat(this.config.depth, () => new blocks[this.config.attention_type](blockConfig(this.config)));
  norm = new LayerNorm({ eps: this.config.norm_eps });
  head = new Linear(this.config.num_classes);

  forward(video: Clip) {
    const positions = this.positions();
    const first = this.cls_token.tokens().add(positions.prefix);
    const frames = keep("patch_embed", this.patch_embed.proj(video), "(b t) (h w) c").add(positions.grid);
    if (this.time_embed === undefined) {
      let x = keep("pos_drop", frames.withPrefix(first).repeatPrefix("t"), asFrames);
      for (const block of this.blocks) x = block(x);
      return this.classify(x.mean("t"), "b (prefix | h w) c");
    }
    const times = this.time_embed.grid({ t: this.config.num_frames }).resize({ t: clipOf(this.config).t });
    let x = keep("time_drop", frames.add(times), "(b h w) t c").withPrefix(first);
    for (const block of this.blocks) x = block(x);
    return this.classify(x, asClip);
  }

  /** Published code sees a table of another number of patches as a square, and takes the nearest of each. */
  private positions() {
    const { h, w } = clipOf(this.config);
    if (h * w === this.table.h * this.table.w) return this.pos_embed.grid({ h, w }, { prefix: 1 });
    const side = Math.round(Math.sqrt(this.table.h * this.table.w));
    const square = this.pos_embed.grid({ h: side, w: side }, { prefix: 1 });
    return square.grid.resize({ h, w }).withPrefix(square.prefix);
  }

  private classify<A extends string>(x: Grid<A>, layout: string) {
    keep("norm", this.norm(x), layout);
    // Only the class token is read.
    return this.head(this.norm(x.prefix).at("prefix", 0));
  }
}

const blockConfig = (config: Config): BlockConfig => ({
  dim: config.embed_dim,
  heads: config.num_heads,
  hidden: config.mlp_ratio * config.embed_dim,
  eps: config.norm_eps,
  bias: config.qkv_bias,
  sparse: {
    local: half(clipOf(config)),
    global: every({ t: 2, h: 2, w: 2 }, { phase: config.global_pattern === "query-aligned" ? "query" : 0 }),
  },
});

/** The half of the height and width around a patch, moved inwards at the border so that all see as many. */
function half({ h, w }: { h: number; w: number }): Keys {
  const height = Math.ceil(h / 2);
  const width = Math.ceil(w / 2);
  if (height % 2 === 1 && width % 2 === 1)
    return near({ h: (height - 1) / 2, w: (width - 1) / 2 }, { border: "inwards" });
  return where((q, k) => isWithin(q.h, k.h, height, h) && isWithin(q.w, k.w, width, w));
}
const isWithin = (q: number, k: number, length: number, extent: number) => {
  const first = Math.min(Math.max(q - Math.floor(length / 2), 0), extent - length);
  return first <= k && k < first + length;
};

class TimeSformer extends Module<Config> {
  model = new VisionTransformer(this.config);

  forward({ video }: { video: Clip }) {
    return { logits: this.model(video) };
  }
}

export default model({
  name: "timesformer",
  config: Config,
  presets: {
    base: {},
    hr: { img_size: [448, 448], num_frames: 16 },
    large: { num_frames: 96 },
  },
  inputs: ({ input_size, img_size, input_frames, num_frames, in_chans }) => {
    const [h, w] = input_size ?? img_size;
    return { video: grid({ t: input_frames ?? num_frames, h, w }, in_chans) };
  },
  module: (config) => new TimeSformer(config),
  axes: {
    t: (t) => ({ input_frames: t }),
    h: (h, { input_size, img_size }) => ({ input_size: [h, (input_size ?? img_size)[1]] }),
    w: (w, { input_size, img_size }) => ({ input_size: [(input_size ?? img_size)[0], w] }),
  },
  root: "model",
  fromCase: ({ activation: _gelu, local_border: _inwards, ...config }) => config,
});
