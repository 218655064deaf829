import type { Graph, Node, NodeOf } from "../../../ir/graph.ts";
import { sampleWeights } from "../../../ir/evaluateSample.ts";
import { extentsOf, sampledOf } from "../../../ir/inferSample.ts";
import { type Extent, sizeOf, type TensorType } from "../../../ir/types.ts";
import { exampleOf, type Value } from "../../../ir/value.ts";
import { CommandError, unknownName } from "../failure.ts";
import type { ChosenToken } from "../tokenView.ts";
import { type Example, type RunGraph, typeOf, type Values, valuesOf } from "../values.ts";

/** Where one query of a sampling looks, in the first example. */
export type QueryPoints = {
  readonly path: string;
  /** The query's position on each of the result's axes. */
  readonly query: Coordinates;
  readonly heads: number;
  readonly maps: readonly MapPoints[];
};
export type Coordinates = { readonly [axis: string]: number };

/** The points on one map. Places run from 0 to 1 between its outer edges. */
export type MapPoints = {
  /** Its level, on each axis that numbers levels. */
  readonly level: Coordinates;
  readonly width: number;
  readonly height: number;
  /** The map's position among those that its axes besides the sampled two number, and how many these are: of a video its frames. */
  readonly frame: { readonly index: number; readonly count: number };
  /** The query's own place; null where it has none on a map. */
  readonly own: { readonly x: number; readonly y: number } | null;
  readonly points: readonly {
    readonly head: number;
    readonly x: number;
    readonly y: number;
    readonly weight: number;
  }[];
};

type Sample = NodeOf<"sample">;

/** Samplings of values that depend on the input: tables of parameters are no pictures. */
const samplings = ({ nodes }: Graph): readonly Sample[] =>
  nodes.filter(
    (node: Node): node is Sample =>
      node.op === "sample" && node.inputs.slice(2).some((id) => nodes[id]?.type.batch === true),
  );

/**
 * Where a query looks in each sampling of the graph, or of the modules named. `query` says where it is on some of the
 * axes; on the others it is in the middle.
 */
export async function collectPoints(
  graph: Graph,
  {
    wanted,
    query,
    example,
  }: { readonly wanted: string | null; readonly query: ChosenToken; readonly example: Example },
  run: RunGraph,
): Promise<readonly QueryPoints[]> {
  const all = samplings(graph);
  const chosen = wanted === null ? all : all.filter(({ path }) => path === wanted || path.endsWith(`.${wanted}`));
  if (all.length === 0) throw new CommandError("no layer of the network samples");
  if (chosen.length === 0)
    throw unknownName(
      "sampling layer",
      wanted ?? "",
      all.map(({ path }) => path),
    );
  const queries = chosen.map((node) => queryOf(node, query));
  const values = await valuesOf(graph, chosen.flatMap(weighing), example, run);
  return chosen.map((node, i) => pointsOf(graph, node, queries[i] ?? {}, values));
}

function queryOf({ type, path }: Sample, given: ChosenToken): Coordinates {
  if (given === "prefix") throw new CommandError(`${path} samples for no prefix tokens`, "name axes, as in t=3,h=7");
  const unknown = Object.keys(given).find((axis) => sizeOf(type, axis) === undefined);
  if (unknown !== undefined)
    throw unknownName(
      `axis of the queries of ${path}`,
      unknown,
      type.axes.map(({ axis }) => axis),
    );
  return Object.fromEntries(
    type.axes.map(({ axis, size }) => {
      const index = given[axis] ?? Math.floor(size / 2);
      if (index >= size)
        throw new CommandError(`the axis "${axis}" of ${path} has positions 0 to ${size - 1}, not ${index}`);
      return [axis, index];
    }),
  );
}

/** What a point's place and weight depend on: the maps only where they are keys. */
const weighing = ({ inputs, attrs }: Sample): Sample["inputs"] => {
  const [points, weights, ...rest] = inputs;
  const { query, keys } = sampledOf(rest, attrs);
  return [points, weights, ...(query === null ? [] : [query, ...keys])];
};

