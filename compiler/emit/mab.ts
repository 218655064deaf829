import { add, variable } from "../../ir/scalarBuild.ts";
import { substitute, variablesOf } from "../../ir/scalarWalk.ts";
import type { Ranges } from "../../ir/scalarRange.ts";
import { bytesOf } from "../../ir/types.ts";
import type { WeightExpr } from "../../ir/program.ts";
import { invariant } from "../diagnostics.ts";
import { fitsInt, runWidth } from "../schedule/gemmMap.ts";
import type {
  Access,
  EmittedKernel,
  KernelFamily,
  KernelHeader,
  KernelParameter,
  MabKernel,
} from "../schedule/kernels.ts";
import { planMab } from "../schedule/mabPlan.ts";
import { usualTarget, type Target } from "../schedule/target.ts";
import { floatLiteral, printCuda } from "./cudaScalar.ts";
import type { CudaVariable } from "./cudaTypes.ts";
import { cudaStorage } from "./gemmNames.ts";
import { headerComment } from "./headerComment.ts";
import { renderTemplate } from "./render.ts";

/** What templates/mab/mab.cu.njk prints. Fields are C++ text or numbers. */
type MabView = {
  readonly header: string;
  readonly name: string;
  readonly element: string;
  readonly dim: number;
  readonly inDim: number;
  readonly inBytes: number;
  readonly heads: number;
  readonly keys: number;
  readonly keySlots: number;
  readonly rows: number;
  readonly allTiles: number;
  readonly tiles: number;
  readonly warps: number;
  readonly threads: number;
  readonly minBlocks: number;
  readonly sharedBytes: number;
  readonly log2Scale: string;
  /** Thread blocks of an example, and of a group. */
  readonly blocks: number;
  readonly groupBlocks: number;
  readonly parameters: readonly string[];
  /** Pointers, moved to the example. */
  readonly pointers: readonly { readonly type: string; readonly name: string; readonly value: string }[];
  /** Rows are copied as they are stored, 16 bytes at a time, or element by element. */
  readonly x: LoadView;
  readonly keyLoads: readonly (LoadView & { readonly to: string })[];
  /** In `n`: the number of a channel. */
  readonly columns: readonly NamedValue[];
  /** In `r`: a number of the row. */
  readonly rowValues: readonly NamedValue[];
  readonly before: NormView | null;
  readonly after: NormView | null;
  readonly finish: {
    readonly parameters: readonly string[];
    readonly value: string;
    readonly passed: readonly string[];
    /** Those of the columns that it reads. */
    readonly columns: readonly { readonly name: string; readonly index: number }[];
  };
  readonly length: string | null;
  /** Some store takes rows from shared memory. */
  readonly staged: boolean;
  readonly stores: readonly StoreView[];
};
type NamedValue = { readonly name: string; readonly value: string };
type LoadView = { readonly copied: boolean; readonly address: string };
type NormView = { readonly eps: string; readonly scale: number; readonly shift: number };
type StoreView = {
  readonly copied: boolean;
  readonly pairs: boolean;
  readonly address: string;
  readonly next: string;
};

