/**
 * Deep Amortized Clustering: a network that finds one cluster of a set at a time, and the loop that takes one after another
 * away until no point is left (arXiv 1909.13433, algorithm 1). Parameter names are those of the published code, which
 * stacks one block several times and lists it under each of its names: here every name has weights of its own, equal in
 * such a checkpoint.
 */
import {
  combine,
  concat,
  pointwise,
  entry,
  full,
  type Grid,
  grid,
  type Input,
  keep,
  Linear,
  loop,
  Module,
  output,
  parameter,
  repeat,
  round,
  softplus,
  system,
} from "fovea";
import { z } from "zod";
import { logGaussian, MAB, mixture, type Sets } from "./setTransformer.ts";

const NetworkConfig = z.strictObject({
  /** Coordinates of a point. */
  dim: z.int().positive().default(2),
  dim_hids: z.int().positive().default(128),
  num_inds: z.int().positive().default(32),
  num_heads: z.int().positive().default(4),
  num_blocks: z.int().positive().default(4),
  /** Whether some points are assigned already: those are no keys. */
  has_mask: z.boolean().default(false),
  /** As many clusters are looked for at most. */
  max_iter: z.int().positive().default(50),
  sets: z.int().positive().default(1),
  points: z.int().positive(),
});
const LoopConfig = NetworkConfig.extend({
  model: z.enum(["MinFilteringNetwork", "AnchoredFilteringNetwork"]).default("MinFilteringNetwork"),
  task: z.literal("cluster").default("cluster"),
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

/** Finds a cluster among the points that are not assigned yet; `step` counts the clusters. */
type Find = (unassigned: Sets, step: Grid<never>) => Found;

/** The steps' own numbers. */
const countSteps = (steps: number) => pointwise(full({ step: steps }, 0), (_, at) => at.step);

/**
 * Filters one cluster after another: what a step finds, and is not assigned yet, gets the number of the step. All sets go
 * on until the last point of the last of them is taken, or a step takes none. Points never taken, and those that a mask
 * says are taken at the first step (padding of shorter sets), keep the label 0.
 */
function clusterAll({ X, mask: given }: LoopInputs, atMost: number, find: Find) {
  const sets = { s: X.extent("s"), n: X.extent("n") };
  const none = full(sets, 0, { element: "int" });
  const first = given ?? none;
  const { last, each, steps } = loop({
    first: { mask: first, labels: none },
    atMost,
    step: ({ mask, labels }, step) => {
      const { mu, sigma, ll, logits } = find(unassigned(mask), step);
      const taken = round(combine(logits, [mask], (logit, assigned) => (logit > 0 && assigned === 0 ? 1 : 0)));
      const next = round(combine(mask, [taken], (assigned, isTaken) => assigned + isTaken));
      const left = unassigned(next).max("s", "n");
      return {
        next: {
          mask: next,
          labels: round(combine(labels, [taken, step], (label, isTaken, now) => (isTaken === 0 ? label : now))),
        },
        done: pointwise(left, (some) => (some === 0 ? 1 : 0)),
        progress: taken.max("s", "n"),
        each: { logits, ll, mask: next, theta: concat([mu, sigma]).at("k", 0) },
      };
    },
  });
  // Steps that were not taken are no components of the mixture.
  const components = combine(each.ll, [countSteps(atMost), steps], (ll, step, taken) =>
    step < taken ? ll : -Infinity,
  );
  const isOf = pointwise(last.labels.expand({ step: atMost }), (label, at) => (label === at.step ? 1 : 0));
  // Points that were assigned before the first step are none of the mixture's.
  const points = unassigned(first);
  const shares = combine(isOf, [points], (one, there) => one * there)
    .sum("n")
    .div(points.sum("n"));
  const { total } = mixture(components.rename("step", "k"), shares.rename("step", "k"));
  const likelihood = total.mul(points).sum("s", "n").div(points.sum("s", "n"));
  const masks = concat([first.expand({ step: 1 }), each.mask], { axis: "step" });
  return {
    logits: output(each.logits, "(b step) s n", { axis: "step", count: "steps" }),
    mask: output(masks, "(b step) s n", { axis: "step", count: "masks" }),
    theta: output(each.theta, "(b s) step c", { axis: "step", count: "steps" }),
    log_likelihood: output(likelihood, "b"),
    labels: output(last.labels, "(b s) n"),
    steps: output(steps, "b"),
    masks: output(round(steps.add(full({}, 1))), "b"),
  };
}

type Inputs = { readonly X: Sets; readonly mask?: Sets };
type LoopInputs = Inputs & { readonly anchors?: Grid<"step" | "s"> };
type Ports = { readonly X: Input<"s" | "n">; readonly mask?: Input<"s" | "n"> };
type LoopPorts = Ports & { readonly anchors?: Input<"step" | "s"> };

const outputs = ({ mu, sigma, ll, logits }: Found) => ({
  theta: output(concat([mu, sigma]).at("k", 0), "(b s) c"),
  ll: output(ll, "(b s) n"),
  logits: output(logits, "(b s) n"),
});
/** 1 at the points that are not assigned yet. */
const unassigned = (mask: Sets) => combine(mask, [], (assigned) => (assigned === 0 ? 1 : 0));

/** Finds any cluster: the points look at the vector that was found. */
class MinFilteringNetwork extends Filtering {
  mab = new MAB(blockOf(this.config));
  protected get members(): MAB {
    return this.mab;
  }

  forward({ X, mask }: Inputs) {
    return outputs(this.filter(X, X, mask && unassigned(mask)));
  }
  cluster(inputs: LoopInputs) {
    const { X } = inputs;
    return clusterAll(inputs, this.config.max_iter, (seen) => this.filter(X, X, seen));
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
    return outputs(this.filter(X, this.mab1(X, pointOf(X, anchors)), mask && unassigned(mask)));
  }
  cluster(inputs: LoopInputs) {
    const { X, anchors } = inputs;
    if (anchors === undefined) throw new Error("every step has its anchors");
    const number = countSteps(this.config.max_iter);
    return clusterAll(inputs, this.config.max_iter, (seen, step) => {
      const anchor = combine(anchors, [number, step], (point, at, now) => (at === now ? point : 0)).sum("step");
      return this.filter(X, this.mab1(X, pointOf(X, round(anchor))), seen);
    });
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
/** All sets are clustered together, by as many anchors as there are. */
const clustered = (config: { readonly [field: string]: unknown }, { X, anchors }: Shapes) => ({
  ...config,
  sets: X?.shape[0],
  points: X?.shape[1],
  ...(anchors === undefined ? {} : { max_iter: anchors.shape[0] }),
});
const setsOf = (config: NetworkConfig): Ports => {
  const { sets, points, dim } = config;
  const X = grid({ s: sets, n: points }, dim, { layout: "(b s) n c" });
  const mask = grid({ s: sets, n: points }, 1, { layout: "(b s) n", element: "int" });
  return config.has_mask ? { X, mask } : { X };
};

/** A network takes sets of any size; each size is a program of its own. */
const anyPoints = { n: (n: number) => ({ points: n }) };

export default system({
  name: "dac",
  entries: {
    MinFilteringNetwork: entry({
      config: NetworkConfig,
      inputs: setsOf,
      module: (config) => new MinFilteringNetwork(config),
      axes: anyPoints,
      fromCase: published,
    }),
    AnchoredFilteringNetwork: entry({
      config: NetworkConfig,
      inputs: (config) => ({
        ...setsOf(config),
        anchors: grid({ s: config.sets }, 1, { layout: "(b s)", element: "int" }),
      }),
      module: (config) => new AnchoredFilteringNetwork(config),
      axes: anyPoints,
      fromCase: published,
    }),
    ClusterLoop: entry({
      config: LoopConfig,
      inputs: (config): LoopPorts => {
        const { model, sets, max_iter } = config;
        // One a step: the points that clusters are looked for around.
        const anchors = grid({ step: max_iter, s: sets }, 1, { layout: "(b step) s", element: "int" });
        return model === "MinFilteringNetwork" ? setsOf(config) : { ...setsOf(config), anchors };
      },
      module: (config) => {
        const isMin = config.model === "MinFilteringNetwork";
        const network = isMin ? new MinFilteringNetwork(config) : new AnchoredFilteringNetwork(config);
        return { ...network, forward: (inputs: LoopInputs) => network.cluster(inputs) };
      },
      axes: anyPoints,
      fromCase: clustered,
    }),
  },
});
