import type { Graph, Node, NodeOf, ValueId } from "../../../ir/graph.ts";
import type { WeightExpr } from "../../../ir/program.ts";
import { variablesOf } from "../../../ir/scalarWalk.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import { gridRows, prefixRows, sizeOf, type Precision, type TensorType } from "../../../ir/types.ts";
import { findConstants } from "../constants.ts";
import { narrowestTile } from "../gemmTiles.ts";
import type { Target } from "../target.ts";
import { isViewOp } from "../view.ts";
import { findMabs, type Mab } from "./findMabs.ts";
import { usesOf, type Use, type Uses } from "./uses.ts";
import { findPerceptrons, type Perceptron } from "./perceptrons.ts";

/**
 * What becomes of each value: computed once from weights, named by an address map, assembled in memory by those that write
 * its parts, computed by a kernel of its own, or swallowed by the kernel of another value.
 */
export type Role =
  | { readonly kind: "input" }
  | { readonly kind: "constant"; readonly expr: WeightExpr }
  | { readonly kind: "view" }
  /** Memory that the loop's steps hand on. */
  | { readonly kind: "state" }
  | { readonly kind: "assembled" }
  /** The kernel that starts at this node stores the value `result`: itself, or the pointwise op fused behind it. */
  | { readonly kind: "kernel"; readonly result: ValueId }
  /** Swallowed: a normalisation or pooling by the products that read it, a pointwise op by the kernel in front of it or behind it. */
  | { readonly kind: "fused" };

export type Roles = {
  readonly of: (id: ValueId) => Role;
  readonly node: (id: ValueId) => Node;
  /** Whether a pointwise op is computed by the one value that reads it. */
  readonly isInlined: (id: ValueId) => boolean;
  /** Whether a pointwise op is computed by the products that load it. */
  readonly isPrologue: (id: ValueId) => boolean;
  /** What a kernel that starts at this node computes besides it, up to a product of few results. */
  readonly perceptron: (first: ValueId) => Perceptron | null;
  /** Whether a value is computed by such a kernel, behind its first node. */
  readonly isInPerceptron: (id: ValueId) => boolean;
  /** Whether the one product that reads a pooling averages as it loads. */
  readonly isAveraged: (id: ValueId) => boolean;
  /** The block that one kernel computes around an attention, if one does. */
  readonly mab: (attend: ValueId) => Mab | null;
  readonly isInMab: (id: ValueId) => boolean;
  /** The pointwise op behind a kernel's first node, if one is fused. */
  readonly epilogue: (id: ValueId) => NodeOf<"pointwise"> | null;
};

