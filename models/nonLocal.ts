/**
 * Non-local neural networks: each position of a feature map looks at all (arXiv 1711.07971). Parameter names are those of
 * two published codes: the block of AlexHex7 (NONLocalBlock), which pools behind its convolutions, and that of FAIR
 * (Nonlocal), which pools before them, scales its scores, and stands in a residual stage.
 */
import {
  attend,
  attentionWeights,
  BatchNorm,
  Conv,
  entry,
  type Grid,
  grid,
  keep,
  Linear,
  maxPool,
  Module,
  output,
  parameter,
  relu,
  repeat,
  score,
  system,
  where,
  window,
} from "fovea";
import { z } from "zod";

/** A feature map; one of fewer than three dimensions has one position on the axes that it lacks. */
type Map = Grid<"t" | "h" | "w">;

const axes = ["t", "h", "w"] as const;
/** Maps as published code lays them out, by their dimensions. */
const layouts = { 1: "b c (t h w)", 2: "b c (t h) w", 3: "b c t h w" } as const;
/** What each position gives each other; there is one head. */
const pairs = "b (t h w head) key";
const count = z.int().positive();
const Extent = z.object({ t: count, h: count, w: count });

const BlockConfig = z.strictObject({
  /** How alike two positions are (equations 2 to 5). */
  pairwise: z.enum(["gaussian", "embedded_gaussian", "dot_product", "concatenation"]).default("embedded_gaussian"),
  dimension: z.literal([1, 2, 3]).default(3),
  in_channels: count,
  inter_channels: count,
  /** Whether keys and values are pooled: over height and width, never over time. */
  sub_sample: z.boolean().default(true),
  bn_layer: z.boolean().default(true),
  /** Whether what each position gives each other is a result too. */
  return_nl_map: z.boolean().default(false),
  extent: Extent,
});
type BlockConfig = z.infer<typeof BlockConfig>;

class NonLocalBlock extends Module<BlockConfig> {
  isEmbedded = this.config.pairwise !== "gaussian";
  g = this.pooled();
  theta = this.isEmbedded ? new Linear(this.config.inter_channels) : undefined;
  phi = this.isEmbedded ? this.pooled() : undefined;
  /** Of the query's channels, then of the key's. */
  concat_project =
    this.config.pairwise === "concatenation" ? [{ weight: parameter(2 * this.config.inter_channels) }] : undefined;
  W = this.config.bn_layer
    ? ([new Linear(this.config.in_channels), new BatchNorm()] as const)
    : new Linear(this.config.in_channels);

  forward({ x }: { readonly x: Map }) {
    const values = this.keys("g", this.g, x);
    const queries = this.theta === undefined ? x : this.publish("theta", this.theta(x));
    const keys = this.keys("phi", this.phi, x);
    const { q, k, options } = this.similarity(queries, keys);
    if (options.normalize === "softmax")
      keep("logits", attentionWeights(q, k, axes, { ...options, normalize: "none" }), pairs);
    else if (this.config.pairwise === "concatenation")
      keep("concat_project", attentionWeights(q, k, axes, { ...options, normalize: "none" }), "b head (t h w) key");
    const out = output(x.add(this.back(attend(q, k, values, options))), this.layout);
    return this.config.return_nl_map ? { out, nl_map: output(attentionWeights(q, k, axes, options), pairs) } : { out };
  }

  private similarity(queries: Map, keys: Map) {
    const { pairwise, inter_channels: width } = this.config;
    const [projection] = this.concat_project ?? [];
    if (projection === undefined) {
      const normalize = pairwise === "dot_product" ? ("count" as const) : ("softmax" as const);
      return { q: queries, k: keys, options: { scale: 1, normalize } };
    }
    const [ofQuery, ofKey] = projection.weight.grid({}).split(width, width);
    const q = queries.mul(ofQuery).unpack({ d: width }).sum("d");
    const k = keys.mul(ofKey).unpack({ d: width }).sum("d");
    const concatenated = score<"t" | "h" | "w">((_, i, j) => Math.max(q.of(i) + k.of(j), 0));
    return { q, k, options: { scale: 1, normalize: "count" as const, score: concatenated } };
  }

  private back(y: Map): Map {
    if (this.W instanceof Linear) return this.publish("W", this.W(y));
    const [project, norm] = this.W;
    return this.publish("W", norm(this.publish("W.0", project(y))));
  }

  private pooled(): Linear | readonly [Linear] {
    const project = new Linear(this.config.inter_channels);
    return this.config.sub_sample ? ([project] as const) : project;
  }
  private keys(name: string, project: Linear | readonly [Linear] | undefined, x: Map): Map {
    const pool = maxPool({ size: this.config.dimension === 1 ? { w: 2 } : { h: 2, w: 2 } });
    if (project === undefined) return this.config.sub_sample ? pool(x) : x;
    if (project instanceof Linear) return this.publish(name, project(x));
    return this.publish(name, pool(this.publish(`${name}.0`, project[0](x))));
  }