function pointsOf(graph: Graph, node: Sample, query: Coordinates, values: Values): QueryPoints {
  const { attrs, inputs } = node;
  const [, , ...rest] = inputs;
  const { maps } = sampledOf(rest, attrs);
  const points = valueOf(values, inputs[0]);
  const type = points.type;
  const headAxes = extentsOf(type, attrs.heads);
  const levelAxes = extentsOf(type, attrs.levels);
  const first = typeOf(graph, maps[0] ?? inputs[0]);
  const isOfMap = ({ axis }: Extent): boolean => sizeOf(first, axis) !== undefined;
  const overAxes = extentsOf(type, attrs.over);
  const mapAxes = [...levelAxes, ...overAxes.filter(isOfMap)];
  const pointAxes = overAxes.filter((extent) => !isOfMap(extent));
  const weights = weightsOf(node, values);
  const at = (coordinates: Coordinates, channel: number): number =>
    exampleOf(points, 0)[rowOf(type, coordinates) * 2 + channel] ?? Number.NaN;
  const heads = positions(headAxes);
  const seen = positions(mapAxes).map((map): MapPoints => {
    const shape = typeOf(graph, maps[flat(levelAxes, map)] ?? inputs[0]);
    const others = shape.axes.filter(({ axis }) => !attrs.axes.includes(axis));
    // Rows of a picture are the earlier of the two axes.
    const order = shape.axes.map(({ axis }) => axis).filter((axis) => attrs.axes.includes(axis));
    const [rows = "", columns = ""] = order;
    const place = (axis: string, value: number): number => fraction(value, sizeOf(shape, axis) ?? 1, attrs.coordinates);
    const ownOf = (axis: string): number => ((query[axis] ?? 0) + 0.5) / (sizeOf(node.type, axis) ?? 1);
    const hasOwn = attrs.axes.every((axis) => sizeOf(node.type, axis) !== undefined);
    return {
      level: Object.fromEntries(levelAxes.map(({ axis }) => [axis, map[axis] ?? 0])),
      width: sizeOf(shape, columns) ?? 1,
      height: sizeOf(shape, rows) ?? 1,
      frame: {
        index: flat(others, { ...query, ...map }),
        count: others.reduce((product, { size }) => product * size, 1),
      },
      own: hasOwn ? { x: ownOf(columns), y: ownOf(rows) } : null,
      points: heads.flatMap((head, number) =>
        positions(pointAxes).map((point) => {
          const coordinates = { ...query, ...map, ...head, ...point };
          const [x, y] = [columns, rows].map((axis) => place(axis, at(coordinates, attrs.axes.indexOf(axis))));
          return { head: number, x: x ?? 0, y: y ?? 0, weight: weights[rowOf(type, coordinates)] ?? 0 };
        }),
      ),
    };
  });
  return { path: node.path, query, heads: heads.length, maps: seen };
}

function weightsOf(node: Sample, values: Values): Float64Array {
  const [points, weights, ...keys] = weighing(node).map((id) => valueOf(values, id));
  if (points === undefined || weights === undefined) throw new RangeError("a sampling without points");
  // Maps of values weigh nothing: keys stand for them.
  const levels = node.attrs.scale === null ? [] : [...keys, ...keys.slice(1)];
  return sampleWeights([points, weights, ...levels], node.attrs, node.type)(0);
}

const fraction = (value: number, size: number, coordinates: Sample["attrs"]["coordinates"]): number => {
  switch (coordinates) {
    case "edges":
      return value;
    case "pixels":
      return (value + 0.5) / size;
    case "centres":
      return (value * (size - 1) + 0.5) / size;
  }
};

/** Every position on some axes, the last one fastest. */
const positions = (axes: readonly Extent[]): readonly Coordinates[] =>
  axes.reduce<readonly Coordinates[]>(
    (all, { axis, size }) => all.flatMap((at) => Array.from({ length: size }, (_, i) => ({ ...at, [axis]: i }))),
    [{}],
  );
const flat = (axes: readonly Extent[], at: Coordinates): number =>
  axes.reduce((index, { axis, size }) => index * size + (at[axis] ?? 0), 0);
const rowOf = (type: TensorType, at: Coordinates): number => flat(type.axes, at);

function valueOf(values: Values, id: Sample["inputs"][number]): Value {
  const found = values.get(id);
  if (found === undefined) throw new RangeError(`there is no value %${id}`);
  return found;
}
