import type { Graph, Node, ValueId } from "../../../ir/graph.ts";
import { layoutOffset } from "../../../ir/layoutOffset.ts";
import { loopStages, type LoopStage } from "../../../ir/loopStages.ts";
import type { Pattern } from "../../../ir/patterns.ts";
import type { Linear, Origin, WeightExpr } from "../../../ir/program.ts";
import type { Scalar } from "../../../ir/scalar.ts";
import { add, floorDiv, literal, mod, mul } from "../../../ir/scalarBuild.ts";
import { substitute } from "../../../ir/scalarWalk.ts";
import { visibleKeys } from "../../../ir/visibleKeys.ts";
import { prefixRows, rowsOf, sizeOf, type Precision, type StorageType, type TensorType } from "../../../ir/types.ts";
import { isNarrowOfSets, placesOf } from "../../places.ts";
import type { FusedKernel, Operand } from "../kernels.ts";
import type { Target } from "../target.ts";
import {
  flatten,
  isViewOp,
  prefixAxes,
  transformView,
  type Coordinates,
  type Place,
  type Root,
  type View,
  type ViewNode,
} from "../view.ts";
import {
  createMemory,
  operandOf,
  type BufferId,
  type BufferSpec,
  type Memory,
  type Slot,
  type Source,
} from "./memory.ts";
import { raggedRows, type Ragged } from "./raggedRows.ts";
import type { Roles } from "./roles.ts";
import { usesOf, type Uses } from "./uses.ts";

/** One kernel launch: what is computed, on which memory, and for whom. */
export type Launch = {
  readonly kernel: FusedKernel;
  /** By operand number. */
  readonly sources: readonly Source[];
  /** The products' weights, [columns, taps * channels]. */
  readonly weights: readonly WeightExpr[];
  readonly reads: readonly BufferId[];
  readonly writes: readonly BufferId[];
  /** Buffers read only where, and just before, the same thread writes the same element of the result. */
  readonly inPlace: readonly BufferId[];
  /** Before the loop, in each of its steps, or when it has ended. */
  readonly stage: LoopStage;
  readonly origin: Origin;
  readonly shapes: readonly string[];
  readonly work: { readonly flops: Linear; readonly readBytes: Linear; readonly writeBytes: Linear };
};

export type Context = {
  readonly graph: Graph;
  readonly roles: Roles;
  readonly uses: Uses;
  /** Of which values tokens behind a length may be zeros. */
  readonly ragged: ReadonlyMap<ValueId, Ragged>;
  readonly precision: Precision;
  /** What the program is for. */
  readonly target: Target;
  /** Whether points are made of a value: see placesOf. */
  readonly isPlace: (id: ValueId) => boolean;
  /** How a value is stored: what places points, and what is decided by, in float32. */
  readonly storageOf: (node: Node) => StorageType;
  readonly memory: Memory;
  /** The address map of a value, down to the memory of its root. */
  readonly view: (id: ValueId) => View;
  readonly root: (root: Root) => RootMemory;
  /** Memory like that of a value, for the time between. */
  readonly aside: (id: ValueId) => Slot;
  /** A table of a score, channel by channel where it is known when weights are loaded: a head reads its elements side by side. */
  readonly table: (id: ValueId) => View;
  /** A table of rows that hold each head's channels: head by head, stored as the kernel computes, where it is known when weights are loaded. */
  readonly headTable: (id: ValueId, heads: number) => View;
  readonly stageOf: (id: ValueId) => LoopStage;
  /** How many pairs of a query and a key a pattern lets meet. */
  readonly visiblePairs: (pattern: Pattern, query: TensorType, key: TensorType) => VisiblePairs;
};
export const bufferRoot = (buffer: BufferSpec): Root => `buffer ${buffer.id}`;
export type RootMemory = { readonly source: Source; readonly operand: Operand };