export const assignRoles = (graph: Graph, precision: Precision, target: Target): Roles => {
  const constants = findConstants(graph);
  const uses = usesOf(graph);
  const mabs = findMabs(graph, uses, (id) => constants.has(id), precision, target);
  const inMabs = new Set([...mabs.values()].flatMap(({ members }) => members));
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const roles = new Map<ValueId, Role>();
  /** Results so far that a pointwise op behind may join, and the kernel's first node. */
  const open = new Map<ValueId, ValueId>();
  const inlined = new Set<ValueId>();
  const prologues = new Set<ValueId>();
  const averaged = new Set<ValueId>();
  const epilogues = new Map<ValueId, NodeOf<"pointwise">>();
  const perceptrons = findPerceptrons(
    graph,
    (id) => constants.has(id),
    (id) => uses.get(id)?.length ?? 0,
  );
  const byHead = new Map([...perceptrons.values()].map((each) => [each.head.id, each]));
  const swallowed = new Set(
    [...perceptrons.values()].flatMap(({ terms, bias, norm, activation }) =>
      [terms, bias?.node, norm, activation].flatMap((each) => each?.id ?? []),
    ),
  );
  const node = (id: ValueId): Node => {
    const found = nodes.get(id);
    if (!found) throw new Error(`internal: no value %${id}`);
    return found;
  };

  for (const value of graph.nodes) {
    const expr = constants.get(value.id);
    const mab = mabs.get(value.id);
    if (expr) roles.set(value.id, { kind: "constant", expr });
    else if (mab !== undefined) roles.set(value.id, { kind: "kernel", result: mab.result });
    else if (inMabs.has(value.id)) roles.set(value.id, { kind: "fused" });
    else if (value.op === "input") roles.set(value.id, { kind: "input" });
    else if (value.op === "state") roles.set(value.id, { kind: "state" });
    else if (value.op === "loop" || value.op === "after") roles.set(value.id, { kind: "view" });
    else if (isAssembled(value)) roles.set(value.id, { kind: "assembled" });
    else if (isViewOp(value.op) && isAddressMap(value, uses)) roles.set(value.id, { kind: "view" });
    else if (swallowed.has(value.id)) roles.set(value.id, { kind: "fused" });
    else if (byHead.has(value.id))
      roles.set(value.id, { kind: "kernel", result: byHead.get(value.id)?.tail.id ?? value.id });
    else if (perceptrons.has(value.id)) {
      roles.set(value.id, { kind: "fused" });
      open.set(value.id, perceptrons.get(value.id)?.head.id ?? value.id);
    } else if (value.op === "normalize" && joinsProducts(value, uses)) roles.set(value.id, { kind: "fused" });
    else if (value.op === "pointwise" && joinsLoads(value, uses, node)) {
      roles.set(value.id, { kind: "fused" });
      prologues.add(value.id);
    } else if (value.op === "pool" && isAveragedByReader(value, uses, node)) {
      roles.set(value.id, { kind: "fused" });
      averaged.add(value.id);
    } else {
      const isConstant = (id: ValueId): boolean => constants.has(id);
      const first = value.op === "pointwise" ? kernelInFront(value, uses, open, node, isConstant) : null;
      if (first !== null && value.op === "pointwise") {
        roles.set(first, { kind: "kernel", result: value.id });
        roles.set(value.id, { kind: "fused" });
        epilogues.set(first, value);
      } else if (
        value.op === "pointwise" &&
        (placesPoints(value, uses) || isFolded(value, uses, node) || isRounded(value, uses))
      ) {
        roles.set(value.id, { kind: "fused" });
        inlined.add(value.id);
      } else {
        roles.set(value.id, { kind: "kernel", result: value.id });
        if (takesEpilogue(value)) open.set(value.id, value.id);
      }
    }
  }
  return {
    node,
    isInlined: (id) => inlined.has(id),
    isPrologue: (id) => prologues.has(id),
    mab: (attend) => mabs.get(attend) ?? null,
    isInMab: (id) => inMabs.has(id),
    perceptron: (first) => byHead.get(first) ?? null,
    isInPerceptron: (id) => swallowed.has(id) || perceptrons.has(id),
    isAveraged: (id) => averaged.has(id),
    epilogue: (id) => epilogues.get(id) ?? null,
    of: (id) => {
      const role = roles.get(id);
      if (!role) throw new Error(`internal: no role for %${id}`);
      return role;
    },
  };
};

/** Parts that lie in one piece each: along another axis than the slowest they do not. */
const isAssembled = (value: Node): boolean =>
  value.op === "withPrefix" || (value.op === "concat" && alongAxis(value) === null);

/** The axis that parts stand end to end along, where their rows lie between each other. */
export const alongAxis = ({ attrs: { over }, type }: NodeOf<"concat">): string | null =>
  over === "channels" || over.axis === type.axes[0]?.axis ? null : over.axis;

/** All view ops are arithmetic but two: means that the reader can't take, and resizes that interpolate. */
const isAddressMap = (value: Node, uses: Uses): boolean => {
  if (value.op === "resize") return value.attrs.mode === "nearest";
  if (value.op !== "meanPrefix") return true;
  return (
    value.attrs.over.length === 1 &&
    (uses.get(value.id) ?? []).every((use) => use !== "output" && use.by.op === "linear" && use.input === 0)
  );
};

/** A normalisation over whole rows of channels is done by the products that read it, when nothing else does. */
const joinsProducts = (value: NodeOf<"normalize">, uses: Uses): boolean =>
  value.attrs.groups === 1 &&
  value.attrs.axes.length === 0 &&
  (uses.get(value.id) ?? []).every((use) => use !== "output" && use.by.op === "linear" && use.input === 0);

/** A function of what a pooling makes is computed by the products that load it: a pooling has no epilogue. */
const joinsLoads = (value: NodeOf<"pointwise">, uses: Uses, node: (id: ValueId) => Node): boolean => {
  const [x, ...others] = value.inputs;
  if (x === undefined || others.length > 0 || node(x).op !== "pool" || readsPosition(value.attrs.body)) return false;
  return (uses.get(value.id) ?? []).every((use) => use !== "output" && use.by.op === "linear" && use.input === 0);
};

/** Elements of a window that a product reads again and again, for each tile of its columns. */
const mostAveraged = 4;

/**
 * A mean of small windows that lie inside of the grid is taken by the one product that reads it, or that reads a
 * function of it. Where a view's elements lie may depend on more than a window's position; memory is regular.
 */
