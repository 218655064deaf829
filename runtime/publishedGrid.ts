import type { ParameterSlot } from "../ir/program.ts";
import { countOf } from "./values.ts";

/**
 * The extents of the grid that a published tensor of another size holds for this parameter, height and width being equal
 * as they are in all published tables; null where the parameter can't be resized, or not from this.
 */
export const publishedGrid = (
  { shape: wanted, resizing }: ParameterSlot,
  shape: readonly number[],
): readonly number[] | null => {
  if (resizing === null || shape.at(-1) !== wanted.at(-1)) return null;
  const rows = (shape.at(-2) ?? 1) - resizing.leading;
  const isTable = countOf(shape.slice(0, -2)) === 1 && countOf(wanted.slice(0, -2)) === 1;
  if (!isTable || rows < 1) return null;
  // What is before height and width stays as long as it is.
  const fixed = resizing.grid.slice(0, -2);
  if (resizing.grid.length === 1) return [rows];
  const side = Math.sqrt(rows / countOf(fixed));
  return Number.isInteger(side) ? [...fixed, side, side] : null;
};

/** What makes a tensor of another size fit. */
export const howToResize = "resizable: call resizeWeights, or fovea convert-weights --for MODEL";