export const createContext = (graph: Graph, roles: Roles, precision: Precision, target: Target): Context => {
  const places = placesOf(graph);
  const isNarrow = isNarrowOfSets(graph);
  const inFloat32 = (id: ValueId): boolean =>
    isNarrow || [places.points, places.tokens, places.decisions].some((exact) => exact.has(id));
  const storageOfNode = (node: Node): StorageType => storageOf(node.type, inFloat32(node.id) ? "f32" : precision);
  const memory = createMemory(roles.node, storageOfNode);
  const roots = new Map<Root, RootMemory>();
  const views = new Map<ValueId, View>();
  const inputs = graph.nodes.filter((node) => node.op === "input").map((node) => node.id);

  const view = (id: ValueId): View => {
    const known = views.get(id);
    if (known) return known;
    const node = roles.node(id);
    const made = makeView(node);
    views.set(id, made);
    return made;
  };
  const makeView = (node: Node): View => {
    const role = roles.of(node.id);
    if (node.op === "loop") return view(node.inputs[0]);
    if (node.op === "after") return view(node.inputs[1]);
    if (role.kind === "view" && isViewOp(node.op)) return transformView(node as ViewNode, node.inputs.map(view));
    if (role.kind === "constant") {
      const root = `weight ${node.id}`;
      const elements = rowsOf(node.type) * node.type.channels;
      const storage = node.type.element === "int" ? "i32" : "f32";
      roots.set(root, {
        source: { kind: "weight", value: role.expr, storage },
        operand: { storage, exampleStride: 0, exampleSize: elements },
      });
      return rowsView(node.type, root, { pitch: node.type.channels, firstRow: 0, firstColumn: 0 });
    }
    if (node.op === "input") {
      const root = `input ${node.attrs.name}`;
      const { exampleStride, exampleSize } = layoutOffset(node.attrs.layout, node.type);
      roots.set(root, {
        source: { kind: "port", space: "input", index: inputs.indexOf(node.id) },
        operand: { storage: node.type.element === "int" ? "i32" : "f32", exampleStride, exampleSize },
      });
      return layoutView(node.type, root, node.attrs.layout);
    }
    const slot = memory.slot(node.id);
    return rowsView(node.type, addBuffer(slot.buffer), slot);
  };
  const addBuffer = (buffer: BufferSpec): Root => {
    const root = bufferRoot(buffer);
    roots.set(root, { source: { kind: "buffer", buffer: buffer.id }, operand: operandOf(buffer) });
    return root;
  };
  const table = (id: ValueId): View => {
    const { type } = roles.node(id);
    const role = roles.of(id);
    const [rows, { channels }] = [rowsOf(type), type];
    if (role.kind !== "constant" || type.element === "int" || channels === 1 || prefixRows(type) > 0) return view(id);
    const root = `table ${id}`;
    roots.set(root, {
      source: { kind: "weight", value: { kind: "permute", of: role.expr, order: [1, 0] }, storage: "f32" },
      operand: { storage: "f32", exampleStride: 0, exampleSize: rows * channels },
    });
    const place = (row: Scalar, c: Scalar): Place => ({ root, offset: add(mul(c, rows), row), ...certain });
    return {
      type,
      rows: place,
      grid: (at, c) => place(flatten(type.axes, at), c),
      prefix: (at, c) => place(flatten(prefixAxes(type), at), c),
    };
  };
  const headTable = (id: ValueId, heads: number): View => {
    const { type } = roles.node(id);
    const role = roles.of(id);
    if (role.kind !== "constant" || prefixRows(type) > 0) return view(id);
    const [rows, width] = [rowsOf(type), type.channels / heads];
    const root = `head table ${id}`;
    const byHead: WeightExpr = { kind: "reshape", of: role.expr, shape: [rows, heads, width] };
    roots.set(root, {
      source: { kind: "weight", value: { kind: "permute", of: byHead, order: [1, 0, 2] }, storage: precision },
      operand: { storage: precision, exampleStride: 0, exampleSize: rows * type.channels },
    });
    const place = (row: Scalar, c: Scalar): Place => ({
      root,
      offset: add(mul(add(mul(floorDiv(c, width), rows), row), width), mod(c, width)),
      ...certain,
    });
    return {
      type,
      rows: place,
      grid: (at, c) => place(flatten(type.axes, at), c),
      prefix: (at, c) => place(flatten(prefixAxes(type), at), c),
    };
  };
  const pairs = new Map<string, VisiblePairs>();
  const stages = loopStages(graph.nodes);
  const uses = usesOf(graph);
  return {
    graph,
    roles,
    stageOf: (id) => stages.get(id) ?? "before",
    visiblePairs: (pattern, query, key) => {
      const asked = JSON.stringify([pattern, query.prefix, query.axes, key.prefix, key.axes]);
      const count = pairs.get(asked) ?? countPairs(pattern, query, key);
      pairs.set(asked, count);
      return count;
    },
    uses,
    ragged: raggedRows(graph, uses),
    precision,
    target,
    isPlace: (id) => places.points.has(id),
    storageOf: storageOfNode,
    memory,
    view,
    table,
    headTable,
    aside: (id) => {
      const slot = memory.another(id);
      addBuffer(slot.buffer);
      return slot;
    },
    root: (root) => {
      const found = roots.get(root);
      if (!found) throw new Error(`internal: no memory for ${root}`);
      return found;
    },
  };
};

