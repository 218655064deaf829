import type { Scalar } from "../../ir/scalar.ts";
import { add } from "../../ir/scalarBuild.ts";
import { rangeOf, type Ranges } from "../../ir/scalarRange.ts";
import { linearIn } from "../../ir/scalarRuns.ts";
import { variablesOf } from "../../ir/scalarWalk.ts";
import { bytesOf } from "../../ir/types.ts";
import { fitsInt, isNumber, runWidth, splitCondition, splitOffset } from "../schedule/gemmMap.ts";
import type { GemmTiles } from "../schedule/gemmTiles.ts";
import type { GemmKernel, Operand } from "../schedule/kernels.ts";
import { invariant } from "../diagnostics.ts";
import { floatLiteral, printCuda, printCudaOperand } from "./cudaScalar.ts";
import type { CudaScope, CudaVariable } from "./cudaTypes.ts";
import { cudaStorage, type ScalarFunction } from "./gemmNames.ts";

/** How the kernel finds and loads A. Fields are C++ text; null or false where there is no such part. */
export type OperandAView = {
  readonly storage: string;
  /** Through registers, where a plain copy would not do. */
  readonly computed: boolean;
  /** The address from which the block's rows are counted, and the type that holds their distances from it. */
  readonly start: string;
  readonly offsetType: string;
  /** Of each copied row, in `m`, `example`, `r`: its example and row are wanted; its distance; whether it is there. */
  readonly decode: boolean;
  readonly examples: boolean;
  readonly firstExample: boolean;
  readonly rowAt: string;
  readonly rowIn: string;
  readonly tapIn: string | null;
  readonly keepRow: boolean;
  readonly row: string;
  /** Of each chunk, from its first `k`: where it lies in the sum, and relative to a row; whether it is there. */
  readonly coordinates: readonly string[];
  readonly columnType: string;
  readonly columnAt: string | null;
  readonly columnIn: string | null;
  /** Of a row's chunk: whether it is there; its distance from the start; its address, or that of some element. */
  readonly in: string;
  readonly at: string;
  readonly address: string;
  /** The number of elements; how far number `j` lies behind the first. */
  readonly mean: { readonly count: string; readonly offset: string } | null;
  /** Of an element x[p * WIDTH + e] of a computed A. */
  readonly prologue: string;
  readonly fill: string;
  readonly scaled: string | null;
  /** The prologue or the mean need the chunk's coordinates again. */
  readonly again: boolean;
  readonly meaning: string;
};

const rangesOf = (kernel: GemmKernel): Ranges => ({
  r: { min: 0, max: kernel.space.rows - 1 },
  tap: { min: 0, max: kernel.taps - 1 },
  c: { min: 0, max: kernel.channels - 1 },
  group: { min: 0, max: kernel.groups - 1 },
  j: { min: 0, max: (kernel.a.mean?.maxCount ?? 1) - 1 },
});

/** The widest run of channels that one access can move, of every element that is averaged. */
const runOfA = (kernel: GemmKernel, most: number): number => {
  const { a } = kernel;
  const averaged = a.mean === null ? a : { ...a, offset: add(a.offset, a.mean.offset) };
  return runWidth(averaged, "c", operandOfA(kernel).exampleStride, rangesOf(kernel), most);
};

const operandOfA = (kernel: GemmKernel): Operand => {
  const operand = kernel.operands[kernel.a.operand];
  if (operand === undefined) throw new Error(`internal: there is no operand ${kernel.a.operand}`);
  return operand;
};

/** Whether chunks of A can't be copied as they stand: another storage, a prologue, short or unaligned runs. */
export const readsThroughRegisters = (kernel: GemmKernel): boolean => {
  const { a, precision, norm, prologue } = kernel;
  const operand = operandOfA(kernel);
  const chunk = 16 / bytesOf[precision];
  return (
    operand.storage !== precision ||
    (precision === "f32" && norm !== null) ||
    prologue.kind !== "argument" ||
    (a.fill !== 0 && !isNumber(a.valid, 1)) ||
    runOfA(kernel, chunk) < chunk
  );
};

