import type { Graph } from "../../ir/graph.ts";
import { sizeOf } from "../../ir/types.ts";
import { compileError, didYouMean } from "../diagnostics.ts";
import { checkConfig, type Schema } from "./config.ts";

/**
 * What of a configuration gives an axis of the inputs an extent. One that asks for the configuration sees what it is so
 * far; one that does not may give fields that have no default.
 */
export type OpenAxes<C> = { readonly [axis: string]: OpenAxis<C> };
type OpenAxis<C> = (extent: number, config: C) => Partial<C>;

/** What one build of a network serves: batches of a range, and a few extents of the axes that it leaves open. */
export type ModelContract = {
  readonly batch?: { readonly min: number; readonly max: number };
  readonly axes?: { readonly [axis: string]: readonly number[] };
};

/** The configuration that gives the axes these extents. Throws a CompileError where the network does not leave one open. */
export function withExtents<C>(
  given: object,
  extents: { readonly [axis: string]: number },
  definition: { readonly name: string; readonly config: Schema<C>; readonly axes?: OpenAxes<C> },
): object {
  const { name, config, axes = {} } = definition;
  return Object.entries(extents).reduce((fields, [axis, extent]) => {
    const decide = axes[axis];
    if (decide !== undefined) {
      const asksForConfig = decide.length > 1;
      const decided = asksForConfig
        ? decide(extent, checkConfig(config, fields))
        : (decide as (extent: number) => Partial<C>)(extent);
      return { ...fields, ...decided };
    }
    const known = Object.keys(axes);
    throw compileError(
      "unknown-name",
      { what: `symbolic axis of ${name}`, name: axis },
      {
        span: null,
        hint:
          known.length > 0
            ? didYouMean(axis, known) || `there are ${known.join(", ")}`
            : "say in the model what decides an axis of its inputs: axes: { t: (t) => ({ num_frames: t }) }",
      },
    );
  }, given);
}

/** Throws a CompileError where no input has the extents that were asked for. */
export function requireExtents({ nodes }: Graph, extents: { readonly [axis: string]: number }): void {
  const inputs = nodes.filter(({ op }) => op === "input");
  for (const [axis, extent] of Object.entries(extents)) {
    if (inputs.some(({ type }) => sizeOf(type, axis) === extent)) continue;
    const [found] = inputs.filter(({ type }) => sizeOf(type, axis) !== undefined);
    const has = found === undefined ? "no input has this axis" : `the inputs have ${sizeOf(found.type, axis)}`;
    throw compileError(
      "bad-contract",
      { problem: `the axis "${axis}" was to have an extent of ${extent}, and ${has}` },
      {
        span: found?.span ?? null,
        hint: `what \`axes.${axis}\` of the model returns has to decide the inputs' "${axis}"`,
      },
    );
  }
}