  private get layout() {
    return layouts[this.config.dimension];
  }
  private publish(name: string, x: Map): Map {
    return keep(name, x, this.layout);
  }
}

/** Why runs of frames cannot look at themselves alone, if they cannot. */
const unfit = (frames: number, groups: number, pooled: number): string | null =>
  groups === 1 || frames % (groups * pooled) === 0
    ? null
    : `${frames} frames do not fall into ${groups} runs${pooled === 1 ? "" : ` of which ${pooled} frames each become one key`}`;

const NonlocalConfig = z
  .strictObject({
    dim: count,
    dim_inner: count,
    /** How many positions of time, height and width become one key. */
    pool_size: z.tuple([count, count, count]).default([1, 2, 2]),
    instantiation: z.enum(["softmax", "dot_product"]).default("softmax"),
    norm_eps: z.number().positive().default(1e-5),
    /** Runs of frames that look at themselves alone. */
    groups: count.default(1),
    extent: Extent,
  })
  .superRefine(({ extent, groups, pool_size }, context) => {
    const message = unfit(extent.t, groups, pool_size[0]);
    if (message !== null) context.addIssue({ code: "custom", path: ["groups"], message });
  });
type NonlocalConfig = z.infer<typeof NonlocalConfig>;

class Nonlocal extends Module<NonlocalConfig> {
  conv_theta = new Linear(this.config.dim_inner);
  conv_phi = new Linear(this.config.dim_inner);
  conv_g = new Linear(this.config.dim_inner);
  conv_out = new Linear(this.config.dim);
  bn = new BatchNorm({ eps: this.config.norm_eps });

  forward(x: Map): Map {
    const { dim_inner, instantiation, groups, extent } = this.config;
    const [t, h, w] = this.config.pool_size;
    const isPooled = t * h * w > 1;
    const pooled = isPooled ? keep("pool", maxPool({ size: { t, h, w } })(x), layouts[3]) : x;
    const theta = keep("conv_theta", this.conv_theta(x), layouts[3]);
    const phi = keep("conv_phi", this.conv_phi(pooled), layouts[3]);
    const g = keep("conv_g", this.conv_g(pooled), layouts[3]);
    const isSoftmax = instantiation === "softmax";
    const options = {
      scale: isSoftmax ? 1 / Math.sqrt(dim_inner) : 1,
      normalize: isSoftmax ? ("softmax" as const) : ("count" as const),
      ...(groups > 1 ? { keys: this.ownRun(extent.t / groups, t) } : {}),
    };
    if (isSoftmax) {
      keep("logits", attentionWeights(theta, phi, axes, { ...options, normalize: "none" }), pairs);
      keep("attn", attentionWeights(theta, phi, axes, options), pairs);
    }
    const back = keep("conv_out", this.conv_out(attend(theta, phi, g, options)), layouts[3]);
    return keep("", x.add(keep("bn", this.bn(back), layouts[3])), layouts[3]);
  }

  /** Keys of the query's own run of frames, of which `pooled` each have become one key. */
  private ownRun(frames: number, pooled: number) {
    if (pooled === 1) return window({ t: frames });
    const keys = frames / pooled;
    return where<"t" | "h" | "w">((i, j) => Math.floor(i.t / frames) === Math.floor(j.t / keys));
  }
}

type ResConfig = {
  readonly out: number;
  readonly inner: number;
  readonly time: number;
  readonly stride: number;
  readonly groups: number;
  readonly dilation: number;
  readonly hasBranch: boolean;
};
/** A bottleneck: a window of frames, then one of height and width. */
class Bottleneck extends Module<ResConfig> {
  a = new Conv(this.config.inner, {
    size: { t: this.config.time, h: 1, w: 1 },
    pad: { t: Math.floor(this.config.time / 2) },
    bias: false,
  });
  a_bn = new BatchNorm();
  b = new Conv(this.config.inner, {
    size: { t: 1, h: 3, w: 3 },
    stride: { h: this.config.stride, w: this.config.stride },
    dilation: { h: this.config.dilation, w: this.config.dilation },
    pad: { h: this.config.dilation, w: this.config.dilation },
    groups: this.config.groups,
    bias: false,
  });
  b_bn = new BatchNorm();
  c = new Conv(this.config.out, { size: { t: 1, h: 1, w: 1 }, bias: false });
  c_bn = new BatchNorm();

  forward(x: Map): Map {
    const y = relu(this.b_bn(this.b(relu(this.a_bn(this.a(x))))));
    return keep("", this.c_bn(this.c(y)), layouts[3]);
  }
}

class ResBlock extends Module<ResConfig> {
  branch1 = this.config.hasBranch
    ? new Conv(this.config.out, {
        size: { t: 1, h: 1, w: 1 },
        stride: { h: this.config.stride, w: this.config.stride },
        bias: false,
      })
    : undefined;
  branch1_bn = this.config.hasBranch ? new BatchNorm() : undefined;
  branch2 = new Bottleneck(this.config);

