import { GraphError } from "./errors.ts";
import { type Layout, type LayoutPart, printLayout } from "./layout.ts";
import type { AxisNumbers } from "./patterns.ts";
import type { ElementKind, TensorType } from "./types.ts";

export type LayoutExtents = {
  /** Extents of axes, of `c` and of `prefix`; those of which a dimension leaves one open follow from its size. */
  readonly sizes?: AxisNumbers;
  readonly element?: ElementKind;
};

/**
 * The type that a dense array of `shape` has under a layout: axes in the order of the layout. A layout with `b` has a
 * batch, whose size is no part of a type: its dimension in `shape` is one example's. Throws a GraphError where an
 * extent does not follow from shape and `sizes`, or contradicts them.
 */
export const typeFromLayout = (shape: readonly number[], layout: Layout, extents: LayoutExtents = {}): TensorType => {
  const fail = (problem: string, hint?: string): never => {
    throw new GraphError(`[${shape.join(", ")}] is not laid out as "${printLayout(layout)}": ${problem}`, hint);
  };
  if (shape.length !== layout.length) fail(`it has ${shape.length} dimensions, the layout ${layout.length}`);
  const sizes = new Map<string, number>(Object.entries(extents.sizes ?? {}));
  sizes.set("b", 1);
  const unknownIn = (parts: readonly LayoutPart[]): readonly string[] =>
    [...new Set(parts.flat())].filter((factor) => !sizes.has(factor));
  const product = (part: LayoutPart): number => part.reduce((size, factor) => size * (sizes.get(factor) ?? 1), 1);

  // A dimension with one unknown factor tells it, which may leave another with only one: until nothing new is told.
  for (let progress = true; progress;) {
    progress = false;
    for (const [index, parts] of layout.entries()) {
      const [unknown, second] = unknownIn(parts);
      if (unknown === undefined || second !== undefined) continue;
      const size = shape[index] ?? 0;
      const known = parts.filter((part) => !part.includes(unknown)).reduce((sum, part) => sum + product(part), 0);
      const factor = parts.filter((part) => part.includes(unknown)).reduce((sum, part) => sum + product(part), 0);
      const extent = (size - known) / factor;
      if (!Number.isInteger(extent) || extent < (unknown === "prefix" ? 0 : 1)) {
        fail(`dimension ${index} of size ${size} leaves no whole number for "${unknown}"`);
      }
      sizes.set(unknown, extent);
      progress = true;
    }
  }
  for (const [index, parts] of layout.entries()) {
    const unknown = unknownIn(parts);
    if (unknown.length > 0) {
      fail(
        `the extents of ${unknown.join(" and ")} do not follow from its size ${shape[index]}`,
        "say all but one of them",
      );
    }
    const size = parts.reduce((sum, part) => sum + product(part), 0);
    if (size !== shape[index]) fail(`dimension ${index} holds ${size} elements, not ${shape[index]}`);
  }

  const factors = layout.flat(2);
  const composite = layout.some((parts) => parts.length > 1);
  const isAxis = (factor: string): boolean => factor !== "b" && factor !== "c" && (!composite || factor !== "prefix");
  const prefixPath = layout.flatMap((parts) =>
    parts.length === 1 ? parts.flat() : parts.filter((part) => part.includes("prefix")).flat(),
  );
  const gridPath = layout.flatMap((parts) =>
    parts.length === 1 ? parts.flat() : parts.filter((part) => !part.includes("prefix")).flat(),
  );
  const count = composite ? (sizes.get("prefix") ?? 0) : 0;
  return {
    element: extents.element ?? "float",
    batch: factors.includes("b"),
    prefix: { count, over: count > 0 ? prefixPath.filter(isAxis) : [] },
    axes: gridPath.filter(isAxis).map((axis) => ({ axis, size: sizes.get(axis) ?? 1 })),
    channels: sizes.get("c") ?? 1,
  };
};
