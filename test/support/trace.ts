import { type AnyGrid, type Grid, grid, type Input, model, Module } from "../../compiler/dsl/index.ts";
import { CompileError } from "../../compiler/diagnostics.ts";
import type { Graph, Node, NodeOf, Op } from "../../ir/graph.ts";

/** A schema that takes any configuration. */
export const anything = { "~standard": { validate: (value: unknown) => ({ value: value as object }) } };

export type Image = Grid<"h" | "w">;

/** The graph of a module of images, 4 by 5 with 8 channels unless another input is given. */
export function traceModule(
  module: { forward(inputs: { x: Image }): { readonly [output: string]: AnyGrid } },
  x: Input<"h" | "w"> = grid({ h: 4, w: 5 }, 8),
): Graph {
  return model({ name: "test", config: anything, inputs: () => ({ x }), module: () => module }).trace();
}

/** The graph of a function of such an image. */
export function traceImage(f: (x: Image) => AnyGrid, x?: Input<"h" | "w">): Graph {
  class Root extends Module {
    forward(inputs: { x: Image }): { readonly y: AnyGrid } {
      return { y: f(inputs.x) };
    }
  }
  return traceModule(new Root(), x);
}

export function nodesOf<K extends Op>(graph: Graph, op: K): readonly NodeOf<K>[] {
  return graph.nodes.filter((node): node is Extract<Node, { op: K }> & NodeOf<K> => node.op === op);
}

/** What a person reads of the CompileError that `run` throws. */
export function refusalOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof CompileError) return error.toString();
    throw error;
  }
  return "nothing was refused";
}
