/**
 * Video Transformer Network: a vision transformer for each frame, a Longformer over the frames, a perceptron for the
 * classes (arXiv 2102.00719, arXiv 2004.05150). Parameter names are those of the published code.
 */
import {
  all,
  along,
  attend,
  combine,
  Conv,
  Embedding,
  entry,
  gelu,
  type Grid,
  grid,
  keep,
  LayerNorm,
  Linear,
  Mlp,
  Module,
  near,
  parameter,
  pointwise,
  prefix,
  repeat,
  Sequential,
  system,
  union,
  unused,
} from "fovea";
import { z } from "zod";

type Clip = Grid<"t" | "h" | "w">;
/** Tokens in a row, after any number of prefix tokens. */
type Sequence = Grid<"t">;

const asFrames = "(b t) (prefix | h w) c";

const Backbone = z.object({
  img_size: z.tuple([z.int().positive(), z.int().positive()]).default([224, 224]),
  patch_size: z.int().positive().default(16),
  embed_dim: z.int().positive().default(768),
  depth: z.int().positive().default(12),
  num_heads: z.int().positive().default(12),
  mlp_ratio: z.number().positive().default(4),
  norm_eps: z.number().positive().default(1e-6),
});
type Backbone = z.infer<typeof Backbone>;

class FrameAttention extends Module<Backbone> {
  qkv = new Linear(3 * this.config.embed_dim);
  proj = new Linear(this.config.embed_dim);

  forward(x: Clip) {
    const [q, k, v] = this.qkv(x).split(3);
    return this.proj(attend(q, k, v, { heads: this.config.num_heads, keys: union(prefix(), along("h", "w")) }));
  }
}

class FrameBlock extends Module<Backbone> {
  norm1 = new LayerNorm({ eps: this.config.norm_eps });
  attn = new FrameAttention(this.config);
  norm2 = new LayerNorm({ eps: this.config.norm_eps });
  mlp = new Mlp({ hidden: this.config.mlp_ratio * this.config.embed_dim, out: this.config.embed_dim });

  forward(x: Clip) {
    x = x.add(keep("attn", this.attn(this.norm1(x)), asFrames));
    return keep("", x.add(this.mlp(this.norm2(x))), asFrames);
  }
}

/** A vision transformer (arXiv 2010.11929) of each frame: its feature is that of the frame's class token. */
class FrameEncoder extends Module<Backbone> {
  size = { h: this.config.patch_size, w: this.config.patch_size };
  cls_token = parameter(1, 1, this.config.embed_dim);
  pos_embed = parameter(1, 1 + patches(this.config).h * patches(this.config).w, this.config.embed_dim);
  patch_embed = { proj: new Conv(this.config.embed_dim, { size: this.size, stride: this.size }) };
  blocks = repeat(this.config.depth, () => new FrameBlock(this.config));
  norm = new LayerNorm({ eps: this.config.norm_eps });

  forward(video: Clip): Sequence {
    const positions = this.pos_embed.grid(patches(this.config), { prefix: 1 });
    const frames = keep("patch_embed", this.patch_embed.proj(video), "(b t) (h w) c").add(positions.grid);
    let x = frames.withPrefix(this.cls_token.tokens().add(positions.prefix)).repeatPrefix("t");
    for (const block of this.blocks) x = block(x);
    return keep("", this.norm(x.prefixOver("t").at("prefix", 0)), "(b t) c");
  }
}
const patches = ({ img_size: [h, w], patch_size }: Backbone) => ({ h: h / patch_size, w: w / patch_size });

const encoder = {
  num_attention_heads: z.int().positive().default(12),
  num_hidden_layers: z.int().positive().default(3),
  /** Twice as far as a frame sees to each side, for each layer. */
  attention_window: z.array(z.int().positive()).default([18, 18, 18]),
  intermediate_size: z.int().positive().default(3072),
  max_position_embeddings: z.int().positive().default(288),
  type_vocab_size: z.int().min(2).default(2),
  layer_norm_eps: z.number().positive().default(1e-12),
  hidden_dim: z.int().positive().default(768),
};
const LongformerConfig = z.strictObject({ ...encoder, tokens: z.int().positive() });
const TemporalConfig = z.strictObject({
  ...encoder,
  frames: z.int().positive().default(250),
  num_classes: z.int().positive().default(400),
  mlp_dim: z.int().positive().default(768),
  mlp_head_norm_eps: z.number().positive().default(1e-5),
});
const Config = TemporalConfig.extend({
  frames: z.int().positive().default(16),
  backbone: Backbone.default(Backbone.parse({})),
});
type EncoderConfig = Omit<z.infer<typeof LongformerConfig>, "tokens">;
type TemporalConfig = z.infer<typeof TemporalConfig>;
type Config = z.infer<typeof Config>;

