import type { Graph } from "../../ir/graph.ts";
import { predicate } from "../../ir/predicate.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { evaluateScalar } from "../../ir/scalarEvaluate.ts";
import { tokensOf } from "../../ir/tokens.ts";
import type { TensorType } from "../../ir/types.ts";
import { planBuffers } from "../../compiler/schedule/buffers.ts";
import type {
  Access,
  AttentionKernel,
  FusedKernel,
  GemmKernel,
  MapKernel,
  PerceptronKernel,
  RowKernel,
  SelectKernel,
  TokenAccess,
} from "../../compiler/schedule/kernels.ts";
import { joinProducts } from "../../compiler/schedule/joinProducts.ts";
import type { Launch } from "../../compiler/schedule/lower/context.ts";
import { lower } from "../../compiler/schedule/lower/lower.ts";
import type { Source } from "../../compiler/schedule/lower/memory.ts";
import { reuseInPlace } from "../../compiler/schedule/reuse.ts";
import type { Checkpoint } from "../../runtime/checkpoint.ts";
import { evaluateWeight } from "../../runtime/weights.ts";

type Arrays = { readonly [name: string]: Float64Array };
type Variables = { readonly [name: string]: number };
type Order = "forwards" | "backwards";

/**
 * Runs the plan of a graph in float64, element by element, on the memory that the plan gives it: what the kernels would
 * compute if their text were right. Each result is stored at once, so that a plan in which one element's work reads what
 * another's has overwritten gives other numbers in one of the two orders.
 */
export const runPlan = (
  graph: Graph,
  { batch, inputs, parameters, order }: { batch: number; inputs: Arrays; parameters: Arrays; order: Order },
): { readonly [name: string]: Float64Array } => {
  const lowered = lower(graph, "f32");
  const launches = joinProducts(reuseInPlace(lowered.launches));
  const plan = planBuffers(lowered.buffers, launches, lowered.loop);
  const arena = new Float64Array((plan.activations / 4) * batch).fill(NaN);
  const shared = new Float64Array(plan.shared / 4).fill(NaN);
  const checkpoint: Checkpoint = {
    source: "test",
    tensors: new Map(
      graph.nodes.flatMap((node) =>
        node.op === "parameter"
          ? [
              [
                node.attrs.name,
                { shape: node.attrs.shape, values: () => parameters[node.attrs.name] ?? new Float64Array() },
              ],
            ]
          : [],
      ),
    ),
  };
  const inputNames = graph.nodes.flatMap((node) => (node.op === "input" ? [node.attrs.name] : []));
  const outputs = graph.outputs.map(({ value }) => {
    const node = graph.nodes.find(({ id }) => id === value);
    const { rows } = tokensOf((node ?? graph.nodes[0])?.type as TensorType);
    return new Float64Array((node?.type.batch ? batch : 1) * rows * (node?.type.channels ?? 1)).fill(NaN);
  });
  const memoryOf = (source: Source): Float64Array => {
    if (source.kind === "weight") return Float64Array.from(evaluateWeight(source.value, checkpoint).data);
    if (source.kind === "port")
      return source.space === "input"
        ? (inputs[inputNames[source.index] ?? ""] ?? new Float64Array())
        : (outputs[source.index] ?? new Float64Array());
    const place = plan.offsets.get(source.buffer);
    if (!place) throw new Error(`buffer ${source.buffer} has no place`);
    return place.space === "activations"
      ? arena.subarray((place.offset / 4) * batch)
      : shared.subarray(place.offset / 4);
  };
  const run = (stage: Launch["stage"]): void => {
    for (const launch of launches.filter((each) => each.stage === stage)) {
      const memory = launch.sources.map(memoryOf);
      const weights = launch.weights.map((weight) => Float64Array.from(evaluateWeight(weight, checkpoint).data));
      const products = launch.kernel.kind === "products" ? launch.kernel.products : [launch.kernel];
      for (const at of counts(products.length, order)) {
        const kernel = products[at];
        if (kernel !== undefined) runKernel(kernel, { memory, weight: weights[at] ?? null, batch, order });
      }
    }
  };
  run("before");
  if (lowered.loop !== null) {
    const { flag, atMost } = lowered.loop;
    for (let step = 0; step < atMost; step++) {
      run("step");
      const flags = memoryOf({ kind: "buffer", buffer: flag.id }).subarray(0, flag.batched ? batch : 1);
      if (!flags.includes(1)) break;
    }
  }
  run("after");
  return Object.fromEntries(graph.outputs.map(({ name }, i) => [name, outputs[i] ?? new Float64Array()]));
};

