/**
 * Video Action Transformer: people in the middle frame look at the whole clip (arXiv 1812.02707). The authors' code is not
 * public: the head is the paper's (section 3.2, equation 1), its location embedding has the sizes of VideoGLUE's.
 */
import {
  attend,
  attentionWeights,
  concat,
  entry,
  full,
  type Grid,
  grid,
  keep,
  LayerNorm,
  Linear,
  Module,
  output,
  type Output,
  perExample,
  pointwise,
  relu,
  sigmoid,
  system,
} from "fovea";
import { z } from "zod";
import { asClip, type Clip, Trunk, TrunkConfig } from "./i3d.ts";
import { QueryConfig, RegionQuery } from "./regionFeatures.ts";
import { clip, decode, ProposalConfig, RegionProposals } from "./regionProposals.ts";

/** People, a query each. */
type People = Grid<"r">;

const count = z.int().positive();
const pair = z.tuple([count, count]);
const Extent = z.tuple([count, count, count]);
const asPeople = "b r c";
const asCells = "(b r) c y x";

const UnitConfig = z.strictObject({
  d_query: count,
  d_memory: count,
  d: count,
  d_ff: count,
  context: Extent,
  R: count,
});

/** A query looks at the clip by one head (equation 1); its residual starts from the projected query. */
class TxUnit extends Module<{ readonly d: number; readonly d_ff: number }> {
  query = new Linear(this.config.d);
  key = new Linear(this.config.d);
  value = new Linear(this.config.d);
  norm1 = new LayerNorm();
  ffn1 = new Linear(this.config.d_ff);
  ffn2 = new Linear(this.config.d);
  norm2 = new LayerNorm();

  forward(people: People, memory: Clip) {
    const Q = this.query(people);
    const [k, v] = [this.key(memory), this.value(memory)];
    const A = attend(Q, k, v);
    const q1 = this.norm1(Q.add(A));
    const out = this.norm2(q1.add(this.ffn2(relu(this.ffn1(q1)))));
    return { Q, weights: attentionWeights(Q, k, ["t", "h", "w"]), A, q1, out };
  }
}
/** Published names count units within their layer, parameters' do not. */
function keepUnit(name: string, { Q, weights, A, q1, out }: ReturnType<TxUnit["forward"]>): People {
  keep(`${name}.Q`, Q, asPeople);
  keep(`${name}.weights`, weights, "b (r head) key");
  keep(`${name}.A`, A, asPeople);
  keep(`${name}.q1`, q1, asPeople);
  return keep(`${name}.out`, out, asPeople);
}

const HeadConfig = QueryConfig.extend({
  /** Units of a layer, side by side. */
  heads: count.default(2),
  layers: count.default(3),
  d_ff: count.default(128),
  classes: count.default(60),
  loc_hidden: count.default(4),
  loc_out: count.default(8),
});
type HeadConfig = z.infer<typeof HeadConfig>;

/** How far a cell lies from the middle, as a share of the clip's length, height and width. */
class Location extends Module<HeadConfig> {
  temporal_mlp_l1 = new Linear(this.config.loc_hidden);
  temporal_mlp_l2 = new Linear(this.config.loc_out);
  spatial_mlp_l1 = new Linear(this.config.loc_hidden);
  spatial_mlp_l2 = new Linear(this.config.loc_out);

  forward(features: Clip): Clip {
    const [t, h, w] = [features.extent("t"), features.extent("h"), features.extent("w")];
    const times = pointwise(full({ t }, 0), (_, at) => (at.t - (t - 1) / 2) / t);
    const places = pointwise(full({ h, w }, 0, { channels: 2 }), (_, at) =>
      at.channel === 0 ? (at.h - (h - 1) / 2) / h : (at.w - (w - 1) / 2) / w,
    );
    const temporal = this.temporal_mlp_l2(relu(this.temporal_mlp_l1(times)));
    const spatial = this.spatial_mlp_l2(relu(this.spatial_mlp_l1(places)));
    const everywhere = (x: Grid<"t"> | Grid<"h" | "w">) =>
      perExample(full({ t, h, w }, 0, { channels: this.config.loc_out }).add(x as Grid<"t">), features);
    return concat([features, everywhere(temporal), everywhere(spatial)]);
  }
}

