/**
 * Deep Amortized Clustering: a network that finds one cluster of a set at a time (arXiv 1909.13433). Parameter names are
 * those of the published code, which stacks one block several times and lists it under each of its names: here every
 * name has weights of its own, equal in such a checkpoint.
 */
import {
  combine,
  concat,
  pointwise,
  entry,
  type Grid,
  grid,
  keep,
  Linear,
  Module,
  output,
  parameter,
  repeat,
  softplus,
  system,
} from "fovea";
import { z } from "zod";
import { logGaussian, MAB, type Sets } from "./setTransformer.ts";

const NetworkConfig = z.strictObject({
  /** Coordinates of a point. */
  dim: z.int().positive().default(2),
  dim_hids: z.int().positive().default(128),
  num_inds: z.int().positive().default(32),
  num_heads: z.int().positive().default(4),
  num_blocks: z.int().positive().default(4),
  /** Whether some points are assigned already: those are no keys. */
  has_mask: z.boolean().default(false),
  sets: z.int().positive().default(1),
  points: z.int().positive(),
});
type NetworkConfig = z.infer<typeof NetworkConfig>;

const rows = "(b s) n c";
const blockOf = ({ dim_hids, num_heads, sets }: NetworkConfig) => ({
  dim: dim_hids,
  heads: num_heads,
  norm: false,
  sets,
});

/** Learned vectors look at the set. */
class PMA extends Module<NetworkConfig & { readonly vectors: number }> {
  I = parameter(this.config.vectors, this.config.dim_hids);
  mab = new MAB(blockOf(this.config));

  forward(x: Sets, seen: Sets | undefined): Sets {
    const { vectors, sets } = this.config;
    return keep("", this.mab(this.I.grid({ n: vectors }).expand({ s: sets }), x, { keys: seen }), rows);
  }
}

class ISAB extends Module<NetworkConfig> {
  pma = new PMA({ ...this.config, vectors: this.config.num_inds });
  mab = new MAB(blockOf(this.config));

  forward(x: Sets, seen: Sets | undefined): Sets {
    return keep("", this.mab(x, this.pma(x, seen)), rows);
  }
}

class StackedISAB extends Module<NetworkConfig> {
  blocks = repeat(this.config.num_blocks, () => new ISAB(this.config));

  forward(x: Sets, seen: Sets | undefined): Sets {
    for (const block of this.blocks) x = block(x, seen);
    return keep("", x, rows);
  }
}

type Found = {
  readonly mu: Grid<"s" | "k">;
  readonly sigma: Grid<"s" | "k">;
  readonly ll: Sets;
  readonly logits: Sets;
};

/** What both networks have in common: the cluster's parameters, and which points belong to it. */
abstract class Filtering extends Module<NetworkConfig> {
  isab1 = new StackedISAB(this.config);
  pma = new PMA({ ...this.config, vectors: 1 });
  fc1 = new Linear(2 * this.config.dim);
  isab2 = new StackedISAB(this.config);
  fc2 = new Linear(1);

  protected abstract readonly members: MAB;

  protected filter(points: Sets, x: Sets, seen: Sets | undefined): Found {
    const { dim } = this.config;
    const encoded = this.isab1(x, seen);
    const cluster = this.pma(encoded, seen);
    const raw = keep("fc1", this.fc1(cluster), rows);
    const [mu, deviation] = raw.rename("n", "k").split(dim, dim);
    const sigma = softplus(deviation);
    const logits = keep("fc2", this.fc2(this.isab2(this.members(encoded, cluster), seen)), rows);
    return { mu, sigma, ll: logGaussian(points, mu, sigma).at("k", 0), logits };
  }
}

type Inputs = { readonly X: Sets; readonly mask?: Sets };

const outputs = ({ mu, sigma, ll, logits }: Found) => ({
  theta: output(concat([mu, sigma]).at("k", 0), "(b s) c"),
  ll: output(ll, "(b s) n"),
  logits: output(logits, "(b s) n"),
});
/** 1 at the points that are not assigned yet. */
const unassigned = (mask: Sets | undefined) => mask && combine(mask, [], (assigned) => (assigned === 0 ? 1 : 0));

/** Finds any cluster: the points look at the vector that was found. */
class MinFilteringNetwork extends Filtering {
  mab = new MAB(blockOf(this.config));
  protected get members(): MAB {
    return this.mab;
  }

  forward({ X, mask }: Inputs) {
    return outputs(this.filter(X, X, unassigned(mask)));
  }
}

/** Finds the cluster of one point, which all points look at first. */
class AnchoredFilteringNetwork extends Filtering {
  mab1 = new MAB(blockOf(this.config));
  mab2 = new MAB(blockOf(this.config));
  protected get members(): MAB {
    return this.mab2;
  }

  forward({ X, mask, anchors }: Inputs & { readonly anchors: Grid<"s"> }) {
    return outputs(this.filter(X, this.mab1(X, pointOf(X, anchors)), unassigned(mask)));
  }
}

/** The point of each set that has a number. */
function pointOf(x: Sets, numbers: Grid<"s">): Sets {
  const isChosen = pointwise(numbers.expand({ n: x.extent("n") }), (number, at) => (at.n === number ? 1 : 0));
  return combine(x, [isChosen], (value, chosen) => (chosen === 0 ? 0 : value))
    .sum("n")
    .expand({ n: 1 });
}

type Shapes = { readonly [name: string]: { readonly shape: readonly number[] } };
const published = (
  { model: _network, tied: _tied, ...config }: { readonly [field: string]: unknown },
  { X }: Shapes,
) => ({
  ...config,
  points: X?.shape[1],
});
const setsOf = (config: NetworkConfig) => {
  const { sets, points, dim } = config;
  const X = grid({ s: sets, n: points }, dim, { layout: "(b s) n c" });
  const mask = grid({ s: sets, n: points }, 1, { layout: "(b s) n", element: "int" });
  return config.has_mask ? { X, mask } : { X };
};

export default system({
  name: "dac",
  entries: {
    MinFilteringNetwork: entry({
      config: NetworkConfig,
      inputs: setsOf,
      module: (config) => new MinFilteringNetwork(config),
      fromCase: published,
    }),
    AnchoredFilteringNetwork: entry({
      config: NetworkConfig,
      inputs: (config) => ({
        ...setsOf(config),
        anchors: grid({ s: config.sets }, 1, { layout: "(b s)", element: "int" }),
      }),
      module: (config) => new AnchoredFilteringNetwork(config),
      fromCase: published,
    }),
  },
});
