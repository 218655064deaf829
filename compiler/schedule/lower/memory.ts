import type { Node, ValueId } from "../../../ir/graph.ts";
import type { WeightExpr } from "../../../ir/program.ts";
import { bytesOf, rowsOf, type StorageType } from "../../../ir/types.ts";
import type { Operand } from "../kernels.ts";

/** Where a kernel's operand comes from, before buffers have addresses. */
export type Source =
  | { readonly kind: "buffer"; readonly buffer: BufferId }
  | { readonly kind: "weight"; readonly value: WeightExpr; readonly storage: StorageType }
  | { readonly kind: "port"; readonly space: "input" | "output" | "kept"; readonly index: number };

declare const bufferId: unique symbol;
export type BufferId = number & { readonly [bufferId]: true };

/** A buffer of activations: rows of elements, for each example or once for all. */
export type BufferSpec = {
  readonly id: BufferId;
  readonly storage: StorageType;
  readonly batched: boolean;
  /** Elements of an example. */
  readonly elements: number;
};
export const bufferBytes = (buffer: BufferSpec): number => buffer.elements * bytesOf[buffer.storage];

/** A value's rows within a buffer: row r, channel c lies at (firstRow + r) * pitch + firstColumn + c. */
export type Slot = {
  readonly buffer: BufferSpec;
  readonly pitch: number;
  readonly firstRow: number;
  readonly firstColumn: number;
};

/**
 * Gives values their memory. A value that is part of an assembled one (tokens behind a prefix, channels side by side) is
 * stored in its place there, so that assembling is no work at all.
 */
export const createMemory = (node: (id: ValueId) => Node, storageOf: (node: Node) => StorageType): Memory => {
  const buffers: BufferSpec[] = [];
  const slots = new Map<ValueId, Slot>();
  const allocate = (value: Node): Slot => {
    const pitch = value.type.channels;
    const buffer: BufferSpec = {
      id: buffers.length as BufferId,
      storage: storageOf(value),
      batched: value.type.batch,
      elements: rowsOf(value.type) * pitch,
    };
    buffers.push(buffer);
    return { buffer, pitch, firstRow: 0, firstColumn: 0 };
  };
  return {
    buffers,
    slot: (id) => {
      const known = slots.get(id);
      if (known) return known;
      const made = allocate(node(id));
      slots.set(id, made);
      return made;
    },
    scratch: ({ storage, exampleStride, exampleSize }) => {
      const buffer: BufferSpec = {
        id: buffers.length as BufferId,
        storage,
        batched: exampleStride > 0,
        elements: exampleSize,
      };
      buffers.push(buffer);
      return buffer;
    },
    another: (id) => allocate(node(id)),
    place: (id, slot) => slots.set(id, slot),
    has: (id) => slots.has(id),
  };
};
export type Memory = {
  readonly buffers: readonly BufferSpec[];
  /** The value's memory, allocated when first asked for. */
  readonly slot: (id: ValueId) => Slot;
  /** Memory for what one launch leaves to the next. */
  readonly scratch: (operand: Operand) => BufferSpec;
  /** Memory like the value's own. */
  readonly another: (id: ValueId) => Slot;
  readonly place: (id: ValueId, slot: Slot) => void;
  readonly has: (id: ValueId) => boolean;
};

export const operandOf = (buffer: BufferSpec): Operand => ({
  storage: buffer.storage,
  exampleStride: buffer.batched ? buffer.elements : 0,
  exampleSize: buffer.elements,
});
