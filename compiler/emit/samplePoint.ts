import { eq, literal, select, variable } from "../../ir/scalarBuild.ts";
import type { Ranges } from "../../ir/scalarRange.ts";
import type { Scalar } from "../../ir/scalar.ts";
import type { Access, Computed, SampleKernel } from "../schedule/kernels.ts";
import { printCudaLocals } from "./cudaLocals.ts";
import type { CudaScope } from "./cudaTypes.ts";
import { elementText, elementValue, loadForEach, type ElementText } from "./elementText.ts";

/** One expression for each level. */
export const byLevel = (scalars: readonly Scalar[]): Scalar => {
  const last = scalars.at(-1) ?? literal(0);
  if (scalars.every((scalar) => JSON.stringify(scalar) === JSON.stringify(last))) return last;
  return scalars
    .slice(0, -1)
    .reduceRight<Scalar>((rest, scalar, level) => select(eq(variable("g"), level), scalar, rest), last);
};

export type TextContext = {
  readonly kernel: SampleKernel;
  readonly names: readonly string[];
  readonly scope: CudaScope;
  readonly ranges: Ranges;
};

/** Numbers of a point: loads of elements, each once, what the numbers have in common, then the numbers. */
export function computedText(
  numbers: readonly Computed[],
  prefix: string,
  { kernel, names, scope, ranges }: TextContext,
): { readonly statements: readonly string[]; readonly values: readonly string[] } {
  const single = { along: "n", width: 1, ranges };
  const known: { readonly key: string; readonly name: string; readonly text: ElementText }[] = [];
  const elementOf = (access: Access): (typeof known)[number] => {
    const key = JSON.stringify(access);
    const found = known.find((each) => each.key === key);
    if (found) return found;
    const made = { key, name: `${prefix}${known.length}`, text: elementText(access, kernel.operands, names, single) };
    known.push(made);
    return made;
  };
  const printed = numbers.map(({ body, elements }, index) => {
    const values = elements.map((access) => {
      const { name, text } = elementOf(access);
      return elementValue(text, name);
    });
    return printCudaLocals([{ scalar: body, as: "float" }], { ...scope, arguments: values }, `${prefix}t${index}_`);
  });
  const loads = known.flatMap(({ name, text }) => loadForEach(text, name, scope));
  return {
    statements: [...loads, ...printed.flatMap(({ statements }) => statements)],
    values: printed.flatMap(({ values }) => values),
  };
}
