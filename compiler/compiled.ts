import type { Graph, Span } from "../ir/graph.ts";
import type { Extents, Program } from "../ir/program.ts";
import type { Precision } from "../ir/types.ts";
import type { Plan } from "./schedule/buffers.ts";
import type { FusedKernel } from "./schedule/kernels.ts";
import type { Target } from "./schedule/target.ts";

export type CompileOptions = {
  /** How activations and weights are stored; sums are float32 in all of them. */
  readonly precision: Precision;
  /** One build serves this range of batches. */
  readonly batch: { readonly min: number; readonly max: number };
  /** Keeps every published intermediate as a port of its own: a plan that is fused less, for verification. */
  readonly keep: boolean;
  /** What the GPUs offer that the kernels will run on: those of a usual build unless given. */
  readonly target?: Target;
};

/** A network as it is traced for one combination of its symbolic axes' extents. */
export type Variant = { readonly graph: Graph; readonly extents: Extents };

/** A compiled graph before any compiler of CUDA has run: `program.kernels` name sources and no images yet. */
export type Compiled = {
  readonly program: Program;
  /** The text of each kernel, by `kernel.source`. */
  readonly sources: ReadonlyMap<string, string>;
  /** What each kernel computes, by its name. */
  readonly computations: ReadonlyMap<string, FusedKernel>;
  /** The graph after each pass, in order; `graph` is the same object where a pass changed nothing. */
  readonly stages: readonly Stage[];
  /** What was fused and what was not, and why. */
  readonly fusions: readonly FusionNote[];
  /** Where buffers lie, and how near the plan is to the least that would do. */
  readonly plan: Plan;
};
export type Stage = { readonly name: string; readonly graph: Graph; readonly ms: number };
export type FusionNote = {
  readonly span: Span;
  readonly path: string;
  readonly fused: boolean;
  readonly what: string;
  readonly because: string;
};
