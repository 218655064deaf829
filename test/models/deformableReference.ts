import { erf } from "../../ir/erf.ts";
import { bilinear, softmax } from "../support/sampling.ts";

/** Layers of published code (torch), written down as they are read there, one example at a time, in float64. */
export type Tokens = readonly (readonly number[])[];
export type Parameters = { readonly [name: string]: ArrayLike<number> };

const plus = (a: Tokens, b: Tokens): Tokens =>
  a.map((token, n) => token.map((value, c) => value + (b[n]?.[c] ?? Number.NaN)));
const gelu = (x: number): number => (x / 2) * (1 + erf(x / Math.SQRT2));

/** nn.Linear, or a part of its rows: `rows` from `first`. */
function linear(x: Tokens, name: string, parameters: Parameters, rows?: readonly [first: number, end: number]) {
  const weight = parameters[`${name}weight`] ?? [];
  const bias = parameters[`${name}bias`];
  const width = x[0]?.length ?? 0;
  const [first, end] = rows ?? [0, weight.length / width];
  return x.map((token) =>
    Array.from({ length: end - first }, (_, row) =>
      token.reduce(
        (sum, value, c) => sum + value * (weight[(first + row) * width + c] ?? Number.NaN),
        bias?.[first + row] ?? 0,
      ),
    ),
  );
}

const layerNorm = (x: Tokens, name: string, parameters: Parameters): Tokens =>
  x.map((token) => {
    const mean = token.reduce((sum, each) => sum + each, 0) / token.length;
    const variance = token.reduce((sum, each) => sum + (each - mean) ** 2, 0) / token.length;
    const [weight, bias] = [parameters[`${name}.weight`] ?? [], parameters[`${name}.bias`] ?? []];
    return token.map((each, c) => ((each - mean) / Math.sqrt(variance + 1e-5)) * (weight[c] ?? 0) + (bias[c] ?? 0));
  });

/** Scaled dot-product attention, each head on its own channels; `bias` is added to the scores. */
function attention(
  q: Tokens,
  k: Tokens,
  v: Tokens,
  heads: number,
  bias: (head: number, query: number, key: number) => number = () => 0,
): Tokens {
  const width = (q[0]?.length ?? 0) / heads;
  return q.map((query, i) =>
    Array.from({ length: heads }, (_, head) => {
      const own = (token: readonly number[]): readonly number[] => token.slice(head * width, (head + 1) * width);
      const scores = k.map((key, j) => {
        const products = own(query).map((value, c) => value * (own(key)[c] ?? 0));
        return products.reduce((sum, each) => sum + each, 0) / Math.sqrt(width) + bias(head, i, j);
      });
      const shares = softmax(scores);
      return own(query).map((_value, c) =>
        shares.reduce((sum, share, j) => sum + share * (own(v[j] ?? [])[c] ?? 0), 0),
      );
    }).flat(),
  );
}

/** nn.MultiheadAttention where queries and keys are one. */
function multiheadAttention(qk: Tokens, v: Tokens, heads: number, name: string, parameters: Parameters): Tokens {
  const dim = v[0]?.length ?? 0;
  const packed = {
    "in.weight": parameters[`${name}.in_proj_weight`] ?? [],
    "in.bias": parameters[`${name}.in_proj_bias`] ?? [],
  };
  const q = linear(qk, "in.", packed, [0, dim]);
  const k = linear(qk, "in.", packed, [dim, 2 * dim]);
  const seen = attention(q, k, linear(v, "in.", packed, [2 * dim, 3 * dim]), heads);
  return linear(seen, `${name}.out_proj.`, parameters);
}

export type DetrConfig = {
  readonly n_heads: number;
  readonly n_points: number;
  readonly spatial_shapes: readonly (readonly [number, number])[];
  readonly activation: "relu" | "gelu";
};
type Places = { readonly reference: readonly Tokens[]; readonly padding: readonly number[] | null };

