import type { Graph, Node, NodeOf, ValueId } from "../../../ir/graph.ts";
import { gridRows, prefixRows, type Precision } from "../../../ir/types.ts";
import { printScalar } from "../../../ir/scalarText.ts";
import { isNarrowOfSets } from "../../places.ts";
import { planMab } from "../mabPlan.ts";
import type { Target } from "../target.ts";
import { isViewOp } from "../view.ts";
import type { Uses } from "./uses.ts";

/**
 * A multihead attention block that one kernel computes, row by row (arXiv 1810.00825, equations 6 and 7): the values on its
 * way, none of which anything else reads.
 *
 *   q = x Wq + bq;  o = norm0(q + attend(q, k, v));  result = norm1(body(o, o Wo, …))
 */
export type Mab = {
  readonly project: NodeOf<"linear">;
  readonly queryBias: ValueId;
  readonly attend: NodeOf<"attend">;
  readonly before: MabNorm | null;
  readonly feed: NodeOf<"linear">;
  readonly end: NodeOf<"pointwise">;
  /** The value of `end`'s argument that is the residual. */
  readonly residual: ValueId;
  readonly after: MabNorm | null;
  readonly result: ValueId;
  readonly members: readonly ValueId[];
};
export type MabNorm = { readonly eps: number; readonly scale: ValueId; readonly shift: ValueId };

/** By the attention that each is made around. Those whose weights, keys and rows fit in shared memory. */
export const findMabs = (
  graph: Graph,
  uses: Uses,
  isConstant: (id: ValueId) => boolean,
  precision: Precision,
  target: Target,
): ReadonlyMap<ValueId, Mab> => {
  const found = new Map<ValueId, Mab>();
  // In float32 there is no room for weights beside rows; networks that are narrow keep it, and are kernels one by one.
  if (precision === "f32" || isNarrowOfSets(graph)) return found;
  for (const node of graph.nodes) {
    if (node.op !== "attend") continue;
    const mab = matchMab(node, { graph, uses, isConstant });
    if (mab !== null && planMab(sizesOf(mab, graph), target) !== null) found.set(node.id, mab);
  }
  return found;
};

/** What the plan of such a kernel depends on. */
export const sizesOf = (
  { project, attend, before, after, end }: Mab,
  { nodes }: Graph,
): Parameters<typeof planMab>[0] => {
  const typeOf = (id: ValueId): Node["type"] => nodes[id]?.type ?? project.type;
  const { pattern, heads } = attend.attrs;
  const key = typeOf(attend.inputs[1]);
  const groups =
    pattern.kind === "same"
      ? pattern.axes.reduce((all, axis) => all * (key.axes.find((each) => each.axis === axis)?.size ?? 1), 1)
      : 1;
  const norms = (before === null ? 0 : 2) + (after === null ? 0 : 2);
  return {
    dim: project.type.channels,
    inDim: typeOf(project.inputs[0]).channels,
    heads,
    keys: gridRows(key) / groups,
    groups,
    rows: gridRows(project.type) / groups,
    columns: 1 + norms + end.inputs.filter((id) => typeOf(id).axes.length === 0).length,
  };
};

type Search = { readonly graph: Graph; readonly uses: Uses; readonly isConstant: (id: ValueId) => boolean };

