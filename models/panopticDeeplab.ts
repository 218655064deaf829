/**
 * The decoders and heads of Panoptic-DeepLab (arXiv 1911.10194): one decoder for what each pixel is, one for where its
 * instance has its centre. Parameter names are those of the published code, whose stages are numbered, not named.
 */
import { BatchNorm, concat, Conv, type Grid, keep, Linear, Module, output, type Output, relu, Sequential } from "fovea";
import { z } from "zod";

type Map = Grid<"h" | "w">;
const asMap = "b c h w";

const count = z.int().positive();
const pair = z.tuple([count, count]);
export const DecoderConfig = z.strictObject({
  in_channels: count,
  feature_key: z.string().default("res5"),
  low_level_channels: z.array(count),
  /** Features from coarse to fine, as many as there are stages. */
  low_level_key: z.array(z.string()),
  low_level_channels_project: z.array(count),
  decoder_channels: count,
  atrous_rates: z.array(count),
  num_classes: count,
  /** Whether there are instances too, or classes alone. */
  has_instance: z.boolean().default(true),
  instance_low_level_channels_project: z.array(count),
  instance_decoder_channels: count,
  instance_head_channels: count,
  instance_aspp_channels: count,
  instance_num_classes: pair.default([1, 2]),
  instance_class_key: z.tuple([z.literal("center"), z.literal("offset")]).default(["center", "offset"]),
  /** Height and width of the image. */
  input_shape: pair,
  /** Axial-DeepLab sees far enough without atrous convolutions. */
  aspp_use_only_1x1_proj_conv: z.boolean().default(false),
});
export type DecoderConfig = z.infer<typeof DecoderConfig>;
/** Feature maps by name. */
export type Features = { readonly [name: string]: Map };

/** A convolution of one position, normalised. */
const projected = (out: number) => new Sequential(new Linear(out, { bias: false }), new BatchNorm(), relu);

/** A convolution of each channel by itself, then one across the channels. */
const separable = (channels: number, out: number) => {
  const depthwise = new Conv(channels, { size: { h: 5, w: 5 }, pad: { h: 2, w: 2 }, groups: channels, bias: false });
  const stages = new Sequential(
    new Sequential(depthwise, new BatchNorm(), relu),
    new Linear(out, { bias: false }),
    new BatchNorm(),
    relu,
  );
  return new Sequential(stages);
};

const resized = (x: Map, like: Map): Map =>
  x.resize({ h: like.extent("h"), w: like.extent("w") }, { mode: "bilinear", alignCorners: true });

/** The average of the whole map, everywhere. */
class Pooling extends Module<{ readonly out: number }> {
  aspp_pooling = { 1: new Linear(this.config.out, { bias: false }) };

  forward(x: Map): Map {
    const pooled = relu(this.aspp_pooling[1](x.mean("h", "w")));
    return pooled.expand({ h: x.extent("h"), w: x.extent("w") });
  }
}

type AsppConfig = { readonly out: number; readonly rates: readonly number[]; readonly projectsOnly: boolean };
/** Atrous spatial pyramid pooling (arXiv 1706.05587): windows of several reaches, and the whole map. */
class Aspp extends Module<AsppConfig> {
  convs = this.config.projectsOnly
    ? []
    : ([
        projected(this.config.out),
        ...this.config.rates.map((rate) => this.atrous(rate)),
        new Pooling(this.config),
      ] as const);
  project = projected(this.config.out);

  forward(x: Map): Map {
    const seen = this.convs.map((conv, index) => keep(`convs.${index}`, conv(x), asMap));
    const y = this.project(seen.length === 0 ? x : concat(seen));
    return keep("", keep("project", y, asMap), asMap);
  }
  private atrous(rate: number) {
    const sides = { h: rate, w: rate };
    const conv = new Conv(this.config.out, { size: { h: 3, w: 3 }, dilation: sides, pad: sides, bias: false });
    return new Sequential(conv, new BatchNorm(), relu);
  }
}