type LayerConfig = { dim: number; heads: number; hidden: number; eps: number; window: number };

class SelfAttention extends Module<LayerConfig> {
  query = new Linear(this.config.dim);
  key = new Linear(this.config.dim);
  value = new Linear(this.config.dim);
  query_global = new Linear(this.config.dim);
  key_global = new Linear(this.config.dim);
  value_global = new Linear(this.config.dim);

  /** Prefix tokens are global: seen by all, and seeing all by projections of their own. */
  forward(x: Sequence, mask: Sequence | undefined) {
    const { heads, window } = this.config;
    if (mask !== undefined) return this.masked(x, mask);
    const local = attend(this.query(x).grid, this.key(x), this.value(x), {
      heads,
      keys: union(prefix(), near({ t: window / 2 })),
    });
    return local.withPrefix(
      attend(this.query_global(x.prefix), this.key_global(x), this.value_global(x), { heads, keys: all() }),
    );
  }

  /** `mask` says of each token whether it is no key (0), local (1) or global (2). */
  private masked(x: Sequence, mask: Sequence) {
    const { heads, window } = this.config;
    const local = attend(this.query(x), this.key(x), this.value(x), {
      heads,
      score: (s, q, k) => {
        const isNear = mask.of(k) === 1 && Math.abs(q.t - k.t) <= window / 2;
        return mask.of(k) === 2 || isNear ? s : -Infinity;
      },
    });
    const global = attend(this.query_global(x), this.key_global(x), this.value_global(x), {
      heads,
      score: (s, _, k) => (mask.of(k) > 0 ? s : -Infinity),
    });
    return combine(local, [global, mask], (l, g, kind) => (kind === 2 ? g : kind === 1 ? l : 0));
  }
}

class LongformerLayer extends Module<LayerConfig> {
  attention = {
    self: new SelfAttention(this.config),
    output: { dense: new Linear(this.config.dim), LayerNorm: new LayerNorm({ eps: this.config.eps }) },
  };
  intermediate = { dense: new Linear(this.config.hidden) };
  output = { dense: new Linear(this.config.dim), LayerNorm: new LayerNorm({ eps: this.config.eps }) };

  forward(x: Sequence, mask: Sequence | undefined) {
    const layout = mask === undefined ? "b (prefix | t) c" : "b t c";
    const { self, output } = this.attention;
    const context = keep("attention.self", self(x, mask), layout);
    const dense = keep("attention.output.dense", output.dense(context), layout);
    x = keep("attention", output.LayerNorm(x.add(dense)), layout);
    const inner = gelu(this.intermediate.dense(x));
    return keep("", this.output.LayerNorm(x.add(this.output.dense(inner))), layout);
  }
}

class Longformer extends Module<EncoderConfig> {
  embeddings = {
    position_ids: unused,
    position_embeddings: new Embedding(this.config.max_position_embeddings, this.config.hidden_dim),
    token_type_embeddings: new Embedding(this.config.type_vocab_size, this.config.hidden_dim),
    LayerNorm: new LayerNorm({ eps: this.config.layer_norm_eps }),
  };
  encoder = {
    layer: repeat(
      this.config.num_hidden_layers,
      (index) =>
        new LongformerLayer({
          dim: this.config.hidden_dim,
          heads: this.config.num_attention_heads,
          hidden: this.config.intermediate_size,
          eps: this.config.layer_norm_eps,
          window: this.config.attention_window[index] ?? 2,
        }),
    ),
  };

  /** The sum of tokens, positions and types; `mask` where it is data which tokens are global. */
  forward(x: Sequence, mask: Sequence | undefined) {
    x = keep("embeddings", this.embeddings.LayerNorm(x), mask === undefined ? "b (prefix | t) c" : "b t c");
    for (const layer of this.encoder.layer) x = layer(x, mask);
    return x;
  }
}

