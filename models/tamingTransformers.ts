/**
 * Taming Transformers for high-resolution image synthesis (arXiv 2012.09841): a VQGAN makes codes of images and images of
 * codes, a GPT says which code follows those before it.
 */
import { concat, entry, grid, keep, output, system } from "fovea";
import { z } from "zod";
import { choiceOf, Gpt, GptConfig, type Tokens } from "./minGpt.ts";
import { GreedyConfig, GreedySampler, SlidingConfig, SlidingWindowSampler } from "./codeSampling.ts";
import { asImages, AttnBlock, codeSize, encoded, type Images, VqConfig, VqModel } from "./vqgan.ts";

const count = z.int().positive();
const size = z.tuple([count, count]);

const AttnConfig = z.strictObject({ in_channels: count, size });

const SequenceConfig = GptConfig.extend({
  /** Tokens of a sequence. */
  tokens: count.default(512),
  /** Embeddings to stand in front of its first tokens, and how many of those follow: a second result. */
  embeddings: z.int().nonnegative().default(0),
  idx_with_embeddings: count.default(1),
});
type SequenceConfig = z.infer<typeof SequenceConfig>;

const Net2NetConfig = GptConfig.extend({
  condition: count.default(256),
  image: count.default(256),
  /** As many logits at the end are wanted; all of the image's by default. */
  last: count.optional(),
});
type Net2NetConfig = z.infer<typeof Net2NetConfig>;

/** Whole numbers, one a token. */
const ids = (t: number, s = 1) => grid({ t, s }, 1, { layout: "(b s) t", element: "int" });
const logitsOf = (x: Tokens) => output(x, "(b s) t c");

class Sequence extends Gpt<SequenceConfig> {
  override forward({ idx, embeddings }: { readonly idx: Tokens; readonly embeddings?: Tokens }) {
    const logits = logitsOf(this.follow(idx));
    if (embeddings === undefined) return { logits };
    const first = idx.slice("t", 0, this.config.idx_with_embeddings);
    return { logits, logits_embeddings: logitsOf(this.follow(first, embeddings)) };
  }
}

/** The codes of an image behind those of what it is to be like. */
class Net2Net extends Gpt<Net2NetConfig> {
  override forward({ c_indices, z_indices }: { readonly c_indices: Tokens; readonly z_indices: Tokens }) {
    const { condition, image, last = image } = this.config;
    const tokens = condition + image - 1;
    const all = concat([c_indices, z_indices], { axis: "t" }).slice("t", 0, tokens);
    const logits = this.follow(all).slice("t", tokens - last, tokens);
    const { likeliest, margin } = choiceOf(logits);
    keep("argmax", likeliest, "(b s) t");
    keep("margin", margin, "(b s) t");
    return { logits: logitsOf(logits) };
  }
}

const images = ({ images: s, size: [h, w], ddconfig }: VqConfig) =>
  grid({ s, h, w }, ddconfig.in_channels, { layout: asImages });
const codes = (config: VqConfig) => {
  const [h, w] = codeSize(config);
  return grid({ s: config.images, h, w }, 1, { layout: "(b s) h w", element: "int" });
};

type Fields = { readonly [field: string]: unknown };
type Shapes = { readonly [name: string]: { readonly shape: readonly number[] } };
/** What is recorded of a run says nothing of the network. */
const published = ({ record_blocks: _recorded, ...config }: Fields) => config;
const promptOf = (input: Shapes[string] | undefined) => ({ count: input?.shape[0], length: input?.shape[1] });
const sizeOf = (input: Shapes[string] | undefined) => input?.shape.slice(-2);

