import { noPrefix } from "../../ir/types.ts";
import { type Axis, extentsOf, product, type Sizes } from "./axes.ts";
import { type AnyGrid, type Grid, gridOf } from "./grid.ts";
import { append, fail } from "./trace.ts";

export type DeformableOptions<P extends Axis, H extends P, L extends P, O extends P> = {
  /** Positions on the maps, a token for each point: two channels, in the order of `axes`. */
  readonly points: Grid<P>;
  /** A weight or a logit for each point; it may lack axes along which it is the same. One where none is given. */
  readonly weights?: AnyGrid;
  /**
   * Scores in place of given weights, or added to them: scale · query · key, the key sampled where the value is. A query
   * for each token of the result, and a map of keys for each map, with equal runs of channels for the heads.
   */
  readonly query?: Grid<Exclude<P, H | L | O>>;
  readonly keys?: readonly AnyGrid[];
  /** By default 1 / sqrt(channels of a query's head). */
  readonly scale?: number;
  /** The axes of a map that are sampled: what the points' first channel is a position on, then the second. */
  readonly axes: readonly [Axis, Axis];
  /** The points' axis that numbers runs of channels: each head has points of its own. */
  readonly heads?: H;
  /** The points' axis that numbers the maps. */
  readonly levels?: L;
  /** The points' axes that are summed over, besides the levels. */
  readonly over?: readonly O[];
  /**
   * Positions count pixels from the centre of the first ("pixels"), or run from 0 to 1 between the map's outer edges
   * ("edges", align_corners=False) or between the centres of its outer pixels ("centres", align_corners=True).
   */
  readonly coordinates?: "pixels" | "edges" | "centres";
  /** What is read outside of a map: zeros, or the pixels at its border. */
  readonly padding?: "zeros" | "border";
  /** Softmax of the weights over levels and `over` together, or the weights as they are. By default softmax where weights or keys are given. */
  readonly normalize?: "softmax" | "none";
};

/**
 * Maps sampled bilinearly at points that are data, weighted and summed over levels and the axes `over` (arXiv 2010.04159,
 * equation 3). A map has the two axes that are sampled, and any other axis of the points: a point then reads at its own
 * position there. Points that are not numbers read nothing.
 *
 *     deformable(values, { points, query, keys, axes: ["h", "w"], heads: "head", over: ["point"] })
 */
export function deformable<P extends Axis, H extends P = never, L extends P = never, O extends P = never>(
  maps: readonly AnyGrid[],
  options: DeformableOptions<P, H, L, O>,
): Grid<Exclude<P, H | L | O>> {
  const { points, weights, axes, heads, levels, over = [], query, keys = [] } = options;
  if ((query === undefined) !== (keys.length === 0) || (query !== undefined && keys.length !== maps.length))
    fail("bad-argument", {
      op: "deformable",
      problem: `there are ${maps.length} maps, ${keys.length} of keys, and ${query === undefined ? "no" : "a"} query: scores need a query, and keys for each map`,
    });
  const headCount = heads === undefined ? 1 : points.extent(heads);
  const attrs = {
    axes,
    heads: heads === undefined ? [] : [heads],
    levels: levels === undefined ? [] : [levels],
    over,
    coordinates: options.coordinates ?? "pixels",
    padding: options.padding ?? "zeros",
    normalize: options.normalize ?? (weights === undefined && query === undefined ? "none" : "softmax"),
    scale: query === undefined ? null : (options.scale ?? 1 / Math.sqrt(query.channels / headCount)),
  } as const;
  const given = weights ?? constant({}, [[query === undefined ? 1 : 0]]);
  const read = [...(query === undefined ? [] : [query, ...keys]), ...maps];
  return gridOf(append("sample", [points.value, given.value, ...read.map(({ value }) => value)], attrs));
}

/** Numbers that the model knows: a run of channels for each token, the last axis fastest. */
export function constant<A extends Axis>(sizes: Sizes<A>, tokens: readonly (readonly number[])[]): Grid<A> {
  const axes = extentsOf("constant", sizes);
  const count = product(axes.map(({ size }) => size));
  const channels = tokens[0]?.length ?? 0;
  if (tokens.length !== count)
    fail("bad-argument", { op: "constant", problem: `the grid has ${count} tokens, and ${tokens.length} are given` });
  if (channels === 0 || tokens.some(({ length }) => length !== channels))
    fail("bad-argument", { op: "constant", problem: "its tokens have none or different numbers of channels" });
  const type = { element: "float", batch: false, prefix: noPrefix, axes, channels } as const;
  return gridOf(append("constant", [], { values: tokens.flat(), type }));
}
