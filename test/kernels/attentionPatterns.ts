import type { AxisNumbers, Pattern } from "../../ir/patterns.ts";
import { parseScalar } from "../../ir/scalarText.ts";
import { grid, type AttentionCase } from "./attentionCase.ts";

export const all: Pattern = { kind: "all" };
export const prefix: Pattern = { kind: "prefix" };
export const along = (...axes: readonly string[]): Pattern => ({ kind: "along", axes });
export const same = (...axes: readonly string[]): Pattern => ({ kind: "same", axes });
export const union = (...patterns: readonly Pattern[]): Pattern => ({ kind: "union", patterns });
export const intersect = (...patterns: readonly Pattern[]): Pattern => ({ kind: "intersect", patterns });
export const causal = (axis: string): Pattern => ({ kind: "causal", axis });
export const where = (text: string): Pattern => ({ kind: "where", predicate: parseScalar(text) });
export const window = (size: AxisNumbers, shift: AxisNumbers = {}): Pattern => ({
  kind: "window",
  size,
  shift: { ...Object.fromEntries(Object.keys(size).map((axis) => [axis, 0])), ...shift },
});
export const near = (radius: AxisNumbers, dilation = 1, border: "cut" | "inwards" = "cut"): Pattern => ({
  kind: "near",
  radius,
  dilation,
  border,
});
export const every = (stride: AxisNumbers, phase: "query" | number = "query"): Pattern => ({
  kind: "every",
  stride,
  phase,
});

const one = { count: 1, over: [] };
export type PatternCase = Omit<AttentionCase, "precision">;

