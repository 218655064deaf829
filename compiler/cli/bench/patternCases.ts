/** An attention between projections, in the text form of graphs. */
export type PatternCase = {
  readonly name: string;
  /** `prefix 1 over t, t 8, h 14, w 14`, and the layout of its tokens. */
  readonly tokens: string;
  readonly layout: string;
  readonly pattern: string;
  readonly heads: number;
  readonly headDim: number;
  /** Extents of a table of relative biases, and where a score reads it. */
  readonly bias?: { readonly extents: readonly number[]; readonly at: string };
};

const bias3 = "s + table0[q.t - k.t + 7, q.h - k.h + 6, q.w - k.w + 6, head]";
const frames = { layout: "b t (prefix | h w) c", heads: 12, headDim: 64 };
const clip = { layout: "b (prefix | t h w) c", heads: 12, headDim: 64 };

/** Published shapes: TimeSformer-B 8 x 224, Swin-T and Video Swin-T (the first stage, shifted) at 224, VTN's 250 frames. */
export const publishedPatterns: readonly PatternCase[] = [
  {
    name: "divided, time",
    tokens: "t 8, h 14, w 14",
    layout: "b t h w c",
    pattern: "along(t)",
    heads: 12,
    headDim: 64,
  },
  {
    name: "divided, space",
    tokens: "prefix 1 over t, t 8, h 14, w 14",
    pattern: "union(prefix, along(h, w))",
    ...frames,
  },
  { name: "joint", tokens: "prefix 1, t 8, h 14, w 14", pattern: "all", ...clip },
  {
    name: "sparse, local",
    tokens: "prefix 1, t 8, h 14, w 14",
    pattern: "union(prefix, near(h 3, w 3; inwards))",
    ...clip,
  },
  {
    name: "sparse, global",
    tokens: "prefix 1, t 8, h 14, w 14",
    pattern: "union(prefix, every(t 2, h 2, w 2; phase query))",
    ...clip,
  },
  { name: "axial, width", tokens: "prefix 1, t 8, h 14, w 14", pattern: "union(prefix, along(w))", ...clip },
  {
    name: "windows 7 x 7, shifted",
    tokens: "h 56, w 56",
    layout: "b h w c",
    pattern: "window(h 7, w 7; shift h 3, w 3)",
    heads: 3,
    headDim: 32,
    bias: { extents: [13, 13], at: "s + table0[q.h - k.h + 6, q.w - k.w + 6, head]" },
  },
  {
    name: "windows 8 x 7 x 7, whole",
    tokens: "t 8, h 56, w 56",
    layout: "b t h w c",
    pattern: "window(t 8, h 7, w 7)",
    heads: 3,
    headDim: 32,
    bias: { extents: [15, 13, 13], at: bias3 },
  },
  {
    name: "windows 8 x 7 x 7, shifted",
    tokens: "t 8, h 56, w 56",
    layout: "b t h w c",
    pattern: "window(t 8, h 7, w 7; shift t 4, h 3, w 3)",
    heads: 3,
    headDim: 32,
    bias: { extents: [15, 13, 13], at: bias3 },
  },
  {
    name: "sliding window and a global token",
    tokens: "prefix 1, t 250",
    layout: "b (prefix | t) c",
    pattern: "union(prefix, near(t 16; cut))",
    heads: 12,
    headDim: 64,
  },
  {
    name: "sliding window and a global token, 4096 frames",
    tokens: "prefix 1, t 4096",
    layout: "b (prefix | t) c",
    pattern: "union(prefix, near(t 256; cut))",
    heads: 2,
    headDim: 64,
  },
  {
    name: "neighbourhood 7 x 7",
    tokens: "h 56, w 56",
    layout: "b h w c",
    pattern: "near(h 3, w 3; inwards)",
    heads: 2,
    headDim: 64,
  },
];

export type GrowthCase = Omit<PatternCase, "tokens"> & { readonly tokensTimes: (times: number) => string };

export const growthCases: readonly GrowthCase[] = [
  {
    name: "windows 7 x 7, shifted",
    tokensTimes: (times) => `h ${28 * times}, w 28`,
    layout: "b h w c",
    pattern: "window(h 7, w 7; shift h 3, w 3)",
    heads: 3,
    headDim: 32,
    bias: { extents: [13, 13], at: "s + table0[q.h - k.h + 6, q.w - k.w + 6, head]" },
  },
  {
    name: "windows 8 x 7 x 7, shifted",
    tokensTimes: (times) => `t ${8 * times}, h 14, w 28`,
    layout: "b t h w c",
    pattern: "window(t 8, h 7, w 7; shift t 4, h 3, w 3)",
    heads: 3,
    headDim: 32,
    bias: { extents: [15, 13, 13], at: bias3 },
  },
  {
    name: "sliding window and a global token",
    // From a length on whose keys pass by in blocks: those of 250 are in shared memory all at once, and cut finer.
    tokensTimes: (times) => `prefix 1, t ${2000 * times}`,
    layout: "b (prefix | t) c",
    pattern: "union(prefix, near(t 16; cut))",
    heads: 1,
    headDim: 64,
  },
  {
    name: "neighbourhood 7 x 7",
    // From a size on at which boxes of queries are as large as at any other.
    tokensTimes: (times) => `h ${64 * times}, w 32`,
    layout: "b h w c",
    pattern: "near(h 3, w 3; inwards)",
    heads: 2,
    headDim: 64,
  },
  {
    name: "everything, for comparison",
    tokensTimes: (times) => `t ${256 * times}`,
    layout: "b t c",
    pattern: "all",
    heads: 1,
    headDim: 64,
  },
];
