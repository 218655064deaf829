/**
 * Set Transformer: networks of sets, whatever the order of their points (arXiv 1810.00825). Parameter names are those of
 * the published code. Scores are scaled by the whole width, not by a head's; the residual is the projected query.
 */
import {
  attend,
  attentionWeights,
  combine,
  entry,
  type Grid,
  grid,
  keep,
  LayerNorm,
  Linear,
  Module,
  output,
  parameter,
  perExample,
  pointwise,
  relu,
  repeat,
  same,
  score,
  softplus,
  system,
} from "fovea";
import { z } from "zod";

/**
 * Sets of points, or of what learned vectors have seen of each set. There is one set (`s`) but where several are judged
 * together: a likelihood is a mean over sets.
 */
export type Sets = Grid<"s" | "n">;

export type BlockConfig = {
  readonly dim: number;
  readonly heads: number;
  readonly norm: boolean;
  readonly sets: number;
};
/** What of the sets takes part. Masks are grids of one channel, 0 at the tokens that do not. */
export type Masks = {
  /** Which keys are seen. A query that sees none gets nothing from its set. */
  readonly keys?: Sets | undefined;
  /** How many keys there are of each set, in place of a mask: what lies behind them is not even read. */
  readonly lengths?: Grid<"s"> | undefined;
  /** Which queries are points at all: the others are published as zeros. */
  readonly queries?: Sets | undefined;
};
/** Sets of lengths of their own, padded to one: how long each is, and 1 at its points. */
type Ragged = { readonly lengths: Grid<"s">; readonly mask: Sets };

const rows = "(b s) n c";
const pairs = "(head b s) n key";

/** Multihead attention block (equations 6 and 7): queries look at a set, then go each through a layer of its own. */
export class MAB extends Module<BlockConfig> {
  fc_q = new Linear(this.config.dim);
  fc_k = new Linear(this.config.dim);
  fc_v = new Linear(this.config.dim);
  ln0 = this.config.norm ? new LayerNorm() : undefined;
  ln1 = this.config.norm ? new LayerNorm() : undefined;
  fc_o = new Linear(this.config.dim);

  forward(queries: Sets, set: Sets, masks: Masks = {}): Sets {
    const q = this.fc_q(queries);
    const k = this.fc_k(set);
    const v = this.fc_v(set);
    let o = q.add(attend(q, k, v, this.attention(masks)));
    keep("fc_q", perExample(q, set), rows);
    keep("fc_k", k, rows);
    keep("fc_v", v, rows);
    const each = perExample(q, set);
    const plain = { ...this.attention({}), normalize: "none" } as const;
    keep("logits", attentionWeights(each, k, ["n"], plain), pairs);
    keep("attn", attentionWeights(each, k, ["n"], this.attention(masks)), pairs);

    if (this.ln0 !== undefined) o = keep("ln0", this.ln0(o), rows);
    o = o.add(relu(keep("fc_o", this.fc_o(o), rows)));
    if (this.ln1 !== undefined) o = keep("ln1", this.ln1(o), rows);
    keep("", onlyWhere(o, masks.queries), rows);
    return o;
  }

  private attention({ keys: mask, lengths }: Masks) {
    const { dim, heads } = this.config;
    const plain = { heads, scale: 1 / Math.sqrt(dim), keys: same("s") };
    const options = lengths === undefined ? plain : { ...plain, lengths: { axis: "n", of: lengths } as const };
    if (mask === undefined) return options;
    return { ...options, score: score<"s" | "n">((s, _, k) => (mask.of(k) === 0 ? -Infinity : s)) };
  }
}

/** The set as it is where the mask is not 0, and zeros elsewhere. */
function onlyWhere(x: Sets, mask: Sets | undefined): Sets {
  return mask === undefined ? x : combine(x, [mask], (value, there) => (there === 0 ? 0 : value));
}

/** Set attention block: all points look at all. */
class SAB extends Module<BlockConfig> {
  mab = new MAB(this.config);

  forward(x: Sets, ragged?: Ragged): Sets {
    const y = this.mab(x, x, { lengths: ragged?.lengths, queries: ragged?.mask });
    keep("", onlyWhere(y, ragged?.mask), rows);
    return y;
  }
}

