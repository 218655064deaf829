import { variablesOf } from "../../ir/scalarWalk.ts";
import type { StorageType } from "../../ir/types.ts";
import type { Access, GemmKernel } from "../schedule/kernels.ts";

export const cudaStorage: { readonly [S in StorageType]: string } = { f32: "float", f16: "f16", bf16: "bf16", i32: "int32_t", u8: "uint8_t" }; // prettier-ignore

/** A scalar function printed above the kernel. */
export type ScalarFunction = {
  readonly comment: string;
  readonly name: string;
  readonly parameters: readonly string[];
  readonly value: string;
};

/** What an element of the epilogue is the same for. */
export type ElementKind = "column" | "row" | "element";

export const elementKind = (access: Access, exampleStride: number): ElementKind => {
  const names = new Set([...variablesOf(access.offset), ...variablesOf(access.valid)]);
  if (!names.has("r") && exampleStride === 0) return "column";
  return names.has("n") ? "element" : "row";
};

const stems: { readonly [K in ElementKind]: string } = { column: "bias", row: "row_value", element: "residual" };

/** A name for each epilogue element: `bias`, `residual`, `residual2`. */
export const elementNames = (kernel: GemmKernel): readonly string[] => {
  const fresh = freshNames();
  return kernel.epilogue.elements.map((access) =>
    fresh(stems[elementKind(access, kernel.operands[access.operand]?.exampleStride ?? 0)]),
  );
};

/** The parameters' names, by operand: `a`, `y`, and those of the elements read from the others. */
export const operandNames = (kernel: GemmKernel): ReadonlyMap<number, string> => {
  const names = new Map<number, string>([[kernel.a.operand, "a"]]);
  const fresh = freshNames();
  for (const { operand } of kernel.stores) if (!names.has(operand)) names.set(operand, fresh("y"));
  for (const [index, name] of elementNames(kernel).entries()) {
    const operand = kernel.epilogue.elements[index]?.operand;
    if (operand !== undefined && !names.has(operand)) names.set(operand, name);
  }
  const lengths = kernel.lengths?.of.operand;
  if (lengths !== undefined && !names.has(lengths)) names.set(lengths, "lengths");
  return names;
};

const freshNames = (): ((stem: string) => string) => {
  const counts = new Map<string, number>();
  return (stem) => {
    const count = (counts.get(stem) ?? 0) + 1;
    counts.set(stem, count);
    return count === 1 ? stem : `${stem}${count}`;
  };
};
