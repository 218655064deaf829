/**
 * Deformable DETR: deformable transformers for end-to-end object detection (arXiv 2010.04159). Parameter names are those
 * of the published checkpoints. Levels of a pyramid lie one behind the other on the axis `s`, each row by row.
 */
import {
  type AnyGrid,
  attend,
  combine,
  constant,
  deformable,
  type Entry,
  entry,
  gelu,
  grid,
  type Grid,
  keep,
  LayerNorm,
  Linear,
  linear,
  Module,
  output,
  parameter,
  relu,
  system,
} from "fovea";
import { z } from "zod";

/** Height and width of a level. */
export type LevelShape = readonly [height: number, width: number];
type Points = Grid<"q" | "head" | "level" | "point">;

export const positionsOf = (shapes: readonly LevelShape[]): number => shapes.reduce((sum, [h, w]) => sum + h * w, 0);

/** The levels of a pyramid as maps. */
function levelsOf(value: Grid<"s">, shapes: readonly LevelShape[]): readonly Grid<"h" | "w">[] {
  const there = value.extent("s");
  if (positionsOf(shapes) !== there)
    throw new Error(
      `the levels ${shapes.map(([h, w]) => `${h} x ${w}`).join(", ")} have ${positionsOf(shapes)} positions, and the value has ${there}`,
    );
  let start = 0;
  return shapes.map(([h, w]) => {
    const level = value.slice("s", start, start + h * w);
    start += h * w;
    return level.pack("s").unpack({ h, w });
  });
}

/** The core of multi-scale deformable attention: locations run from 0 to 1 between a level's outer edges, x before y. */
export const sampleLevels = (
  value: Grid<"s">,
  shapes: readonly LevelShape[],
  points: Points,
  weights: Points,
  normalize: "softmax" | "none",
): Grid<"q"> =>
  deformable(levelsOf(value, shapes), {
    points,
    weights,
    normalize,
    axes: ["w", "h"],
    heads: "head",
    levels: "level",
    over: ["point"],
    coordinates: "edges",
  });

export type AttentionConfig = {
  d_model: number;
  n_heads: number;
  n_levels: number;
  n_points: number;
  spatial_shapes: readonly LevelShape[];
};

export type Reference = {
  readonly query: Grid<"q">;
  /** Of each query and level a point, or a box by its centre and size; 0 to 1 between the level's outer edges. */
  readonly reference_points: Grid<"q" | "level">;
  readonly input_flatten: Grid<"s">;
  /** Not zero where the input is padding. */
  readonly padding_mask?: Grid<"s"> | undefined;
};