const maxTapBits = 32;

export const operandView = (
  kernel: GemmKernel,
  tiles: GemmTiles,
  names: ReadonlyMap<number, string>,
): {
  readonly view: OperandAView;
  readonly functions: readonly ScalarFunction[];
  readonly width: number | null;
  readonly note: string;
} => {
  const { taps, channels, precision } = kernel;
  const { a, groupStep } = withoutGroup(kernel);
  const { batched } = kernel.space;
  const operand = operandOfA(kernel);
  const ranges = rangesOf(kernel);
  const chunk = 16 / bytesOf[precision];
  const computed = readsThroughRegisters(kernel);
  const widest = computed ? Math.min(chunk, 16 / bytesOf[operand.storage]) : chunk;
  const width = runOfA({ ...kernel, a }, widest);

  const offset = splitOffset(a.offset, ranges);
  const valid = splitCondition(a.valid, ranges);
  const name = names.get(a.operand) ?? "a";
  const line = lineOfRows(offset.row, kernel, operand, ranges);

  // In the loop over rows, `r` has just been found; in the loops over chunks it has been kept.
  const rowName = batched ? "r" : "m";
  const rowScope: CudaScope = { variables: { r: integer(rowName, ranges["r"]), tap: integer("tap", ranges["tap"]) } };
  const k = kernel.taps * kernel.channels;
  const tapName = channels === 1 ? "k" : "tap";
  const channelName = taps === 1 ? "k" : "c";
  const chunkScope: CudaScope = {
    variables: {
      r: integer("r", ranges["r"]),
      tap: integer(tapName, ranges["tap"]),
      c: integer(channelName, ranges["c"]),
    },
  };

  const averageScope: CudaScope = { variables: { j: integer("j", ranges["j"]) } };

  const useTapBits = !isNumber(valid.mixed, 1) && !variablesOf(valid.mixed).has("c") && taps <= maxTapBits;
  const mixedIn = useTapBits || isNumber(valid.mixed, 1) ? null : printCudaOperand(valid.mixed, chunkScope, "bool");
  const mixedAt = isNumber(offset.mixed, 0)
    ? null
    : printCudaOperand(offset.mixed, chunkScope, fitsInt(offset.mixed, ranges) ? "int" : "long");
  const prologueReads = kernel.prologue.kind === "argument" ? new Set<string>() : variablesOf(kernel.prologue);
  const keepRow = mixedIn !== null || mixedAt !== null || prologueReads.has("r");
  const examples = batched && operand.exampleStride > 0 && line === null;
  const rowReads = [
    ...(line === null ? [offset.row] : []),
    valid.row,
    ...(useTapBits ? [valid.mixed] : []),
    ...(a.mean ? [a.mean.count] : []),
  ];
  const decode = batched && (examples || keepRow || rowReads.some((each) => variablesOf(each).has("r")));

  const withinRow = add(offset.column, offset.mixed);
  const narrow = spreadOf(kernel, operand, tiles, line === null ? a.offset : withinRow, line) < 2 ** 31;
  const columnIn = [
    ...(k % tiles.tileK === 0 ? [] : ["k < K"]),
    ...(isNumber(valid.column, 1) ? [] : [printCudaOperand(valid.column, chunkScope, "bool")]),
  ].join(" && ");
  const rowPart = useTapBits ? `(a_taps[i] >> ${tapName} & 1) != 0` : "a_in[i]";
  const inside = [rowPart, ...(columnIn === "" ? [] : ["column_in"]), ...(mixedIn === null ? [] : [mixedIn])].join(
    " && ",
  );

  const columnText = isNumber(offset.column, 0)
    ? null
    : printCuda(offset.column, chunkScope, fitsInt(offset.column, ranges) ? "int" : "long");
  const columnIsK = columnText === "k";
  const at = [
    "a_at[i]",
    ...(columnText === null ? [] : [columnIsK ? "k" : "at"]),
    ...(mixedAt === null ? [] : [mixedAt]),
  ].join(" + ");
  // Rows that are not there count from the block's start, where a whole row follows.
  const alwaysReadable =
    inside === "a_in[i]" && mixedAt === null && columnIsK && k <= operand.exampleSize && isNumber(a.valid, 1);

  const arguments_ = [
    "x[p * WIDTH + e]",
    ...(prologueReads.has("r") ? ["r"] : []),
    ...(prologueReads.has("tap") ? [tapName] : []),
    ...(prologueReads.has("c") ? [`${channelName} + e`] : []),
  ];
  const view: OperandAView = {
    storage: cudaStorage[operand.storage],
    computed,
    start: plus(startOf(name, kernel, operand, line), groupStep === 0 ? "" : `tile_n / TILES_OF_GROUP * ${groupStep}`),
    offsetType: narrow ? "int" : "int64_t",
    decode,
    examples,
    firstExample: examples,
    rowAt: rowOffset(offset.row, { kernel, operand, line, narrow, rowScope, ranges }),
    rowIn: ["m < rows", ...(isNumber(valid.row, 1) ? [] : [printCudaOperand(valid.row, rowScope, "bool")])].join(
      " && ",
    ),
    tapIn: useTapBits ? printCudaOperand(valid.mixed, rowScope, "bool") : null,
    keepRow,
    row: rowName,
    coordinates: coordinatesOf(kernel, tiles),
    columnType: fitsInt(offset.column, ranges) ? "int" : "int64_t",
    columnAt: columnIsK ? null : columnText,
    columnIn: columnIn === "" ? null : columnIn,
    in: inside,
    at,
    address: alwaysReadable ? `a_block + (${at})` : `in ? a_block + (${at}) : ${name}`,
    mean: a.mean && {
      count: printCuda(a.mean.count, rowScope, "int"),
      offset: printCudaOperand(a.mean.offset, averageScope, fitsInt(a.mean.offset, ranges) ? "int" : "long"),
    },
    prologue: kernel.prologue.kind === "argument" ? (arguments_[0] ?? "") : `prologue(${arguments_.join(", ")})`,
    fill: floatLiteral(a.fill),
    scaled: kernel.norm && precision === "f32" ? "(x[e] - scales[i].mean) * scales[i].scale" : null,
    again: a.mean !== null || prologueReads.size > 0,
    meaning: meaningOf(kernel, operand),
  };
  return {
    view,
    functions: computed && kernel.prologue.kind !== "argument" ? [prologueFunction(kernel)] : [],
    width: computed ? width : null,
    note: noteOf(kernel, operand, computed, width),
  };
};

