import { compileGraph } from "../../compile.ts";
import { tokenTiles } from "../../schedule/attention/tokenTiles.ts";
import { attentionWeights } from "../../../ir/evaluateAttend.ts";
import type { Graph, Node, NodeOf, ValueId } from "../../../ir/graph.ts";
import type { Program } from "../../../ir/program.ts";
import type { Precision, TensorType } from "../../../ir/types.ts";
import { rowsOf } from "../../../ir/types.ts";
import type { Value } from "../../../ir/value.ts";
import type { Checkpoint } from "../../../runtime/checkpoint.ts";
import type { NumberArrays } from "../arrays.ts";
import { CommandError, unknownName } from "../failure.ts";
import { type Example, type RunGraph, typeOf, type Values, valuesOf } from "../values.ts";
import { type AttentionTokens, noKey, type PackedWeights, type TileData, type TokenGrid } from "./tokenData.ts";

/**
 * Whom the tokens of some attentions attend to in the first example. Queries and keys come from a run of the graph up to
 * them; the weights are what the evaluator makes of those. `wanted`: module paths, or null for the last attention of
 * each kernel.
 */
export async function collectTokens(
  graph: Graph,
  program: Program,
  options: {
    readonly wanted: readonly string[] | null;
    readonly precision: Precision;
    readonly inputs: NumberArrays;
    readonly batch: number;
    readonly checkpoint: Checkpoint;
  },
  run: RunGraph,
): Promise<AttentionTokens[]> {
  const launches = launchesOf(graph, program);
  const chosen = options.wanted === null ? lastOfEach(launches, program) : named(launches, options.wanted);
  if (chosen.length === 0) throw new CommandError("no attention of the network has tokens to show");
  const tiles = tilesByKernel(graph, options);
  const operands = await operandsOf(graph, chosen, options, run);
  const rows = chosen.map(({ node }) => node.attrs.heads * rowsOf(typeOf(graph, node.inputs[0])));
  const count = Math.floor(mostBytes / (5 * rows.reduce((sum, each) => sum + each, 0)));
  return chosen.map(({ node, launch }): AttentionTokens => {
    const [q, k] = [typeOf(graph, node.inputs[0]), typeOf(graph, node.inputs[1])];
    const step = launch === null ? undefined : program.steps[launch];
    return {
      launch,
      path: node.path,
      formula: step?.origin.formula ?? "attention",
      heads: node.attrs.heads,
      queries: gridOf(q),
      keys: gridOf(k),
      weights: packedWeights(node, operands, Math.min(Math.max(count, fewest), rowsOf(k))),
      tiles: (step === undefined ? undefined : tiles.get(step.kernel)) ?? [],
    };
  });
}

/** Of all weights together: what keeps a report small. */
const mostBytes = 900 * 1024;
/** Keys that are kept for a query whatever the size. */
const fewest = 4;

type Attend = NodeOf<"attend">;
type Launched = { readonly node: Attend; readonly launch: number | null };

/** Attentions of a module are launched in the order in which it has them. */
function launchesOf(graph: Graph, program: Program): Launched[] {
  const families = new Map(program.kernels.map(({ name, family }) => [name, family]));
  const steps = program.steps
    .map(({ kernel, origin }, launch) => ({ launch, path: origin.path, family: families.get(kernel) }))
    .filter(({ family }) => family === "attention");
  const seen = new Map<string, number>();
  return graph.nodes.filter(isAttend).map((node) => {
    const index = seen.get(node.path) ?? 0;
    seen.set(node.path, index + 1);
    return { node, launch: steps.filter(({ path }) => path === node.path)[index]?.launch ?? null };
  });
}

const isAttend = (node: Node): node is Attend => node.op === "attend";

const lastOfEach = (launches: readonly Launched[], program: Program): Launched[] => {
  const last = new Map(
    launches.map((each) => [each.launch === null ? each.node.path : program.steps[each.launch]?.kernel, each]),
  );
  return [...last.values()];
};

const named = (launches: readonly Launched[], wanted: readonly string[]): Launched[] =>
  wanted.flatMap((path) => {
    const found = launches.filter(({ node }) => node.path === path || node.path.endsWith(`.${path}`));
    if (found.length === 0)
      throw unknownName(
        "attention",
        path,
        launches.map(({ node }) => node.path),
      );
    return found;
  });

function tilesByKernel(
  graph: Graph,
  { precision, batch }: { readonly precision: Precision; readonly batch: number },
): ReadonlyMap<string, readonly TileData[]> {
  const { computations } = compileGraph(graph, { precision, batch: { min: batch, max: batch }, keep: false });
  return new Map(
    [...computations].flatMap(([name, kernel]) =>
      kernel.kind === "attention"
        ? [
            [
              name,
              tokenTiles(kernel).map((job) => ({
                ...job,
                queries: [...job.queries],
                keys: job.keys.map((rows) => [...rows]),
              })),
            ] as const,
          ]
        : [],
    ),
  );
}

/** Queries, keys and tables. */
const operandsOf = (graph: Graph, chosen: readonly Launched[], example: Example, run: RunGraph): Promise<Values> =>
  valuesOf(
    graph,
    chosen.flatMap(({ node }) => node.inputs.filter((_, index) => index !== 2)),
    example,
    run,
  );

function packedWeights({ inputs: [q, k, , ...tables], attrs }: Attend, operands: Values, count: number): PackedWeights {
  const operand = (id: ValueId): Value => {
    const found = operands.get(id);
    if (found === undefined) throw new RangeError(`there is no value %${id}`);
    return found;
  };
  const rows = rowsOf(operand(q).type) * attrs.heads;
  const keys = new Uint32Array(rows * count).fill(noKey);
  const values = new Int8Array(rows * count);
  const [heaviest, rest] = [new Float32Array(rows), new Float32Array(rows)];
  const all = attentionWeights([operand(q), operand(k), ...tables.map(operand)], attrs, 0);
  for (const { head, queries, keys: seen, rows: weights } of all)
    for (const [index, query] of queries.entries()) {
      const row = query * attrs.heads + head;
      const own = weights.subarray(index * seen.length, (index + 1) * seen.length);
      const order = Array.from(own.keys()).toSorted((a, b) => Math.abs(own[b] ?? 0) - Math.abs(own[a] ?? 0));
      const top = Math.abs(own[order[0] ?? 0] ?? 0);
      heaviest[row] = top;
      for (const [place, at] of order.slice(0, count).entries()) {
        keys[row * count + place] = seen[at] ?? noKey;
        values[row * count + place] = top === 0 ? 0 : Math.round((127 * (own[at] ?? 0)) / top);
      }
      rest[row] = order.slice(count).reduce((sum, at) => sum + (own[at] ?? 0), 0);
    }
  return { count, keys: base64(keys), values: base64(values), heaviest: base64(heaviest), rest: base64(rest) };
}

const base64 = ({ buffer, byteOffset, byteLength }: ArrayBufferView): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString("base64");

const gridOf = ({ axes, prefix }: TensorType): TokenGrid => ({ axes, prefix });
