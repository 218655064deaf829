import type { Ranges } from "../../ir/scalarRange.ts";
import { linearIn } from "../../ir/scalarRuns.ts";
import { variablesOf } from "../../ir/scalarWalk.ts";
import type { Scalar } from "../../ir/scalar.ts";
import { bytesOf } from "../../ir/types.ts";
import { fitsInt, isNumber, runWidth } from "../schedule/gemmMap.ts";
import type { GemmTiles } from "../schedule/gemmTiles.ts";
import type { Access, GemmKernel, Operand } from "../schedule/kernels.ts";
import { floatLiteral, printCuda, printCudaOperand } from "./cudaScalar.ts";
import type { CudaScope, CudaVariable } from "./cudaTypes.ts";
import { elementKind, elementNames, type ScalarFunction } from "./gemmNames.ts";

/** What becomes of the sums. Fields are C++ text. */
export type EpilogueView = {
  /** `r`, and `example` where it is needed, from `m`; null where rows need neither. */
  readonly decode: string | null;
  /** Read once for a group of columns, once for a row, once for each place. */
  readonly columnLoads: readonly AccessView[];
  readonly rowLoads: readonly AccessView[];
  readonly elementLoads: readonly AccessView[];
  /** Of `sum`: the element that is stored. */
  readonly result: string;
  readonly stores: readonly AccessView[];
};
/** One run of `width` of a thread's V neighbours; where `pieces`, the statement is repeated for each `column` in steps of that. */
export type AccessView = {
  readonly values: string;
  readonly pieces: boolean;
  readonly width: number;
  readonly statement: string;
};

export const epilogueView = (
  kernel: GemmKernel,
  tiles: GemmTiles,
  names: ReadonlyMap<number, string>,
  results: number,
): { readonly view: EpilogueView; readonly functions: readonly ScalarFunction[] } => {
  const places = new Places(kernel, tiles, names, results);
  const elements = kernel.epilogue.elements.map((access, index) => {
    const values = `${elementNames(kernel)[index] ?? ""}_value`;
    const kind = elementKind(access, places.operand(access).exampleStride);
    return { kind, values, view: places.load(access, kind, values) };
  });
  const stores = kernel.stores.map((access) => places.store(access));

  const { body } = kernel.epilogue;
  const reads = variablesOf(body);
  const identity = body.kind === "argument" && body.index === 0;
  const names_ = elements.map(({ values }) => values.replace(/_value$/, ""));
  const given = ["r", "n"].filter((name) => reads.has(name));
  if (reads.has("r")) places.need("r");
  const scope: CudaScope = {
    variables: Object.fromEntries(given.map((name) => [name, integer(name, places.ranges[name])])),
    arguments: ["sum", ...names_].map((text) => ({ type: "float", text })),
    fast: kernel.precision !== "f32",
  };
  const passed = [
    "sum",
    ...elements.map(({ kind, values }) => (kind === "row" ? `${values}[0]` : `${values}[q]`)),
    ...(reads.has("r") ? [places.rowName] : []),
    ...(reads.has("n") ? ["n + q"] : []),
  ];
  const viewsOf = (kind: string): readonly AccessView[] =>
    elements.filter((each) => each.kind === kind).map(({ view }) => view);
  return {
    view: {
      decode: places.decode(),
      columnLoads: viewsOf("column"),
      rowLoads: viewsOf("row"),
      elementLoads: viewsOf("element"),
      result: identity ? "sum" : `epilogue(${passed.join(", ")})`,
      stores,
    },
    functions: identity
      ? []
      : [
          {
            comment: "The element that is stored, of a sum of products.",
            name: "epilogue",
            parameters: [...["sum", ...names_].map((name) => `float ${name}`), ...given.map((name) => `int ${name}`)],
            value: printCuda(body, scope, "float"),
          },
        ],
  };
};

const integer = (text: string, range: { readonly min: number; readonly max: number } | undefined): CudaVariable => ({
  type: "int",
  text,
  min: range?.min ?? 0,
  max: range?.max ?? 0,
});

/** Prints where elements lie, and notes what that needs to know of a row. */
class Places {
  readonly ranges: Ranges;
  /** What holds the row of an example. */
  readonly rowName: string;
  readonly #kernel: GemmKernel;
  readonly #names: ReadonlyMap<number, string>;
  readonly #results: number;
  /** Columns of the last tile may lie beyond the result. */
  readonly #tail: boolean;
  readonly #needed: Set<"example" | "r"> = new Set();