/** A of the first group, and elements from each group's to the next one's. */
const withoutGroup = (kernel: GemmKernel): { readonly a: GemmKernel["a"]; readonly groupStep: number } => {
  const { a } = kernel;
  const line = linearIn(a.offset, "group", rangesOf(kernel));
  invariant(line !== undefined && !variablesOf(a.valid).has("group"), "groups of channels do not lie evenly");
  return { a: { ...a, offset: line.rest }, groupStep: line.coefficient };
};

const integer = (text: string, range: { readonly min: number; readonly max: number } | undefined): CudaVariable => ({
  type: "int",
  text,
  min: range?.min ?? 0,
  max: range?.max ?? 0,
});

type Line = { readonly slope: number; readonly rest: number };

/** Where rows lie evenly from the first of the first example to the last of the last, they need no example. */
const lineOfRows = (row: Scalar, kernel: GemmKernel, operand: Operand, ranges: Ranges): Line | null => {
  const line = linearIn(row, "r", ranges);
  if (line === undefined || line.rest.kind !== "number") return null;
  if (kernel.space.batched && operand.exampleStride !== line.coefficient * kernel.space.rows) return null;
  return { slope: line.coefficient, rest: line.rest.value };
};

const plus = (name: string, ...terms: readonly string[]): string =>
  [name, ...terms.filter((term) => term !== "")].join(" + ").replaceAll("+ -", "- ");
const times = (value: string, factor: number): string => (factor === 1 ? value : `${value} * ${factor}`);