type Run = {
  readonly memory: readonly Float64Array[];
  readonly weight: Float64Array | null;
  readonly batch: number;
  readonly order: Order;
};

const runKernel = (kernel: FusedKernel, run: Run): void => {
  switch (kernel.kind) {
    case "gemm":
      return runGemm(kernel, run);
    case "attention":
      return runAttention(kernel, run);
    case "map":
      return runMap(kernel, run);
    case "row":
      return runRow(kernel, run);
    case "perceptron":
      return runPerceptron(kernel, run);
    case "select":
      return runSelect(kernel, run);
    default:
      throw new Error(`no plan runs ${(kernel as Launch["kernel"]).kind} kernels yet`);
  }
};

const value = (expr: Scalar, variables: Variables, args: readonly number[] = []): number =>
  evaluateScalar(expr, { variables, arguments: args });

const counts = (size: number, order: Order): readonly number[] => {
  const up = Array.from({ length: size }, (_, i) => i);
  return order === "forwards" ? up : up.toReversed();
};

/** Reads and writes one example's elements. */
const accessor = (kernel: FusedKernel, { memory }: Run, example: number) => {
  const at = (access: Access, offset: number): readonly [Float64Array, number] => {
    const operand = kernel.operands[access.operand];
    const array = memory[access.operand];
    if (!operand || !array || offset < 0 || offset >= operand.exampleSize)
      throw new Error(`offset ${offset} lies outside operand ${access.operand}`);
    return [array, example * operand.exampleStride + offset];
  };
  return {
    read: (access: Access, variables: Variables, shift: number = 0): number => {
      if (value(access.valid, variables) === 0) return access.fill;
      const [array, index] = at(access, value(access.offset, variables) + shift);
      return array[index] ?? NaN;
    },
    write: (access: Access, variables: Variables, result: number): void => {
      if (value(access.valid, variables) === 0) return;
      const [array, index] = at(access, value(access.offset, variables));
      array[index] = result;
    },
  };
};

const examplesOf = (batched: boolean, { batch, order }: Run): readonly number[] => counts(batched ? batch : 1, order);

const runGemm = (kernel: GemmKernel, run: Run): void => {
  const { space, taps, channels, columns, a, groups } = kernel;
  for (const example of examplesOf(space.batched, run)) {
    const { read, write } = accessor(kernel, run, example);
    for (const r of counts(space.rows, run.order)) {
      const rowOf = (group: number): readonly number[] => {
        const row: number[] = [];
        for (let tap = 0; tap < taps; tap++)
          for (let c = 0; c < channels; c++) {
            const at = { r, tap, c, group };
            const many = a.mean ? value(a.mean.count, { r }) : 1;
            let sum = 0;
            for (let j = 0; j < many; j++) sum += read(a, at, a.mean ? value(a.mean.offset, { j }) : 0);
            row.push(value(a.valid, at) === 0 ? a.fill : value(kernel.prologue, at, [sum / many]));
          }
        return kernel.norm ? normalized(row, kernel.norm.eps) : row;
      };
      const rows = Array.from({ length: groups }, (_, group) => rowOf(group));
      for (const n of counts(columns, run.order)) {
        const row = rows[Math.floor((n * groups) / columns)] ?? [];
        const product = row.reduce((sum, x, k) => sum + x * (run.weight?.[n * row.length + k] ?? NaN), 0);
        const args = [product, ...kernel.epilogue.elements.map((element) => read(element, { r, n }))];
        const result = value(kernel.epilogue.body, { r, n }, args);
        for (const store of kernel.stores) write(store, { r, n }, result);
      }
    }
  }
};