/** Multi-scale deformable attention (equation 3). */
export class MSDeformAttn extends Module<AttentionConfig> {
  #count = { head: this.config.n_heads, level: this.config.n_levels, point: this.config.n_points };
  #points = this.config.n_heads * this.config.n_levels * this.config.n_points;
  sampling_offsets = new Linear(2 * this.#points);
  attention_weights = new Linear(this.#points);
  value_proj = new Linear(this.config.d_model);
  output_proj = new Linear(this.config.d_model);

  forward({ query, reference_points, input_flatten, padding_mask }: Reference) {
    const { n_heads, spatial_shapes } = this.config;
    const projected = this.value_proj(input_flatten);
    const value =
      padding_mask === undefined ? projected : combine(projected, [padding_mask], (v, mask) => (mask !== 0 ? 0 : v));
    keep("value", value.unpack({ head: n_heads }), "b s head c");

    const offsets = this.sampling_offsets(query).unpack(this.#count);
    keep("sampling_offsets", offsets, "b q head level point c");
    const logits = this.attention_weights(query).unpack(this.#count);
    keep("attention_weights", logits.softmax("level", "point"), "b q head (level point)");
    const locations = this.locations(offsets, reference_points);
    keep("sampling_locations", locations, "b q head level point c");

    const core = sampleLevels(value, spatial_shapes, locations, logits, "softmax");
    return this.output_proj(keep("core", core, "b q c"));
  }

  /** Offsets count pixels around a point, and halves of a box's size, shared among the points, around a box. */
  private locations(offsets: Points, reference: Grid<"q" | "level">): Points {
    const { n_points, spatial_shapes } = this.config;
    if (reference.channels === 2) {
      const sizes = constant(
        { level: spatial_shapes.length },
        spatial_shapes.map(([h, w]) => [w, h]),
      );
      return offsets.div(sizes).add(reference);
    }
    const [centre, size] = reference.split(2);
    return offsets
      .mul(size)
      .mul(0.5 / n_points)
      .add(centre);
  }
}

export type LayerConfig = AttentionConfig & { d_ffn: number; activation: "relu" | "gelu" };

/** A layer of the encoder: every position of the pyramid looks at points around itself on all levels. */
export class DeformableTransformerEncoderLayer extends Module<LayerConfig> {
  self_attn = new MSDeformAttn(this.config);
  norm1 = new LayerNorm();
  linear1 = new Linear(this.config.d_ffn);
  linear2 = new Linear(this.config.d_model);
  norm2 = new LayerNorm();

  forward({ src, pos, reference_points, padding_mask }: EncoderInputs) {
    const query = src.add(pos).rename("s", "q");
    const attended = this.self_attn({ query, reference_points, input_flatten: src, padding_mask });
    const x = this.norm1(src.add(attended.rename("q", "s")));
    return this.norm2(x.add(this.linear2(activationOf(this.config)(this.linear1(x)))));
  }
}
type EncoderInputs = {
  readonly src: Grid<"s">;
  readonly pos: Grid<"s">;
  readonly reference_points: Grid<"q" | "level">;
  readonly padding_mask?: Grid<"s"> | undefined;
};

const activationOf = ({ activation }: LayerConfig) => (activation === "relu" ? relu : gelu);

/** Queries look at each other: torch.nn.MultiheadAttention, whose three projections share one parameter. */
class MultiheadAttention extends Module<AttentionConfig> {
  in_proj_weight = parameter(3 * this.config.d_model, this.config.d_model);
  in_proj_bias = parameter(3 * this.config.d_model);
  out_proj = new Linear(this.config.d_model);

  /** Where queries are says whom they look at, not what they see there. */
  forward(x: Grid<"q">, pos: Grid<"q">) {
    const { d_model, n_heads } = this.config;
    const [weight, valueWeight] = this.in_proj_weight.split(2 * d_model, d_model);
    const [bias, valueBias] = this.in_proj_bias.split(2 * d_model, d_model);
    const [q, k] = linear(x.add(pos), weight.grid({ out: 2 * d_model }))
      .add(bias.grid({}))
      .split(2);
    const v = linear(x, valueWeight.grid({ out: d_model })).add(valueBias.grid({}));
    return this.out_proj(attend(q, k, v, { heads: n_heads }));
  }
}

/** A layer of the decoder: object queries look at each other, then at points of the encoder's pyramid. */
export class DeformableTransformerDecoderLayer extends Module<LayerConfig> {
  cross_attn = new MSDeformAttn(this.config);
  norm1 = new LayerNorm();
  self_attn = new MultiheadAttention(this.config);
  norm2 = new LayerNorm();
  linear1 = new Linear(this.config.d_ffn);
  linear2 = new Linear(this.config.d_model);
  norm3 = new LayerNorm();

  forward({ tgt, query_pos, reference_points, src, padding_mask }: DecoderInputs) {
    let x = this.norm2(tgt.add(this.self_attn(tgt, query_pos)));
    const query = x.add(query_pos);
    x = this.norm1(x.add(this.cross_attn({ query, reference_points, input_flatten: src, padding_mask })));
    return this.norm3(x.add(this.linear2(activationOf(this.config)(this.linear1(x)))));
  }
}
type DecoderInputs = {
  readonly tgt: Grid<"q">;
  readonly query_pos: Grid<"q">;
  readonly reference_points: Grid<"q" | "level">;
  readonly src: Grid<"s">;
  readonly padding_mask?: Grid<"s"> | undefined;
};

const Count = z.int().positive();
const Fields = {
  d_model: Count.default(256),
  n_heads: Count.default(8),
  n_levels: Count.default(4),
  n_points: Count.default(4),
  spatial_shapes: z.array(z.tuple([Count, Count])).min(1),
  /** Points or boxes that offsets are around. */
  reference_dim: z.union([z.literal(2), z.literal(4)]).default(2),
  padding: z.boolean().default(false),
};
const LayerFields = { ...Fields, d_ffn: Count.default(1024), activation: z.enum(["relu", "gelu"]).default("relu") };
type Pyramid = AttentionConfig & { readonly reference_dim: number; readonly padding: boolean };

/** What fields say of each other. */
function checkAttention({ n_levels, spatial_shapes, d_model, n_heads }: AttentionConfig, context: z.RefinementCtx) {
  if (spatial_shapes.length !== n_levels)
    context.addIssue({ code: "custom", path: ["spatial_shapes"], message: "there is one for each of n_levels" });
  if (d_model % n_heads !== 0)
    context.addIssue({ code: "custom", path: ["n_heads"], message: `${n_heads} heads do not divide d_model` });
}

const CoreConfig = z.strictObject({
  heads: Count.default(8),
  head_dim: Count.default(32),
  Lq: Count.default(300),
  points: Count.default(4),
  spatial_shapes: Fields.spatial_shapes,
});
type CoreConfig = z.infer<typeof CoreConfig>;

class MSDeformAttnCore extends Module<CoreConfig> {
  forward({ value, sampling_locations, attention_weights }: CoreInputs) {
    const { spatial_shapes } = this.config;
    const sampled = sampleLevels(value.pack("head"), spatial_shapes, sampling_locations, attention_weights, "none");
    return { output: output(sampled, "b q c") };
  }
}
type CoreInputs = { value: Grid<"s" | "head">; sampling_locations: Points; attention_weights: Points };

const queriesOf = ({ d_model }: AttentionConfig, q: number) => grid({ q }, d_model, { layout: "b q c" });
const valuesOf = ({ d_model, spatial_shapes }: AttentionConfig) =>
  grid({ s: positionsOf(spatial_shapes) }, d_model, { layout: "b s c" });
/** Says of each query and level where it is, and what of the input is padding. */
const placesOf = ({ spatial_shapes, reference_dim, padding }: Pyramid, q: number) => ({
  reference_points: grid({ q, level: spatial_shapes.length }, reference_dim, { layout: "b q level c" }),
  ...(padding ? { padding_mask: grid({ s: positionsOf(spatial_shapes) }, 1, { layout: "b s", element: "int" }) } : {}),
});

/** A module as a network: its fields are the checkpoint's keys. */
const alone = <M extends object, I>(module: M, run: (module: M, inputs: I) => AnyGrid, layout: string) => ({
  ...module,
  forward: (inputs: I) => ({ output: output(run(module, inputs), layout) }),
});

const withoutBatch = ({ N: _batch, ...config }: { readonly [field: string]: unknown }) => config;

export const detrEntries: { readonly [name: string]: Entry } = {
  MSDeformAttn: entry({
    config: z.strictObject({ ...Fields, Lq: Count.default(300) }).superRefine(checkAttention),
    inputs: (config) => ({
      query: queriesOf(config, config.Lq),
      input_flatten: valuesOf(config),
      ...placesOf(config, config.Lq),
    }),
    module: (config) => alone(new MSDeformAttn(config), (attention, inputs: Reference) => attention(inputs), "b q c"),
    fromCase: withoutBatch,
  }),
  MSDeformAttnCore: entry({
    config: CoreConfig,
    inputs: ({ heads, head_dim, Lq, points, spatial_shapes }) => {
      const each = { q: Lq, head: heads, level: spatial_shapes.length, point: points };
      return {
        value: grid({ s: positionsOf(spatial_shapes), head: heads }, head_dim, { layout: "b s head c" }),
        sampling_locations: grid(each, 2, { layout: "b q head level point c" }),
        attention_weights: grid(each, 1, { layout: "b q head level point" }),
      };
    },
    module: (config) => new MSDeformAttnCore(config),
    fromCase: withoutBatch,
  }),
  DeformableTransformerEncoderLayer: entry({
    config: z.strictObject(LayerFields).superRefine(checkAttention),
    inputs: (config) => ({
      src: valuesOf(config),
      pos: valuesOf(config),
      ...placesOf(config, positionsOf(config.spatial_shapes)),
    }),
    module: (config) =>
      alone(new DeformableTransformerEncoderLayer(config), (layer, inputs: EncoderInputs) => layer(inputs), "b s c"),
  }),
  DeformableTransformerDecoderLayer: entry({
    config: z.strictObject({ ...LayerFields, Lq: Count.default(300) }).superRefine(checkAttention),
    inputs: (config) => ({
      tgt: queriesOf(config, config.Lq),
      query_pos: queriesOf(config, config.Lq),
      src: valuesOf(config),
      ...placesOf(config, config.Lq),
    }),
    module: (config) =>
      alone(new DeformableTransformerDecoderLayer(config), (layer, inputs: DecoderInputs) => layer(inputs), "b q c"),
  }),
};

export default system({ name: "deformableDetr", entries: detrEntries });
