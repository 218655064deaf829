/**
 * Scalar expressions: the bodies of pointwise ops and of lambdas on scores and positions, and every integer address.
 * One language, so that a predicate can be evaluated, printed as CUDA, and bounded by interval analysis alike.
 *
 * Variables are named by the expression's owner: `q.t`, `k.h`, `q.isPrefix`, `head`, `s` in attention;
 * `r` (row of an example), `n`, `k`, `c`, `tap` in kernels. Booleans are 0 and 1.
 * Operands of `and`, `or`, `not` and the condition of a `select` are booleans.
 * `floorDiv` and `mod` round towards minus infinity (`mod` has the divisor's sign); `rem` has the dividend's, as `%` in JavaScript.
 * `round` rounds halves up, as in JavaScript.
 */
export type Scalar =
  | { readonly kind: "number"; readonly value: number }
  | { readonly kind: "variable"; readonly name: string }
  /** The element of the owner's input number `index` at the owner's position. */
  | { readonly kind: "argument"; readonly index: number }
  /** An element of the owner's table number `table`, one index per axis of the table, then its channel. */
  | { readonly kind: "load"; readonly table: number; readonly index: readonly Scalar[] }
  | { readonly kind: "unary"; readonly op: UnaryOp; readonly of: Scalar }
  | { readonly kind: "binary"; readonly op: BinaryOp; readonly left: Scalar; readonly right: Scalar }
  | { readonly kind: "select"; readonly if: Scalar; readonly then: Scalar; readonly else: Scalar };

export type UnaryOp =
  | "neg"
  | "not"
  | "abs"
  | "sign"
  | "floor"
  | "ceil"
  | "round"
  | "exp"
  | "log"
  | "sqrt"
  | "rsqrt"
  | "sin"
  | "cos"
  | "tanh"
  | "erf"
  | "sigmoid";
export type BinaryOp =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "pow"
  | "min"
  | "max"
  | "floorDiv"
  | "mod"
  | "rem"
  | "and"
  | "or"
  | "eq"
  | "ne"
  | "lt"
  | "le"
  | "gt"
  | "ge";

/** Where an expression is asked for, a number will do. */
export type ScalarLike = Scalar | number;