/** A multihead attention block on tensor cores, in bf16 or f16; float32 is computed kernel by kernel. */
export const emitMab: KernelFamily<MabKernel> = (
  kernel: MabKernel,
  header: KernelHeader,
  target: Target = usualTarget,
): EmittedKernel => {
  const { sizes, precision, operands } = kernel;
  const plan = planMab(sizes, target);
  invariant(plan !== null, "a block was chosen for sizes that do not fit");
  const { dim, inDim, groups, rows } = sizes;
  const names = namesOf(kernel);
  const ranges: Ranges = {
    r: { min: 0, max: groups * rows - 1 },
    g: { min: 0, max: groups - 1 },
    j: { min: 0, max: sizes.keys - 1 },
    c: { min: 0, max: Math.max(dim, inDim) - 1 },
    n: { min: 0, max: dim - 1 },
  };
  const at = (access: Access): string => {
    const named = [...variablesOf(access.offset)].map((name): [string, CudaVariable] => [
      name,
      { type: "int", text: name, min: ranges[name]?.min ?? 0, max: ranges[name]?.max ?? 0 },
    ]);
    const variables = Object.fromEntries(named);
    const offset = printCuda(access.offset, { variables }, fitsInt(access.offset, ranges) ? "int" : "long");
    return `block.${names.get(access.operand) ?? ""} + (${offset})`;
  };
  const storageOf = (access: Access): string => operands[access.operand]?.storage ?? precision;
  const isCopied = (access: Access, along: "c" | "n", width: number): boolean => {
    const stride = operands[access.operand]?.exampleStride ?? 0;
    const own = { ...ranges, [along]: { min: 0, max: width - 1 } };
    return storageOf(access) === precision && width % 8 === 0 && runWidth(access, along, stride, own, 8) === 8;
  };
  const value = (access: Access): string => `value_at(${at(access)})`;
  const one = { factor: 1, fixed: 1, perExample: 0, divisor: 1 };
  const isWritten = new Set(kernel.stores.map(({ operand }) => operand));
  const pointers = [...names].map(([operand, name]) => {
    const { storage = precision, exampleStride = 0 } = operands[operand] ?? {};
    return {
      type: `${isWritten.has(operand) ? "" : "const "}${cudaStorage[storage]}*`,
      name,
      value: exampleStride === 0 ? name : `${name} + block.example * ${exampleStride}`,
    };
  });
  const weights = ["query_weight", "out_weight"].map((name) => ({
    type: `const ${cudaStorage[precision]}*`,
    name,
    value: name,
  }));
  const all = [...pointers, ...weights];
  const groupBlocks = plan.blocks;
  const allTiles = Math.ceil(rows / 16);
  const view: MabView = {
    header: headerComment(header, plan.notes),
    name: header.name,
    element: cudaStorage[precision],
    dim,
    inDim,
    inBytes: Math.ceil(inDim / 8) * 16,
    heads: sizes.heads,
    keys: sizes.keys,
    keySlots: plan.keySlots,
    rows,
    allTiles,
    tiles: plan.tiles,
    warps: plan.warps,
    threads: 32 * plan.warps,
    minBlocks: plan.minBlocks,
    sharedBytes: plan.sharedBytes,
    log2Scale: floatLiteral(kernel.scale * Math.LOG2E),
    blocks: groups * groupBlocks,
    groupBlocks,
    parameters: all.map(({ type, name }) => `${type} __restrict__ ${name}`),
    pointers: all,
    x: { copied: isCopied(kernel.x, "c", inDim), address: at(kernel.x) },
    keyLoads: [
      { to: "keys_to", copied: isCopied(kernel.keys, "c", dim), address: at(kernel.keys) },
      { to: "values_to", copied: isCopied(kernel.values, "c", dim), address: at(kernel.values) },
    ],
    columns: kernel.columns.map((column, i) => ({ name: columnName(kernel, i), value: value(column) })),
    rowValues: kernel.end.rows.map((row, i) => ({ name: rowName(i), value: value(row) })),
    before: normView(kernel.before),
    after: normView(kernel.after),
    finish: finishView(kernel),
    length: kernel.lengths === null ? null : `(int)ld(${at(kernel.lengths.of)})`,
    staged: kernel.stores.some((store) => isCopied(store, "n", dim)),
    stores: kernel.stores.map((store): StoreView => {
      const next = { ...store, offset: substitute(store.offset, { n: add(variable("n"), 1) }) };
      const stride = operands[store.operand]?.exampleStride ?? 0;
      const storage = storageOf(store);
      return {
        copied: isCopied(store, "n", dim),
        pairs: storage === "f32" && runWidth(store, "n", stride, ranges, 2) === 2,
        address: at(store),
        next: at(next),
      };
    }),
  };
  return {
    source: renderTemplate("mab/mab.cu.njk", view),
    threads: view.threads,
    sharedBytes: plan.sharedBytes,
    grid: [{ factor: view.blocks, fixed: 0, perExample: 1, divisor: 1 }, one, one],
    parameters: [
      ...[...names.keys()].map((operand): KernelParameter => ({ kind: "operand", operand })),
      weightParameter("query_weight", 0, dim, inDim, kernel),
      weightParameter("out_weight", 1, dim, dim, kernel),
    ],
    notes: plan.notes,
  };
};

