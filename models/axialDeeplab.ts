/**
 * Axial-DeepLab: attention along the height, then along the width, with positions in queries, keys and values (arXiv
 * 2003.07853), before the decoders of Panoptic-DeepLab. Parameter names are those of the published code, spelt as they are there.
 */
import {
  along,
  attend,
  attentionWeights,
  BatchNorm,
  combine,
  concat,
  Conv,
  entry,
  type Grid,
  grid,
  keep,
  Linear,
  maxPool,
  meanPool,
  Module,
  output,
  parameter,
  pointwise,
  relu,
  repeat,
  score,
  system,
  unused,
} from "fovea";
import { z } from "zod";
import { AttentionConfig, BlockConfig, expansion, NetConfig, type Stage, stagesOf, widthOf } from "./axialConfig.ts";
import { DecoderConfig, PanopticDeepLabDecoder } from "./panopticDeeplab.ts";
import { mapsOf, PanopticPostProcessing, PostProcessingConfig } from "./panopticPostProcessing.ts";

type Map = Grid<"h" | "w">;
const asMap = "b c h w";

type Attended = {
  readonly planes: number;
  readonly groups: number;
  /** Positions of the line, and the reach of the table. */
  readonly span: number;
  readonly stride: number;
  readonly axis: "h" | "w";
};

/** The scales and shifts of a batch normalisation, channel by channel: for what normalises parts of its channels apart. */
class Norm extends Module<{ readonly channels: number }> {
  weight = parameter(this.config.channels);
  bias = parameter(this.config.channels);
  running_mean = parameter(this.config.channels);
  running_var = parameter(this.config.channels);
  num_batches_tracked = unused;

  forward(): { readonly scale: Grid<never>; readonly shift: Grid<never> } {
    const scale = combine(this.weight.grid({}), [this.running_var.grid({})], (w, v) => w / Math.sqrt(v + 1e-5));
    const shift = combine(this.bias.grid({}), [scale, this.running_mean.grid({})], (b, s, mean) => b - s * mean);
    return { scale, shift };
  }
}

/**
 * Position-sensitive attention along one axis (section 3.2). The three parts of a score, q·k, q·r and k·r, are normalised
 * apart; what they are shifted by is the same for all keys and falls out of the softmax.
 */
class AxialAttention extends Module<Attended> {
  qkv_transform = new Linear(2 * this.config.planes, { bias: false });
  bn_qkv = new BatchNorm();
  bn_similarity = new Norm({ channels: 3 * this.config.groups });
  bn_output = new Norm({ channels: 2 * this.config.planes });
  relative = parameter((2 * this.config.planes) / this.config.groups, 2 * this.config.span - 1);
  flatten_index = unused;

  private heads = this.config.groups;
  /** Channels of a head's values; its queries and keys have half as many. */
  private depth = this.config.planes / this.heads;
  private lines = this.config.axis === "h" ? "(b w) c h" : "(b h) c w";

  forward(x: Map): Map {
    const { stride } = this.config;
    const qkv = keep("bn_qkv", this.bn_qkv(keep("qkv_transform", this.qkv_transform(x), this.lines)), this.lines);
    const { ofValues, shift, ofPositions } = this.outputNorm();
    const { options, tables } = this.similarities();
    const [q, k, v] = this.parts(qkv.mul(ofValues).add(shift));
    const positions = { ...options.positions, value: this.ofHeads(tables.value, ofPositions) };
    const y = attend(q, k, v, { ...options, positions });
    this.publish(qkv);
    if (stride === 1) return keep("", y, asMap);
    return keep("", keep("pooling", meanPool({ size: { h: stride, w: stride } })(y), asMap), asMap);
  }

  private parts(qkv: Map): readonly [q: Map, k: Map, v: Map] {
    return qkv.heads(this.heads).split(this.depth / 2, this.depth / 2, this.depth);
  }

