import { eliminateDeadNodes } from "../../ir/deadNodes.ts";
import type { Graph } from "../../ir/graph.ts";
import type { Layout } from "../../ir/layout.ts";
import { layoutPlaces, layoutShape } from "../../ir/layoutOffset.ts";
import { fromLayout, toLayout } from "../../ir/value.ts";
import type { NumberArray, NumberArrays } from "./arrays.ts";

/** The graph with those intermediates alone that are asked for: others may cost more than the network itself. */
export const keepOnly = (graph: Graph, names: readonly string[]): Graph => {
  const wanted = new Set(names.map((name) => name.replace(stepName, "")));
  return eliminateDeadNodes({ ...graph, kept: graph.kept.filter(({ name }) => wanted.has(name)) });
};

/** Published names say which step of a loop a value is of: `isab1` is that of the first, `iter1.isab1` of the second. */
const stepName = /^iter\d+\./;

/** Values that a loop has kept of every step, step by step under their published names. */
export const stepsApart = (graph: Graph, results: NumberArrays): NumberArrays => {
  const ofSteps = graph.kept.filter(
    ({ value, layout }) => graph.nodes[value]?.op === "after" && layout[0]?.flat().join() === "step",
  );
  const apart = ofSteps.flatMap(({ name }) => {
    const array = results.get(name);
    const [steps = 0, ...shape] = array?.shape ?? [];
    const size = shape.reduce((all, each) => all * each, 1);
    return Array.from({ length: steps }, (_, step): [string, NumberArray] => {
      const values = array?.values.subarray(step * size, (step + 1) * size) ?? new Float32Array();
      return [step === 0 ? name : `iter${step}.${name}`, { shape, values }];
    });
  });
  return new Map([...results, ...apart]);
};

/**
 * Published code lays some intermediates out so that elements of an example are apart ("head-major"). Kernels store each
 * example as one piece, so those are computed with the batch in front, and put in order behind the network.
 */
export const batchInFront = (
  graph: Graph,
): { readonly graph: Graph; readonly inOrder: (results: NumberArrays) => NumberArrays } => {
  const moved = new Map(
    graph.kept.flatMap((kept) => {
      const type = graph.nodes.find(({ id }) => id === kept.value)?.type;
      const isMoved = type !== undefined && layoutPlaces(kept.layout, type, 2).interleaved;
      return isMoved ? [[kept.name, { type, wanted: kept.layout, stored: withBatchFirst(kept.layout) }] as const] : [];
    }),
  );
  const kept = graph.kept.map((each) => ({ ...each, layout: moved.get(each.name)?.stored ?? each.layout }));
  const inOrder = (name: string, array: NumberArray): NumberArray => {
    const found = moved.get(name);
    if (found === undefined) return array;
    const { type, wanted, stored } = found;
    const batch = array.shape[0] ?? 1;
    const ordered = toLayout(fromLayout(array.values, stored, type, batch, name), wanted, batch);
    const shape = layoutShape(wanted, type).map((size) => (typeof size === "number" ? size : size.batchTimes * batch));
    return { shape, values: Float32Array.from(ordered) };
  };
  return {
    graph: moved.size === 0 ? graph : { ...graph, kept },
    inOrder: (results) => new Map([...results].map(([name, array]) => [name, inOrder(name, array)])),
  };
};

const withBatchFirst = (layout: Layout): Layout => [
  [["b"]],
  ...layout.map((parts) => parts.map((part) => part.filter((factor) => factor !== "b"))),
];