class ActionHead extends Module<HeadConfig> {
  loc = new Location(this.config);
  qpr = new RegionQuery(this.config);
  units = Array.from({ length: this.config.layers }, (_layer, layer) =>
    Array.from({ length: this.config.heads }, (_unit, unit) => ({
      parameters: `layer_${layer}_mha_${unit}`,
      published: `layer_${layer}.mha_${unit}`,
      tx: new TxUnit(this.config),
    })),
  );
  cls = new Linear(this.config.classes);
  reg = new Linear(4);

  constructor(config: HeadConfig) {
    super(config);
    Object.defineProperty(this, "units", { enumerable: false });
    for (const { parameters, tx } of this.units.flat()) Object.assign(this, { [parameters]: tx });
  }

  forward(features: Clip, boxes: People) {
    const context = keep("context", this.loc(features), asClip);
    const middle = context.at("t", Math.floor(context.extent("t") / 2));
    const { roi, pooled, reduced, query } = this.qpr(middle, { boxes });
    keep("qpr.roi", roi, asCells);
    keep("qpr.pooled", pooled, asCells);
    if (reduced !== undefined) keep("qpr.reduced", reduced, asCells);
    let x = keep("query", query, asPeople);
    for (const layer of this.units) x = concat(layer.map(({ published, tx }) => keepUnit(published, tx(x, context))));
    keep("final_query", x, asPeople);
    return { logits: this.cls(x), deltas: this.reg(x) };
  }
}

const Config = z.strictObject({
  trunk: TrunkConfig.default(TrunkConfig.parse({})),
  rpn: ProposalConfig.default(ProposalConfig.parse({})),
  head: HeadConfig.default(HeadConfig.parse({})),
  frames: count.default(64),
  image: pair.default([400, 400]),
});
type Config = z.infer<typeof Config>;

/** From a clip to what each person in its middle frame does. */
class ActionTransformer extends Module<Config> {
  trunk = new Trunk(this.config.trunk);
  rpn = new RegionProposals({ ...this.config.rpn, image: this.config.image, in_channels: widthOf(this.config.trunk) });
  head = new ActionHead(this.config.head);

  forward({ clip: video }: { readonly clip: Clip }) {
    const features = this.trunk(video);
    const { boxes, scores } = this.rpn(features.at("t", Math.floor(features.extent("t") / 2)));
    keep("proposals", boxes, asPeople);
    keep("proposal_scores", scores, "b r");
    const { logits, deltas } = this.head(features, boxes);
    return {
      class_logits: output(logits, asPeople),
      class_probs: output(sigmoid(logits), asPeople),
      box_deltas: output(deltas, asPeople),
      boxes_out: output(clip(decode(boxes, deltas, [10, 10, 5, 5]), this.config.image), asPeople),
    };
  }
}
/** Channels of the last block: those of its four branches. */
const widthOf = ({ mixed }: TrunkConfig): number => {
  const [, [b0, , b1, , b2, b3]] = mixed.at(-1) ?? ["", [0, 0, 0, 0, 0, 0]];
  return b0 + b1 + b2 + b3;
};

const RpnConfig = ProposalConfig.extend({ in_channels: count, image: pair, map: pair });
const RoiQueryConfig = z.strictObject({
  in_channels: count,
  map: pair,
  head: HeadConfig,
  images: count,
  regions: count,
});
const ActionHeadConfig = z.strictObject({ in_channels: count, head: HeadConfig, context: Extent, people: count });

/** The query of several ways to read a region, which share weights. */
class RoiQueries extends Module<z.infer<typeof RoiQueryConfig>> {
  hi = new RegionQuery({ ...this.config.head, roi_op: "roi_align", aligned: false, qpr: "highres" });
  lo = new RegionQuery({ ...this.config.head, roi_op: "roi_align", aligned: false, qpr: "lowres" });