  /** Scores whose parts are each scaled by a factor of the head. */
  private similarities() {
    const { heads } = this;
    const { axis } = this.config;
    const tables = this.tables();
    const [ofProduct, ofQuery, ofKey] = this.bn_similarity().scale.split(heads, heads, heads);
    const options = {
      heads,
      keys: along<"h" | "w">(axis),
      scale: 1,
      score: score<"h" | "w">((s, i, _, head) => s * ofProduct.of(i, head)),
      positions: {
        axis,
        query: this.ofHeads(tables.query, ofQuery.unpack({ head: heads })),
        key: this.ofHeads(tables.key, ofKey.unpack({ head: heads })),
      },
    };
    return { options, tables };
  }

  /** Positions of queries, keys and values, which all heads share. */
  private tables() {
    const rows = this.relative
      .grid({ d: 2 * this.depth })
      .unpack({ row: 2 * this.config.span - 1 })
      .pack("d");
    const [query, key, value] = rows.split(this.depth / 2, this.depth / 2, this.depth);
    return { query, key, value };
  }
  /** The same for each head, or times a factor of the head. */
  private ofHeads(table: Grid<"row">, factor?: Grid<"head">): Grid<"row"> {
    const each = table.expand({ head: this.heads });
    return (factor === undefined ? each : each.mul(factor)).pack("head");
  }

  /**
   * Content and position are neighbours in the channels, normalised apart and added up. The weights of a query sum to
   * one: what scales contents scales the values, and what is added to results can be added to the values.
   */
  private outputNorm() {
    const { heads, depth } = this;
    const { scale, shift } = this.bn_output();
    const pairs = { head: heads, d: depth };
    const [ofContent, ofPosition] = scale.unpack(pairs).split(1, 1);
    const [contents, positions] = shift.unpack(pairs).split(1, 1);
    const scales = ofContent.pack("d");
    const shifts = contents.add(positions).pack("d");
    // Queries and keys, which stand in front, stay as they are.
    return {
      ofValues: concat([pointwise(scales, () => 1), scales]).pack("head"),
      shift: concat([pointwise(shifts, () => 0), shifts]).pack("head"),
      ofPositions: ofPosition.pack("d"),
    };
  }

  /** Scores and results in parts, before and after they are normalised. */
  private publish(qkv: Map) {
    const { heads, lines } = this;
    const { axis } = this.config;
    const pairs = axis === "h" ? "(b w) head h key" : "(b h) head w key";
    const [q, k, v] = this.parts(qkv);
    const { options, tables } = this.similarities();
    keep("attn", attentionWeights(q, k, [axis], options), pairs);

    const plain = { heads, keys: options.keys, scale: 1, normalize: "none" } as const;
    const parts = [
      attentionWeights(q, k, [axis], plain),
      attentionWeights(q, k, [axis], { ...plain, scale: 0, positions: { axis, query: this.ofHeads(tables.query) } }),
      attentionWeights(q, k, [axis], { ...plain, scale: 0, positions: { axis, key: this.ofHeads(tables.key) } }),
    ];
    const similarities = concat(parts.map((part) => part.pack("head")));
    const normalized = this.normalized(similarities, this.bn_similarity());
    const channels = axis === "h" ? "(b w) c h key" : "(b h) c w key";
    keep("bn_similarity.in", similarities, channels);
    keep("bn_similarity", normalized, channels);
    keep("logits", normalized.unpack({ part: 3, head: heads }).sum("part"), pairs);

    const content = attend(q, k, v, options);
    const positions = { ...options.positions, value: this.ofHeads(tables.value) };
    const position = attend(q, k, v.mul(0), { ...options, positions });
    const { planes } = this.config;
    const both = concat([content.unpack({ d: planes }), position.unpack({ d: planes })]).pack("d");
    keep("bn_output.in", both, lines);
    keep("bn_output", this.normalized(both, this.bn_output()), lines);
  }
  private normalized<A extends string>(x: Grid<A>, { scale, shift }: ReturnType<Norm["forward"]>): Grid<A> {
    return x.mul(scale).add(shift);
  }
}

