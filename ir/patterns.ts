import type { Scalar } from "./scalar.ts";

/**
 * Which keys a query sees, as data. Axis patterns relate grid tokens to grid tokens, by the axes they name; prefix tokens
 * take part through `prefix` and `all` (and a `where` that asks for them): they are keys of every query and see every
 * key. A prefix repeated over an axis has a coordinate on it, and `prefix` then relates equal coordinates (a grid token
 * to the prefix tokens at its own coordinate, a prefix token to the keys at its own).
 * What each pattern means exactly is `predicate` in predicate.ts.
 */
export type Pattern =
  /** Every key, prefix tokens included. */
  | { readonly kind: "all" }
  /** Keys that differ from the query along these axes only, of the axes that both have. */
  | { readonly kind: "along"; readonly axes: readonly string[] }
  /** Keys at the query's own position on these axes. */
  | { readonly kind: "same"; readonly axes: readonly string[] }
  /**
   * Keys in the query's window. The grid is rolled by `shift` first; a window that wraps falls into its parts. Where the
   * size is not below the extent, the window is the whole axis and there is no shift.
   */
  | { readonly kind: "window"; readonly size: AxisNumbers; readonly shift: AxisNumbers }
  /** Keys at most `radius` steps of `dilation` away; at the border the neighbourhood is cut, or moved inwards whole. */
  | {
      readonly kind: "near";
      readonly radius: AxisNumbers;
      readonly dilation: number;
      readonly border: "cut" | "inwards";
    }
  /** Keys on every `stride`-th position: congruent to the query's own ("query"), or to a fixed phase. */
  | { readonly kind: "every"; readonly stride: AxisNumbers; readonly phase: "query" | number }
  /** Keys not after the query on this axis. */
  | { readonly kind: "causal"; readonly axis: string }
  /** Prefix tokens are keys of every query and see every key. */
  | { readonly kind: "prefix" }
  | { readonly kind: "union"; readonly patterns: readonly Pattern[] }
  | { readonly kind: "intersect"; readonly patterns: readonly Pattern[] }
  /**
   * Any predicate of positions: variables `q.AXIS`, `k.AXIS`, `q.isPrefix`, `k.isPrefix`, `q.prefix`, `k.prefix`. Prefix
   * tokens see and are seen only where it reads `isPrefix`; a coordinate that a token does not have reads as 0.
   */
  | { readonly kind: "where"; readonly predicate: Scalar };

export type AxisNumbers = { readonly [axis: string]: number };