export default system({
  name: "taming-transformers",
  entries: {
    GPT: entry({
      config: SequenceConfig,
      inputs: (config): { idx: ReturnType<typeof ids>; embeddings?: ReturnType<typeof ids> } => {
        const { tokens, embeddings, n_embd } = config;
        const idx = ids(tokens);
        if (embeddings === 0) return { idx };
        return { idx, embeddings: grid({ t: embeddings, s: 1 }, n_embd, { layout: "(b s) t c" }) };
      },
      module: (config) => new Sequence(config),
      fromCase: (config, { idx, embeddings }) => ({
        ...published(config),
        tokens: idx?.shape[1],
        ...(embeddings === undefined ? {} : { embeddings: embeddings.shape[1] }),
      }),
    }),
    Net2NetTransformer: entry({
      config: Net2NetConfig,
      presets: {
        /** The ImageNet model of 1.4 billion parameters. */
        cin: { vocab_size: 16384, block_size: 256, n_layer: 48, n_head: 24, n_embd: 1536, condition: 1 },
        drin: {},
      },
      inputs: ({ condition, image }) => ({ c_indices: ids(condition), z_indices: ids(image) }),
      module: (config) => new Net2Net(config),
      fromCase: (config, { c_indices, z_indices }) => ({
        ...published(config),
        condition: c_indices?.shape[1],
        image: z_indices?.shape[1],
      }),
    }),
    GreedySampler: entry({
      config: GreedyConfig,
      inputs: ({ prompts: { uncond, cond, complete } }) => ({
        c_uncond: ids(uncond.length, uncond.count),
        c_cond: ids(cond.length, cond.count),
        c_complete: ids(complete.length, complete.count),
        z_complete: ids(complete.given, complete.count),
      }),
      module: (config) => new GreedySampler(config),
      fromCase: ({ sos_token: _first, ...config }, { c_uncond, c_cond, c_complete, z_complete }) => ({
        ...published(config),
        prompts: {
          uncond: promptOf(c_uncond),
          cond: promptOf(c_cond),
          complete: { ...promptOf(c_complete), given: z_complete?.shape[1] },
        },
      }),
    }),
    SlidingWindowSampler: entry({
      config: SlidingConfig,
      inputs: ({ size: [h, w] }) => ({ c_indices: grid({ h, w }, 1, { layout: "b h w", element: "int" }) }),
      module: (config) => new SlidingWindowSampler(config),
      fromCase: (config, { c_indices }) => ({ ...published(config), size: sizeOf(c_indices) }),
    }),
    AttnBlock: entry({
      config: AttnConfig,
      inputs: ({ in_channels, size: [h, w] }) => ({ x: grid({ s: 1, h, w }, in_channels, { layout: asImages }) }),
      module: ({ in_channels }) => {
        const block = new AttnBlock({ channels: in_channels });
        return { ...block, forward: ({ x }: { readonly x: Images }) => ({ out: output(block(x), asImages) }) };
      },
      fromCase: (config, { x }) => ({ ...config, size: sizeOf(x) }),
    }),
    VQModel: entry({
      config: VqConfig,
      presets: { "imagenet-f16-1024": {}, "imagenet-f16-16384": { n_embed: 16384 } },
      inputs: (config) => ({ image: images(config), code_indices: codes(config) }),
      module: (config) => new VqModel(config),
      fromCase: (config, { image, code_indices }) => ({
        ...published(config),
        images: image?.shape[0],
        size: sizeOf(image),
        code_size: sizeOf(code_indices),
      }),
    }),
    VQModelEncode: entry({
      config: VqConfig,
      inputs: (config) => ({ image: images(config) }),
      module: (config) => {
        const network = new VqModel(config);
        const { encoder, quant_conv, quantize } = network;
        const forward = ({ image }: { readonly image: Images }) => encoded(network.encode(image));
        return { encoder, quant_conv, quantize, forward };
      },
      fromCase: (config, { image }) => ({ ...published(config), images: image?.shape[0], size: sizeOf(image) }),
    }),
    VQModelDecode: entry({
      config: VqConfig,
      inputs: (config) => ({ indices: codes(config) }),
      module: (config) => {
        const network = new VqModel(config);
        const { decoder, post_quant_conv, quantize } = network;
        const forward = ({ indices }: { readonly indices: Images }) => ({
          image: output(network.decode(keep("code", network.codes(indices), asImages)), asImages),
        });
        return { decoder, post_quant_conv, quantize, forward };
      },
      fromCase: (config, { indices }) => ({
        ...published(config),
        images: indices?.shape[0],
        code_size: sizeOf(indices),
      }),
    }),
  },
});