  forward(x: Map): Map {
    const y = this.branch2(x);
    return keep("", relu(this.shortcut(x).add(y)), layouts[3]);
  }
  private shortcut(x: Map): Map {
    if (this.branch1 === undefined || this.branch1_bn === undefined) return x;
    return keep("branch1_bn", this.branch1_bn(keep("branch1", this.branch1(x), layouts[3])), layouts[3]);
  }
}

/** Of each list the entry of one pathway: slow and fast ones have stages of their own. */
const StageConfig = z
  .strictObject({
    dim_in: z.tuple([count]),
    dim_out: z.tuple([count]),
    stride: z.tuple([count]).default([1]),
    temp_kernel_sizes: z.tuple([z.array(count).min(1)]),
    num_blocks: z.tuple([count]),
    dim_inner: z.tuple([count]),
    num_groups: z.tuple([count]).default([1]),
    /** How many of the blocks look at several frames. */
    num_block_temp_kernel: z.tuple([z.int().nonnegative()]),
    /** Blocks that a non-local block follows. */
    nonlocal_inds: z.tuple([z.array(z.int().nonnegative())]).default([[]]),
    nonlocal_group: z.tuple([count]).default([1]),
    nonlocal_pool: z.tuple([z.tuple([count, count, count])]).default([[1, 2, 2]]),
    dilation: z.tuple([count]).default([1]),
    instantiation: z.enum(["softmax", "dot_product"]).default("softmax"),
    extent: Extent,
  })
  .superRefine(({ extent, nonlocal_inds, nonlocal_group, nonlocal_pool }, context) => {
    const message = nonlocal_inds[0].length === 0 ? null : unfit(extent.t, nonlocal_group[0], nonlocal_pool[0][0]);
    if (message !== null) context.addIssue({ code: "custom", path: ["nonlocal_group"], message });
  });
type StageConfig = z.infer<typeof StageConfig>;

/** The blocks of a stage, and the non-local blocks between them, as published: `pathway0_res0`, `pathway0_nonlocal0`. */
function stageOf(config: StageConfig) {
  const [[dim_in], [out], [stride], [blocks]] = [config.dim_in, config.dim_out, config.stride, config.num_blocks];
  const [times] = config.temp_kernel_sizes;
  const stages = repeat(blocks, (index) => ({
    res: new ResBlock({
      out,
      inner: config.dim_inner[0],
      time: index < config.num_block_temp_kernel[0] ? (times[index % times.length] ?? 1) : 1,
      stride: index === 0 ? stride : 1,
      groups: config.num_groups[0],
      dilation: config.dilation[0],
      hasBranch: index === 0 && (dim_in !== out || stride !== 1),
    }),
    nonlocal: config.nonlocal_inds[0].includes(index) ? new Nonlocal(nonlocalOf(config, out)) : undefined,
  }));
  const named = stages.flatMap(({ res, nonlocal }, index) => [
    [`pathway0_res${index}`, res],
    [`pathway0_nonlocal${index}`, nonlocal],
  ]);
  return {
    ...(Object.fromEntries(named) as object),
    forward: ({ x }: { readonly x: Map }) => {
      let y = x;
      for (const { res, nonlocal } of stages) {
        y = res(y);
        if (nonlocal !== undefined) y = nonlocal(y);
      }
      return { out: output(y, layouts[3]) };
    },
  };
}
const nonlocalOf = (config: StageConfig, dim: number) =>
  NonlocalConfig.parse({
    dim,
    dim_inner: Math.floor(dim / 2),
    pool_size: config.nonlocal_pool[0],
    instantiation: config.instantiation,
    groups: config.nonlocal_group[0],
    extent: config.extent,
  });

type Shapes = { readonly [name: string]: { readonly shape: readonly number[] } };
/** Published configurations name the network too; how large the map is, the inputs say. */
const published = ({ model: _network, ...config }: { readonly [field: string]: unknown }, { x }: Shapes) => {
  const [w = 1, h = 1, t = 1] = x?.shape.slice(2).toReversed() ?? [];
  return { ...config, extent: { t, h, w } };
};
const block = entry({
  config: BlockConfig,
  inputs: ({ extent, in_channels, dimension }) => ({ x: grid(extent, in_channels, { layout: layouts[dimension] }) }),
  module: (config) => new NonLocalBlock(config),
  fromCase: (config, inputs) => ({ ...published(config, inputs), return_nl_map: true }),
});

export default system({
  name: "non-local",
  entries: {
    Nonlocal: entry({
      config: NonlocalConfig,
      inputs: ({ extent, dim }) => ({ x: grid(extent, dim) }),
      module: (config) => {
        const nonlocal = new Nonlocal(config);
        return {
          ...nonlocal,
          forward: ({ x }: { readonly x: Map }) => ({ out: output(nonlocal(x), layouts[3]) }),
        };
      },
      fromCase: published,
    }),
    ResStage: entry({
      config: StageConfig,
      inputs: ({ extent, dim_in }) => ({ x: grid(extent, dim_in[0]) }),
      module: (config) => stageOf(config),
      fromCase: published,
    }),
    NONLocalBlock1D: block,
    NONLocalBlock2D: block,
    NONLocalBlock3D: block,
  },
});