const isAveragedByReader = (value: NodeOf<"pool">, uses: Uses, node: (id: ValueId) => Node): boolean => {
  const { kind, window } = value.attrs;
  const elements = window.reduce((product, { size }) => product * size, 1);
  const source = node(value.inputs[0]);
  const isInside = window.every(({ axis, size, stride, dilation, before }) => {
    const last = ((sizeOf(value.type, axis) ?? 1) - 1) * stride + (size - 1) * dilation;
    return before === 0 && last < (sizeOf(source.type, axis) ?? 1);
  });
  if (kind !== "mean" || elements > mostAveraged || !isInside || isViewOp(source.op)) return false;
  const reader = onlyReader(value.id, uses);
  if (reader?.op === "pointwise") return joinsLoads(reader, uses, node) && onlyReader(reader.id, uses) !== null;
  return reader?.op === "linear" && reader.inputs[1] !== value.id;
};

const onlyReader = (id: ValueId, uses: Uses): Node | null => {
  const [use, other] = uses.get(id) ?? [];
  return use === undefined || use === "output" || other !== undefined ? null : use.by;
};

/**
 * Whether a convolution is a product of tiles: all of its columns read the same channels, or the columns of each group
 * fill tiles of their own.
 */
export const isProduct = ({ attrs, type }: NodeOf<"conv">): boolean =>
  attrs.groups === 1 || (type.channels / attrs.groups) % narrowestTile === 0;

const takesEpilogue = ({ op }: Node): boolean =>
  ["conv", "linear", "normalize", "softmax", "attend", "take"].includes(op);

/**
 * An attention applies functions of its result alone. A convolution in small groups is a fold: a bias is added to its
 * first term, and nothing else is done behind it.
 */
const joins = (first: Node, { attrs: { body }, inputs }: NodeOf<"pointwise">): boolean => {
  if (first.op === "attend") return inputs.length === 1;
  if (first.op !== "conv" || isProduct(first)) return true;
  return (
    body.kind === "binary" &&
    body.op === "add" &&
    body.left.kind === "argument" &&
    body.right.kind === "argument" &&
    body.left.index !== body.right.index
  );
};

/** Points and weights that one sampling alone reads are computed where it reads them. */
const placesPoints = (value: NodeOf<"pointwise">, uses: Uses): boolean => {
  const [use, other] = uses.get(value.id) ?? [];
  return (
    use !== undefined &&
    other === undefined &&
    use !== "output" &&
    use.by.op === "sample" &&
    use.input < 2 &&
    !readsPosition(value.attrs.body)
  );
};
/** What is rounded, or names a position, and is read by nothing else, is computed where it is read. */
const isRounded = (value: NodeOf<"pointwise">, uses: Uses): boolean => {
  const [use, other] = uses.get(value.id) ?? [];
  return use !== undefined && other === undefined && use !== "output" && namesPosition(use);
};
/** What one reduction alone reads is computed where it is folded. */
const isFolded = (value: NodeOf<"pointwise">, uses: Uses, node: (id: ValueId) => Node): boolean => {
  const [use, other] = uses.get(value.id) ?? [];
  return (
    use !== undefined &&
    other === undefined &&
    use !== "output" &&
    use.by.op === "reduce" &&
    [value, ...value.inputs.map(node)].every(({ type }) => prefixRows(type) === 0)
  );
};
const namesPosition = ({ by, input }: Exclude<Use, "output">): boolean =>
  by.op === "round" || (by.op === "take" && input === 1);
const readsPosition = (body: Scalar): boolean => [...variablesOf(body)].length > 0;

/**
 * The kernel whose epilogue a pointwise op joins: its only reader, at the same tokens and channels. Of several it is the
 * one that has to wait longest for what it reads: a shortcut may then be computed beside the start of what it is added to.
 */
const kernelInFront = (
  value: NodeOf<"pointwise">,
  uses: Uses,
  open: Map<ValueId, ValueId>,
  node: (id: ValueId) => Node,
  isConstant: (id: ValueId) => boolean,
): ValueId | null => {
  // What depends on a token's place is a kernel of its own.
  if (variablesOf(value.attrs.body).size > 0) return null;
  const joined = value.inputs.filter(
    (id) =>
      open.has(id) &&
      uses.get(id)?.length === 1 &&
      sameElements(node(id).type, value.type) &&
      (open.get(id) !== id || joins(node(id), value)),
  );
  const waitsFor = (id: ValueId): number =>
    Math.max(...node(open.get(id) ?? id).inputs.filter((input) => !isConstant(input)));
  const last = joined.toSorted((a, b) => waitsFor(b) - waitsFor(a) || b - a)[0];
  const first = last === undefined ? undefined : open.get(last);
  if (last !== undefined) open.delete(last);
  return first ?? null;
};

export const sameRows = (a: TensorType, b: TensorType): boolean =>
  prefixRows(a) === prefixRows(b) &&
  gridRows(a) === gridRows(b) &&
  a.axes.map((e) => e.axis).join() === b.axes.map((e) => e.axis).join();
const sameElements = (a: TensorType, b: TensorType): boolean =>
  a.batch === b.batch && a.channels === b.channels && sameRows(a, b);
