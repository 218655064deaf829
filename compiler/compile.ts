import { eliminateDeadNodes } from "../ir/deadNodes.ts";
import type { Graph } from "../ir/graph.ts";
import { assemblePrograms } from "./assemble.ts";
import type { Compiled, CompileOptions, Variant } from "./compiled.ts";
import { InternalError } from "./diagnostics.ts";
import { emitKernel } from "./emit/emitKernel.ts";
import { fusionNotes } from "./fusionNotes.ts";
import { runPasses } from "./passes/pipeline.ts";
import { planBuffers } from "./schedule/buffers.ts";
import { joinProducts } from "./schedule/joinProducts.ts";
import { joinSamples } from "./schedule/joinSamples.ts";
import { lower } from "./schedule/lower/lower.ts";
import { reuseInPlace } from "./schedule/reuse.ts";
import { usualTarget } from "./schedule/target.ts";

export type { Compiled, CompileOptions, FusionNote } from "./compiled.ts";

/** Compiles a traced graph to kernels, launches and a plan of memory. Pure: equal graphs give equal bytes. */
export const compileGraph = (graph: Graph, options: CompileOptions): Compiled => {
  const [compiled] = compileVariants([{ graph, extents: {} }], options);
  if (compiled === undefined) throw new InternalError("a graph was compiled to nothing");
  return compiled;
};

/**
 * Compiles a network as it is for each combination of its symbolic axes' extents. Kernels that are equal are emitted
 * once, and `sources` holds those of all.
 */
export const compileVariants = (variants: readonly Variant[], options: CompileOptions): readonly Compiled[] => {
  const parts = variants.map(({ graph: traced, extents }) => {
    // What was computed only to be kept reads values no more: it would stand in the way of passes that look for readers.
    const { graph, stages } = runPasses(options.keep ? traced : eliminateDeadNodes({ ...traced, kept: [] }));
    const lowered = lower(graph, options.precision, options.target);
    const launches = joinSamples(joinProducts(reuseInPlace(lowered.launches)), options.target ?? usualTarget);
    const { roles, loop } = lowered;
    return { graph, extents, stages, roles, launches, loop, plan: planBuffers(lowered.buffers, launches, loop) };
  });
  const { programs, sources } = assemblePrograms(parts, options, emitKernel);
  return parts.flatMap(({ graph, stages, roles, launches, plan }, index) =>
    programs.slice(index, index + 1).map((program): Compiled => {
      // A step is a launch.
      const computations = new Map(
        program.steps.flatMap(({ kernel }, i) =>
          launches.slice(i, i + 1).map((launch) => [kernel, launch.kernel] as const),
        ),
      );
      return { program, sources, computations, stages, fusions: fusionNotes(graph, roles), plan };
    }),
  );
};
