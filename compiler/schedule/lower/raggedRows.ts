import type { Graph, Node, NodeOf, ValueId } from "../../../ir/graph.ts";
import { lengthsOf } from "../../../ir/lengths.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import { literal } from "../../../ir/scalarBuild.ts";
import { simplify } from "../../../ir/scalarSimplify.ts";
import { mapScalar, walkScalar } from "../../../ir/scalarWalk.ts";
import { prefixRows, type TensorType } from "../../../ir/types.ts";
import type { Uses } from "./uses.ts";

/** Sets of a value end along an axis at their lengths: tokens at or behind them are zeros, or nobody looks at them. */
export type Ragged = { readonly axis: string; readonly lengths: ValueId };

/**
 * Values of which tokens behind their set's length need not be computed: a kernel may leave zeros there. From attention
 * that sees keys up to a length, and choices of zero behind it, back through what is computed token by token.
 */
export const raggedRows = ({ nodes }: Graph, uses: Uses): ReadonlyMap<ValueId, Ragged> => {
  const known = lengthsIn(nodes);
  const found = new Map<ValueId, Ragged>();
  if (known.length === 0) return found;
  /** What a pointwise op gives behind the lengths, as far as it is known. */
  const behind = (node: NodeOf<"pointwise">, ragged: Ragged): Scalar => {
    const body = mapScalar(node.attrs.body, (part) => {
      if (part.kind === "argument") {
        const input = nodes[node.inputs[part.index] ?? -1];
        const value = input?.op === "pointwise" && hasAxis(input.type, ragged) ? behind(input, ragged) : null;
        return value?.kind === "number" ? value : undefined;
      }
      if (part.kind !== "binary" || part.op !== "lt" || part.right.kind !== "argument") return undefined;
      const isPlace = part.left.kind === "variable" && part.left.name === `x.${ragged.axis}`;
      const bound = node.inputs[part.right.index];
      return isPlace && bound !== undefined && rootOf(nodes, bound) === ragged.lengths ? literal(0) : undefined;
    });
    return simplify(body, {});
  };
  /** The lengths behind which this reader does not look at the value. */
  const unseenBy = (by: Node, input: number, id: ValueId): Ragged | null => {
    switch (by.op) {
      case "attend":
        return input === 0 ? (found.get(by.id) ?? null) : input <= 2 ? lengthsOfKeys(nodes, by) : null;
      case "channels":
        return found.get(by.id) ?? null;
      case "linear":
        return input === 0 ? (found.get(by.id) ?? null) : null;
      case "normalize":
        return by.attrs.axes.length === 0 ? (found.get(by.id) ?? null) : null;
      case "pointwise": {
        const reads = (ragged: Ragged): boolean =>
          argumentsOf(behind(by, ragged)).some((argument) => by.inputs[argument] === id);
        return known.find((ragged) => hasAxis(by.type, ragged) && !reads(ragged)) ?? found.get(by.id) ?? null;
      }
      default:
        return null;
    }
  };
  for (const node of nodes.toReversed()) {
    if (!node.type.batch || prefixRows(node.type) > 0) continue;
    const zero =
      node.op === "pointwise"
        ? known.find((ragged) => hasAxis(node.type, ragged) && isZero(behind(node, ragged)))
        : undefined;
    const readers = uses.get(node.id) ?? [];
    const unseen = readers.map((use) => (use === "output" ? null : unseenBy(use.by, use.input, node.id)));
    const [first = null] = unseen;
    const agreed = unseen.every((each) => each !== null && first !== null && isSame(each, first)) ? first : null;
    const ragged = zero ?? agreed;
    if (ragged !== null && hasAxis(node.type, ragged)) found.set(node.id, ragged);
  }
  return found;
};

const lengthsIn = (nodes: Graph["nodes"]): readonly Ragged[] => {
  const all = nodes.flatMap((node) => (node.op === "attend" ? (lengthsOfKeys(nodes, node) ?? []) : []));
  return all.filter((ragged, i) => all.findIndex((other) => isSame(other, ragged)) === i);
};

const lengthsOfKeys = (nodes: Graph["nodes"], { attrs, inputs }: NodeOf<"attend">): Ragged | null => {
  const lengths = lengthsOf(attrs.score);
  const table = lengths === null ? undefined : inputs[3 + lengths.table];
  return lengths === null || table === undefined ? null : { axis: lengths.keyAxis, lengths: rootOf(nodes, table) };
};

/** What is repeated along new axes. */
const rootOf = (nodes: Graph["nodes"], id: ValueId): ValueId => {
  const node = nodes[id];
  return node?.op === "expand" ? rootOf(nodes, node.inputs[0]) : id;
};

const argumentsOf = (body: Scalar): readonly number[] => {
  const found: number[] = [];
  walkScalar(body, (part) => {
    if (part.kind === "argument") found.push(part.index);
  });
  return found;
};
const hasAxis = ({ axes }: TensorType, { axis }: Ragged): boolean => axes.some((each) => each.axis === axis);
const isSame = (a: Ragged, b: Ragged): boolean => a.axis === b.axis && a.lengths === b.lengths;
const isZero = (value: Scalar): boolean => value.kind === "number" && value.value === 0;