  forward({ features, rois }: { readonly features: Grid<"s" | "h" | "w">; readonly rois: People }) {
    const [image, ...corners] = rois.split(1, 1, 1, 1, 1);
    const regions = { boxes: concat(corners), image };
    const read = (name: string, parts: ReturnType<RegionQuery["forward"]>): Output => {
      keep(`${name}.roi`, parts.roi, asCells);
      keep(`${name}.pooled`, parts.pooled, asCells);
      if (parts.reduced !== undefined) keep(`${name}.reduced`, parts.reduced, asCells);
      return output(parts.query, "(b r) c");
    };
    return {
      query_highres: read("roi_align", this.hi(features, regions)),
      query_lowres: output(this.lo(features, regions).query, "(b r) c"),
      query_highres_aligned: read("roi_align_aligned", this.hi(features, regions, { aligned: true })),
      query_highres_roi_pool: read("roi_pool", this.hi(features, regions, { roi_op: "roi_pool" })),
    };
  }
}

type Shapes = { readonly [name: string]: { readonly shape: readonly number[] } };
const last = (input: Shapes[string] | undefined, dimensions: number) => input?.shape.slice(-dimensions);

export default system({
  name: "action-transformer",
  entries: {
    ActionTransformer: entry({
      config: Config,
      inputs: ({ frames: t, image: [h, w] }) => ({ clip: grid({ t, h, w }, 3) }),
      module: (config) => new ActionTransformer(config),
      root: "head",
      fromCase: (config, { clip: video }) => ({ ...config, frames: video?.shape[2], image: last(video, 2) }),
    }),
    ActionHead: entry({
      config: ActionHeadConfig,
      inputs: ({ in_channels, context: [t, h, w], people }) => ({
        features: grid({ t, h, w }, in_channels),
        boxes: grid({ r: people }, 4, { layout: asPeople }),
      }),
      module: ({ head }) => {
        const network = new ActionHead(head);
        return {
          ...network,
          forward: ({ features, boxes }: { readonly features: Clip; readonly boxes: People }) => {
            const { logits, deltas } = network(features, boxes);
            return { class_logits: output(logits, asPeople), box_deltas: output(deltas, asPeople) };
          },
        };
      },
      fromCase: (config, { features, boxes }) => ({ ...config, context: last(features, 3), people: boxes?.shape[1] }),
    }),
    TxUnit: entry({
      config: UnitConfig,
      inputs: ({ d_query, d_memory, context: [t, h, w], R }) => ({
        query: grid({ r: R }, d_query, { layout: asPeople }),
        memory: grid({ t, h, w }, d_memory, { layout: "b (t h w) c" }),
      }),
      module: (config) => {
        const unit = new TxUnit(config);
        return {
          ...unit,
          forward: ({ query, memory }: { readonly query: People; readonly memory: Clip }) => ({
            out: output(keepUnit("unit", unit(query, memory)), asPeople),
          }),
        };
      },
    }),
    RoiQuery: entry({
      config: RoiQueryConfig,
      inputs: ({ in_channels, map: [h, w], images: s, regions }) => ({
        features: grid({ s, h, w }, in_channels, { layout: "(b s) c h w" }),
        rois: grid({ r: regions }, 5, { layout: "(b r) c" }),
      }),
      module: (config) => new RoiQueries(config),
      fromCase: (config, { features, rois }) => ({ ...config, images: features?.shape[0], regions: rois?.shape[0] }),
    }),
    RegionProposalNetwork: entry({
      config: RpnConfig,
      inputs: ({ in_channels, map: [h, w] }) => ({ features: grid({ h, w }, in_channels) }),
      module: (config) => {
        const rpn = new RegionProposals(config);
        return {
          ...rpn,
          forward: ({ features }: { readonly features: Grid<"h" | "w"> }) => {
            const { boxes, scores } = rpn(features, "rpn.");
            return { boxes: output(boxes, asPeople), scores: output(scores, "b r") };
          },
        };
      },
      fromCase: (config, { features }) => ({ ...config, map: last(features, 2) }),
    }),
  },
});