/** Pairs of a query and a key that see each other, and queries that see none. */
type VisiblePairs = { readonly pairs: number; readonly blindQueries: number };

const countPairs = (pattern: Pattern, query: TensorType, key: TensorType): VisiblePairs => {
  if (pattern.kind === "all") return { pairs: rowsOf(query) * rowsOf(key), blindQueries: 0 };
  // Sets may have millions of points, too many to be looked at one by one.
  if (pattern.kind === "same" && prefixRows(query) + prefixRows(key) === 0) {
    const positions = pattern.axes.reduce((product, axis) => product * (sizeOf(query, axis) ?? 1), 1);
    if (pattern.axes.every((axis) => sizeOf(query, axis) === sizeOf(key, axis)))
      return { pairs: (rowsOf(query) * rowsOf(key)) / positions, blindQueries: 0 };
  }
  let [pairs, blindQueries] = [0, 0];
  for (const { queries, keys } of visibleKeys(pattern, query, key)) {
    pairs += queries.length * keys.length;
    if (keys.length === 0) blindQueries += queries.length;
  }
  return { pairs, blindQueries };
};

const storageOf = (type: TensorType, precision: Precision): StorageType => (type.element === "int" ? "i32" : precision);

const certain = { valid: literal(1), mean: null } as const;

/** Rows of channels, `pitch` elements apart. */
export const rowsView = (
  type: TensorType,
  root: Root,
  at: { readonly pitch: number; readonly firstRow: number; readonly firstColumn: number },
): View => {
  const rows = (row: Scalar, c: Scalar): Place => ({
    root,
    offset: add(mul(add(row, at.firstRow), at.pitch), add(c, at.firstColumn)),
    ...certain,
  });
  return {
    type,
    rows,
    grid: (position, c) => rows(add(flatten(type.axes, position), prefixRows(type)), c),
    prefix: (position, c) => rows(flatten(prefixAxes(type), position), c),
  };
};

/** A dense array from outside, in the layout that the author named. */
export const layoutView = (type: TensorType, root: Root, layout: Parameters<typeof layoutOffset>[0]): View => {
  const { grid, prefix } = layoutOffset(layout, type);
  const inside = (offset: Scalar | null, at: Coordinates, c: Scalar): Place => {
    if (!offset) throw new Error(`internal: a layout without the tokens that it is read for`);
    return { root, offset: substitute(offset, { ...at, c }), ...certain };
  };
  return { type, rows: null, grid: (at, c) => inside(grid, at, c), prefix: (at, c) => inside(prefix, at, c) };
};
