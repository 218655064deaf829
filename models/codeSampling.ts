/**
 * How Taming Transformers draw codes, the likeliest each time: behind prompts, and on a grid larger than the GPT's, through
 * a window that slides over it (arXiv 2012.09841, section 3.2). All steps are taken on the device.
 */
import { combine, concat, full, type Grid, keep, loop, output, perExample, pointwise, round } from "fovea";
import { z } from "zod";
import { choiceOf, Gpt, GptConfig, type Tokens } from "./minGpt.ts";

const count = z.int().positive();
const Prompt = z.strictObject({ count, length: count });

export const GreedyConfig = GptConfig.extend({
  /** How many prompts there are, and how long: a first token, a condition, a condition and the codes that begin an image. */
  prompts: z.strictObject({ uncond: Prompt, cond: Prompt, complete: Prompt.extend({ given: count }) }),
  steps_uncond: count,
  steps_cond: count,
  steps_complete: count,
});
export type GreedyConfig = z.infer<typeof GreedyConfig>;

/** Sequences that are alike: where they lie among all, how long their prompts are, and how many tokens follow. */
type Group = { readonly from: number; readonly count: number; readonly length: number; readonly steps: number };

export class GreedySampler extends Gpt<GreedyConfig> {
  forward(inputs: { readonly [N in "c_uncond" | "c_cond" | "c_complete" | "z_complete"]: Tokens }) {
    const { prompts, steps_uncond, steps_cond, steps_complete } = this.config;
    const { uncond, cond, complete } = prompts;
    const first: Group = { ...uncond, from: 0, steps: steps_uncond };
    const second: Group = { ...cond, from: uncond.count, steps: steps_cond };
    const begun = complete.length + complete.given;
    const third: Group = {
      count: complete.count,
      length: begun,
      from: uncond.count + cond.count,
      steps: steps_complete,
    };
    const given = concat([inputs.c_complete, inputs.z_complete], { axis: "t" });
    const tokens = this.continue([inputs.c_uncond, inputs.c_cond, given], [first, second, third]);

    const logits = this.follow(tokens.slice("t", 0, tokens.extent("t") - 1));
    const drawn = ({ from, count: sequences, steps }: Group, start: number, length: number) => {
      const own = tokens.slice("s", from, from + sequences).slice("t", start, length + steps);
      const ownLogits = logits.slice("s", from, from + sequences).slice("t", start - 1, length + steps - 1);
      return { own: output(own, "(b s) t"), logits: ownLogits, margin: choiceOf(ownLogits).margin };
    };
    const unconditional = drawn(first, first.length, first.length);
    const conditional = drawn(second, second.length, second.length);
    const completed = drawn(third, complete.length, begun);
    for (const [name, each] of Object.entries({ uncond: unconditional, cond: conditional, complete: completed }))
      keep(`logits_${name}`, each.logits, "(b s) t c");
    keep("margin_uncond", unconditional.margin, "(b s) t");
    keep("margin_cond", conditional.margin, "(b s) t");
    keep("margin_complete", completed.margin.slice("t", complete.given, complete.given + steps_complete), "(b s) t");
    return { tokens_uncond: unconditional.own, tokens_cond: conditional.own, tokens_complete: completed.own };
  }

  /** All prompts and what follows them, side by side; what lies behind a sequence's own steps is of no meaning. */
  private continue(prompts: readonly Tokens[], groups: readonly Group[]): Tokens {
    const extent = Math.max(...groups.map(({ length, steps }) => length + steps));
    const lengths = concat(
      groups.map(({ count: s, length }) => full({ s }, length)),
      { axis: "s" },
    );
    const { last } = loop({
      first: {
        tokens: concat(
          prompts.map((each) => each.padTo({ t: extent })),
          { axis: "s" },
        ),
      },
      atMost: Math.max(...groups.map(({ steps }) => steps)),
      step: ({ tokens }, number) => {
        const place = combine(lengths, [number], (length, step) => length + step);
        const before = round(pointwise(place, (at) => at - 1));
        const next = choiceOf(this.head(this.ln_f(this.read(tokens).take("t", before)))).likeliest;
        const isHere = pointwise(place.expand({ t: extent }), (at, token) => (token.t === at ? 1 : 0));
        const drawn = combine(tokens, [isHere, next], (token, here, chosen) => (here === 1 ? chosen : token));
        return { next: { tokens: round(drawn) } };
      },
    });
    return last.tokens;
  }
}

