/**
 * The type of a value: tokens on named axes, each with a run of channels.
 *
 * An example's rows are its prefix tokens (class, global), then its grid tokens:
 *   prefix row = flat(coordinates of `prefix.over`) * prefix.count + prefix index
 *   grid row   = prefixRows + flat(coordinates of `axes`), the last axis fastest
 * A value with `batch` has that many rows for each example of the batch; one without is the same for all.
 * Types say nothing of precision: how a value is stored is the schedule's decision.
 */
export type TensorType = {
  readonly element: ElementKind;
  readonly batch: boolean;
  readonly prefix: Prefix;
  readonly axes: readonly Extent[];
  readonly channels: number;
};

export type ElementKind = "float" | "int";
export type Extent = { readonly axis: string; readonly size: number };
/** `count` tokens in front of the grid, or, repeated `over` axes of the grid (in the grid's order), in front of each of their positions. */
export type Prefix = { readonly count: number; readonly over: readonly string[] };

/** How numbers are stored in memory. */
export type Precision = "f32" | "f16" | "bf16";
export type StorageType = Precision | "i32" | "u8";

export const noPrefix: Prefix = { count: 0, over: [] };

export const sizeOf = (type: TensorType, axis: string): number | undefined =>
  type.axes.find((extent) => extent.axis === axis)?.size;

export const gridRows = (type: TensorType): number => type.axes.reduce((rows, extent) => rows * extent.size, 1);

export const prefixRows = (type: TensorType): number =>
  type.prefix.count * type.prefix.over.reduce((rows, axis) => rows * (sizeOf(type, axis) ?? 1), 1);

/** Rows of one example. */
export const rowsOf = (type: TensorType): number => prefixRows(type) + gridRows(type);

export const bytesOf: { readonly [S in StorageType]: number } = { f32: 4, f16: 2, bf16: 2, i32: 4, u8: 1 };