/** A row of weights for each column of results, as keys lie in shared memory: whole chunks of 16 bytes. */
const weightParameter = (
  name: string,
  of: number,
  rows: number,
  channels: number,
  { precision }: MabKernel,
): KernelParameter => {
  const parameter: WeightExpr = { kind: "parameter", name: "$weight", shape: [rows, channels] };
  const perChunk = 16 / bytesOf[precision];
  const padded = Math.ceil(channels / perChunk) * perChunk;
  const value: WeightExpr =
    padded === channels ? parameter : { kind: "pad", of: parameter, shape: [rows, padded], fill: 0 };
  return { kind: "weight", name, storage: precision, of, value };
};

const normView = (norm: MabKernel["before"]): NormView | null => norm && { ...norm, eps: floatLiteral(norm.eps) };

const finishView = (kernel: MabKernel): MabView["finish"] => {
  const { end } = kernel;
  const named = end.arguments.map(({ kind, index }) => {
    const name = kind === "column" ? columnName(kernel, index) : rowName(index);
    return { name, passed: kind === "column" ? `e % 2 == 0 ? ${name}.x : ${name}.y` : `values.${name}[e / 2]` };
  });
  const parameters = ["x", "sum", ...named.map(({ name }) => name)];
  const scope = {
    variables: {},
    arguments: parameters.map((text) => ({ type: "float", text }) as const),
    fast: true,
  };
  return {
    parameters: parameters.map((name) => `float ${name}`),
    value: printCuda(end.body, scope, "float"),
    passed: ["o[e]", "sums[e]", ...named.map(({ passed }) => passed)],
    columns: end.arguments.flatMap(({ kind, index }) =>
      kind === "column" ? [{ name: columnName(kernel, index), index }] : [],
    ),
  };
};

/** What numbers of the channels are for. */
const columnName = ({ before, after }: MabKernel, index: number): string => {
  const roles: readonly (readonly [index: number | undefined, name: string])[] = [
    [0, "query_bias"],
    [before?.scale, "scale_before"],
    [before?.shift, "shift_before"],
    [after?.scale, "scale_after"],
    [after?.shift, "shift_after"],
  ];
  const taken = roles.filter(([at]) => at !== undefined).length;
  return roles.find(([at]) => at === index)?.[1] ?? (index === taken ? "out_bias" : `column${index}`);
};
const rowName = (index: number): string => (index === 0 ? "row_value" : `row_value${index + 1}`);

/** By operand, in the order of their numbers. */
const namesOf = (kernel: MabKernel): ReadonlyMap<number, string> => {
  const { operands, x, keys, values, columns, end, stores, lengths } = kernel;
  const names = new Map<number, string>();
  const name = (access: Access, text: string): void => {
    if (!names.has(access.operand)) names.set(access.operand, text);
  };
  name(x, "x");
  name(keys, keys.operand === values.operand ? "keys_and_values" : "keys");
  name(values, "values");
  columns.forEach((column, i) => name(column, columnName(kernel, i)));
  end.rows.forEach((row, i) => name(row, rowName(i)));
  stores.forEach((store, i) => name(store, i === 0 ? "y" : `y${i + 1}`));
  if (lengths !== null) name(lengths.of, "lengths");
  return new Map([...names].filter(([operand]) => operand < operands.length).toSorted(([a], [b]) => a - b));
};