const startOf = (name: string, kernel: GemmKernel, operand: Operand, line: Line | null): string => {
  if (line !== null)
    return plus(
      name,
      line.slope === 0 ? "" : times("(int64_t)m0", line.slope),
      line.rest === 0 ? "" : String(line.rest),
    );
  return kernel.space.batched && operand.exampleStride > 0
    ? plus(name, times("(int64_t)first_example", operand.exampleStride))
    : name;
};

type RowContext = { readonly kernel: GemmKernel; readonly operand: Operand; readonly line: Line | null; readonly narrow: boolean; readonly rowScope: CudaScope; readonly ranges: Ranges }; // prettier-ignore

const rowOffset = (row: Scalar, { kernel, operand, line, narrow, rowScope, ranges }: RowContext): string => {
  const wide = narrow ? "" : "(int64_t)";
  if (line !== null) return line.slope === 0 ? "0" : times(`${wide}(m - m0)`, line.slope);
  const within = printCudaOperand(row, rowScope, fitsInt(row, ranges) ? "int" : "long");
  if (!kernel.space.batched || operand.exampleStride === 0) return within;
  return plus(times(`${wide}(example - first_example)`, operand.exampleStride), within === "0" ? "" : within);
};

/** The largest distance of an element from the block's start; `offset` is what a row's place leaves open. */
const spreadOf = (
  kernel: GemmKernel,
  operand: Operand,
  tiles: GemmTiles,
  offset: Scalar,
  line: Line | null,
): number => {
  const { min, max } = rangeOf(add(offset, kernel.a.mean?.offset ?? 0), rangesOf(kernel));
  const reach = Math.max(Math.abs(min), Math.abs(max));
  if (line !== null) return tiles.tileM * Math.abs(line.slope) + reach;
  return kernel.space.batched
    ? (Math.ceil(tiles.tileM / kernel.space.rows) + 1) * operand.exampleStride + reach
    : reach;
};

/** `tap` and `c` of element k: the same tap for the whole tile where a tap's channels are whole tiles. */
const coordinatesOf = ({ taps, channels }: GemmKernel, { tileK }: GemmTiles): readonly string[] => {
  if (taps === 1 || channels === 1) return [];
  return channels % tileK === 0
    ? ["const int tap = kt * TILE_K / CHANNELS, c = k - tap * CHANNELS;"]
    : ["const int tap = k / CHANNELS, c = k - tap * CHANNELS;"];
};

const prologueFunction = (kernel: GemmKernel): ScalarFunction => {
  const reads = variablesOf(kernel.prologue);
  const ranges = rangesOf(kernel);
  const named = ["r", "tap", "c"].filter((name) => reads.has(name));
  const variables = Object.fromEntries(named.map((name) => [name, integer(name, ranges[name])]));
  const scope: CudaScope = { variables, arguments: [{ type: "float", text: "a" }], fast: kernel.precision !== "f32" };
  return {
    comment: "What becomes of an element of A before the product.",
    name: "prologue",
    parameters: ["float a", ...named.map((name) => `int ${name}`)],
    value: printCuda(kernel.prologue, scope, "float"),
  };
};

const meaningOf = (kernel: GemmKernel, operand: Operand): string => {
  const steps = [
    operand.storage === kernel.precision ? "" : `${operand.storage} made float32`,
    kernel.a.mean ? "averaged where a row is a mean" : "",
    kernel.prologue.kind === "argument" ? "" : "through the prologue",
  ].filter((step) => step !== "");
  return steps.length === 0 ? "as float32" : steps.join(", ");
};

const noteOf = (kernel: GemmKernel, operand: Operand, computed: boolean, width: number): string => {
  const bytes = width * bytesOf[operand.storage];
  if (!computed) return "A is copied to shared memory 16 bytes at a time, past the registers.";
  const because =
    operand.storage !== kernel.precision
      ? `is stored as ${operand.storage}`
      : kernel.norm !== null && kernel.precision === "f32"
        ? "is normalised on the way"
        : kernel.prologue.kind !== "argument"
          ? "has a prologue"
          : "has no runs of 16 bytes";
  return `A passes through registers, ${bytes} ${bytes === 1 ? "byte" : "bytes"} a load, because it ${because}.`;
};
