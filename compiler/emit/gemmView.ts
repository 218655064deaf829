import type { WeightExpr } from "../../ir/program.ts";
import { argument, sub } from "../../ir/scalarBuild.ts";
import { variablesOf } from "../../ir/scalarWalk.ts";
import { fitsInt } from "../schedule/gemmMap.ts";
import { chooseGemmTiles, type GemmTiles } from "../schedule/gemmTiles.ts";
import type { GemmKernel, KernelHeader, KernelParameter } from "../schedule/kernels.ts";
import { floatLiteral, printCudaOperand } from "./cudaScalar.ts";
import { operandView, readsThroughRegisters, type OperandAView } from "./gemmOperandA.ts";
import { epilogueView, type EpilogueView } from "./gemmEpilogue.ts";
import { cudaStorage, operandNames, type ScalarFunction } from "./gemmNames.ts";
import { headerComment } from "./headerComment.ts";

/** What the templates gemm/gemm.cu.njk and gemm/exact.cu.njk print. Fields are C++ text unless they are numbers. */
export type GemmView = EpilogueView & {
  readonly header: string;
  readonly name: string;
  /** Of several products in one launch: a function of the block's number, not a kernel. */
  readonly part: boolean;
  readonly block: string;
  readonly element: string;
  /** Of float32 tiles: the header that multiplies them. */
  readonly multiply: "exact" | "tf32";
  /** Declarations, `const float* bias`. */
  readonly parameters: readonly string[];
  readonly constants: readonly { readonly text: string; readonly comment: string }[];
  readonly minBlocks: number;
  readonly functions: readonly ScalarFunction[];
  /** `rows` is a launch-time quantity, by this expression. */
  readonly batched: boolean;
  readonly rowCount: string;
  /** The example of the block's first row is wanted. */
  readonly firstExample: boolean;
  readonly a: OperandAView;
  /** The rows of A are measured: elements of a row in the first step of K, which elements count, eps. */
  readonly norm: { readonly first: number; readonly guard: string; readonly eps: string } | null;
  /** The normalisation is applied to the sums, of which `two` runs of four belong to a thread. */
  readonly fold: { readonly two: boolean } | null;
  readonly resultComment: string;
  /** Sets of `rows` rows, the length of that of row `m`, and what must be known of it; null where rows have no lengths. */
  readonly lengths: { readonly rows: number; readonly decode: string; readonly length: string } | null;
};

export type PlannedGemm = {
  readonly view: GemmView;
  readonly tiles: GemmTiles;
  readonly parameters: readonly KernelParameter[];
};

/** `threads`: of all products of a launch. */
export type GemmPart = { readonly threads: number | null };

export const gemmView = (kernel: GemmKernel, header: KernelHeader, part: GemmPart | null = null): PlannedGemm => {
  const exact = kernel.precision === "f32";
  const k = kernel.taps * kernel.channels;
  const wide = kernel.stores.every((store) => kernel.operands[store.operand]?.storage === "f32");
  const results = exact || wide ? 4 : 8;
  const tiles = chooseGemmTiles({
    rows: kernel.space.rows,
    batched: kernel.space.batched,
    columns: kernel.columns,
    groups: kernel.groups,
    k,
    group: results === 8 ? 32 : 16,
    elementBytes: exact ? 4 : 2,
    tensorCores: !exact || kernel.tf32,
    needsRegisters: readsThroughRegisters(kernel) || kernel.norm !== null || kernel.a.mean !== null,
    norm: kernel.norm !== null,
    threads: part?.threads ?? null,
  });
  const names = operandNames(kernel);
  const a = operandView(kernel, tiles, names);
  const epilogue = epilogueView(kernel, tiles, names, results);
  const parameters = parametersOf(kernel, tiles, results);
  const tail = k % tiles.tileK !== 0;
  const view: GemmView = {
    ...epilogue.view,
    header: headerComment(header, [
      ...tiles.notes,
      a.note,
      ...(kernel.lengths === null
        ? []
        : ["Sets end at their lengths: a tile of rows behind them is zeros, and reads and multiplies nothing."]),
    ]),
    name: header.name,
    part: part !== null,
    block: part === null ? "blockIdx.x" : "block",
    element: cudaStorage[kernel.precision],
    multiply: kernel.tf32 ? "tf32" : "exact",
    parameters: parameters.map((parameter) => declarationOf(parameter, kernel, names)),
    constants: constantsOf(kernel, tiles, a.width, results),
    minBlocks: tiles.minBlocks,
    functions: [...a.functions, ...epilogue.functions],
    batched: kernel.space.batched,
    rowCount: kernel.space.rows === 1 ? "batch" : "batch * ROWS",
    firstExample: a.view.firstExample,
    a: a.view,
    norm: kernel.norm && {
      first: Math.min(k, tiles.tileK),
      guard: tail ? "if (kt * TILE_K + chunk * CHUNK + e < K) " : "",
      eps: floatLiteral(kernel.norm.eps),
    },
    fold: kernel.norm && !exact ? { two: results === 8 } : null,
    lengths: lengthsView(kernel, names),
    resultComment: "A thread finishes and stores V neighbouring columns of each of its rows at a time.",
  };
  return { view, tiles, parameters };
};