const normalized = (row: readonly number[], eps: number): readonly number[] => {
  const mean = row.reduce((sum, x) => sum + x, 0) / row.length;
  const variance = row.reduce((sum, x) => sum + (x - mean) ** 2, 0) / row.length;
  return row.map((x) => (x - mean) / Math.sqrt(variance + eps));
};

const softmaxed = (row: readonly number[]): readonly number[] => {
  const top = Math.max(...row);
  const powers = row.map((x) => Math.exp(x - top));
  const sum = powers.reduce((total, x) => total + x, 0);
  return powers.map((x) => x / sum);
};

const runMap = (kernel: MapKernel, run: Run): void => {
  const { fold } = kernel;
  for (const example of examplesOf(kernel.space.batched, run)) {
    const { read, write } = accessor(kernel, run, example);
    for (const r of counts(kernel.space.rows, run.order))
      for (const n of counts(kernel.columns, run.order)) {
        const taken = kernel.take === null ? {} : takenBy(kernel.take, (element) => read(element, { r, n }), { r, n });
        const terms = Array.from({ length: fold?.over ?? 1 }, (_, i) =>
          value(
            kernel.body,
            { r, n, i },
            kernel.elements.map((element) => read(element, { r, n, i, ...taken })),
          ),
        );
        const sum = terms.reduce((total, term) => total + term, 0);
        const result = !fold
          ? (terms[0] ?? NaN)
          : fold.kind === "max"
            ? Math.max(...terms)
            : fold.kind === "argmax"
              ? terms.indexOf(Math.max(...terms))
              : fold.kind === "sum"
                ? sum
                : sum / value(fold.count, { r, n });
        for (const store of kernel.stores) write(store, { r, n }, result);
      }
  }
};

const takenBy = (
  { number, count }: NonNullable<MapKernel["take"]>,
  read: (element: Access) => number,
  at: Variables,
): Variables => {
  const taken = value(number.body, at, number.elements.map(read));
  return taken >= 0 && taken < count ? { taken, isTaken: 1 } : { taken: 0, isTaken: 0 };
};

const runSelect = (kernel: SelectKernel, run: Run): void => {
  for (const example of examplesOf(kernel.space.batched, run)) {
    const { read, write } = accessor(kernel, run, example);
    for (const r of counts(kernel.space.rows, run.order))
      for (const n of counts(kernel.columns, run.order)) {
        const all = Array.from({ length: kernel.over }, (_, i) => read(kernel.x, { r, n, i }));
        const sorted = all.toSorted((a, b) => b - a);
        for (const k of counts(kernel.count, run.order)) {
          const result = kernel.select === "topK" ? sorted[k] : all.filter((each) => each === k).length;
          for (const store of kernel.stores) write(store, { r, n, k }, result ?? NaN);
        }
      }
  }
};

const runRow = (kernel: RowKernel, run: Run): void => {
  const { statistic } = kernel;
  for (const example of examplesOf(kernel.space.batched, run)) {
    const { read, write } = accessor(kernel, run, example);
    for (const r of counts(kernel.space.rows, run.order)) {
      const row = Array.from({ length: kernel.columns }, (_, n) => read(kernel.x, { r, n }));
      const results = statistic.kind === "softmax" ? softmaxed(row) : normalized(row, statistic.eps);
      for (const n of counts(kernel.columns, run.order)) {
        const args = [results[n] ?? NaN, ...kernel.epilogue.elements.map((element) => read(element, { r, n }))];
        const result = value(kernel.epilogue.body, { r, n }, args);
        for (const store of kernel.stores) write(store, { r, n }, result);
      }
    }
  }
};