const matchMab = (attend: NodeOf<"attend">, search: Search): Mab | null => {
  const { nodes } = search.graph;
  const node = (id: ValueId): Node | undefined => nodes[id];
  const readersOf = (id: ValueId): readonly Node[] | null => {
    const uses = search.uses.get(id) ?? [];
    return uses.some((use) => use === "output") ? null : uses.flatMap((use) => (use === "output" ? [] : [use.by]));
  };
  /** The readers of a value are these and no others. */
  const isReadBy = (id: ValueId, ...readers: readonly (ValueId | undefined)[]): boolean => {
    const found = readersOf(id);
    return (
      found !== null && found.length === readers.length && readers.every((each) => found.some((by) => by.id === each))
    );
  };
  const isColumns = (id: ValueId | undefined): id is ValueId =>
    id !== undefined && search.isConstant(id) && node(id)?.type.axes.length === 0 && node(id)?.type.batch === false;

  if (!isPlain(attend, nodes)) return null;
  const [q, k, v] = attend.inputs;
  if (k === q || v === q) return null;
  const biased = node(q);
  if (biased?.op !== "pointwise" || !isBody(biased, "$0 + $1")) return null;
  const project = biased.inputs.map(node).find((each) => each?.op === "linear");
  const queryBias = biased.inputs.find((id) => id !== project?.id);
  if (project?.op !== "linear" || !isColumns(queryBias) || !isReadBy(project.id, q)) return null;
  if (!search.isConstant(project.inputs[1]) || ![project.inputs[0], k, v].every((id) => isStored(node(id), nodes)))
    return null;
  if (node(project.inputs[0])?.type.batch !== true) return null;

  const sum = readersOf(attend.id)?.[0];
  if (sum?.op !== "pointwise" || !isBody(sum, "$0 + $1") || !sum.inputs.includes(q) || !sum.inputs.includes(attend.id))
    return null;
  if (!isReadBy(attend.id, sum.id) || !isReadBy(q, attend.id, sum.id)) return null;
  const before = normBehind(sum.id, node, readersOf, isColumns);
  const residual = before?.result ?? sum.id;
  if (before === null && readersOf(sum.id)?.length !== 2) return null;
  const feed = readersOf(residual)?.find((by) => by.op === "linear");
  const end = feed === undefined ? undefined : readersOf(feed.id)?.[0];
  if (feed?.op !== "linear" || end?.op !== "pointwise" || !search.isConstant(feed.inputs[1])) return null;
  if (!isReadBy(residual, feed.id, end.id) || !isReadBy(feed.id, end.id)) return null;
  const others = end.inputs.filter((id) => id !== residual && id !== feed.id);
  if (!others.every((id) => isColumns(id) || node(id)?.type.channels === 1)) return null;
  const after = normBehind(end.id, node, readersOf, isColumns);
  const result = after?.result ?? end.id;
  const same = [project, sum, feed, end].every(({ type }) => type.channels === project.type.channels && type.batch);
  if (!same) return null;
  const members = [
    project.id,
    q,
    attend.id,
    sum.id,
    ...(before?.members ?? []),
    feed.id,
    end.id,
    ...(after?.members ?? []),
  ];
  return {
    project,
    queryBias,
    attend,
    before: before?.norm ?? null,
    feed,
    end,
    residual,
    after: after?.norm ?? null,
    result,
    members,
  };
};

type Behind = { readonly norm: MabNorm; readonly result: ValueId; readonly members: readonly ValueId[] };

/** A normalisation and its scales and shifts, which alone read a value. */
const normBehind = (
  id: ValueId,
  node: (id: ValueId) => Node | undefined,
  readersOf: (id: ValueId) => readonly Node[] | null,
  isColumns: (id: ValueId | undefined) => id is ValueId,
): Behind | null => {
  const [norm, another] = readersOf(id) ?? [];
  if (norm?.op !== "normalize" || another !== undefined || norm.attrs.groups !== 1 || norm.attrs.axes.length > 0)
    return null;
  const [affine, more] = readersOf(norm.id) ?? [];
  if (affine?.op !== "pointwise" || more !== undefined || !isBody(affine, "$0 * $1 + $2")) return null;
  const [x, scale, shift] = affine.inputs;
  if (x !== norm.id || !isColumns(scale) || !isColumns(shift) || node(affine.id) === undefined) return null;
  return { norm: { eps: norm.attrs.eps, scale, shift }, result: affine.id, members: [norm.id, affine.id] };
};

/** A softmax of plain products over few keys, which are the same for all queries of a group. */
const isPlain = ({ attrs, inputs, type }: NodeOf<"attend">, nodes: Graph["nodes"]): boolean => {
  const { normalize, score, positions, pattern, heads } = attrs;
  const [query, key] = [nodes[inputs[0]]?.type, nodes[inputs[1]]?.type];
  if (query === undefined || key === undefined || inputs.length > 3 || positions !== null || !query.batch) return false;
  if (normalize !== "softmax" || score.kind !== "variable" || score.name !== "s") return false;
  if (prefixRows(query) + prefixRows(key) > 0 || query.channels % (8 * heads) !== 0 || type.channels !== query.channels)
    return false;
  // A group's queries lie one behind the other.
  const shared = pattern.kind === "same" ? pattern.axes : pattern.kind === "all" ? [] : null;
  return (
    shared !== null &&
    shared.every(
      (axis, i) =>
        query.axes[i]?.axis === axis && key.axes[i]?.axis === axis && query.axes[i]?.size === key.axes[i]?.size,
    )
  );
};

/** Whether its rows lie in memory: no product that reads them makes them, and no view leaves some of them out. */
const isStored = (node: Node | undefined, nodes: Graph["nodes"]): boolean => {
  if (node === undefined || prefixRows(node.type) > 0) return false;
  if (isViewOp(node.op)) return seenThrough.includes(node.op) && isStored(nodes[node.inputs[0] ?? -1], nodes);
  return (
    node.op !== "normalize" &&
    node.op !== "pool" &&
    !(node.op === "pointwise" && nodes[node.inputs[0] ?? -1]?.op === "pool")
  );
};
const seenThrough: readonly Node["op"][] = ["channels", "rename", "expand"];

const isBody = ({ attrs }: NodeOf<"pointwise">, text: string): boolean => printScalar(attrs.body) === text;