/** Induced set attention block: the set is read through a few learned points, so that cost grows with n, not n² (equation 9). */
class ISAB extends Module<BlockConfig & { readonly points: number }> {
  I = parameter(1, this.config.points, this.config.dim);
  mab0 = new MAB(this.config);
  mab1 = new MAB(this.config);

  forward(x: Sets, ragged?: Ragged): Sets {
    const points = this.I.grid({ n: this.config.points }).expand({ s: this.config.sets });
    const seen = this.mab0(points, x, { lengths: ragged?.lengths });
    const y = this.mab1(x, seen, { queries: ragged?.mask });
    keep("", onlyWhere(y, ragged?.mask), rows);
    return y;
  }
}

/** Pooling by multihead attention: learned seeds look at the set (equation 11). */
class PMA extends Module<BlockConfig & { readonly seeds: number }> {
  S = parameter(1, this.config.seeds, this.config.dim);
  mab = new MAB(this.config);

  forward(x: Sets, ragged?: Ragged): Sets {
    const seeds = this.S.grid({ n: this.config.seeds }).expand({ s: this.config.sets });
    return keep("", this.mab(seeds, x, { lengths: ragged?.lengths }), rows);
  }
}

const counts = { sets: z.int().positive().default(1), points: z.int().positive() };
const NetworkConfig = z.strictObject({
  dim_input: z.int().positive(),
  num_outputs: z.int().positive(),
  dim_output: z.int().positive(),
  num_inds: z.int().positive().default(32),
  dim_hidden: z.int().positive().default(128),
  num_heads: z.int().positive().default(4),
  ln: z.boolean().default(false),
  /** Whether sets have lengths of their own, at most `points`. */
  masked: z.boolean().default(false),
  ...counts,
});
type NetworkConfig = z.infer<typeof NetworkConfig>;

const blockOf = ({ dim_hidden, num_heads, ln, sets }: NetworkConfig): BlockConfig => ({
  dim: dim_hidden,
  heads: num_heads,
  norm: ln,
  sets,
});

/** Two induced blocks see the set; seeds pool it, and look at one another before the last layer. */
abstract class Network extends Module<NetworkConfig> {
  enc = repeat(2, () => new ISAB({ ...blockOf(this.config), points: this.config.num_inds }));
  dec = [
    new PMA({ ...blockOf(this.config), seeds: this.config.num_outputs }),
    new SAB(blockOf(this.config)),
    new SAB(blockOf(this.config)),
    new Linear(this.config.dim_output),
  ] as const;

  protected run(x: Sets, ragged?: Ragged): { readonly enc: Sets; readonly y: Sets } {
    for (const layer of this.enc) x = layer(x, ragged);
    const [pool, first, second, last] = this.dec;
    const y = last(second(first(pool(x, ragged))));
    for (const name of ["dec.3", "dec"]) keep(name, y, rows);
    return { enc: keep("enc", onlyWhere(x, ragged?.mask), rows), y };
  }
}

class SetTransformer extends Network {
  forward({ X, lengths }: { readonly X: Sets; readonly lengths?: Grid<"s"> }) {
    const { enc, y } = this.run(X, raggedOf(lengths, this.config.points));
    return { enc: output(enc, rows), y: output(y, rows) };
  }
}

function raggedOf(lengths: Grid<"s"> | undefined, points: number): Ragged | undefined {
  if (lengths === undefined) return undefined;
  return { lengths, mask: pointwise(lengths.expand({ n: points }), (length, at) => (at.n < length ? 1 : 0)) };
}

/** The same sets in two orders: points come out in the order in which they went in, and the result is the same. */
class PermutationPair extends Network {
  forward({ X, X_permuted }: { readonly X: Sets; readonly X_permuted: Sets; readonly perm: Sets }) {
    const one = this.run(X);
    const other = this.run(X_permuted);
    return {
      enc: output(one.enc, rows),
      y: output(one.y, rows),
      enc_permuted: output(other.enc, rows),
      y_permuted: output(other.y, rows),
    };
  }
}