const runPerceptron = (kernel: PerceptronKernel, run: Run): void => {
  for (const example of examplesOf(kernel.space.batched, run)) {
    const { read, write } = accessor(kernel, run, example);
    const at = (
      { body, elements }: PerceptronKernel["term"],
      variables: Variables,
      first: readonly number[] = [],
    ): number => value(body, variables, [...first, ...elements.map((element) => read(element, variables))]);
    for (const r of counts(kernel.space.rows, run.order)) {
      const row = Array.from({ length: kernel.hidden }, (_, n) =>
        Array.from({ length: kernel.over }, (__, i) => at(kernel.term, { r, n, i })).reduce(
          (sum, term) => sum + term,
          at(kernel.start, { r, n }),
        ),
      );
      const normal = kernel.norm === null ? row : normalized(row, kernel.norm.eps);
      const active = normal.map((x, n) => at(kernel.activation, { r, n }, [x]));
      for (const o of counts(kernel.columns, run.order)) {
        const sum = active.reduce((total, x, n) => total + x * read(kernel.weight, { n, o }), 0);
        const result = at(kernel.epilogue, { r, o }, [sum]);
        for (const store of kernel.stores) write(store, { r, o }, result);
      }
    }
  }
};

/** The tokens of a type, each with its coordinates. */
const tokenList = (type: TensorType): readonly { readonly isPrefix: boolean; readonly at: Variables }[] => {
  const tokens = tokensOf(type);
  return Array.from({ length: tokens.rows }, (_, row) => ({
    isPrefix: row < tokens.prefixRows,
    at: {
      ...Object.fromEntries([...tokens.coordinates].map(([axis, values]) => [axis, values[row] ?? 0])),
      ...(type.prefix.count > 0 ? { prefix: tokens.prefixIndex[row] ?? 0 } : {}),
    },
  }));
};
type Token = ReturnType<typeof tokenList>[number];

const sideVariables = (side: "q" | "k", { isPrefix, at }: Token): Variables => ({
  ...Object.fromEntries(Object.entries(at).map(([axis, x]) => [`${side}.${axis}`, x])),
  [`${side}.isPrefix`]: isPrefix ? 1 : 0,
});

const runAttention = (kernel: AttentionKernel, run: Run): void => {
  const queries = tokenList(kernel.query);
  const keys = tokenList(kernel.key);
  const sees = predicate(kernel.pattern, kernel.query, kernel.key);
  const accessOf = (access: TokenAccess, token: Token): Access =>
    token.isPrefix && access.prefix ? access.prefix : access.grid;
  for (const example of examplesOf(kernel.batched, run)) {
    const { read, write } = accessor(kernel, run, example);
    for (let head = 0; head < kernel.heads; head++)
      for (const q of counts(queries.length, run.order)) {
        const query = queries[q];
        if (!query) continue;
        const seen = keys.filter(
          (key) => value(sees, { ...sideVariables("q", query), ...sideVariables("k", key) }) !== 0,
        );
        const scores = seen.map((key) => {
          let s = 0;
          for (let c = 0; c < kernel.headDim; c++)
            s +=
              read(accessOf(kernel.q, query), { ...query.at, head, c }) *
              read(accessOf(kernel.k, key), { ...key.at, head, c });
          return s * kernel.scale; // random graphs have no score of their own
        });
        const weights =
          seen.length === 0
            ? []
            : kernel.normalize === "softmax"
              ? softmaxed(scores)
              : scores.map((s) => (kernel.normalize === "count" ? s / seen.length : s));
        for (let c = 0; c < kernel.valueDim; c++) {
          const result = seen.reduce(
            (sum, key, i) => sum + (weights[i] ?? 0) * read(accessOf(kernel.v, key), { ...key.at, head, c }),
            0,
          );
          write(accessOf(kernel.out, query), { ...query.at, head, c }, value(kernel.epilogue, {}, [result]));
        }
      }
  }
};
