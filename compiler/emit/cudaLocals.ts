import type { Scalar } from "../../ir/scalar.ts";
import { childrenOf } from "../../ir/scalarWalk.ts";
import { print, printerOf, type Printer } from "./cudaScalar.ts";
import { typeName, typeOf, type CudaScope, type CudaType } from "./cudaTypes.ts";
import { geluArgument } from "../../ir/scalarGelu.ts";

export type PrintedLocals = {
  /** `const int t0 = …;`, one a line, in order. */
  readonly statements: readonly string[];
  /** One text for each expression. */
  readonly values: readonly string[];
};
/**
 * Several expressions that share what they have in common: what occurs twice becomes a local variable called `prefix` and
 * a number. What runs only on one side of a choice stays there if it reads memory or divides by a variable.
 */
export function printCudaLocals(
  roots: readonly { readonly scalar: Scalar; readonly as: CudaType }[],
  scope: CudaScope,
  prefix: string,
): PrintedLocals {
  const printer = printerOf(scope);
  const statements: string[] = [];
  const shared = sharedParts(
    roots.map((root) => root.scalar),
    printer,
  );
  for (const scalar of shared) {
    const type = typeOf(scalar, printer.types);
    const text = `${prefix}${statements.length}`;
    statements.push(`const ${typeName[type]} ${text} = ${print(scalar, type, printer).text};`);
    printer.locals.set(printer.numberOf(scalar), { type, text });
  }
  return { statements, values: roots.map((root) => print(root.scalar, root.as, printer).text) };
}

/** The expressions that occur more than once, parts before wholes. */
function sharedParts(roots: readonly Scalar[], { numberOf }: Printer): readonly Scalar[] {
  const uses = new Map<number, number>();
  const certain = new Set<number>();
  const order: Scalar[] = [];
  const visit = (scalar: Scalar, always: boolean): void => {
    if (childrenOf(scalar).length === 0) return;
    const key = numberOf(scalar);
    const seen = uses.get(key) ?? 0;
    uses.set(key, seen + 1);
    // A further use adds none to the uses of the parts, but may be the first that always runs.
    if (seen === 0)
      for (const [index, part] of partsOf(scalar).entries()) visit(part, always && !isConditional(scalar, index));
    if (seen === 0) order.push(scalar);
    if (always) markCertain(scalar);
  };
  const markCertain = (scalar: Scalar): void => {
    const key = numberOf(scalar);
    if (certain.has(key)) return;
    certain.add(key);
    for (const [index, part] of partsOf(scalar).entries()) if (!isConditional(scalar, index)) markCertain(part);
  };
  for (const scalar of roots) visit(scalar, true);
  return order.filter((scalar) => {
    const key = numberOf(scalar);
    return (uses.get(key) ?? 0) > 1 && (certain.has(key) || isTotal(scalar));
  });
}

/** What printing the expression prints of its parts: of a GELU its argument once. */
function partsOf(scalar: Scalar): readonly Scalar[] {
  const gelu = geluArgument(scalar);
  return gelu === undefined ? childrenOf(scalar) : [gelu];
}

/** Whether part number `index` may be left out when the expression is evaluated. */
const isConditional = (scalar: Scalar, index: number): boolean =>
  index > 0 && (scalar.kind === "select" || (scalar.kind === "binary" && (scalar.op === "and" || scalar.op === "or")));

/** Whether the expression can be evaluated for any values of its variables. */
function isTotal(scalar: Scalar): boolean {
  if (scalar.kind === "load") return false;
  if (
    scalar.kind === "binary" &&
    (scalar.op === "floorDiv" || scalar.op === "mod" || scalar.op === "rem") &&
    scalar.right.kind !== "number"
  )
    return false;
  return childrenOf(scalar).every(isTotal);
}