export const SlidingConfig = GptConfig.extend({
  /** Height and width of what the GPT sees of the codes, and of the condition: even. */
  window: count.multipleOf(2).default(16),
  /** Height and width of the codes that are drawn; the condition has as many. */
  size: z.tuple([count, count]),
});
export type SlidingConfig = z.infer<typeof SlidingConfig>;

/** Where a position lies in its window: in the middle, but near the border of an axis of so many. */
const localOf = (position: number, window: number, extent: number) =>
  position <= window / 2 ? position : extent - position < window / 2 ? window - (extent - position) : window / 2;

export class SlidingWindowSampler extends Gpt<SlidingConfig> {
  forward({ c_indices }: { readonly c_indices: Grid<"h" | "w"> }) {
    const { window, size } = this.config;
    const [height, width] = size;
    const cells = height * width;
    const conditions = c_indices.pack("h", "w").unpack({ n: cells });
    const { last, each } = loop({
      first: { codes: full({ n: cells }, 0, { element: "int" }) },
      atMost: cells,
      step: ({ codes }, number) => {
        const seen = round(
          pointwise(number.expand({ y: window, x: window }), (step, at) => {
            const row = Math.floor(step / width);
            const column = step % width;
            const y = row - localOf(row, window, height) + at.y;
            return y * width + column - localOf(column, window, width) + at.x;
          }),
        );
        const tokens = [conditions, codes].map((x) => tokensOf(x.take("n", seen)));
        const all = concat(tokens, { axis: "t" }).slice("t", 0, 2 * window * window - 1);
        const before = pointwise(number, (step) => {
          const row = window + localOf(Math.floor(step / width), window, height);
          return row * window + localOf(step % width, window, width) - 1;
        });
        const logits = this.head(this.ln_f(this.read(all).take("t", round(before).expand({ s: 1 }))));
        const next = choiceOf(logits).likeliest.at("s", 0);
        const isHere = pointwise(number.expand({ n: cells }), (step, at) => (at.n === step ? 1 : 0));
        const drawn = combine(codes, [isHere, next], (code, here, chosen) => (here === 1 ? chosen : code));
        return { next: { codes: round(drawn) }, each: { logits: logits.at("s", 0) } };
      },
    });
    const onGrid = (x: Grid<"n">) => x.pack("n").unpack({ h: height, w: width });
    keep("logits", each.logits, "b step c");
    keep("margin", onGrid(choiceOf(each.logits).margin.rename("step", "n")), "b h w");
    keep("windows", perExample(this.windows(cells), c_indices), "(b n) c");
    return { indices: output(onGrid(last.codes), "b h w") };
  }

  /** Of each step the window's first row and column, and the row and column that is drawn, counted from there. */
  private windows(cells: number): Grid<"n"> {
    const { window, size } = this.config;
    const [height, width] = size;
    return pointwise(full({ n: cells }, 0, { channels: 4 }), (_, { n, channel }) => {
      const row = Math.floor(n / width);
      const column = n % width;
      const y = localOf(row, window, height);
      const x = localOf(column, window, width);
      return channel === 0 ? row - y : channel === 1 ? column - x : channel === 2 ? y : x;
    });
  }
}

/** Rows of a window end to end. */
const tokensOf = (x: Grid<"y" | "x">): Tokens =>
  x
    .pack("y", "x")
    .unpack({ t: x.extent("y") * x.extent("x") })
    .expand({ s: 1 });