type SideConfig = AsppConfig & {
  readonly channels: number;
  readonly lowChannels: readonly number[];
  readonly feature: string;
  readonly low: readonly string[];
};
/** From the coarsest feature to the finest: each stage takes in a finer one. */
class Decoder extends Module<SideConfig> {
  aspp = new Aspp(this.config);
  project = this.config.lowChannels.map((channels) => projected(channels));
  fuse = this.config.lowChannels.map((channels, index) =>
    separable((index === 0 ? this.config.out : this.config.channels) + channels, this.config.channels),
  );

  forward(features: Features): Map {
    const { feature, low } = this.config;
    let x = this.aspp(named(features, feature));
    for (const [index, project] of this.project.entries()) {
      const finer = keep(`project.${index}`, project(named(features, low[index] ?? "")), asMap);
      const fuse = this.fuse[index];
      if (fuse !== undefined) x = keep(`fuse.${index}`, fuse(concat([resized(x, finer), finer])), asMap);
    }
    return keep("", x, asMap);
  }
}
function named(features: Features, name: string): Map {
  const feature = features[name];
  if (feature === undefined)
    throw new Error(`there is no feature "${name}": there are ${Object.keys(features).join(", ")}`);
  return feature;
}

type HeadConfig = {
  readonly inputs: number;
  readonly channels: number;
  readonly classes: { readonly [name: string]: number };
};
class Head extends Module<HeadConfig> {
  classifier = Object.fromEntries(
    Object.entries(this.config.classes).map(([name, classes]) => [
      name,
      [separable(this.config.inputs, this.config.channels), new Linear(classes)] as const,
    ]),
  );

  forward(x: Map): Features {
    const entries = Object.entries(this.classifier).map(([name, [hidden, last]]) => [
      name,
      last(keep(`classifier.${name}.0`, hidden(x), asMap)),
    ]);
    return Object.fromEntries(entries) as Features;
  }
}

export class PanopticDeepLabDecoder extends Module<DecoderConfig> {
  sides = sidesOf(this.config);
  semantic_decoder = new Decoder(this.sides.semantic);
  semantic_head = new Head({
    inputs: this.config.decoder_channels,
    channels: this.config.decoder_channels,
    classes: { semantic: this.config.num_classes },
  });
  instance_decoder = this.config.has_instance ? new Decoder(this.sides.instance) : undefined;
  instance_head = this.config.has_instance
    ? new Head({
        inputs: this.config.instance_decoder_channels,
        channels: this.config.instance_head_channels,
        classes: { center: this.config.instance_num_classes[0], offset: this.config.instance_num_classes[1] },
      })
    : undefined;

  forward(features: Features): { readonly [name: string]: Output } {
    const [h, w] = this.config.input_shape;
    const large = (x: Map) => x.resize({ h, w }, { mode: "bilinear", alignCorners: true });
    const semantic = given(this.semantic_head(this.semantic_decoder(features)).semantic);
    const classes = { semantic: output(semantic, asMap), semantic_upsampled: output(large(semantic), asMap) };
    if (this.instance_decoder === undefined || this.instance_head === undefined) return classes;

    const instances = this.instance_head(this.instance_decoder(features));
    const [center, offset] = [given(instances.center), given(instances.offset)];
    // Offsets count pixels.
    const pixels = Math.floor((h - 1) / (offset.extent("h") - 1));
    return {
      ...classes,
      center: output(center, asMap),
      offset: output(offset, asMap),
      center_upsampled: output(large(center), asMap),
      offset_upsampled: output(large(offset).mul(pixels), asMap),
    };
  }
}
function given(x: Map | undefined): Map {
  if (x === undefined) throw new Error("a head lacks a map");
  return x;
}

function sidesOf(config: DecoderConfig) {
  const common = {
    rates: config.atrous_rates,
    projectsOnly: config.aspp_use_only_1x1_proj_conv,
    feature: config.feature_key,
    low: config.low_level_key,
  };
  return {
    semantic: {
      ...common,
      out: config.decoder_channels,
      channels: config.decoder_channels,
      lowChannels: config.low_level_channels_project,
    },
    instance: {
      ...common,
      out: config.instance_aspp_channels,
      channels: config.instance_decoder_channels,
      lowChannels: config.instance_low_level_channels_project,
    },
  };
}
