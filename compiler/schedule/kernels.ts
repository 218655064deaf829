import type { Scalar } from "../../ir/scalar.ts";
import type { Pattern } from "../../ir/patterns.ts";
import type { BlockCount, Origin, WeightExpr } from "../../ir/program.ts";
import type { Precision, StorageType, TensorType } from "../../ir/types.ts";
import type { MabSizes } from "./mabPlan.ts";
import type { Target } from "./target.ts";

/**
 * What lowering hands to the kernel families: one fused computation each, as pure data without buffers, names or places
 * in the source, so that equal computations are equal data and are emitted once. Addresses are integer scalar
 * expressions (address maps): all views, windows, pads and repeats of the graph have already become arithmetic here.
 */
export type FusedKernel =
  | GemmKernel
  | ProductsKernel
  | AttentionKernel
  | CombineKernel
  | MabKernel
  | MapKernel
  | RowKernel
  | PerceptronKernel
  | JointKernel
  | SampleKernel
  | SelectKernel;

/** An array in device memory as a kernel sees it. */
export type Operand = {
  readonly storage: StorageType;
  /** Elements from one example to the next; 0 where all examples share it. The offset of an example is 64-bit. */
  readonly exampleStride: number;
  /** Elements of one example; every offset within an example lies below. */
  readonly exampleSize: number;
};

/**
 * Where an element lies: `offset` counts elements within an example of operand number `operand`, in the kernel's index
 * variables. Where `valid` is 0 a read gives `fill` and a write is dropped (offset may then be out of range: never formed).
 */
export type Access = {
  readonly operand: number;
  readonly offset: Scalar;
  readonly valid: Scalar;
  readonly fill: number;
};

/** Row and channel space of a result: `r` counts rows of an example (0 <= r < rows), `n` channels. */
export type RowSpace = { readonly rows: number; readonly batched: boolean };

/**
 * y[r, n] = epilogue(sum over k of prologue(a[r, k]) * weight[n, k]).
 * k = tap * channels + c: a convolution reads channel c of the token at its tap; a linear layer has one tap.
 */
export type GemmKernel = {
  readonly kind: "gemm";
  /** How tiles of A and of the weight hold their elements. */
  readonly precision: Precision;
  /** Float32 tiles are multiplied on tensor cores, in tf32; exactly otherwise. */
  readonly tf32: boolean;
  readonly operands: readonly Operand[];
  readonly space: RowSpace;
  /** Columns of the result. */
  readonly columns: number;
  readonly taps: number;
  readonly channels: number;
  /** Equal runs of columns, each of which has an A of its own: a whole number of tiles, where there are several. */
  readonly groups: number;
  /** A in variables `r`, `tap`, `c` and `group`, which is added to the offset alone. `mean`: rows that average `count` elements, number `j` lying `offset` (of variable j; 0 for the first) behind the first (where `count`, of variable r, is above 1). */
  readonly a: Access & {
    readonly mean: { readonly count: Scalar; readonly maxCount: number; readonly offset: Scalar } | null;
  };
  /** Applied to each loaded element (argument 0) before the product; identity is argument 0 itself. Variables `r`, `tap`, `c`. Not applied to fills. */
  readonly prologue: Scalar;
  /** Each row of A is normalised over its channels (taps = 1): (a - mean) / sqrt(variance + eps). Affine parameters are folded into the weight. */
  readonly norm: { readonly eps: number } | null;
  /** argument 0 is the sum; argument i the element of elements[i - 1], read in variables `r`, `n`. */
  readonly epilogue: { readonly body: Scalar; readonly elements: readonly Access[] };
  /** Where y goes, in variables `r`, `n`. Usually one; each result is stored to all. */
  readonly stores: readonly Access[];
  /** Of each `rows` rows, which are a set's: how many there are, read in variable `r`. Tiles of others may be zeros. */
  readonly lengths: { readonly rows: number; readonly of: Access } | null;
};

/** Products that read nothing of each other, in one launch; all name operands of the one list. */
export type ProductsKernel = {
  readonly kind: "products";
  readonly precision: Precision;
  readonly operands: readonly Operand[];
  readonly products: readonly GemmKernel[];
};

/**
 * normalize(score(scale * q kT)) v by pattern. Tokens are named by coordinates: accesses are in variables `AXIS` for each
 * axis of the token's type (and `prefix`, the index of a prefix token), `head` and `c` (channel within the head).
 */
