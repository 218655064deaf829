/**
 * Deformable Video Transformer (arXiv 2203.16795). No code was published; what the paper leaves open is said here. Motion
 * cues are summed over time at a patch's own place; offsets count patches; positions are between the centres of patches.
 */
import {
  combine,
  concat,
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
  repeat,
  Sequential,
} from "fovea";

type Clip = Grid<"t" | "h" | "w">;

export type DvtConfig = {
  dim: number;
  heads: number;
  /** Points of a head in each frame, and in each scale of a frame. */
  n_points: number;
  n_points_ms: number;
  n_scales: number;
  /** How many equal parts the clip is cut into; tokens look at frames of their own part. */
  sub_clips: number;
  patch: number;
  image: readonly [height: number, width: number];
  frames: number;
  depth: number;
  mlp_ratio: number;
  classes: number;
  fusion: "linear" | "mixer";
  mixer_token_hidden: number;
  mixer_channel_hidden: number;
};

const asTokens = "b t (h w) c";
const asPairs = "b (t i) u (h w)";

/** How far everything at a patch has moved and changed up to each frame: motion in patches, residuals in colours. */
export function accumulatedCues(motion: Clip, residuals: Clip, { patch, frames }: DvtConfig): Clip {
  const cues = concat([motion.mul(1 / patch), residuals]);
  const patches = meanPool({ size: { h: patch, w: patch } })(cues);
  const upTo = constant(
    { t: frames, g: frames },
    Array.from({ length: frames * frames }, (_, i) => [i % frames <= Math.floor(i / frames) ? 1 : 0]),
  );
  return patches.rename("t", "g").expand({ t: frames }).mul(upTo).sum("g");
}

/** Cues from frame `i` of a part to frame `u` of the same part `t`; parts are `length` frames long. */
function cuesBetween(accumulated: Clip, length: number) {
  const from = partsOf(accumulated, length);
  return combine(from.expand({ u: length }), [from.rename("i", "u")], (before, after) => after - before);
}
/** Each token's frame as the part `t` and the frame `i` within it. */
const partsOf = (x: Clip, length: number) => x.merge({ t: length }).unpack({ i: length });

export const keepCues = (accumulated: Clip, frames: number) =>
  keep("cues", cuesBetween(accumulated, frames), `${asPairs} c`);

/** Deformable space-time attention: each token looks at a few points of every frame. */
export class DeformableSpaceTimeAttention extends Module<DvtConfig> {
  q = new Linear(this.config.dim);
  v = new Linear(this.config.dim);
  motion = new Linear(this.config.dim);
  offsets = new Linear(2 * this.config.heads * this.config.n_points);
  weights = new Linear(this.config.heads * this.config.n_points);
  proj = new Linear(this.config.dim);

  forward(x: Clip, accumulated: Clip) {
    const { frames, sub_clips } = this.config;
    const length = frames / sub_clips;
    const q = keep("q", this.q(x), asTokens);
    const v = keep("v", this.v(x), asTokens);
    const { offsets, logits } = this.points(q, accumulated, length);
    this.keepAll(q, accumulated, length);

    const [h, w] = patchesOf(this.config);
    const points = offsets.add(ownPositions(h, w));
    const attended = deformable([partsOf(v, length).rename("i", "u")], {
      points,
      weights: logits,
      axes: ["w", "h"],
      heads: "head",
      over: ["u", "point"],
    });
    return this.proj(keep("attended", attended.pack("i").unmerge({ t: length }), asTokens));
  }

  /** Where a token at frame `i` looks in frame `u`, and how much. */
  private points(q: Clip, accumulated: Clip, length: number) {
    const { heads, n_points } = this.config;
    const motion = this.motion(cuesBetween(accumulated, length));
    const asked = concat([partsOf(q, length).expand({ u: length }), motion]);
    const count = { head: heads, point: n_points };
    return { motion, offsets: this.offsets(asked).unpack(count), logits: this.weights(asked).unpack(count) };
  }

  /** What there is to see, for all pairs of frames: those of two parts have no weight. */
  private keepAll(q: Clip, accumulated: Clip, length: number) {
    const { frames } = this.config;
    const { motion, offsets, logits } = this.points(q, accumulated, frames);
    const together = constant(
      { i: frames, u: frames },
      Array.from({ length: frames * frames }, (_, i) => [
        Math.floor(i / frames / length) === Math.floor((i % frames) / length) ? 1 : 0,
      ]),
    );
    const masked = combine(logits, [together], (logit, same) => (same > 0 ? logit : -Infinity));
    keep("motion", motion, `${asPairs} c`);
    keep("offsets", offsets, `${asPairs} head point c`);
    keep("weights", masked.softmax("u", "point"), "b (t i) (h w) head (u point)");
  }
}

/** The place of each patch, x before y. */
const ownPositions = (h: number, w: number) =>
  constant(
    { h, w },
    Array.from({ length: h * w }, (_, i) => [i % w, Math.floor(i / w)]),
  );
const patchesOf = ({ image: [h, w], patch }: DvtConfig) => [h / patch, w / patch] as const;

