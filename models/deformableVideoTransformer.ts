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
  parameter,
  repeat,
  Sequential,
  system,
} from "fovea";
import { z } from "zod";

type Clip = Grid<"t" | "h" | "w">;

const Count = z.int().positive();
const DvtConfig = z
  .strictObject({
    dim: Count.default(768),
    heads: Count.default(12),
    /** Points of a head in each frame, and in each scale of a frame. */
    n_points: Count.default(8),
    n_points_ms: Count.default(4),
    n_scales: Count.default(4),
    /** How many equal parts the clip is cut into; tokens look at frames of their own part. */
    sub_clips: Count.default(1),
    patch: Count.default(16),
    image: z.tuple([Count, Count]).default([224, 224]),
    frames: Count.default(8),
    depth: Count.default(12),
    mlp_ratio: Count.default(4),
    classes: Count.default(400),
    /** Space and time, with scales fused in or alone. */
    attention: z.enum(["D-ST+MS-A", "D-ST-A"]).default("D-ST+MS-A"),
    fusion: z.enum(["linear", "mixer"]).default("mixer"),
    mixer_token_hidden: Count.default(64),
    mixer_channel_hidden: Count.default(3072),
  })
  .superRefine(({ dim, heads, frames, sub_clips, image, patch }, context) => {
    const wrong = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    if (dim % heads !== 0) wrong("heads", `${heads} heads do not divide dim`);
    if (frames % sub_clips !== 0) wrong("sub_clips", "sub_clips does not divide frames");
    if (image.some((size) => size % patch !== 0)) wrong("patch", "patch does not divide the image");
  });
export type DvtConfig = z.infer<typeof DvtConfig>;

const asTokens = "b t (h w) c";
const asPairs = "b (t i) u (h w)";

/** How far everything at a patch has moved and changed up to each frame: motion in patches, residuals in colours. */
function accumulatedCues(motion: Clip, residuals: Clip, { patch, frames }: DvtConfig): Clip {
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

const keepCues = (accumulated: Clip, frames: number) => keep("cues", cuesBetween(accumulated, frames), `${asPairs} c`);

/** Deformable space-time attention: each token looks at a few points of every frame. */
class DeformableSpaceTimeAttention extends Module<DvtConfig> {
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
class DeformableMultiScaleAttention extends Module<DvtConfig> {
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

class DVTBlock extends Module<DvtConfig> {
  #scales = this.config.attention === "D-ST+MS-A";
  norm1 = new LayerNorm();
  dsta = new DeformableSpaceTimeAttention(this.config);
  dmsa = this.#scales ? new DeformableMultiScaleAttention(this.config) : undefined;
  fusion = this.#scales ? this.fusionOf(this.config) : undefined;
  norm2 = new LayerNorm();
  mlp = new Sequential(new Linear(this.config.mlp_ratio * this.config.dim), gelu, new Linear(this.config.dim));

  forward(x: Clip, accumulated: Clip) {
    const normal = this.norm1(x);
    const st = keep("dsta", this.dsta(normal, accumulated), asTokens);
    x = x.add(this.withScales(normal, st));
    return keep("", x.add(this.mlp(this.norm2(x))), asTokens);
  }

  private withScales(x: Clip, st: Clip): Clip {
    if (this.dmsa === undefined || this.fusion === undefined) return st;
    const ms = keep("dmsa", this.dmsa(x), asTokens);
    return keep("fusion", this.fusion(st, ms), asTokens);
  }
  private fusionOf(config: DvtConfig) {
    return config.fusion === "linear" ? new LinearFusion(config) : new MixerFusion(config);
  }
}

class DVT extends Module<DvtConfig> {
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
    let x = this.patch_embed(clip)
      .add(this.pos_embed.grid({ h, w }))
      .add(this.time_embed.grid({ t: this.config.frames }));
    keep("tokens", x, asTokens);
    for (const block of this.blocks) x = block(x, accumulated);
    return this.head(this.norm(x).mean("t", "h", "w"));
  }
}

const tokensOf = ({ frames, image: [h, w], patch, dim }: DvtConfig) =>
  grid({ t: frames, h: h / patch, w: w / patch }, dim, { layout: asTokens });
const picturesOf = ({ frames, image: [h, w] }: DvtConfig, channels: number) =>
  grid({ t: frames, h, w }, channels, { layout: "b t c h w" });
const motionOf = (config: DvtConfig) => ({
  motion_vectors: picturesOf(config, 2),
  residuals: picturesOf(config, 3),
});
type Motion = { motion_vectors: Clip; residuals: Clip };

/** The motion that all blocks see. */
function cuesOf({ motion_vectors, residuals }: Motion, config: DvtConfig): Clip {
  const accumulated = accumulatedCues(motion_vectors, residuals, config);
  keepCues(accumulated, config.frames);
  return accumulated;
}

/** A module as a network: its fields are the checkpoint's keys. */
const alone = <M extends object, F>(module: M, forward: (module: M) => F) => ({ ...module, forward: forward(module) });

export const dvtEntries: { readonly [name: string]: Entry } = {
  DVT: entry({
    config: DvtConfig,
    inputs: (config) => ({ clip: picturesOf(config, 3), ...motionOf(config) }),
    module: (config) =>
      alone(new DVT(config), (network) => ({ clip, ...motion }: { clip: Clip } & Motion) => ({
        logits: network(clip, cuesOf(motion, config)),
      })),
  }),
  DVTBlock: entry({
    config: DvtConfig,
    inputs: (config) => ({ tokens: tokensOf(config), ...motionOf(config) }),
    module: (config) =>
      alone(new DVTBlock(config), (layer) => ({ tokens, ...motion }: { tokens: Clip } & Motion) => ({
        out: output(layer(tokens, cuesOf(motion, config)), asTokens),
      })),
  }),
  DeformableSpaceTimeAttention: entry({
    config: DvtConfig,
    inputs: (config) => ({ tokens: tokensOf(config), ...motionOf(config) }),
    module: (config) =>
      alone(
        new DeformableSpaceTimeAttention(config),
        (layer) =>
          ({ tokens, ...motion }: { tokens: Clip } & Motion) => ({
            out: output(layer(tokens, cuesOf(motion, config)), asTokens),
          }),
      ),
  }),
  DeformableMultiScaleAttention: entry({
    config: DvtConfig,
    inputs: (config) => ({ tokens: tokensOf(config) }),
    module: (config) =>
      alone(new DeformableMultiScaleAttention(config), (layer) => ({ tokens }: { tokens: Clip }) => ({
        out: output(layer(tokens), asTokens),
      })),
  }),
};

export default system({ name: "deformableVideoTransformer", entries: dvtEntries });
