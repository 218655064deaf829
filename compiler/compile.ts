import { eliminateDeadNodes } from "../ir/deadNodes.ts";
import type { Graph } from "../ir/graph.ts";
import { assembleProgram } from "./assemble.ts";
import type { Compiled, CompileOptions } from "./compiled.ts";
import { emitKernel } from "./emit/emitKernel.ts";
import { fusionNotes } from "./fusionNotes.ts";
import { runPasses } from "./passes/pipeline.ts";
import { planBuffers } from "./schedule/buffers.ts";
import { lower } from "./schedule/lower/lower.ts";
import { reuseInPlace } from "./schedule/reuse.ts";

export type { Compiled, CompileOptions, FusionNote } from "./compiled.ts";

/** Compiles a traced graph to kernels, launches and a plan of memory. Pure: equal graphs give equal bytes. */
export const compileGraph = (traced: Graph, options: CompileOptions): Compiled => {
  // What was computed only to be kept reads values no more: it would stand in the way of passes that look for readers.
  const { graph, stages } = runPasses(options.keep ? traced : eliminateDeadNodes({ ...traced, kept: [] }));
  const lowered = lower(graph, options.precision);
  const launches = reuseInPlace(lowered.launches);
  const plan = planBuffers(lowered.buffers, launches);
  const { program, sources } = assembleProgram(graph, launches, plan, options, emitKernel);
  // A step is a launch.
  const computations = new Map(
    program.steps.flatMap(({ kernel }, i) =>
      launches.slice(i, i + 1).map((launch) => [kernel, launch.kernel] as const),
    ),
  );
  return { program, sources, computations, stages, fusions: fusionNotes(graph, lowered.roles), plan };
};
