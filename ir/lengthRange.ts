import type { Graph, ValueId } from "./graph.ts";
import { lengthsOf } from "./lengths.ts";
import { sizeOf } from "./types.ts";

/** Of an input that holds lengths of sets: they lie between nothing and the size that the sets are padded to. Null of another. */
export const lengthRange = (graph: Graph, input: ValueId): { readonly min: number; readonly max: number } | null => {
  const sizes = graph.nodes.flatMap((node) => {
    if (node.op !== "attend") return [];
    const lengths = lengthsOf(node.attrs.score);
    if (lengths === null || node.inputs[3 + lengths.table] !== input) return [];
    return graph.nodes.flatMap(({ id, type }) => (id === node.inputs[1] ? (sizeOf(type, lengths.keyAxis) ?? []) : []));
  });
  return sizes.length === 0 ? null : { min: 0, max: Math.min(...sizes) };
};