/** A residual block: fewer channels, attention along the height, then the width, more channels again. */
class AxialBlock extends Module<BlockConfig> {
  width = widthOf(this.config.planes, this.config.base_width);
  attention = { planes: this.width, groups: this.config.groups, span: this.config.kernel_size };
  conv_down = new Linear(this.width, { bias: false });
  bn1 = new BatchNorm();
  hight_block = new AxialAttention({ ...this.attention, stride: 1, axis: "h" });
  width_block = new AxialAttention({ ...this.attention, stride: this.config.stride, axis: "w" });
  conv_up = new Linear(expansion * this.config.planes, { bias: false });
  bn2 = new BatchNorm();
  downsample = this.changes() ? ([this.strided(), new BatchNorm()] as const) : undefined;

  forward(x: Map): Map {
    const down = keep("bn1", this.bn1(keep("conv_down", this.conv_down(x), asMap)), asMap);
    const attended = this.width_block(this.hight_block(keep("relu", relu(down), asMap)));
    const up = this.conv_up(keep("relu", relu(attended), asMap));
    const y = keep("bn2", this.bn2(keep("conv_up", up, asMap)), asMap).add(this.shortcut(x));
    return keep("", keep("relu", relu(y), asMap), asMap);
  }

  private changes(): boolean {
    return this.config.stride !== 1 || this.config.inplanes !== expansion * this.config.planes;
  }
  private strided(): Conv {
    const { planes, stride } = this.config;
    return new Conv(expansion * planes, { size: { h: 1, w: 1 }, stride: { h: stride, w: stride }, bias: false });
  }
  private shortcut(x: Map): Map {
    if (this.downsample === undefined) return x;
    const [conv, norm] = this.downsample;
    const y = keep("downsample.1", norm(keep("downsample.0", conv(x), asMap)), asMap);
    return keep("downsample", y, asMap);
  }
}

/** An Axial-ResNet without its classifier. */
abstract class Backbone extends Module<NetConfig> {
  stem = Math.floor(64 * this.config.s);
  conv1 = new Conv(this.stem, { size: { h: 7, w: 7 }, stride: { h: 2, w: 2 }, pad: { h: 3, w: 3 }, bias: false });
  bn1 = new BatchNorm();
  layer1 = this.layer(0);
  layer2 = this.layer(1);
  layer3 = this.layer(2);
  layer4 = this.layer(3);

  protected run(x: Map): readonly Map[] {
    const stem = keep("bn1", this.bn1(keep("conv1", this.conv1(x), asMap)), asMap);
    let y = maxPool({ size: { h: 3, w: 3 }, stride: { h: 2, w: 2 }, pad: { h: 1, w: 1 } })(relu(stem));
    keep("maxpool", y, asMap);
    return [this.layer1, this.layer2, this.layer3, this.layer4].map((layer, index) => {
      for (const block of layer) y = block(y);
      return keep(`layer${index + 1}`, y, asMap);
    });
  }

  private layer(index: number) {
    const { groups, width_per_group } = this.config;
    const stages = stagesOf(this.config);
    const { blocks, planes, stride, span } = stages[index] as Stage;
    const before = stages[index - 1]?.planes;
    return repeat(
      blocks,
      (block) =>
        new AxialBlock({
          inplanes: block > 0 ? expansion * planes : before === undefined ? this.stem : expansion * before,
          planes,
          stride: block === 0 ? stride : 1,
          groups,
          base_width: width_per_group,
          kernel_size: block === 0 ? span : span / stride,
        }),
    );
  }
}

class AxialAttentionNet extends Backbone {
  fc = new Linear(this.config.num_classes);

  forward({ x }: { readonly x: Map }) {
    const features = this.run(x).at(-1) ?? x;
    const pooled = keep("avgpool", features.mean("h", "w"), "b c 1 1");
    return { out: output(keep("fc", this.fc(pooled), "b c"), "b c") };
  }
}

const WholeConfig = z
  .strictObject({ backbone: NetConfig, decoder: DecoderConfig })
  .superRefine(({ backbone, decoder }, context) => {
    const { resolution } = backbone;
    if (decoder.input_shape.every((size) => size === resolution)) return;
    const message = `it is ${decoder.input_shape.join(" x ")}, and the backbone's lines are those of ${resolution} x ${resolution}`;
    context.addIssue({ code: "custom", path: ["decoder", "input_shape"], message });
  });
type WholeConfig = z.infer<typeof WholeConfig>;