/** What follows the frames' features: their places in the video, one global token in front, and the classes. */
abstract class Temporal<C extends TemporalConfig> extends Module<C> {
  cls_token = parameter(1, 1, this.config.hidden_dim);
  temporal_encoder = new Longformer(this.config);
  mlp_head = new Sequential(
    new LayerNorm({ eps: this.config.mlp_head_norm_eps }),
    new Linear(this.config.mlp_dim),
    gelu,
    (x) => x, // dropout
    new Linear(this.config.num_classes),
  );

  protected classify(features: Sequence, ids: Sequence) {
    const { position_embeddings: positions, token_type_embeddings: types } = this.temporal_encoder.embeddings;
    // The last two places are the class token's and the padding's: frames count round below them.
    const places = this.config.max_position_embeddings - 2;
    const [, placeOfClass] = positions.weight.split(places, 1, 1);
    const [local, global] = types.weight.split(1, 1, this.config.type_vocab_size - 2);
    const frames = features.add(positions(pointwise(ids, (id) => id % places))).add(local.grid({}));
    const first = this.cls_token.tokens().add(placeOfClass.tokens()).add(global.tokens());
    const x = this.temporal_encoder(frames.withPrefix(first), undefined);
    return { logits: this.mlp_head(x.prefix.at("prefix", 0)), last_hidden_state: x };
  }
}

class VtnTemporal extends Temporal<TemporalConfig> {
  forward({ features, position_ids }: { features: Sequence; position_ids: Sequence }) {
    return this.classify(features, position_ids);
  }
}

class Vtn extends Temporal<Config> {
  backbone = new FrameEncoder(this.config.backbone);

  forward({ video, position_ids }: { video: Clip; position_ids: Sequence }) {
    return this.classify(this.backbone(video), position_ids);
  }
}

/** The encoder alone: which tokens are global or masked, their types and places are data. */
class Encoder extends Module<EncoderConfig> {
  temporal_encoder = new Longformer(this.config);

  forward(inputs: {
    inputs_embeds: Sequence;
    attention_mask: Sequence;
    token_type_ids: Sequence;
    position_ids: Sequence;
  }) {
    const { position_embeddings, token_type_embeddings } = this.temporal_encoder.embeddings;
    const places = position_embeddings(inputs.position_ids).add(token_type_embeddings(inputs.token_type_ids));
    return { last_hidden_state: this.temporal_encoder(inputs.inputs_embeds.add(places), inputs.attention_mask) };
  }
}

/** Whole numbers, one for each token. */
const ids = (t: number) => grid({ t }, 1, { layout: "b t", element: "int" });
const root = ["temporal_encoder", "temporal_encoder.encoder"];

export default system({
  name: "vtn",
  entries: {
    VTN: entry({
      config: Config,
      presets: { base: {} },
      inputs: ({ frames, backbone: { img_size } }) => ({
        video: grid({ t: frames, h: img_size[0], w: img_size[1] }, 3),
        position_ids: ids(frames),
      }),
      module: (config) => new Vtn(config),
      axes: { t: (t) => ({ frames: t }) },
      root,
      fromCase: (config, { video }) => ({ ...published(config), frames: video?.shape[2] }),
    }),
    VTNTemporal: entry({
      config: TemporalConfig,
      inputs: ({ frames, hidden_dim }) => ({
        features: grid({ t: frames }, hidden_dim, { layout: "b t c" }),
        position_ids: ids(frames),
      }),
      module: (config) => new VtnTemporal(config),
      root,
      fromCase: (config, { features }) => ({ ...published(config), frames: features?.shape[1] }),
    }),
    Longformer: entry({
      config: LongformerConfig,
      inputs: ({ tokens, hidden_dim }) => ({
        inputs_embeds: grid({ t: tokens }, hidden_dim, { layout: "b t c" }),
        attention_mask: ids(tokens),
        token_type_ids: ids(tokens),
        position_ids: ids(tokens),
      }),
      module: (config) => new Encoder(config),
      root,
      fromCase: (config, { inputs_embeds }) => ({ ...published(config), tokens: inputs_embeds?.shape[1] }),
    }),
  },
});

/** Published configurations name what is fixed here: which network it is, the padding's value, and GELU. */
const published = ({
  model: _entry,
  pad_token_id: _padding,
  hidden_act: _gelu,
  ...config
}: {
  readonly [field: string]: unknown;
}) => config;