export type AttentionKernel = {
  readonly kind: "attention";
  readonly precision: Precision;
  readonly operands: readonly Operand[];
  readonly batched: boolean;
  readonly heads: number;
  /** Channels of a head of q and k; 0: the score reads no products, and q and k are not read. */
  readonly headDim: number;
  readonly valueDim: number;
  readonly scale: number;
  readonly pattern: Pattern;
  /** Queries of an example that see no key: their results are zeros. */
  readonly blindQueries: number;
  readonly score: Scalar;
  readonly normalize: "softmax" | "count" | "none";
  /** Logical grids of queries and keys: axes, extents, prefixes. */
  readonly query: TensorType;
  readonly key: TensorType;
  readonly q: TokenAccess;
  readonly k: TokenAccess;
  readonly v: TokenAccess;
  readonly out: TokenAccess;
  /** Tables of `score` (load number i): element access in variables `i0`, `i1`, … (one per index). */
  readonly tables: readonly Access[];
  /** Applied to each element of the result, argument 0; the argument itself where there is nothing to do. */
  readonly epilogue: Scalar;
  /** Terms of relative positions; see ir/positions.ts. */
  readonly positions: KernelPositions | null;
  /**
   * Keys split into chunks that thread blocks of their own attend: how many, of the grid's queries (or all) and of the
   * prefix tokens'. Where there are several, sums go to the operand `partials` (float32), for a CombineKernel; else
   * results go straight to `out`. Null: no keys are split.
   */
  readonly split: { readonly chunks: readonly number[]; readonly partials: number } | null;
};
/** Results of an attention from what its thread blocks have summed up chunk by chunk of keys. */
export type CombineKernel = {
  readonly kind: "combine";
  readonly precision: Precision;
  /** Those of the attention. */
  readonly operands: readonly Operand[];
  readonly attention: AttentionKernel;
};
/**
 * A multihead attention block of many rows and few keys, in one kernel:
 *   q = x Wq + columns[0];  o = before(q + softmax(scale q kT) v);  y = after(end(o, o Wo, …))
 */
export type MabKernel = {
  readonly kind: "mab";
  readonly precision: "bf16" | "f16";
  readonly operands: readonly Operand[];
  readonly batched: boolean;
  readonly sizes: MabSizes;
  readonly scale: number;
  /** In `r`, the row of an example, and `c`. */
  readonly x: Access;
  /** In `g`, the group's number, `j`, the key's in it, and `c`, a channel of all heads. */
  readonly keys: Access;
  readonly values: Access;
  /** Numbers for each channel `n`: the projection's bias first. */
  readonly columns: readonly Access[];
  /** Normalisations, their scales and shifts by number among the columns. */
  readonly before: MabNorm | null;
  readonly after: MabNorm | null;
  /** Argument 0 is the row so far, 1 the sum of the second product, the others columns, or numbers of rows (in `r`). */
  readonly end: {
    readonly body: Scalar;
    readonly arguments: readonly { readonly kind: "column" | "row"; readonly index: number }[];
    readonly rows: readonly Access[];
  };
  readonly stores: readonly Access[];
  readonly lengths: GemmKernel["lengths"];
};
type MabNorm = { readonly eps: number; readonly scale: number; readonly shift: number };
/** Tables of positions along an axis: element access in variables `head`, `row` and `c` (channel within the head). */
export type KernelPositions = {
  readonly axis: string;
  /** Positions of the axis; a table has 2 * size - 1 rows. */
  readonly size: number;
  readonly query: Access | null;
  readonly key: Access | null;
  readonly value: Access | null;
};
/** `prefix` is null where the type has no prefix tokens. Offsets are contiguous in `c`, and `head` advances by the head's width. */
export type TokenAccess = { readonly grid: Access; readonly prefix: Access | null };

/** y[r, n] = body, or the fold of body over `i` in [0, over): everything that is neither a product nor attention. */
export type MapKernel = {
  readonly kind: "map";
  readonly precision: Precision;
  readonly operands: readonly Operand[];
  readonly space: RowSpace;
  readonly columns: number;
  /** argument i is the element of elements[i], read in variables `r`, `n`, `i`. */
  readonly body: Scalar;
  readonly elements: readonly Access[];
  /**
   * A whole number below `count` that the elements' addresses read too, as the variables `taken` and `isTaken`, 0 where the
   * number is another; it is the same for all channels of a row. There is no fold then.
   */
  readonly take: { readonly number: Computed; readonly count: number } | null;
  readonly fold: {
    /** `argmax` gives the number of the first of the largest. */
    readonly kind: "sum" | "mean" | "max" | "argmax";
    readonly over: number;
    /** mean divides by this many; variables r, n */ readonly count: Scalar;
  } | null;
  readonly stores: readonly Access[];
};

/** y[r, n] = epilogue of a row's normalisation or softmax over its `columns` elements, in float32. */
export type RowKernel = {
  readonly kind: "row";
  readonly precision: Precision;
  readonly operands: readonly Operand[];
  readonly space: RowSpace;
  readonly columns: number;
  readonly x: Access;
  readonly statistic: { readonly kind: "normalize"; readonly eps: number } | { readonly kind: "softmax" };
  readonly epilogue: { readonly body: Scalar; readonly elements: readonly Access[] };
  readonly stores: readonly Access[];
};

/**
 * y[r, o] = epilogue(sum over n of weight[n, o] * activation(hidden[r, n])), where hidden[r, n] = start + sum over i of
 * term, normalised over n where `norm` says so: a convolution of each channel or a product of few columns, and one of few
 * results behind it. In float32.
 */