class Features extends Backbone {
  forward(image: Map) {
    const [res2, res3, res4, res5] = this.run(image);
    return { res2, res3, res4, res5 } as { readonly [name: string]: Map };
  }
}

/** Axial-DeepLab as a whole (section 3.3): no atrous pyramid, the last stride removed. */
class AxialDeepLab extends Module<WholeConfig> {
  backbone = new Features(this.config.backbone);
  decoder = new PanopticDeepLabDecoder(this.config.decoder);

  forward({ image }: { readonly image: Map }) {
    return this.decoder(this.backbone(image));
  }
}

type Shapes = { readonly [name: string]: { readonly shape: readonly number[] } };
type Published = { readonly [field: string]: unknown };
const published = ({ model: _network, name: _preset, ...config }: Published) => config;
const extentOf = ({ x }: Shapes) => ({ extent: { h: x?.shape[2], w: x?.shape[3] } });
const wholeOf = ({ backbone, decoder }: { readonly backbone?: Published; readonly decoder?: Published }) => ({
  backbone,
  decoder: published(decoder ?? {}),
});
const featuresOf = (inputs: Shapes) => ({
  features: Object.fromEntries(Object.entries(inputs).map(([name, { shape }]) => [name, shape.slice(1)])),
});
const FeatureConfig = DecoderConfig.extend({
  /** Channels, height and width of each feature. */
  features: z.record(z.string(), z.tuple([z.int().positive(), z.int().positive(), z.int().positive()])),
});
/** A module as a network of one map. */
const alone = <M extends object>(module: M, run: (x: Map) => Map) => ({
  ...module,
  forward: ({ x }: { readonly x: Map }) => ({ out: output(run(x), asMap) }),
});

export default system({
  name: "axial-deeplab",
  entries: {
    AxialAttentionNet: entry({
      config: NetConfig,
      presets: {
        axial26s: { layers: [1, 2, 4, 1] },
        axial50s: {},
        axial50m: { s: 0.75 },
        axial50l: { s: 1 },
      },
      inputs: ({ resolution }) => ({ x: grid({ h: resolution, w: resolution }, 3) }),
      module: (config) => new AxialAttentionNet(config),
      fromCase: published,
    }),
    AxialDeepLab: entry({
      config: WholeConfig,
      inputs: ({ decoder: { input_shape } }) => ({ image: grid({ h: input_shape[0], w: input_shape[1] }, 3) }),
      module: (config) => new AxialDeepLab(config),
      fromCase: wholeOf,
    }),
    PanopticDeepLabDecoder: entry({
      config: FeatureConfig,
      inputs: ({ features }) =>
        Object.fromEntries(Object.entries(features).map(([name, [c, h, w]]) => [name, grid({ h, w }, c)])),
      module: ({ features: _features, ...config }) => new PanopticDeepLabDecoder(config),
      fromCase: (config, inputs) => ({ ...published(config), ...featuresOf(inputs) }),
    }),
    PanopticPostProcessing: entry({
      config: PostProcessingConfig,
      inputs: mapsOf,
      module: (config) => new PanopticPostProcessing(config),
      fromCase: (config, { semantic }) => {
        const [, classes, h, w] = semantic?.shape ?? [];
        return { ...published(config), classes, h, w };
      },
    }),
    AxialBlock: entry({
      config: BlockConfig,
      inputs: ({ kernel_size, inplanes }) => ({ x: grid({ h: kernel_size, w: kernel_size }, inplanes) }),
      module: (config) => {
        const block = new AxialBlock(config);
        return alone(block, (x) => block(x));
      },
      fromCase: published,
    }),
    AxialAttention: entry({
      config: AttentionConfig,
      inputs: ({ extent, in_planes }) => ({ x: grid(extent, in_planes) }),
      module: ({ out_planes, groups, kernel_size, stride, width }) => {
        const axis = width ? "w" : "h";
        const attention = new AxialAttention({ planes: out_planes, groups, span: kernel_size, stride, axis });
        return alone(attention, (x) => attention(x));
      },
      fromCase: (config, inputs) => ({ ...published(config), ...extentOf(inputs) }),
    }),
  },
});
