/**
 * The GPT of Taming Transformers (arXiv 2012.09841): tokens in a row look at those before them. Parameter names are those
 * of the published checkpoints.
 */
import {
  attend,
  attentionWeights,
  causal,
  concat,
  Embedding,
  gelu,
  type Grid,
  intersect,
  keep,
  LayerNorm,
  Linear,
  Module,
  parameter,
  type Pattern,
  repeat,
  same,
  Sequential,
  union,
  unused,
  where,
} from "fovea";
import { z } from "zod";

/** Tokens in a row, of each of `s` sequences. */
export type Tokens = Grid<"s" | "t">;

const count = z.int().positive();
export const GptConfig = z.strictObject({
  vocab_size: count.default(1024),
  /** The longest sequence. */
  block_size: count.default(512),
  n_layer: count.default(24),
  n_head: count.default(16),
  n_embd: count.default(1024),
  /** As many tokens at the front see each other whole. */
  n_unmasked: z.int().nonnegative().default(0),
});
export type GptConfig = z.infer<typeof GptConfig>;

const rows = "(b s) t c";

class CausalSelfAttention extends Module<GptConfig> {
  key = new Linear(this.config.n_embd);
  query = new Linear(this.config.n_embd);
  value = new Linear(this.config.n_embd);
  proj = new Linear(this.config.n_embd);
  mask = unused;

  forward(x: Tokens): Tokens {
    const [q, k, v] = [this.query(x), this.key(x), this.value(x)];
    const options = { heads: this.config.n_head, keys: this.keys() };
    keep("weights", attentionWeights(q, k, ["t"], options), "(b s) head t key");
    return keep("", this.proj(attend(q, k, v, options)), rows);
  }

  private keys(): Pattern<"s" | "t"> {
    const { n_unmasked } = this.config;
    if (n_unmasked === 0) return intersect(same("s"), causal("t"));
    return intersect(
      same("s"),
      union(
        causal("t"),
        where((q, k) => q.t < n_unmasked && k.t < n_unmasked),
      ),
    );
  }
}

class Block extends Module<GptConfig> {
  ln1 = new LayerNorm();
  ln2 = new LayerNorm();
  attn = new CausalSelfAttention(this.config);
  mlp = new Sequential(new Linear(4 * this.config.n_embd), gelu, new Linear(this.config.n_embd));

  forward(x: Tokens): Tokens {
    x = x.add(this.attn(this.ln1(x)));
    return keep("", x.add(this.mlp(this.ln2(x))), rows);
  }
}

export abstract class Gpt<C extends GptConfig> extends Module<C> {
  tok_emb = new Embedding(this.config.vocab_size, this.config.n_embd);
  pos_emb = parameter(1, this.config.block_size, this.config.n_embd);
  blocks = repeat(this.config.n_layer, () => new Block(this.config));
  ln_f = new LayerNorm();
  head = new Linear(this.config.vocab_size, { bias: false });

  /** What follows each token, as logits; `embeddings` stand in front of the tokens. */
  protected follow(idx: Tokens, embeddings?: Tokens): Tokens {
    return this.head(keep("ln_f", this.ln_f(this.read(idx, embeddings)), rows));
  }

  /** What the blocks make of each token. */
  protected read(idx: Tokens, embeddings?: Tokens): Tokens {
    const tokens = this.tok_emb(idx);
    const all = embeddings === undefined ? tokens : concat([embeddings, tokens], { axis: "t" });
    const positions = this.pos_emb.grid({ t: this.config.block_size }).slice("t", 0, all.extent("t"));
    let x = keep("embed", all.add(positions), rows);
    for (const block of this.blocks) x = block(x);
    return x;
  }
}

/** The likeliest token at each place, and how much likelier it is than the next. */
export function choiceOf<A extends string>(logits: Grid<A>) {
  const perCode = logits.unpack({ code: logits.channels });
  const best = perCode.topK(2, "code");
  return { likeliest: perCode.argmax("code"), margin: best.at("rank", 0).sub(best.at("rank", 1)) };
}
