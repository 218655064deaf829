import type { AttentionKernel, KernelHeader } from "../../compiler/schedule/kernels.ts";
import { parseScalar } from "../../ir/scalarText.ts";
import type { Precision } from "../../ir/types.ts";
import { attentionKernel, grid } from "./attentionCase.ts";
import { all, along, causal, near, prefix, union, window, type PatternCase } from "./attentionPatterns.ts";

export type NamedAttention = { readonly kernel: AttentionKernel; readonly header: KernelHeader };

const named = (name: string, formula: string, precision: Precision, test: PatternCase): NamedAttention => ({
  kernel: attentionKernel({ ...test, precision }),
  header: {
    name,
    origin: { file: "models/example.ts", line: 12, column: 3, path: "blocks.0.attn", formula },
    shapes: [],
  },
});

/** TimeSformer's: time, then a frame with its class token, then all at once. */
export const temporal = (precision: Precision, t = 8): NamedAttention =>
  named("temporal", "softmax(0.125 q kT over t) v", precision, {
    pattern: along("t"),
    query: grid({ h: 14, w: 14, t }),
    headDim: 64,
    heads: 12,
  });
export const spatial = (precision: Precision): NamedAttention =>
  named("spatial", "softmax(0.125 q kT over prefix, h, w) v", precision, {
    pattern: union(prefix, along("h", "w")),
    query: grid({ h: 14, w: 14, t: 8 }, { count: 1, over: ["t"] }),
    headDim: 64,
    heads: 12,
  });
export const joint = (precision: Precision): NamedAttention =>
  named("joint", "softmax(0.125 q kT) v", precision, {
    pattern: all,
    query: grid({ h: 14, w: 14, t: 8 }, { count: 1, over: [] }),
    headDim: 64,
    heads: 12,
  });

/** Video Swin's second block: shifted windows and a bias of relative positions. */
export const shiftedWindows = (precision: Precision): NamedAttention =>
  named("windows", "softmax(s + bias) v in windows of 8 x 7 x 7, rolled by 4 x 3 x 3", precision, {
    pattern: window({ t: 8, h: 7, w: 7 }, { t: 4, h: 3, w: 3 }),
    query: grid({ t: 16, h: 28, w: 28 }),
    headDim: 32,
    heads: 6,
    score: parseScalar("s + table0[q.t - k.t + 7, q.h - k.h + 6, q.w - k.w + 6, head]"),
    tables: [[15, 13, 13, 6]],
  });
export const windows2d = (precision: Precision): NamedAttention =>
  named("windows2d", "softmax(s + bias) v in windows of 7 x 7, rolled by 3 x 3", precision, {
    pattern: window({ h: 7, w: 7 }, { h: 3, w: 3 }),
    query: grid({ h: 56, w: 56 }),
    headDim: 32,
    heads: 3,
    score: parseScalar("s + table0[q.h - k.h + 6, q.w - k.w + 6, head]"),
    tables: [[13, 13, 3]],
  });

/** Other shapes at the edges of what registers allow. */
export const lines = (precision: Precision, headDim: number): NamedAttention =>
  named(`lines${headDim}`, "softmax(s over w) v", precision, {
    pattern: along("w"),
    query: grid({ h: 8, w: 65 }),
    headDim,
    heads: 2,
  });
export const streamed = (precision: Precision, headDim: number): NamedAttention =>
  named(`streamed${headDim}`, "softmax(s, causal) v", precision, {
    pattern: causal("t"),
    query: grid({ t: 2048 }),
    headDim,
    heads: 2,
  });
export const sliding = (precision: Precision): NamedAttention =>
  named("sliding", "softmax(s over prefix and neighbours) v", precision, {
    pattern: union(prefix, near({ t: 16 })),
    query: grid({ t: 250 }, { count: 1, over: [] }),
    headDim: 64,
    heads: 12,
  });
export const neighbourhood = (precision: Precision): NamedAttention =>
  named("neighbourhood", "softmax(s over 7 x 7 neighbours) v", precision, {
    pattern: near({ h: 3, w: 3 }, 1, "inwards"),
    query: grid({ h: 56, w: 56 }),
    headDim: 64,
    heads: 2,
  });

/** Axial-DeepLab's: a line with terms of relative positions. */
export const positions = (precision: Precision, size: number, headDim: number): NamedAttention =>
  named("positions", "softmax(q kT + q rq + k rk) (v + rv) along a line", precision, {
    pattern: along("h"),
    query: grid({ h: size, w: size }),
    headDim,
    valueDim: 2 * headDim,
    heads: 8,
    scale: 1,
    positions: { axis: "h", terms: ["query", "key", "value"] },
  });