/** One case for each way in which a pattern can divide, cut or cover the tokens. */
export const patternCases: { readonly [name: string]: PatternCase } = {
  "time of 4, four groups in a tile": { pattern: along("t"), query: grid({ t: 4, h: 5, w: 3 }), headDim: 24 },
  "time of 5, which fills no tile": { pattern: along("t"), query: grid({ h: 5, w: 3, t: 5 }), headDim: 40 },
  "time of 16": { pattern: along("t"), query: grid({ h: 5, w: 1, t: 16 }), headDim: 16 },
  "time of 24, two groups a block": { pattern: along("t"), query: grid({ h: 5, t: 24 }), headDim: 8 },
  "a frame with its class token": {
    pattern: union(prefix, along("h", "w")),
    query: grid({ t: 3, h: 5, w: 5 }, { count: 2, over: ["t"] }),
    headDim: 32,
  },
  "a frame with one class token for all": {
    pattern: union(prefix, along("h", "w")),
    query: grid({ t: 3, h: 5, w: 5 }, one),
    headDim: 32,
  },
  "a line of the first axis": { pattern: along("h"), query: grid({ h: 65, w: 2 }), headDim: 32, heads: 1 },
  "both lines": { pattern: union(along("h"), along("w")), query: grid({ h: 9, w: 8 }), headDim: 32 },
  causal: { pattern: causal("t"), query: grid({ t: 150 }), headDim: 32, heads: 1 },
  "causal, streamed": { pattern: causal("t"), query: grid({ t: 1100 }), headDim: 16, heads: 1 },
  "causal in groups": { pattern: intersect(along("t"), causal("t")), query: grid({ t: 7, h: 3, w: 3 }), headDim: 32 },
  "causal frames": { pattern: causal("t"), query: grid({ t: 5, h: 4, w: 4 }), headDim: 32 },
  "windows, shifted": { pattern: window({ w: 7 }, { w: 3 }), query: grid({ w: 49 }), headDim: 32 },
  "windows, cut and shifted": { pattern: window({ w: 7 }, { w: 3 }), query: grid({ w: 45 }), headDim: 32 },
  "windows, shifted by more than one": { pattern: window({ w: 7 }, { w: 17 }), query: grid({ w: 45 }), headDim: 32 },
  "windows, shifted backwards": { pattern: window({ w: 7 }, { w: -4 }), query: grid({ w: 49 }), headDim: 32 },
  "windows on two axes": {
    pattern: window({ h: 7, w: 7 }, { h: 3, w: 3 }),
    query: grid({ h: 14, w: 21 }),
    headDim: 32,
    heads: 1,
  },
  "windows on two axes, cut": {
    pattern: window({ h: 7, w: 7 }, { h: 3, w: 3 }),
    query: grid({ h: 13, w: 15 }),
    headDim: 32,
    heads: 1,
  },
  "windows on three axes": {
    pattern: window({ t: 2, h: 4, w: 4 }, { t: 1, h: 2, w: 2 }),
    query: grid({ t: 4, h: 8, w: 9 }),
    headDim: 32,
    heads: 1,
  },
  "windows and a class token": {
    pattern: union(prefix, window({ h: 4, w: 4 }, { h: 2, w: 2 })),
    query: grid({ h: 8, w: 8 }, one),
    headDim: 16,
  },
  neighbours: { pattern: near({ w: 9 }), query: grid({ w: 131 }), headDim: 32, heads: 1 },
  "neighbours and global tokens": {
    pattern: union(prefix, near({ w: 9 })),
    query: grid({ w: 131 }, { count: 2, over: [] }),
    headDim: 32,
    heads: 1,
  },
  "neighbours, streamed": { pattern: near({ w: 40 }), query: grid({ w: 1200 }), headDim: 16, heads: 1 },
  "neighbours on two axes": { pattern: near({ h: 2, w: 3 }), query: grid({ h: 13, w: 11 }), headDim: 32, heads: 1 },
  "neighbours, moved inwards": {
    pattern: near({ h: 2, w: 3 }, 1, "inwards"),
    query: grid({ h: 13, w: 5 }),
    headDim: 32,
    heads: 1,
  },
  "neighbours, dilated": { pattern: near({ h: 2, w: 1 }, 2), query: grid({ h: 13, w: 11 }), headDim: 32, heads: 1 },
  "neighbours, dilated and moved inwards": {
    pattern: near({ h: 2, w: 1 }, 3, "inwards"),
    query: grid({ h: 13, w: 11 }),
    headDim: 32,
    heads: 1,
  },
  "neighbours in boxes": { pattern: near({ h: 2, w: 2 }), query: grid({ h: 19, w: 21 }), headDim: 32, heads: 1 },
  "neighbours in boxes, moved inwards": {
    pattern: near({ h: 3, w: 3 }, 1, "inwards"),
    query: grid({ h: 18, w: 23 }),
    headDim: 64,
    heads: 1,
  },
  "neighbours in boxes, dilated": {
    pattern: near({ h: 1, w: 2 }, 2, "inwards"),
    query: grid({ h: 35, w: 31 }),
    headDim: 24,
    heads: 1,
  },
  "neighbours in boxes, and global tokens": {
    pattern: union(prefix, near({ h: 2, w: 1 })),
    query: grid({ h: 17, w: 22 }, { count: 2, over: [] }),
    headDim: 32,
    heads: 1,
  },
  "neighbours in boxes on three axes, not later": {
    pattern: intersect(near({ t: 2, h: 1, w: 1 }), causal("t")),
    query: grid({ t: 9, h: 11, w: 10 }),
    headDim: 16,
    heads: 1,
  },
  "every second, which divides": { pattern: every({ h: 2, w: 2 }), query: grid({ h: 8, w: 10 }), headDim: 32 },
  "every third, which does not": { pattern: every({ h: 2, w: 3 }), query: grid({ h: 7, w: 11 }), headDim: 32 },
  "every second from a place": { pattern: every({ h: 2, w: 2 }, 1), query: grid({ h: 7, w: 11 }), headDim: 32 },
  "a disc": {
    pattern: where("(q.h - k.h) * (q.h - k.h) + (q.w - k.w) * (q.w - k.w) <= 9"),
    query: grid({ h: 12, w: 12 }),
    headDim: 32,
    heads: 1,
  },
  "a disc in boxes": {
    pattern: where("(q.h - k.h) * (q.h - k.h) + (q.w - k.w) * (q.w - k.w) <= 9"),
    query: grid({ h: 25, w: 24 }),
    headDim: 32,
    heads: 1,
  },
  "rows without keys": { pattern: where("k.h < q.h - 2"), query: grid({ h: 30 }), headDim: 32 },
  "tiles without keys, streamed": {
    pattern: where("q.w >= 300 && k.w <= q.w && q.w < k.w + 40"),
    query: grid({ w: 1200 }),
    headDim: 16,
    heads: 1,
  },
  "class tokens alone": { pattern: prefix, query: grid({ h: 20 }, { count: 2, over: [] }), headDim: 32 },
  "no class token": { pattern: along("w"), query: grid({ h: 3, w: 20 }, { count: 2, over: [] }), headDim: 32 },
  "other keys": { pattern: all, query: grid({ o: 5 }), key: grid({ h: 10, w: 10 }), headDim: 32 },
  "other keys, streamed": { pattern: all, query: grid({ o: 40 }), key: grid({ w: 1500 }), headDim: 32, heads: 1 },
  "other keys of the same frame": {
    pattern: union(prefix, same("t")),
    query: grid({ t: 6, o: 2 }),
    key: grid({ t: 6, h: 4 }, { count: 1, over: ["t"] }),
    headDim: 16,
  },
};
