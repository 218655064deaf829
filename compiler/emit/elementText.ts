import type { Ranges } from "../../ir/scalarRange.ts";
import type { StorageType } from "../../ir/types.ts";
import { operandOf, runForm, type RunForm } from "../schedule/elementRuns.ts";
import type { Access, Operand } from "../schedule/kernels.ts";
import { floatLiteral, printCuda, printIndex } from "./cudaScalar.ts";
import { typeName, type CudaScope, type CudaType, type CudaValue, type CudaVariable } from "./cudaTypes.ts";
import { cudaStorage } from "./gemmNames.ts";

/** An element that a kernel reads or writes, as text. */
export type ElementText = {
  readonly form: RunForm;
  readonly access: Access;
  /** The array's name, at the example of the thread. */
  readonly array: string;
  readonly storage: StorageType;
};

/** `float` or `int`: what an element is in the kernel. */
export const elementType = (storage: StorageType): CudaType =>
  storage === "i32" || storage === "u8" ? "int" : "float";

/** Describes an access of a kernel that computes runs of `width` results along a variable. */
export function elementText(
  access: Access,
  operands: readonly Operand[],
  names: readonly string[],
  runs: { readonly along: string; readonly width: number; readonly ranges: Ranges },
): ElementText {
  const operand = operandOf(operands, access);
  const form = runForm(access, operand, runs.along, runs.width, runs.ranges);
  return { form, access, array: names[access.operand] ?? "", storage: operand.storage };
}

/** The element's name in the body of result j, where the element is called `name`. */
export const elementValue = ({ form, storage }: ElementText, name: string): CudaValue => ({
  type: elementType(storage),
  text: form === "run" ? `${name}[j]` : name,
});

/** Loads an element for a whole run of results; nothing where each result has its own. */
export function loadForRun(
  text: ElementText,
  name: string,
  width: number | string,
  scope: CudaScope,
): readonly string[] {
  switch (text.form) {
    case "run":
      return [`float ${name}[${width}];`, loadRun(text, name, scope)];
    case "same":
      return [`const ${typeName[elementType(text.storage)]} ${name} = ${loadOne(text, scope)};`];
    case "each":
      return [];
  }
}

/** Loads the element of result j, where each has its own. */
export const loadForEach = (text: ElementText, name: string, scope: CudaScope): readonly string[] =>
  text.form === "each" ? [`const ${typeName[elementType(text.storage)]} ${name} = ${loadOne(text, scope)};`] : [];

/** Whether all results are stored in 16 bits, for which faster functions are exact enough. */
export const isCoarse = (stores: readonly ElementText[]): boolean =>
  stores.every(({ storage }) => storage === "f16" || storage === "bf16");

/** A run into the array `into`: one statement. */
export function loadRun({ access, array }: ElementText, into: string, scope: CudaScope): string {
  const at = printIndex(access.offset, scope);
  if (isAlways(access)) return `load_elements(${into}, ${array}, ${at});`;
  return `load_elements_or(${into}, ${array}, ${at}, ${printCuda(access.valid, scope, "bool")}, ${floatLiteral(access.fill)});`;
}

/** One element, as an expression. */
export function loadOne({ access, array, storage }: ElementText, scope: CudaScope): string {
  const type = elementType(storage);
  const element = `ld(${array} + ${inSum(printIndex(access.offset, scope))})`;
  const value = type === "int" ? `(int)${element}` : storage === "f32" ? element : `to_f32(${element})`;
  if (isAlways(access)) return value;
  const fill = type === "int" ? String(access.fill) : floatLiteral(access.fill);
  return `${inCondition(printCuda(access.valid, scope, "bool"))} ? ${value} : ${fill}`;
}

/** Stores the run in the array `from`: one statement. */
export function storeRun({ access, array }: ElementText, from: string, scope: CudaScope): string {
  const live = isAlways(access) ? "true" : printCuda(access.valid, scope, "bool");
  return `store_elements(${array}, ${printIndex(access.offset, scope)}, ${from}, ${live});`;
}

/** Stores one value: one statement. */
export function storeOne({ access, array, storage }: ElementText, value: string, scope: CudaScope): string {
  const type = cudaStorage[storage];
  const stored =
    elementType(storage) === "int" ? `(${type})${value}` : storage === "f32" ? value : `from_f32<${type}>(${value})`;
  const store = `st(${array} + ${inSum(printIndex(access.offset, scope))}, ${stored});`;
  return isAlways(access) ? store : `if (${printCuda(access.valid, scope, "bool")}) ${store}`;
}

const isAlways = ({ valid }: Access): boolean => valid.kind === "number" && valid.value !== 0;
const inSum = (text: string): string => (/[?<>=&|]/.test(text) ? `(${text})` : text);
const inCondition = (text: string): string => (text.includes("?") ? `(${text})` : text);

/** Index variables under names of the kernel. */
export function indexScope(
  names: { readonly [variable: string]: string },
  ranges: Ranges,
): { readonly [name: string]: CudaVariable } {
  return Object.fromEntries(
    Object.entries(ranges).flatMap(([variable, range]) => {
      const text = names[variable];
      return text === undefined ? [] : [[variable, { type: "int", text, min: range.min, max: range.max } as const]];
    }),
  );
}

/** `const bf16* __restrict__ x`: an array is `const` where nothing is written to it. */
export const declaration = (name: string, { storage }: Operand, isWritten: boolean): string =>
  `${isWritten ? "" : "const "}${cudaStorage[storage]}* __restrict__ ${name}`;

/** Moves arrays to the thread's example. */
export const exampleShifts = (names: readonly string[], operands: readonly Operand[]): readonly string[] =>
  operands.flatMap(({ exampleStride }, index) =>
    exampleStride === 0 ? [] : [`${names[index]} += example * (int64_t)${exampleStride};`],
  );

/** `y` for what a kernel writes, `x` for what it reads, with numbers where there are several. */
export function arrayNames(operands: readonly Operand[], isWritten: ReadonlySet<number>): readonly string[] {
  const count = (kind: boolean): number => operands.filter((_, index) => isWritten.has(index) === kind).length;
  const next = { x: 0, y: 0 };
  return operands.map((_, index) => {
    const stem = isWritten.has(index) ? "y" : "x";
    return count(isWritten.has(index)) === 1 ? stem : `${stem}${next[stem]++}`;
  });
}