/** Deformable multi-scale attention: each token looks at a few points of its own frame, on several scales. */
export class DeformableMultiScaleAttention extends Module<DvtConfig> {
  q = new Linear(this.config.dim);
  v = new Linear(this.config.dim);
  scale_convs = repeat(
    this.config.n_scales,
    (scale) =>
      new Conv(this.config.dim, {
        size: { t: 3, h: 3, w: 3 },
        stride: { t: 1, h: 2 ** scale, w: 2 ** scale },
        pad: { t: 1, h: 1, w: 1 },
      }),
  );
  offsets = new Linear(2 * this.config.heads * this.config.n_scales * this.config.n_points_ms);
  weights = new Linear(this.config.heads * this.config.n_scales * this.config.n_points_ms);
  proj = new Linear(this.config.dim);

  forward(x: Clip) {
    const { heads, n_scales, n_points_ms } = this.config;
    const count = { head: heads, scale: n_scales, point: n_points_ms };
    const q = keep("q", this.q(x), asTokens);
    const offsets = keep("offsets", this.offsets(q).unpack(count), "b t (h w) head scale point c");
    const logits = this.weights(q).unpack(count);
    keep("weights", logits.softmax("scale", "point"), "b t (h w) head (scale point)");
    const scales = this.scale_convs.map((conv, scale) => keep(`scale${scale}`, conv(x), "b c t h w"));
    const attended = deformable(
      scales.map((scale) => this.v(scale)),
      {
        points: offsets.add(this.positions(scales)),
        weights: logits,
        axes: ["w", "h"],
        heads: "head",
        levels: "scale",
        over: ["point"],
      },
    );
    return this.proj(keep("attended", attended, asTokens));
  }

  /** Each patch's place on each scale, edge on edge. */
  private positions(scales: readonly Clip[]) {
    const [h, w] = patchesOf(this.config);
    const places = Array.from({ length: h * w }, (_, i) => [i % w, Math.floor(i / w)] as const);
    return constant(
      { h, w, scale: scales.length },
      places.flatMap(([x, y]) =>
        scales.map((scale) => [((x + 0.5) / w) * scale.extent("w") - 0.5, ((y + 0.5) / h) * scale.extent("h") - 0.5]),
      ),
    );
  }
}

class LinearFusion extends Module<DvtConfig> {
  proj = new Linear(this.config.dim);

  forward(st: Clip, ms: Clip) {
    return this.proj(concat([st, ms]));
  }
}

/** An MLP-Mixer over the two attentions' results (arXiv 2105.01601), and their mean. */
class MixerFusion extends Module<DvtConfig> {
  norm1 = new LayerNorm();
  tok1 = new Linear(this.config.mixer_token_hidden);
  tok2 = new Linear(2);
  norm2 = new LayerNorm();
  ch1 = new Linear(this.config.mixer_channel_hidden);
  ch2 = new Linear(this.config.dim);

  forward(st: Clip, ms: Clip) {
    let y = concat([st.expand({ k: 1 }), ms.expand({ k: 1 })], { axis: "k" });
    const tokens = this.norm1(y).unpack({ d: this.config.dim }).pack("k");
    y = y.add(
      this.tok2(gelu(this.tok1(tokens)))
        .unpack({ k: 2 })
        .pack("d"),
    );
    y = y.add(this.ch2(gelu(this.ch1(this.norm2(y)))));
    return y.mean("k");
  }
}

export class DVTBlock extends Module<DvtConfig> {
  norm1 = new LayerNorm();
  dsta = new DeformableSpaceTimeAttention(this.config);
  dmsa = new DeformableMultiScaleAttention(this.config);
  fusion = this.config.fusion === "linear" ? new LinearFusion(this.config) : new MixerFusion(this.config);
  norm2 = new LayerNorm();
  mlp = new Sequential(new Linear(this.config.mlp_ratio * this.config.dim), gelu, new Linear(this.config.dim));

  forward(z: Clip, accumulated: Clip) {
    const x = this.norm1(z);
    const st = keep("dsta", this.dsta(x, accumulated), asTokens);
    const ms = keep("dmsa", this.dmsa(x), asTokens);
    z = z.add(keep("fusion", this.fusion(st, ms), asTokens));
    return keep("", z.add(this.mlp(this.norm2(z))), asTokens);
  }
}

export class DVT extends Module<DvtConfig> {
  pos_embed = parameter(1, 1, patchesOf(this.config)[0] * patchesOf(this.config)[1], this.config.dim);
  time_embed = parameter(1, this.config.frames, 1, this.config.dim);
  patch_embed = new Conv(this.config.dim, {
    size: { h: this.config.patch, w: this.config.patch },
    stride: { h: this.config.patch, w: this.config.patch },
  });
  blocks = repeat(this.config.depth, () => new DVTBlock(this.config));
  norm = new LayerNorm();
  head = new Linear(this.config.classes);

  forward(clip: Clip, accumulated: Clip) {
    const [h, w] = patchesOf(this.config);
    let z = this.patch_embed(clip)
      .add(this.pos_embed.grid({ h, w }))
      .add(this.time_embed.grid({ t: this.config.frames }));
    keep("tokens", z, asTokens);
    for (const block of this.blocks) z = block(z, accumulated);
    return this.head(this.norm(z).mean("t", "h", "w"));
  }
}
