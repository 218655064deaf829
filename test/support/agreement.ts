import type { Graph } from "../../ir/graph.ts";
import { layoutShape } from "../../ir/layoutOffset.ts";
import type { Precision } from "../../ir/types.ts";
import type { NumberArray } from "../../compiler/cli/arrays.ts";
import { evaluatorRunner } from "../../compiler/cli/evaluatorRunner.ts";
import { openRunner } from "../../compiler/cli/openRunner.ts";
import { openTerminal } from "../../compiler/cli/terminal.ts";
import type { Checkpoint } from "../../runtime/checkpoint.ts";
import { onGpu } from "./testDevice.ts";

/** The relative L2 error of each output and kept value on the device, against the float64 evaluator. */
export type Errors = ReadonlyMap<string, number>;

/**
 * Runs a graph both ways on the same seeded weights and inputs. `offset` moves the inputs away from zero: means far above
 * standard deviations show what a normalisation loses.
 */
export const deviceErrors = async (
  graph: Graph,
  { precision, keep, batch, offset = 0 }: { precision: Precision; keep: boolean; batch: number; offset?: number },
): Promise<Errors> => {
  const checkpoint = seededCheckpoint(graph);
  const inputs = seededInputs(graph, batch, offset);
  const request = {
    device: onGpu ? ("cuda" as const) : ("emulated" as const),
    precision,
    batch: { min: 1, max: batch },
    keep,
  };
  using device = await openRunner(graph, checkpoint, request, openTerminal({ json: true }));
  using evaluator = evaluatorRunner(graph, checkpoint);
  const computed = await device.run(inputs);
  const expected = await evaluator.run(inputs);
  return new Map(
    [...computed].map(([name, { values }]) => [name, relativeError(values, expected.get(name)?.values ?? [])]),
  );
};

const relativeError = (values: ArrayLike<number>, expected: ArrayLike<number>): number => {
  if (values.length !== expected.length) return Infinity;
  let error = 0;
  let size = 0;
  for (let i = 0; i < values.length; i++) {
    error += ((values[i] ?? NaN) - (expected[i] ?? NaN)) ** 2;
    size += (expected[i] ?? NaN) ** 2;
  }
  return Math.sqrt(error / size);
};

const seededCheckpoint = (graph: Graph): Checkpoint => {
  const tensors = graph.nodes.flatMap((node) => {
    if (node.op !== "parameter") return [];
    const { name, shape } = node.attrs;
    const count = shape.reduce((product, size) => product * size, 1);
    const fanIn = shape.length > 1 ? count / (shape[0] ?? 1) : 0;
    // Weights keep their input's size, scales lie about one, biases about zero: nothing vanishes and nothing saturates.
    const [mean, deviation] = fanIn > 0 ? [0, 1.5 / Math.sqrt(fanIn)] : [name.endsWith("bias") ? 0 : 1, 0.2];
    const values = numbers(name, count, mean, deviation);
    return [[name, { shape, values: () => values }] as const];
  });
  return { source: "seeded weights", tensors: new Map(tensors) };
};

const seededInputs = (graph: Graph, batch: number, offset: number): ReadonlyMap<string, NumberArray> =>
  new Map(
    graph.nodes.flatMap((node) => {
      if (node.op !== "input") return [];
      const shape = layoutShape(node.attrs.layout, node.type).map((size) =>
        typeof size === "number" ? size : size.batchTimes * batch,
      );
      const count = shape.reduce((product, size) => product * size, 1);
      const values = numbers(node.attrs.name, count, offset, 1);
      // Whole numbers, each of 0 to 9.
      const isWhole = node.type.element === "int";
      return [
        [
          node.attrs.name,
          { shape, values: isWhole ? values.map((x) => Math.floor(Math.abs(x) * 1e4) % 10) : values },
        ] as const,
      ];
    }),
  );

/** Uniform numbers that depend on a name and nothing else. */
const numbers = (name: string, count: number, mean: number, deviation: number): Float32Array => {
  let state = [...name].reduce((hash, character) => Math.imul(hash ^ character.charCodeAt(0), 16777619), 2166136261);
  return Float32Array.from({ length: count }, () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9;
    const unit = ((state ^ (state >>> 13)) >>> 0) / 2 ** 32;
    return mean + deviation * Math.sqrt(3) * (2 * unit - 1);
  });
};
