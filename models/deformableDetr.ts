/**
 * Deformable DETR: deformable transformers for end-to-end object detection (arXiv 2010.04159). Parameter names are those
 * of the published checkpoints. Levels of a pyramid lie one behind the other on the axis `s`, each row by row.
 */
import { combine, constant, deformable, type Grid, keep, LayerNorm, Linear, Module, relu } from "fovea";

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

export type EncoderConfig = AttentionConfig & { d_ffn: number };

/** A layer of the encoder: every position of the pyramid looks at points around itself on all levels. */
export class DeformableTransformerEncoderLayer extends Module<EncoderConfig> {
  self_attn = new MSDeformAttn(this.config);
  norm1 = new LayerNorm();
  linear1 = new Linear(this.config.d_ffn);
  linear2 = new Linear(this.config.d_model);
  norm2 = new LayerNorm();

  forward({ src, pos, reference_points, padding_mask }: EncoderInputs) {
    const query = src.add(pos).rename("s", "q");
    const attended = this.self_attn({ query, reference_points, input_flatten: src, padding_mask });
    const x = this.norm1(src.add(attended.rename("q", "s")));
    return this.norm2(x.add(this.linear2(relu(this.linear1(x)))));
  }
}
type EncoderInputs = {
  readonly src: Grid<"s">;
  readonly pos: Grid<"s">;
  readonly reference_points: Grid<"q" | "level">;
  readonly padding_mask?: Grid<"s"> | undefined;
};