/** Clusters points: each output of the network is a Gaussian of a mixture (section 5.3). All sets are judged together. */
class MixtureSetTransformer extends Network {
  forward({ X }: { readonly X: Sets }) {
    const raw = this.run(X).y;
    const dim = (this.config.dim_output - 1) / 2;
    const [share, mu, deviation] = raw.rename("n", "k").split(1, dim, dim);
    const pi = share.softmax("k");
    const sigma = softplus(deviation);
    const { total, label } = mixture(logGaussian(X, mu, sigma), pi);
    return {
      raw: output(raw, rows),
      pi: output(pi, "(b s) k"),
      mu: output(mu, "(b s) k c"),
      sigma: output(sigma, "(b s) k c"),
      log_likelihood: output(total.mean("s", "n"), "b"),
      labels: output(label, "(b s) n"),
    };
  }
}

/** log N(x | mu, sigma²) of each point under each Gaussian, whose coordinates are independent. */
export function logGaussian(x: Sets, mu: Grid<"s" | "k">, sigma: Grid<"s" | "k">): Grid<"s" | "n" | "k"> {
  const half = Math.log(2 * Math.PI) / 2;
  const terms = combine(x.expand({ k: mu.extent("k") }), [mu, sigma], (value, mean, deviation) => {
    const distance = (value - mean) / deviation;
    return -(distance * distance) / 2 - Math.log(deviation) - half;
  });
  return terms.unpack({ d: x.channels }).sum("d");
}

/** The log-likelihood of each point under the whole mixture, and the component under which it is likeliest. */
export function mixture(components: Grid<"s" | "n" | "k">, pi: Grid<"s" | "k">) {
  const joint = combine(components, [pi], (likelihood, share) => likelihood + Math.log(share + 1e-10));
  const best = joint.max("k");
  const sum = combine(joint, [best], (one, most) => Math.exp(one - most)).sum("k");
  const total = combine(best, [sum], (most, rest) => most + Math.log(rest));
  // The first of several that are equally likely.
  const numbers = pointwise(joint, (_, at) => -at.k);
  const label = combine(joint, [best, numbers], (one, most, number) => (one < most ? -Infinity : number)).max("k");
  return { total, label: label.mul(-1) };
}

/** The classifier of point clouds: one seed pools them. Dropout has the places 0 and 2 of `dec`. */
class PointCloudSetTransformer extends Module<NetworkConfig> {
  enc = repeat(2, () => new ISAB({ ...blockOf(this.config), points: this.config.num_inds }));
  dec = { 1: new PMA({ ...blockOf(this.config), seeds: 1 }), 3: new Linear(this.config.dim_output) };

  forward({ X }: { readonly X: Sets }) {
    let x = X;
    for (const layer of this.enc) x = layer(x);
    return { out: output(this.dec[3](this.dec[1](x)).at("n", 0), "(b s) c") };
  }
}

type Shapes = { readonly [name: string]: { readonly shape: readonly number[] } };
type Published = { readonly [field: string]: unknown };
/** Published configurations name the network and its task too; how many points there are, the inputs say. */
const published = ({ model: _network, task, num_points: _points, ...config }: Published, inputs: Shapes) => ({
  ...config,
  ...(task === "masked" ? { masked: true } : {}),
  points: inputs.X?.shape[1],
});
/** A likelihood is a mean over all sets of the inputs. */
const judgedTogether = (config: Published, inputs: Shapes) => ({
  ...published(config, inputs),
  sets: inputs.X?.shape[0],
});

const setsOf = (sets: number, n: number, channels: number) => grid({ s: sets, n }, channels, { layout: "(b s) n c" });
const masked = ({ sets, points, masked: isMasked }: { sets: number; points: number; masked: boolean }, dim: number) => {
  const X = setsOf(sets, points, dim);
  return isMasked ? { X, lengths: grid({ s: sets }, 1, { layout: "(b s)", element: "int" }) } : { X };
};

const Block = z.strictObject({ num_heads: z.int().positive(), ln: z.boolean().default(false), ...counts });
const MabConfig = Block.extend({
  dim_Q: z.int().positive(),
  dim_K: z.int().positive(),
  dim_V: z.int().positive(),
  queries: z.int().positive(),
});
const SabConfig = Block.extend({
  dim_in: z.int().positive(),
  dim_out: z.int().positive(),
  masked: z.boolean().default(false),
});
const IsabConfig = SabConfig.extend({ num_inds: z.int().positive() });
const PmaConfig = Block.extend({ dim: z.int().positive(), num_seeds: z.int().positive() });
const sized = ({ num_heads, ln, sets }: z.infer<typeof Block>, dim: number): BlockConfig => ({
  dim,
  heads: num_heads,
  norm: ln,
  sets,
});