  constructor(kernel: GemmKernel, tiles: GemmTiles, names: ReadonlyMap<number, string>, results: number) {
    this.ranges = { r: { min: 0, max: kernel.space.rows - 1 }, n: { min: 0, max: kernel.columns - 1 } };
    this.rowName = kernel.space.batched ? "r" : "m";
    this.#kernel = kernel;
    this.#names = names;
    this.#results = results;
    this.#tail = kernel.columns % tiles.tileN !== 0;
  }

  need(what: "example" | "r"): void {
    if (this.#kernel.space.batched) this.#needed.add(what);
  }

  decode(): string | null {
    const parts = [
      ...(this.#needed.has("example") ? ["example = m / ROWS"] : []),
      ...(this.#needed.has("r") ? ["r = m % ROWS"] : []),
    ];
    return parts.length === 0 ? null : parts.join(", ");
  }

  operand(access: Access): Operand {
    const operand = this.#kernel.operands[access.operand];
    if (operand === undefined) throw new Error(`internal: there is no operand ${access.operand}`);
    return operand;
  }

  load(access: Access, kind: "column" | "row" | "element", values: string): AccessView {
    const width = kind === "row" ? 1 : this.#width(access);
    const pieces = kind !== "row" && width < this.#results;
    const sure = isNumber(access.valid, 1);
    const live = this.#live(access, kind === "row", pieces);
    const call = sure ? "load_values" : "load_values_or";
    const from = [values, pieces ? "q" : "0", this.#names.get(access.operand) ?? "", this.#at(access, pieces)];
    const rest = sure ? (live === "" ? [] : [live]) : [live === "" ? "true" : live, floatLiteral(access.fill)];
    return { values, pieces, width, statement: `${call}<${width}>(${[...from, ...rest].join(", ")})` };
  }

  store(access: Access): AccessView {
    const { storage } = this.operand(access);
    if (storage === "i32" || storage === "u8") throw new Error(`internal: a product cannot be stored as ${storage}`);
    const width = this.#width(access);
    const pieces = width < this.#results;
    const to = [this.#names.get(access.operand) ?? "", this.#at(access, pieces), "result", pieces ? "q" : "0"];
    const live = ["in", this.#live(access, false, pieces)].filter((each) => each !== "").join(" && ");
    const statement = `store_values<${width}>(${[...to, live].join(", ")})`;
    return { values: "result", pieces, width, statement };
  }

  /** Elements along a row that one access moves. */
  #width(access: Access): number {
    const operand = this.operand(access);
    const most = Math.min(this.#results, 16 / bytesOf[operand.storage]);
    return runWidth(access, "n", operand.exampleStride, this.ranges, most);
  }

  /** Whether a run is there, its row being so; empty where it always is. */
  #live(access: Access, wholeRow: boolean, pieces: boolean): string {
    return [
      ...(this.#tail && !wholeRow ? [`${pieces ? "column" : "n"} < COLUMNS`] : []),
      ...(isNumber(access.valid, 1) ? [] : [printCudaOperand(access.valid, this.#scope(access.valid, pieces), "bool")]),
    ].join(" && ");
  }

  #scope(reads: Scalar, pieces: boolean): CudaScope {
    if (variablesOf(reads).has("r")) this.need("r");
    return {
      variables: { r: integer(this.rowName, this.ranges["r"]), n: integer(pieces ? "column" : "n", this.ranges["n"]) },
    };
  }

  /** Elements from the start of the operand. */
  #at(access: Access, pieces: boolean): string {
    const { batched, rows } = this.#kernel.space;
    const { exampleStride } = this.operand(access);
    const line = linearIn(access.offset, "r", this.ranges);
    if (batched && exampleStride > 0 && line?.coefficient === exampleStride / rows) {
      // Rows lie evenly through all examples: rows of the whole batch are counted, in 64 bits.
      const column = integer(pieces ? "column" : "n", this.ranges["n"]);
      const row: CudaVariable = { type: "int", text: "m", min: 0, max: 2 ** 31 - 1 };
      return printCuda(access.offset, { variables: { r: row, n: column } }, "long");
    }
    const scope = this.#scope(access.offset, pieces);
    const type = fitsInt(access.offset, this.ranges) ? "int" : "long";
    if (!batched || exampleStride === 0) return printCuda(access.offset, scope, type);
    this.need("example");
    return `(int64_t)example * ${exampleStride} + ${printCudaOperand(access.offset, scope, type)}`;
  }
}