/** MSDeformAttn.forward: `reference` has for each query and level a point, or a box. */
function msDeformAttn(
  query: Tokens,
  input: Tokens,
  { reference, padding }: Places,
  { n_heads, n_points, spatial_shapes }: DetrConfig,
  name: string,
  parameters: Parameters,
): Tokens {
  const levels = spatial_shapes.length;
  const dim = input[0]?.length ?? 0;
  const width = dim / n_heads;
  const value = linear(input, `${name}value_proj.`, parameters).map((token, s) =>
    padding?.[s] === 1 ? token.map(() => 0) : token,
  );
  const offsets = linear(query, `${name}sampling_offsets.`, parameters);
  const logits = linear(query, `${name}attention_weights.`, parameters);
  const starts = spatial_shapes.map((_, l) => spatial_shapes.slice(0, l).reduce((sum, [h, w]) => sum + h * w, 0));
  const sampled = query.map((_, q) =>
    Array.from({ length: n_heads }, (__, head) => {
      const of = levels * n_points;
      const shares = softmax((logits[q] ?? []).slice(head * of, (head + 1) * of));
      return Array.from({ length: width }, (___, c) =>
        shares.reduce((sum, share, i) => {
          const level = Math.floor(i / n_points);
          const [h, w] = spatial_shapes[level] ?? [0, 0];
          const place = reference[q]?.[level] ?? [];
          const offset = (axis: 0 | 1): number => offsets[q]?.[(head * of + i) * 2 + axis] ?? Number.NaN;
          const [x, y] = ([0, 1] as const).map((axis) => {
            const size = axis === 0 ? w : h;
            const moved =
              place.length === 2 ? offset(axis) / size : (offset(axis) / n_points) * (place[2 + axis] ?? 0) * 0.5;
            return ((place[axis] ?? 0) + moved) * size - 0.5;
          }) as [number, number];
          const pixel = (row: number, column: number): number =>
            value[(starts[level] ?? 0) + row * w + column]?.[head * width + c] ?? Number.NaN;
          return sum + share * bilinear(pixel, [h, w], [y, x], "zeros");
        }, 0),
      );
    }).flat(),
  );
  return linear(sampled, `${name}output_proj.`, parameters);
}

function feedForward(x: Tokens, norm: string, { activation }: DetrConfig, parameters: Parameters): Tokens {
  const hidden = linear(x, "linear1.", parameters).map((token) =>
    token.map(activation === "relu" ? (value) => Math.max(value, 0) : gelu),
  );
  return layerNorm(plus(x, linear(hidden, "linear2.", parameters)), norm, parameters);
}

export function encoderLayer(
  src: Tokens,
  pos: Tokens,
  places: Places,
  config: DetrConfig,
  parameters: Parameters,
): Tokens {
  const seen = msDeformAttn(plus(src, pos), src, places, config, "self_attn.", parameters);
  return feedForward(layerNorm(plus(src, seen), "norm1", parameters), "norm2", config, parameters);
}

export function decoderLayer(
  tgt: Tokens,
  queryPos: Tokens,
  src: Tokens,
  places: Places,
  config: DetrConfig,
  parameters: Parameters,
): Tokens {
  const seen = multiheadAttention(plus(tgt, queryPos), tgt, config.n_heads, "self_attn", parameters);
  const x = layerNorm(plus(tgt, seen), "norm2", parameters);
  const sampled = msDeformAttn(plus(x, queryPos), src, places, config, "cross_attn.", parameters);
  return feedForward(layerNorm(plus(x, sampled), "norm1", parameters), "norm3", config, parameters);
}

export type DatReferenceConfig = {
  readonly release: 2022 | 2023;
  readonly q_size: readonly [number, number];
  readonly n_heads: number;
  readonly n_groups: number;
  readonly stride: number;
  readonly ksize: number;
  readonly offset_range_factor: number;
  readonly use_pe: boolean;
  readonly dwc_pe: boolean;
  readonly fixed_pe: boolean;
  readonly no_off: boolean;
  readonly log_cpb: boolean;
};

/** nn.Conv2d over one channel: `x` by pixel, zeros around it. */
const depthwise = (
  x: Tokens,
  [h, w]: readonly [number, number],
  channel: number,
  weight: ArrayLike<number>,
  bias: number,
  [size, stride, pad]: readonly [number, number, number],
  [y, at]: readonly [number, number],
): number => {
  let sum = bias;
  for (let dy = 0; dy < size; dy++)
    for (let dx = 0; dx < size; dx++) {
      const [row, column] = [y * stride - pad + dy, at * stride - pad + dx];
      if (row < 0 || row >= h || column < 0 || column >= w) continue;
      sum += (x[row * w + column]?.[channel] ?? Number.NaN) * (weight[(channel * size + dy) * size + dx] ?? Number.NaN);
    }
  return sum;
};

