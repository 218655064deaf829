/**
 * A function's source as data: what the front end reads from its text and hands to the library beside the function.
 * Free names stay open (`capture`) until the function is met with values in them.
 */
export type LambdaSource = {
  readonly name: string;
  readonly parameters: readonly string[];
  readonly body: LambdaBody;
  /** The text of each free expression, in the order of `captures`. */
  readonly captures: readonly string[];
  readonly place: SourcePlace;
};
/** In the author's file, given by path or URL. */
export type SourcePlace = {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly length: number;
};

export type LambdaBody =
  /** `locals` are the constants that it names on its way, each from earlier ones. */
  | { readonly kind: "expression"; readonly value: LambdaExpr; readonly locals: readonly LambdaExpr[] }
  /** The function cannot be part of a kernel; an error only where a lambda calls it. */
  | { readonly kind: "refused"; readonly refusal: Refusal };
export type Refusal = {
  readonly code: "unsupported-syntax" | "unsupported-function";
  readonly what: string;
  readonly hint: string;
  readonly place: SourcePlace;
};

export type LambdaExpr =
  | { readonly kind: "number"; readonly value: number }
  | { readonly kind: "boolean"; readonly value: boolean }
  | { readonly kind: "parameter"; readonly index: number }
  | { readonly kind: "local"; readonly index: number }
  | { readonly kind: "capture"; readonly index: number; readonly place: SourcePlace }
  | { readonly kind: "field"; readonly of: LambdaExpr; readonly name: string; readonly place: SourcePlace }
  | { readonly kind: "element"; readonly of: LambdaExpr; readonly index: LambdaExpr; readonly place: SourcePlace }
  | { readonly kind: "unary"; readonly op: "-" | "+" | "!"; readonly of: LambdaExpr }
  | { readonly kind: "binary"; readonly op: LambdaOperator; readonly left: LambdaExpr; readonly right: LambdaExpr }
  | { readonly kind: "choose"; readonly if: LambdaExpr; readonly then: LambdaExpr; readonly else: LambdaExpr }
  | { readonly kind: "math"; readonly name: MathFunction; readonly arguments: readonly LambdaExpr[] }
  | {
      readonly kind: "call";
      readonly callee: LambdaExpr;
      readonly arguments: readonly LambdaExpr[];
      readonly place: SourcePlace;
    }
  /** `parameter.at(…)`, `grid.of(…)` and `grid.element(…)`, the methods that a lambda may call. */
  | {
      readonly kind: "read";
      readonly method: "at" | "of" | "element";
      readonly of: LambdaExpr;
      readonly arguments: readonly LambdaExpr[];
      readonly place: SourcePlace;
    };

export const lambdaOperators = [
  "+",
  "-",
  "*",
  "/",
  "%",
  "**",
  "<",
  "<=",
  ">",
  ">=",
  "===",
  "!==",
  "&&",
  "||",
  "??",
  "<<",
  ">>",
] as const;
export type LambdaOperator = (typeof lambdaOperators)[number];

export const mathFunctions = [
  "abs",
  "sign",
  "floor",
  "ceil",
  "round",
  "trunc",
  "min",
  "max",
  "sqrt",
  "exp",
  "expm1",
  "log",
  "log1p",
  "log2",
  "log10",
  "pow",
  "hypot",
  "sin",
  "cos",
  "tan",
  "tanh",
  "sinh",
  "cosh",
] as const;
export type MathFunction = (typeof mathFunctions)[number];

type Known = { readonly source: LambdaSource; readonly captures: () => readonly unknown[] };
const sources = new WeakMap<object, Known>();

/** What the front end wraps around each function that may become part of a kernel; gives the function back. @internal */
export function withSource<F extends object>(f: F, source: LambdaSource, captures: () => readonly unknown[]): F {
  sources.set(f, { source, captures });
  return f;
}

export const sourceOf = (f: object): Known | undefined => sources.get(f);