const lengthsView = (kernel: GemmKernel, names: ReadonlyMap<number, string>): GemmView["lengths"] => {
  const { lengths, space, operands } = kernel;
  if (lengths === null) return null;
  const { of, rows } = lengths;
  const exampleStride = operands[of.operand]?.exampleStride ?? 0;
  const name = space.batched ? "r" : "m";
  const ranges = { r: { min: 0, max: space.rows - 1 } };
  const variables = { r: { type: "int", text: name, min: 0, max: space.rows - 1 } } as const;
  const within = printCudaOperand(of.offset, { variables }, fitsInt(of.offset, ranges) ? "int" : "long");
  const moved = space.batched && exampleStride > 0;
  const row = variablesOf(of.offset).has("r");
  const decode = [...(moved ? ["example = m / ROWS"] : []), ...(row && space.batched ? ["r = m % ROWS"] : [])].join(
    ", ",
  );
  const at = moved ? `(int64_t)example * ${exampleStride} + ${within}` : within;
  return { rows, decode, length: `(int)ld(${names.get(of.operand) ?? ""} + (${at}))` };
};

const constantsOf = (
  kernel: GemmKernel,
  tiles: GemmTiles,
  width: number | null,
  results: number,
): GemmView["constants"] => {
  const { rows } = kernel.space;
  const { taps, channels, columns, groups } = kernel;
  const k = taps * channels;
  const [tilesN, tilesK] = [Math.ceil(columns / tiles.tileN), Math.ceil(k / tiles.tileK)];
  const exact = kernel.precision === "f32";
  return [
    kernel.space.batched
      ? {
          text: `ROWS = ${rows}, COLUMNS = ${columns}, K = ${k}`,
          comment: "rows of an example, columns of the result, elements of a sum",
        }
      : {
          text: `rows = ${rows}, COLUMNS = ${columns}, K = ${k}`,
          comment: "rows and columns of the result, elements of a sum",
        },
    ...(taps > 1
      ? [{ text: `TAPS = ${taps}, CHANNELS = ${channels}`, comment: "K runs over taps, and over the channels at each" }]
      : []),
    {
      text: `TILE_M = ${tiles.tileM}, TILE_N = ${tiles.tileN}, TILE_K = ${tiles.tileK}, STAGES = ${tiles.stages}`,
      comment: "",
    },
    { text: `TILES_N = ${tilesN}, TILES_K = ${tilesK}`, comment: "" },
    ...(groups === 1
      ? []
      : [{ text: `TILES_OF_GROUP = ${tilesN / groups}`, comment: "tiles of columns that read the same channels" }]),
    { text: `WARPS_M = ${tiles.warpsM}, WARPS_N = ${tiles.warpsN}, THREADS = ${tiles.threads}`, comment: "" },
    { text: `CHUNK = ${exact ? 4 : 8}${width === null ? "" : `, WIDTH = ${width}`}`, comment: `elements that a thread writes to a tile at a time${width === null ? "" : ", and loads at a time"}` }, // prettier-ignore
    ...(exact ? [] : [{ text: `V = ${results}`, comment: "" }]),
  ];
};

/** Operands by number, the packed weight, the column sums of a normalised product, the batch. */
const parametersOf = (kernel: GemmKernel, tiles: GemmTiles, results: number): readonly KernelParameter[] => {
  const { precision, columns, epilogue, stores, a, lengths } = kernel;
  const used = new Set([
    a.operand,
    ...(lengths === null ? [] : [lengths.of.operand]),
    ...epilogue.elements.map((each) => each.operand),
    ...stores.map((each) => each.operand),
  ]);
  const k = kernel.taps * kernel.channels;
  const parameter: WeightExpr = { kind: "parameter", name: "$weight", shape: [columns, k] };
  const value = kernel.norm ? centred(parameter, columns, k) : parameter;
  const { tileN, tileK } = tiles;
  const packed: WeightExpr = {
    kind: "pack",
    of: value,
    order:
      precision === "f32"
        ? { kind: kernel.tf32 ? "fragments32" : "tiles", tileN, tileK }
        : { kind: "fragments", tileN, tileK, group: results === 8 ? 32 : 16 },
  };
  const sums: WeightExpr = {
    kind: "pad",
    of: { kind: "sum", of: { kind: "rounded", of: value, storage: precision }, axis: 1 },
    shape: [Math.ceil(columns / tileN) * tileN],
    fill: 0,
  };
  return [
    ...[...used].toSorted((x, y) => x - y).map((operand) => ({ kind: "operand", operand }) as const),
    { kind: "weight", name: "weight", storage: precision, of: 0, value: packed },
    ...(kernel.norm && precision !== "f32"
      ? [{ kind: "weight", name: "weight_sums", storage: "f32", of: 0, value: sums } as const]
      : []),
    ...(kernel.space.batched ? [{ kind: "batch" } as const] : []),
  ];
};

/**
 * Each column of the weight less its mean: a normalised row sums to zero, so that this changes nothing but the rounding,
 * of which a row's mean then has almost no part.
 */
const centred = (weight: WeightExpr, columns: number, k: number): WeightExpr => {
  const sum: WeightExpr = { kind: "reshape", of: { kind: "sum", of: weight, axis: 1 }, shape: [columns, 1] };
  const mean: WeightExpr = {
    kind: "elementwise",
    of: [sum],
    body: { kind: "binary", op: "div", left: argument(0), right: { kind: "number", value: k } },
  };
  return { kind: "elementwise", of: [weight, mean], body: sub(argument(0), argument(1)) };
};

const declarationOf = (parameter: KernelParameter, kernel: GemmKernel, names: ReadonlyMap<number, string>): string => {
  switch (parameter.kind) {
    case "operand": {
      const storage = kernel.operands[parameter.operand]?.storage ?? kernel.precision;
      const stored = kernel.stores.some((store) => store.operand === parameter.operand);
      return `${stored ? "" : "const "}${cudaStorage[storage]}* ${names.get(parameter.operand) ?? ""}`;
    }
    case "weight":
      return `const ${cudaStorage[parameter.storage]}* ${parameter.name}`;
    case "batch":
      return "int batch";
  }
};
