import type { Extents, Program } from "./program.ts";

/** What one artefact serves, decided when it is built. */
export type Contract = {
  /** Every batch of the range: it is a parameter of the launches. */
  readonly batch: { readonly min: number; readonly max: number };
  /** Axes of the inputs with the extents that they may have; each combination has a program of its own. */
  readonly axes: readonly SymbolicAxis[];
};
export type SymbolicAxis = { readonly axis: string; readonly extents: readonly number[] };

/** The contract that programs serve together. */
export const contractOf = (
  programs: readonly [Pick<Program, "batch" | "extents">, ...{ extents: Extents }[]],
): Contract => ({
  batch: programs[0].batch,
  axes: Object.keys(programs[0].extents).map((axis) => ({
    axis,
    extents: [...new Set(programs.flatMap(({ extents }) => extents[axis] ?? []))],
  })),
});

/** Each combination of the axes' extents, the last axis fastest; one without extents where there are no axes. */
export const combinations = (axes: readonly SymbolicAxis[]): readonly Extents[] =>
  axes.reduce<readonly Extents[]>(
    (all, { axis, extents }) => all.flatMap((each) => extents.map((extent) => ({ ...each, [axis]: extent }))),
    [{}],
  );

/** "batch 1..32, t = 8, 16 or 32" */
export const printContract = ({ batch, axes }: Contract): string =>
  [
    `batch ${batch.min === batch.max ? batch.min : `${batch.min}..${batch.max}`}`,
    ...axes.map(({ axis, extents }) => `${axis} = ${alternatives(extents)}`),
  ].join(", ");

/** "t=8 h=224"; "" where there are no symbolic axes. */
export const printExtents = (extents: Extents): string =>
  Object.entries(extents)
    .map(([axis, extent]) => `${axis}=${extent}`)
    .join(" ");

const alternatives = (extents: readonly number[]): string =>
  extents.length < 2 ? extents.join("") : `${extents.slice(0, -1).join(", ")} or ${extents.at(-1)}`;
