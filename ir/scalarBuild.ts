import { binaryFunctions, isBoolean, unaryFunctions } from "./scalarMeaning.ts";
import type { BinaryOp, Scalar, ScalarLike, UnaryOp } from "./scalar.ts";

/**
 * Makers of scalar expressions. They fold constants and drop neutral elements, and nothing that would need to know
 * ranges: that is `simplify`. `x * 0` stays, since x may be infinite.
 */
export const literal = (value: number): Scalar => ({ kind: "number", value });
export const variable = (name: string): Scalar => ({ kind: "variable", name });
export const argument = (index: number): Scalar => ({ kind: "argument", index });
export const load = (table: number, index: readonly ScalarLike[]): Scalar => ({
  kind: "load",
  table,
  index: index.map(toScalar),
});

const toScalar = (value: ScalarLike): Scalar => (typeof value === "number" ? literal(value) : value);
const isLiteral = (expr: Scalar, value: number): boolean => expr.kind === "number" && expr.value === value;

export const unary = (op: UnaryOp, of: ScalarLike): Scalar => {
  const operand = toScalar(of);
  if (operand.kind === "number") return literal(unaryFunctions[op](operand.value));
  if (operand.kind === "unary" && operand.op === op) {
    if (op === "neg" || op === "not") return operand.of;
    if (op === "abs" || op === "floor" || op === "ceil" || op === "round") return operand;
  }
  if (op === "not" && operand.kind === "binary") {
    const opposite = opposites[operand.op];
    if (opposite !== undefined) return { ...operand, op: opposite };
  }
  return { kind: "unary", op, of: operand };
};

/** Ordered comparisons are not turned round: with NaN neither side of them holds. */
const opposites: { readonly [O in BinaryOp]?: BinaryOp } = { eq: "ne", ne: "eq" };

export const binary = (op: BinaryOp, a: ScalarLike, b: ScalarLike): Scalar => {
  const left = toScalar(a);
  const right = toScalar(b);
  if (left.kind === "number" && right.kind === "number") return literal(binaryFunctions[op](left.value, right.value));
  return neutral(op, left, right) ?? { kind: "binary", op, left, right };
};

const neutral = (op: BinaryOp, left: Scalar, right: Scalar): Scalar | undefined => {
  switch (op) {
    case "add":
      return isLiteral(left, 0) ? right : isLiteral(right, 0) ? left : undefined;
    case "sub":
      return isLiteral(right, 0) ? left : isLiteral(left, 0) ? unary("neg", right) : undefined;
    case "mul":
      return isLiteral(left, 1) ? right : isLiteral(right, 1) ? left : undefined;
    case "div":
    case "pow":
      return isLiteral(right, 1) ? left : undefined;
    case "and":
      if (isLiteral(left, 0) || isLiteral(right, 0)) return literal(0);
      return isLiteral(left, 1) ? right : isLiteral(right, 1) ? left : undefined;
    case "or":
      if (isLiteral(left, 1) || isLiteral(right, 1)) return literal(1);
      return isLiteral(left, 0) ? right : isLiteral(right, 0) ? left : undefined;
    default:
      return undefined;
  }
};

export const select = (condition: ScalarLike, then: ScalarLike, otherwise: ScalarLike): Scalar => {
  const test = toScalar(condition);
  const yes = toScalar(then);
  const no = toScalar(otherwise);
  if (test.kind === "number") return test.value === 0 ? no : yes;
  if (yes.kind === "number" && no.kind === "number") {
    if (Object.is(yes.value, no.value)) return yes;
    if (isBoolean(test) && yes.value === 1 && no.value === 0) return test;
    if (isBoolean(test) && yes.value === 0 && no.value === 1) return not(test);
  }
  return selectNode(test, yes, no);
};

/** A select as it stands, nothing folded: the one place that makes the node. */
export const selectNode = (condition: Scalar, yes: Scalar, no: Scalar): Scalar =>
  // oxlint-disable-next-line unicorn/no-thenable -- a field of plain data; nothing awaits an expression
  ({ kind: "select", if: condition, then: yes, else: no });

const chain =
  (op: BinaryOp, empty: number) =>
  (...terms: readonly ScalarLike[]): Scalar => {
    const [first, ...rest] = terms;
    return rest.reduce<Scalar>((all, term) => binary(op, all, term), toScalar(first ?? empty));
  };
type Chain = (...terms: readonly ScalarLike[]) => Scalar;
type Binary = (left: ScalarLike, right: ScalarLike) => Scalar;

export const add: Chain = chain("add", 0);
export const mul: Chain = chain("mul", 1);
export const and: Chain = chain("and", 1);
export const or: Chain = chain("or", 0);
export const min: Chain = chain("min", Infinity);
export const max: Chain = chain("max", -Infinity);
export const sub: Binary = (left, right) => binary("sub", left, right);
export const div: Binary = (left, right) => binary("div", left, right);
export const floorDiv: Binary = (left, right) => binary("floorDiv", left, right);
export const mod: Binary = (left, right) => binary("mod", left, right);
export const eq: Binary = (left, right) => binary("eq", left, right);
export const lt: Binary = (left, right) => binary("lt", left, right);
export const le: Binary = (left, right) => binary("le", left, right);
export const gt: Binary = (left, right) => binary("gt", left, right);
export const ge: Binary = (left, right) => binary("ge", left, right);
export const neg = (of: ScalarLike): Scalar => unary("neg", of);
export const not = (of: ScalarLike): Scalar => unary("not", of);