type Inputs = { readonly X: Sets; readonly lengths?: Grid<"s"> };
/** One block as a network: its fields are the network's own. */
const alone = <M extends object>(block: M, run: (block: M, inputs: Inputs) => Sets) => ({
  ...block,
  forward: (inputs: Inputs) => ({ out: output(run(block, inputs), rows) }),
});

/** A network takes sets of any size; each size is a program of its own. */
const anyPoints = { n: (n: number) => ({ points: n }) };

export default system({
  name: "set-transformer",
  entries: {
    SetTransformer: entry({
      config: NetworkConfig,
      inputs: (config) => masked(config, config.dim_input),
      module: (config) => new SetTransformer(config),
      axes: anyPoints,
      fromCase: published,
    }),
    PointCloudSetTransformer: entry({
      config: NetworkConfig,
      presets: {
        modelnet: { dim_input: 3, num_outputs: 1, dim_output: 40, num_inds: 16, dim_hidden: 256, points: 1000 },
      },
      inputs: ({ sets, points, dim_input }) => ({ X: setsOf(sets, points, dim_input) }),
      module: (config) => new PointCloudSetTransformer(config),
      axes: anyPoints,
      fromCase: published,
    }),
    MixtureSetTransformer: entry({
      config: NetworkConfig,
      inputs: ({ sets, points, dim_input }) => ({ X: setsOf(sets, points, dim_input) }),
      module: (config) => new MixtureSetTransformer(config),
      axes: anyPoints,
      fromCase: judgedTogether,
    }),
    PermutationPair: entry({
      config: NetworkConfig,
      inputs: ({ sets, points, dim_input }) => ({
        X: setsOf(sets, points, dim_input),
        X_permuted: setsOf(sets, points, dim_input),
        perm: grid({ s: sets, n: points }, 1, { layout: "(b s) n", element: "int" }),
      }),
      module: (config) => new PermutationPair(config),
      fromCase: published,
    }),
    MAB: entry({
      config: MabConfig,
      inputs: ({ sets, points, queries, dim_Q, dim_K }) => ({
        Q: setsOf(sets, queries, dim_Q),
        K: setsOf(sets, points, dim_K),
      }),
      module: (config) => {
        const mab = new MAB(sized(config, config.dim_V));
        return {
          ...mab,
          forward: ({ Q, K }: { readonly Q: Sets; readonly K: Sets }) => ({ out: output(mab(Q, K), rows) }),
        };
      },
      fromCase: (config, inputs) => ({
        ...published(config, inputs),
        points: inputs.K?.shape[1],
        queries: inputs.Q?.shape[1],
      }),
    }),
    SAB: entry({
      config: SabConfig,
      inputs: (config) => masked(config, config.dim_in),
      module: (config) =>
        alone(new SAB(sized(config, config.dim_out)), (sab, { X, lengths }) => {
          const ragged = raggedOf(lengths, config.points);
          return onlyWhere(sab(X, ragged), ragged?.mask);
        }),
      axes: anyPoints,
      fromCase: published,
    }),
    ISAB: entry({
      config: IsabConfig,
      inputs: (config) => masked(config, config.dim_in),
      module: (config) =>
        alone(new ISAB({ ...sized(config, config.dim_out), points: config.num_inds }), (isab, { X, lengths }) => {
          const ragged = raggedOf(lengths, config.points);
          return onlyWhere(isab(X, ragged), ragged?.mask);
        }),
      axes: anyPoints,
      fromCase: published,
    }),
    PMA: entry({
      config: PmaConfig,
      inputs: ({ sets, points, dim }) => ({ X: setsOf(sets, points, dim) }),
      module: (config) =>
        alone(new PMA({ ...sized(config, config.dim), seeds: config.num_seeds }), (pma, { X }) => pma(X)),
      axes: anyPoints,
      fromCase: published,
    }),
  },
});