/** DAttentionBaseline.forward, of a token for each pixel. */
export function deformableAttention(x: Tokens, config: DatReferenceConfig, parameters: Parameters): Tokens {
  const { release, q_size, n_heads, n_groups, stride, ksize, offset_range_factor: factor, no_off } = config;
  const [H, W] = q_size;
  const dim = x[0]?.length ?? 0;
  const perGroup = dim / n_groups;
  const pad = release === 2023 && ksize === stride ? 0 : Math.floor(ksize / 2);
  const [Hk, Wk] = [H, W].map((size) => Math.floor((size + 2 * pad - ksize) / stride) + 1) as [number, number];
  const places = Array.from({ length: Hk * Wk }, (_, i) => [Math.floor(i / Wk), i % Wk] as const);
  const q = linear(x, "proj_q.", parameters);

  const positions = Array.from({ length: n_groups }, (_, group) => {
    const local = places.map((place) =>
      Array.from({ length: perGroup }, (__, c) => {
        const own = q.map((token) => token.slice(group * perGroup, (group + 1) * perGroup));
        const [weight, bias] = [parameters["conv_offset.0.weight"] ?? [], parameters["conv_offset.0.bias"]?.[c] ?? 0];
        return depthwise(own, [H, W], c, weight, bias, [ksize, stride, pad], place);
      }),
    );
    const hidden = layerNorm(local, "conv_offset.1.norm", parameters).map((token) => token.map(gelu));
    return linear(hidden, "conv_offset.3.", parameters).map((raw, i) =>
      ([0, 1] as const).map((axis) => {
        const size = [Hk, Wk][axis] ?? 1;
        const span = release === 2022 ? size : size - 1;
        const reference = (((places[i]?.[axis] ?? 0) + 0.5) / span) * 2 - 1;
        const bounded = release === 2022 ? factor > 0 : factor >= 0;
        const offset = no_off ? 0 : bounded ? (Math.tanh(raw[axis] ?? 0) / span) * factor : (raw[axis] ?? 0);
        if (factor >= 0) return reference + offset;
        return release === 2022 ? Math.tanh(reference + offset) : Math.min(1, Math.max(-1, reference + offset));
      }),
    );
  });

  const sampled = places.map(([row, column], i) =>
    Array.from({ length: dim }, (_, c) => {
      const pixel = (y: number, at: number): number => x[y * W + at]?.[c] ?? Number.NaN;
      if (no_off && release === 2023) {
        let sum = 0;
        for (let dy = 0; dy < stride; dy++)
          for (let dx = 0; dx < stride; dx++) sum += pixel(row * stride + dy, column * stride + dx);
        return sum / stride ** 2;
      }
      const [y, at] = positions[Math.floor(c / perGroup)]?.[i] ?? [];
      return bilinear(pixel, [H, W], [(((y ?? 0) + 1) / 2) * (H - 1), (((at ?? 0) + 1) / 2) * (W - 1)], "zeros");
    }),
  );

  const k = linear(sampled, "proj_k.", parameters);
  const v = linear(sampled, "proj_v.", parameters);
  const biased = config.use_pe && !(no_off && release === 2023) && !config.dwc_pe;
  const own = (at: number, size: number): number =>
    release === 2022 ? ((at + 0.5) / size) * 2 - 1 : (at / (size - 1)) * 2 - 1;
  const bias = (head: number, query: number, key: number): number => {
    if (!biased) return 0;
    const table = parameters["rpe_table"] ?? [];
    if (config.fixed_pe) return table[(head * H * W + query) * Hk * Wk + key] ?? Number.NaN;
    const heads = n_heads / n_groups;
    const [y, at] = positions[Math.floor(head / heads)]?.[key] ?? [];
    const distance = [own(Math.floor(query / W), H) - (y ?? 0), own(query % W, W) - (at ?? 0)];
    if (config.log_cpb) {
      const coarse = distance.map((d) => (Math.sign(d) * Math.log2(Math.abs(4 * d) + 1)) / Math.log2(8));
      const hidden = linear([coarse], "rpe_table.0.", parameters).map((token) =>
        token.map((each) => Math.max(each, 0)),
      );
      return linear(hidden, "rpe_table.2.", parameters)[0]?.[head % heads] ?? Number.NaN;
    }
    const size = [2 * H - 1, 2 * W - 1] as const;
    const [ty, tx] = distance.map((d, axis) => ((d * 0.5 + 1) / 2) * ((size[axis] ?? 1) - 1));
    const cell = (row: number, column: number): number =>
      table[(head * size[0] + row) * size[1] + column] ?? Number.NaN;
    return bilinear(cell, size, [ty ?? 0, tx ?? 0], "zeros");
  };
  const seen = attention(q, k, v, n_heads, bias);
  const local = config.use_pe && config.dwc_pe && !(no_off && release === 2023);
  const encoded = seen.map((token, i) =>
    token.map((value, c) => {
      if (!local) return value;
      const [weight, offset] = [parameters["rpe_table.weight"] ?? [], parameters["rpe_table.bias"]?.[c] ?? 0];
      return value + depthwise(q, [H, W], c, weight, offset, [3, 1, 1], [Math.floor(i / W), i % W]);
    }),
  );
  return linear(encoded, "proj_out.", parameters);
}