export type PerceptronKernel = {
  readonly kind: "perceptron";
  readonly precision: Precision;
  readonly operands: readonly Operand[];
  readonly space: RowSpace;
  readonly hidden: number;
  /** Terms of a hidden element. */
  readonly over: number;
  /** In variables `r`, `n` and `i`. */
  readonly term: Computed;
  /** In variables `r` and `n`, like the elements of `activation`, whose argument 0 is the hidden element. */
  readonly start: Computed;
  readonly norm: { readonly eps: number } | null;
  readonly activation: { readonly body: Scalar; readonly elements: readonly Access[] };
  /** In variables `n` and `o`. */
  readonly weight: Access;
  /** Results of a row. */
  readonly columns: number;
  /** argument 0 is the sum; elements and stores are in variables `r` and `o`. */
  readonly epilogue: { readonly body: Scalar; readonly elements: readonly Access[] };
  readonly stores: readonly Access[];
};

/**
 * y[r, h, c] = sum over levels g and points p of weight * the map of level g, bilinear at the point. Variables: `r`, `h`
 * (head), `g`, `p` (position on the axes summed over within a level), `n` of the stores.
 */
export type SampleKernel = {
  readonly kind: "sample";
  readonly precision: Precision;
  readonly operands: readonly Operand[];
  readonly space: RowSpace;
  readonly heads: number;
  /** Channels of a head. */
  readonly width: number;
  /** Points of a level. */
  readonly points: number;
  readonly levels: readonly SampleLevel[];
  /** Positions on the two axes in pixels, 0 the centre of the first. */
  readonly position: readonly [first: Computed, second: Computed];
  readonly weight: Computed;
  /** What is added to a weight: scale times the product of the query and the key sampled at the point. */
  readonly scores: {
    readonly scale: number;
    /** Channels of a head. */
    readonly width: number;
    /** Channel 0 of the head, in `r` and `h`; channels are `queryStep` elements apart. */
    readonly query: Access;
    readonly queryStep: number;
    readonly keys: readonly SampleLevel[];
  } | null;
  readonly normalize: "softmax" | "none";
  readonly padding: "zeros" | "border";
  readonly stores: readonly Access[];
};
/** Kernels that read nothing of each other, in one launch. */
export type JointKernel = {
  readonly kind: "joint";
  readonly precision: Precision;
  readonly operands: readonly Operand[];
  readonly parts: readonly JointPart[];
};
/** `operands` are those of the launch that the kernel's own are, by number. */
export type JointPart = {
  readonly kernel: SampleKernel | PerceptronKernel;
  readonly operands: readonly number[];
};

/**
 * Of the `over` elements x of each set, which are those of a row `r` and a channel `n`: the `count` largest, the largest
 * first; or how often each of 0 … count - 1 occurs. Variables: `r`, `n`, `i` (element), `k` (place in the result).
 */
export type SelectKernel = {
  readonly kind: "select";
  readonly precision: Precision;
  readonly operands: readonly Operand[];
  readonly space: RowSpace;
  readonly columns: number;
  readonly select: "topK" | "histogram";
  readonly over: number;
  readonly count: number;
  readonly x: Access;
  readonly stores: readonly Access[];
};

/** A number of elements: argument i is the element of elements[i]. */
export type Computed = { readonly body: Scalar; readonly elements: readonly Access[] };
/** A map: `values` is channel 0 of the head at the map's first pixel; neighbours on the two axes are `steps` elements apart, channels `channelStep`. */
export type SampleLevel = {
  readonly sizes: readonly [first: number, second: number];
  readonly steps: readonly [first: number, second: number];
  readonly channelStep: number;
  readonly values: Access;
};

/** What a family makes of a fused kernel. */
export type EmittedKernel = {
  /** The whole `.cu` text. */
  readonly source: string;
  readonly threads: number;
  /** Dynamic shared memory, bytes. */
  readonly sharedBytes: number;
  readonly grid: readonly [BlockCount, BlockCount, BlockCount];
  /** In the order of the kernel's parameters. */
  readonly parameters: readonly KernelParameter[];
  /** Tiles and the reasons for them, for people. */
  readonly notes: readonly string[];
};
export type KernelParameter =
  | { readonly kind: "operand"; readonly operand: number }
  /** Made of the launch's weight number `of`, which `value` reads as the parameter `$weight`, shaped [columns, taps * channels]. */
  | {
      readonly kind: "weight";
      readonly name: string;
      readonly storage: StorageType;
      readonly of: number;
      readonly value: WeightExpr;
    }
  | { readonly kind: "batch" };

/** What the header comment of a generated kernel says. */
export type KernelHeader = {
  /** The entry point: a C identifier. */
  readonly name: string;
  readonly origin: Origin;
  /** Shapes of the operands in the author's terms, one line each. */
  readonly shapes: readonly string[];
};
/** `target`: the usual one unless given. */
export type KernelFamily<K extends FusedKernel> = (kernel: K, header: KernelHeader, target?: Target) => EmittedKernel;
